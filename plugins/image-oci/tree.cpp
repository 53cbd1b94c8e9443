#include "plugins/image-oci/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/base/error.h"
#include "core/base/ids.h"
#include "plugins/image-oci/limits.h"

namespace rauha::oci {
namespace {

struct DirClose {
  void operator()(DIR* d) const noexcept { closedir(d); }
};
using DirPtr = std::unique_ptr<DIR, DirClose>;

// A stream of its own over `fd`, which stays the caller's; it starts at the beginning.
DirPtr streamOf(int fd, const std::string& what) {
  UniqueFd own(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) throwIo("open " + what);
  DirPtr dir(fdopendir(own.get()));
  if (!dir) throwIo("list " + what);
  own.release();
  return dir;
}

bool isDots(const char* name) noexcept { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

constexpr size_t kRemoveDepth = 64;  // descriptors and stack that a removal may cost

// Everything in `fd`. A refused layer may be deeper than any name that it had: its links lead from one deep folder into the next. What
// lies below kRemoveDepth is moved up into `top` and removed from there, so that no depth keeps a tree from going.
void empty(int top, int fd, size_t depth) {
  for (bool again = true; again;) {  // entries may be missed while a directory changes: until one pass finds nothing
    again = false;
    const DirPtr dir = streamOf(fd, "a directory");
    while (const dirent* entry = readdir(dir.get())) {
      if (isDots(entry->d_name)) continue;
      if (unlinkat(fd, entry->d_name, 0) == 0) {
        again = true;
        continue;
      }
      if (errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) throwIo("remove '" + std::string(entry->d_name) + "'");
      if (depth == kRemoveDepth) {
        if (renameat(fd, entry->d_name, top, newId("deep").c_str()) != 0 && errno != ENOENT)
          throwIo("move directory '" + std::string(entry->d_name) + "'");
        again = true;
        continue;
      }
      UniqueFd child(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child && errno == ENOENT) continue;  // another process removes the same tree
      if (!child) throwIo("open directory '" + std::string(entry->d_name) + "'");
      empty(top, child.get(), depth + 1);
      if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        throwIo("remove directory '" + std::string(entry->d_name) + "'");
      again = true;
    }
  }
}

void visitDirs(int fd, size_t depth, const std::function<void(int, const struct stat&)>& visit) {
  if (depth > kDepthMax + 8) throw Error("image", Code::limit, "a tree is deeper than " + std::to_string(kDepthMax) + " directories");
  {
    const DirPtr dir = streamOf(fd, "a directory");
    while (const dirent* entry = readdir(dir.get())) {
      if (isDots(entry->d_name) || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)) continue;
      UniqueFd child(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child && (errno == ENOTDIR || errno == ELOOP)) continue;
      if (!child) throwIo("open directory '" + std::string(entry->d_name) + "'");
      visitDirs(child.get(), depth + 1, visit);
    }
  }
  struct stat meta {};
  if (fstat(fd, &meta) != 0) throwIo("stat a directory");
  visit(fd, meta);
}

}  // namespace

void throwIo(const std::string& what) {
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT)
    throw Error("image", Code::limit, what + ": the disk is full (" + strerror(error) + ")",
                "free space on the disk of the image store, or remove images: rauha image list, rauha image remove NAME");
  throw osError("image", what, error);
}

int openInRoot(int at, const std::string& path, int flags) noexcept {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (int tries = 0;; ++tries) {  // EAGAIN: a rename anywhere on the machine while ".." of a link was walked
    const long fd = syscall(SYS_openat2, at, path.empty() ? "." : path.c_str(), &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN || tries == 1000) return static_cast<int>(fd);
  }
}

UniqueFd openChildDir(int at, const std::string& name, const std::string& what) {
  UniqueFd fd(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throwIo("open directory " + what);
  return fd;
}

void removeTree(int at, const std::string& name) {
  if (unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) throwIo("remove '" + name + "'");
  {
    UniqueFd dir(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir && errno == ENOENT) return;
    if (!dir) throwIo("open directory '" + name + "'");
    empty(dir.get(), dir.get(), 0);
  }
  if (unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) throwIo("remove directory '" + name + "'");
}

void forEachDir(int root, const std::function<void(int fd, const struct stat& meta)>& visit) { visitDirs(root, 0, visit); }

UniqueFd makeDir(int at, const std::string& name, const std::string& what) {
  if (mkdirat(at, name.c_str(), 0700) != 0 && errno != EEXIST) throwIo("make directory " + what);
  return openChildDir(at, name, what);
}

std::vector<std::string> namesIn(int dir, const std::string& what) {
  std::vector<std::string> out;
  const DirPtr stream = streamOf(dir, what);
  while (const dirent* entry = readdir(stream.get()))
    if (!isDots(entry->d_name)) out.emplace_back(entry->d_name);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace rauha::oci
