#pragma once
// What a task did to a repository, as values: the native form of schemas/changes.capnp, whose field comments hold here too.
//
// Made by the collector on a worker thread, handed to the event loop whole. Paths, targets and attribute values are the kernel's bytes.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rauha::changes {

// The numbers are those of schema::ChangeKind and schema::FileType.
enum class Kind : uint8_t { added, modified, deleted, typeChanged, renamed };
enum class FileType : uint8_t { none, regular, directory, symlink, fifo, socket, characterDevice, blockDevice };

// What differs, as bits; named in the schema by the words of fieldNames().
enum Field : uint8_t {
  kContent = 1,
  kType = 2,
  kMode = 4,
  kOwner = 8,
  kXattrs = 16,
  kTarget = 32,
  kMtime = 64,
};
std::vector<std::string_view> fieldNames(uint8_t fields);

using Digest = std::array<unsigned char, 32>;  // SHA-256

struct FileState {
  FileType type = FileType::none;
  uint16_t mode = 0;  // the twelve permission bits
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;
  int64_t mtimeNs = 0, ctimeNs = 0;
  uint64_t inode = 0;
  std::optional<Digest> digest;
  std::string entries;  // of an index of git: core/base/git_index.h; empty: not known
  std::string target;
  std::vector<std::pair<std::string, std::string>> xattrs;  // user.*, security.capability, ACLs (with host ids); sorted by name
};

struct Change {
  std::string path, from;  // from: only renamed
  Kind kind = Kind::modified;
  uint8_t fields = 0;
  bool binary = false, hostChanged = false;
  std::string_view noise, reason;  // static texts; reason: why it is protected
  FileState before, after;
};

// Paths, link texts and attributes: what of a change a task decides the length of.
uint64_t textBytes(const Change& change) noexcept;

struct Totals {
  uint64_t added = 0, modified = 0, deleted = 0, typeChanged = 0, renamed = 0;
  uint64_t addedBytes = 0, deletedBytes = 0, protectedCount = 0, noise = 0;
  uint64_t count() const noexcept { return added + modified + deleted + typeChanged + renamed; }
};

struct NoiseGroup {
  std::string_view name;
  uint64_t changes = 0, bytes = 0;
};

enum class HostTree : uint8_t { notChecked, unchanged, changed };

// Which tree it was, as the client opened it.
struct BaseTree {
  std::string path;
  uint64_t device = 0, inode = 0;
  uint32_t uid = 0, gid = 0;  // its owner: whom the zone's run user is
  int64_t startedNs = 0;      // of the first task of the chain
};

// Everything the collector found.
struct ChangeSet {
  Totals totals;
  std::vector<Change> changes;  // by path, component by component ("a/b" before "a.c"); all, or the first ones when `truncated`
  bool truncated = false;
  std::vector<NoiseGroup> noise;  // by name
  HostTree hostTree = HostTree::notChecked;
  std::vector<std::string> hostChanges;
  std::string hostNote;
  bool kept = false;
  std::string keptNote;
  bool followable = false;     // kept, and its layer can be mounted below another
  std::string followableNote;  // why not
  uint64_t keptBytes = 0;      // on disk, layer and manifest; what it shares with its predecessor's counts in both
  BaseTree base;
  uint32_t runUid = 0, runGid = 0;  // the zone's run user, as the layer's files know it
  std::string from;
  std::vector<std::string> notes;
};

}  // namespace rauha::changes
