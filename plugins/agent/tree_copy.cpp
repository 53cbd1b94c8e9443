#include "plugins/agent/tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/base/acl.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::agent {
namespace {

constexpr size_t kMaxDepth = 256;  // descriptors are held per level
constexpr id_t kNobody = 65534;
constexpr int64_t kReportNs = 250'000'000;

[[noreturn]] void failed(const std::string& what, const std::string& name, int error = errno) {
  if (error == ENOSPC || error == EDQUOT)
    throw Error("repository", Code::limit, "the copy of the repository does not fit into the zone's scratch (at " + name + ")",
                "raise filesystem.scratch_size in the policy, or move the repository to ext4, xfs, btrfs or tmpfs, where nothing is copied",
                name);
  throw osError("repository", what + " " + name + " of the repository for its copy", error);
}

struct CloseDirectory {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory list(int fd, const std::string& name) {
  const int own = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) failed("open", name);
  Directory directory(::fdopendir(own));
  if (!directory) {
    ::close(own);
    failed("list", name);
  }
  return directory;
}

class Copier {
 public:
  Copier(const CopyOwner& owner, const CopyReport& progress) : owner_(owner), progress_(progress) { report(false); }
  void report(bool done) {
    reportedNs_ = monotonicNs();
    progress_(counts_, done);
  }
  const CopyCounts& counts() const noexcept { return counts_; }

  void directory(int from, int to, const std::string& name, size_t depth) {
    if (depth > kMaxDepth)
      throw Error("repository", Code::limit, "the repository is deeper than " + std::to_string(kMaxDepth) + " directories, at " + name, {},
                  name);
    const Directory entries = list(from, name);
    errno = 0;
    while (const struct dirent* entry = ::readdir(entries.get())) {
      if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) copyEntry(from, to, entry->d_name, depth);
      errno = 0;
    }
    if (errno != 0) failed("list", name);
  }

  void metadata(int from, int to, const struct stat& st, const std::string& name) {
    attributes(from, to);
    if (::fchown(to, uid(st), gid(st)) != 0) failed("give away", name);
    if (::fchmod(to, st.st_mode & 01777) != 0) failed("set the mode of", name);
    times(to, "", st, name);
  }

 private:
  uid_t uid(const struct stat& st) const noexcept { return st.st_uid == owner_.fromUid ? owner_.uid : kNobody; }
  gid_t gid(const struct stat& st) const noexcept { return st.st_gid == owner_.fromGid ? owner_.gid : kNobody; }

  static void times(int at, const char* name, const struct stat& st, const std::string& shown) {
    const struct timespec both[] = {st.st_atim, st.st_mtim};
    if (::utimensat(at, name, both, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0) failed("set the times of", shown);
  }

  // The scratch may not know them (tmpfs before Linux 6.6): then they are absent, as a zone may see it anywhere.
  void attributes(int from, int to) const {
    std::vector<char> names(64 * 1024), value(64 * 1024);
    const ssize_t size = ::flistxattr(from, names.data(), names.size());
    for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names.data() + at)) + 1) {
      const char* name = names.data() + at;
      const bool acl = isAcl(name);
      if (std::strncmp(name, "user.", 5) != 0 && !acl) continue;
      const ssize_t length = ::fgetxattr(from, name, value.data(), value.size());
      if (length < 0) continue;
      std::string content(value.data(), static_cast<size_t>(length));
      if (!acl || ofTheZone(content)) (void)::fsetxattr(to, name, content.data(), content.size(), 0);
    }
  }

  // A list that names others has no meaning there.
  bool ofTheZone(std::string& acl) const {
    const auto user = [this](uint32_t& id) { return id == owner_.fromUid && (id = owner_.uid, true); };
    const auto group = [this](uint32_t& id) { return id == owner_.fromGid && (id = owner_.gid, true); };
    return translateAcl(acl, user, group);
  }

  void copyEntry(int from, int to, const std::string& name, size_t depth) {
    struct stat st;
    if (::fstatat(from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return;  // somebody works in the tree meanwhile
      failed("stat", name);
    }
    if (S_ISDIR(st.st_mode)) return copyDirectory(from, to, name, depth);
    if (S_ISREG(st.st_mode)) return copyFile(from, to, name);
    if (S_ISLNK(st.st_mode)) return copyLink(from, to, name, st);
    ++counts_.leftOut;
  }

  void copyDirectory(int from, int to, const std::string& name, size_t depth) {
    const UniqueFd source(::openat(from, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st;
    if (!source || ::fstat(source.get(), &st) != 0) failed("open", name);
    if (::mkdirat(to, name.c_str(), 0700) != 0) failed("make", name);
    const UniqueFd target(::openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!target) failed("open the copy of", name);
    directory(source.get(), target.get(), name, depth + 1);
    metadata(source.get(), target.get(), st, name);
  }

  void copyFile(int from, int to, const std::string& name) {
    // O_NONBLOCK: what was a file a moment ago may be a FIFO now.
    const UniqueFd source(::openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat st;
    if (!source || ::fstat(source.get(), &st) != 0) failed("open", name);
    if (!S_ISREG(st.st_mode)) {
      ++counts_.leftOut;
      return;
    }
    reportWhenDue();
    const UniqueFd target(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!target) failed("make", name);
    content(source.get(), target.get(), st.st_size, name);
    metadata(source.get(), target.get(), st, name);
    ++counts_.files;
  }

  // Holes are skipped: an 8 GiB file of nothing must not fill the scratch.
  void content(int from, int to, off_t size, const std::string& name) {
    if (::ftruncate(to, size) != 0) failed("size", name);
    for (off_t at = 0; at < size;) {
      const off_t data = ::lseek(from, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) return;
      const off_t begin = data < 0 ? at : data;
      const off_t hole = data < 0 ? size : ::lseek(from, begin, SEEK_HOLE);
      const off_t end = hole < 0 || hole > size ? size : hole;
      piece(from, to, begin, end, name);
      at = end;
    }
  }

  void piece(int from, int to, off_t at, off_t end, const std::string& name) {
    buffer_.resize(256 * 1024);
    while (at < end) {
      const size_t wanted = std::min(buffer_.size(), static_cast<size_t>(end - at));
      const ssize_t got = ::pread(from, buffer_.data(), wanted, at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) failed("read", name);
      if (got == 0) return;  // it became shorter meanwhile; the rest is a hole
      for (ssize_t done = 0; done < got;) {
        const ssize_t put = ::pwrite(to, buffer_.data() + done, static_cast<size_t>(got - done), at + done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) failed("write", name);
        done += put;
      }
      at += got;
      reportWhenDue();
      counts_.bytes += static_cast<uint64_t>(got);
    }
  }

  void copyLink(int from, int to, const std::string& name, const struct stat& st) {
    std::string text(PATH_MAX, '\0');
    const ssize_t length = ::readlinkat(from, name.c_str(), text.data(), text.size());
    if (length <= 0 || static_cast<size_t>(length) == text.size()) failed("read the link", name, length < 0 ? errno : ENAMETOOLONG);
    text.resize(static_cast<size_t>(length));
    if (::symlinkat(text.c_str(), to, name.c_str()) != 0) failed("make the link", name);
    if (::fchownat(to, name.c_str(), uid(st), gid(st), AT_SYMLINK_NOFOLLOW) != 0) failed("give away", name);
    times(to, name.c_str(), st, name);
    ++counts_.files;
  }

  void reportWhenDue() {
    if (monotonicNs() - reportedNs_ >= kReportNs) report(false);
  }

  const CopyOwner& owner_;
  const CopyReport& progress_;
  int64_t reportedNs_ = 0;
  CopyCounts counts_;
  std::vector<char> buffer_;
};

}  // namespace

CopyCounts copyTree(int from, int to, const CopyOwner& owner, const CopyReport& progress) {
  struct stat st;
  const UniqueFd source(::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      target(::openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!source || !target || ::fstat(source.get(), &st) != 0) failed("open", "the top");
  Copier copier(owner, progress);
  copier.directory(source.get(), target.get(), "the top", 0);
  copier.metadata(source.get(), target.get(), st, "the top");
  copier.report(true);
  return copier.counts();
}

}  // namespace rauha::agent
