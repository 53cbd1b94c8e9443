#include "plugins/image-oci/files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

// The thread opens files with somebody else's ids (and without the rights of root) until the end of the scope. Groups beyond the first
// are not known here: what only they may read is refused.
class OpenAs final {
 public:
  explicit OpenAs(Caller caller) {
    gid_ = static_cast<gid_t>(setfsgid(caller.gid));
    uid_ = static_cast<uid_t>(setfsuid(caller.uid));
  }
  ~OpenAs() {
    const int saved = errno;
    setfsuid(uid_);
    setfsgid(gid_);
    errno = saved;
  }
  OpenAs(const OpenAs&) = delete;
  OpenAs& operator=(const OpenAs&) = delete;

 private:
  uid_t uid_;
  gid_t gid_;
};

class DirectoryFiles final : public Files {
 public:
  DirectoryFiles(int dirFd, Caller caller, std::string what) : dir_(duplicate(dirFd)), caller_(caller), what_(std::move(what)) {
    struct stat meta {};
    if (fstat(dir_.get(), &meta) != 0) throwIo("stat " + what_);
    if (!S_ISDIR(meta.st_mode))
      throw Error("image", Code::invalid, what_ + " is not a directory",
                  "for an archive file write oci-archive:FILE or docker-archive:FILE");
  }

  std::optional<OpenFile> open(const std::string& name) override {
    // Links inside of a layout are not ours to follow: with the daemon's rights they could show what the caller may not read.
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    UniqueFd fd = [&] {
      const OpenAs as(caller_);
      return UniqueFd(static_cast<int>(syscall(SYS_openat2, dir_.get(), name.c_str(), &how, sizeof how)));
    }();
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (!fd && (errno == ELOOP || errno == EXDEV))
      throw Error("image", Code::invalid, what_ + ": " + name + " is or passes a symbolic link",
                  "copy the image with real files: skopeo copy oci:OLD oci:NEW");
    if (!fd) throwIo(what_ + ": open " + name);
    struct stat meta {};
    if (fstat(fd.get(), &meta) != 0) throwIo(what_ + ": stat " + name);
    if (!S_ISREG(meta.st_mode)) throw Error("image", Code::invalid, what_ + ": " + name + " is not a regular file");
    const auto size = static_cast<uint64_t>(meta.st_size);
    return OpenFile{streamFile(std::move(fd), 0, size, what_ + ": " + name), size, {}};
  }

 private:
  UniqueFd dir_;
  Caller caller_;
  std::string what_;
};

}  // namespace

std::optional<std::string> Files::read(const std::string& name, size_t limit) {
  std::optional<OpenFile> file = open(name);
  if (!file) return std::nullopt;
  if (file->size > limit)
    throw Error("image", Code::limit, name + " is " + std::to_string(file->size) + " bytes, more than " + std::to_string(limit));
  return drain(*file->stream, limit, name);
}

std::unique_ptr<Files> directoryFiles(int dirFd, Caller caller, std::string what) {
  return std::make_unique<DirectoryFiles>(dirFd, caller, std::move(what));
}

}  // namespace rauha::oci
