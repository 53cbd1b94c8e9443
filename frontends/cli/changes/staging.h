#pragma once
// Making one file ready before anybody can see it: content (holes stay holes), verified against the digest that the task's manifest has,
// then mode, owner, extended attributes and times, then on disk. And changing metadata of what is in place.
//
// Everything works on open descriptors of objects in apply's own directory or reached through Tree. Errors are thrown: Error "repository".

#include <optional>
#include <string>
#include <vector>

#include "frontends/cli/changes/change.h"

namespace rauha::cli {

// What an object shall have in the end; absent: as it is.
struct Metadata {
  std::optional<uint32_t> mode;
  std::optional<std::pair<uint32_t, uint32_t>> owner;
  bool ownerMayFail = false;                 // where it is not permitted it stays as it is
  std::optional<std::vector<Xattr>> xattrs;  // user.*, security.capability, access control lists: exactly these
  std::optional<int64_t> mtimeNs;
};

// Copies everything that is no hole, and the size. Throws what read or write say; ENOSPC is code limit.
void copyContent(int from, int to, const std::string& path);

// Owner first (it clears bits of the mode), then attributes, mode, time.
// Returns false when an owner could not be set and may be left.
bool setMetadata(int fd, const Metadata& metadata, const std::string& path);
// Of a symbolic link, by name: owner and time only.
bool setLinkMetadata(int directory, const std::string& name, const Metadata& metadata, const std::string& path);

// Access control lists and labels of the host's file, for the one that takes its place. What cannot be carried over is left.
void copyHostAttributes(int from, int to);

void syncFile(int fd, const std::string& path);

}  // namespace rauha::cli
