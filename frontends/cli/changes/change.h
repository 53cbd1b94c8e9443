#pragma once
// A task's change set as values: read from the schema once, every path checked. What follows may join these paths to a directory's
// descriptor without looking again for "..", "/" or NUL.
//
// Values; any thread. Texts are bytes as the kernel gave them, nothing is UTF-8 here.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"
#include "core/base/protected_paths.h"

namespace rauha::cli {

enum class ChangeKind { added, modified, deleted, typeChanged, renamed };
enum class FileType { none, regular, directory, symlink, special };

struct Xattr {
  std::string name, value;
  bool operator==(const Xattr& other) const { return name == other.name && value == other.value; }
};

struct FileState {
  FileType type = FileType::none;
  uint64_t size = 0;
  uint32_t mode = 0;  // twelve permission bits
  uint32_t uid = 0, gid = 0;
  int64_t mtimeNs = 0, ctimeNs = 0;
  uint64_t inode = 0;
  std::string entries;        // of an index of git: what is staged in it (core/base/git_index.h); empty: not known
  std::string digest;         // regular: "sha256:…", or empty: not computed
  std::string target;         // symlink
  std::vector<Xattr> xattrs;  // user.*, security.capability, access control lists
};
bool isAcl(std::string_view attribute) noexcept;

struct Fields {
  bool content = false, type = false, mode = false, owner = false, xattrs = false, target = false, mtime = false;
  bool metadataOnly() const { return !content && !type && !target; }
};

struct Change {
  std::string path;
  std::string from;  // renamed: where it was
  ChangeKind kind = ChangeKind::modified;
  Fields fields;
  FileState before, after;
  std::string noise;       // group, empty: worth a look
  std::string protection;  // why it can run code on the host, empty: it cannot
  bool hostChanged = false;
};

// Which tree the task saw.
struct BaseTree {
  std::string path;
  uint64_t device = 0, inode = 0;
  uint32_t uid = 0, gid = 0;
};

struct ChangeSet {
  std::string taskId;
  std::string from;  // the task that it went on from; empty: the host's tree
  BaseTree base;
  std::vector<Change> changes;
};

// Where new contents come from: the daemon, or a test's directory.
class ContentSource {
 public:
  ContentSource() = default;
  ContentSource(const ContentSource&) = delete;
  ContentSource& operator=(const ContentSource&) = delete;
  virtual ~ContentSource() = default;
  // The regular file's new content, open for reading at its start. Throws Error.
  virtual UniqueFd open(const std::string& path) = 0;
  // What will be opened next, in about this order: a source that is far away asks for some of it ahead. Replaces what was said before.
  virtual void expect(std::vector<std::string> paths) { (void)paths; }
};

// Relative, at most 4095 bytes, components of 1 to 255 bytes, none of them "." or "..", no NUL.
bool isTreePath(std::string_view path) noexcept;
// "a/b" -> "a"; "a" -> "".
std::string parentOf(const std::string& path);
std::string nameOf(const std::string& path);

}  // namespace rauha::cli
