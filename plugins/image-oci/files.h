#pragma once
// The files of a source, wherever they are: a directory (OCI layout) or a tar file (oci-archive, docker-archive). Everything is reached
// from the descriptor that the client opened with its own rights; no path is ever opened with the daemon's.

#include <memory>
#include <optional>
#include <string>

#include "core/base/fd.h"
#include "plugins/image-oci/stream.h"

namespace rauha::oci {

struct OpenFile {
  std::unique_ptr<ByteStream> stream;
  uint64_t size = 0;
  std::string inTmp = {};   // a file of the store's tmp/ that has all of it once the stream was read to its end; empty: none
  UniqueFd inTmpHeld = {};  // with its lock: as long as this is open nobody else writes into it
};

class StoreRoot;

class Files {
 public:
  virtual ~Files() = default;
  // A regular file by its relative name ("blobs/sha256/ab…"); nullopt: there is none. Throws when it is something else or cannot be read.
  virtual std::optional<OpenFile> open(const std::string& name) = 0;
  // Small documents. nullopt: there is none. Throws limit when it is larger.
  std::optional<std::string> read(const std::string& name, size_t limit);
};

// Whoever asked for the image; what is opened below its directory is opened with these ids.
struct Caller {
  uint32_t uid = 0, gid = 0;
};

// dirFd, fileFd: borrowed, duplicated. what: the source's name in errors.
std::unique_ptr<Files> directoryFiles(int dirFd, Caller caller, std::string what);
// An archive that is itself compressed is unpacked to an unnamed file of the store first, at most `limit` bytes. `watch` outlives it.
std::unique_ptr<Files> tarFiles(int fileFd, const StoreRoot& store, uint64_t limit, const Watch& watch, std::string what);

}  // namespace rauha::oci
