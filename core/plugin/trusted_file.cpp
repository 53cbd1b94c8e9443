#include "core/plugin/trusted_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "core/base/error.h"

namespace rauha::plugin {
namespace {

std::string octal(mode_t mode) {
  char text[16];
  snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

std::vector<std::string> componentsOf(const std::string& path) {
  std::vector<std::string> out;
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos)
    throw Error("plugin", Code::invalid, "\"" + path + "\" is not an absolute path", "name plugin directories from / on", path);
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "." || part == "..")
      throw Error("plugin", Code::invalid, path + " contains \"" + part + "\"", "write the path without it", path);
    if (!part.empty()) out.push_back(part);
    at = end + 1;
  }
  return out;
}

class Walk final {
 public:
  explicit Walk(const TrustRules& rules) : rules_(rules), fd_(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_) throwErrno("plugin", "open /");
    judge("/", false);
  }
  void enterDirectory(const std::string& part) {
    step(part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    judge(path_, false);
  }
  // O_NONBLOCK: a FIFO under the name must not hang the daemon.
  void enterFile(const std::string& part) {
    step(part, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    judge(path_, true);
  }
  TrustedFile finish() { return {std::move(fd_), path_.empty() ? "/" : path_, std::move(weaknesses_)}; }

 private:
  void step(const std::string& part, int flags) {
    path_ += "/" + part;
    UniqueFd next(openat(fd_.get(), part.c_str(), flags));
    if (!next) {
      const int error = errno;
      struct stat st {};
      if (fstatat(fd_.get(), part.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        throw Error("plugin", Code::denied, path_ + " is a symbolic link", "name the place that the link leads to", path_);
      throw osError("plugin", "open " + path_, error);
    }
    fd_ = std::move(next);
  }

  void judge(const std::string& what, bool isFile) {
    struct stat st {};
    if (fstat(fd_.get(), &st) != 0) throwErrno("plugin", "stat " + what);
    if (isFile && !S_ISREG(st.st_mode)) throw Error("plugin", Code::invalid, what + " is not a regular file", {}, what);
    if (isFile && static_cast<uint64_t>(st.st_size) > rules_.maxBytes)
      throw Error("plugin", Code::limit, what + " has " + std::to_string(st.st_size) + " bytes, at most " + std::to_string(rules_.maxBytes),
                  {}, what);
    const uid_t self = geteuid();
    if (st.st_uid != 0 && st.st_uid != self) {
      const std::string expected = self == 0 ? "root" : "root or uid " + std::to_string(self);
      weak(what, what + " belongs to uid " + std::to_string(st.st_uid) + ", expected " + expected,
           "give it to " + expected + ", or, for development only, set plugins.allow_unsafe_directories");
    }
    // Nobody else can change it; but it is not an installation either.
    if (self != 0 && st.st_uid == self && isFile)
      weaknesses_.push_back(what + " belongs to uid " + std::to_string(self) + ", the daemon's own");
    const bool others = (st.st_mode & S_IWOTH) != 0;
    if (!others && (st.st_mode & S_IWGRP) == 0) return;
    const std::string text = what + " is writable by " + (others ? "others" : "its group") + " (mode " + octal(st.st_mode) + ")";
    const std::string chmod = "chmod go-w " + what;
    if (isFile) throw Error("plugin", Code::denied, text, chmod, what);  // whatever the option says: anybody's code
    weak(what, text, chmod + ", or, for development only, set plugins.allow_unsafe_directories");
  }

  void weak(const std::string& what, std::string text, std::string hint) {
    if (!rules_.insecureDirectories) throw Error("plugin", Code::denied, std::move(text), std::move(hint), what);
    weaknesses_.push_back(std::move(text));
  }

  const TrustRules& rules_;
  UniqueFd fd_;
  std::string path_;
  std::vector<std::string> weaknesses_;
};

}  // namespace

TrustedFile openTrustedFile(const std::string& path, const TrustRules& rules) {
  const auto parts = componentsOf(path);
  if (parts.empty()) throw Error("plugin", Code::invalid, path + " is not a regular file", {}, path);
  Walk walk(rules);
  for (size_t i = 0; i + 1 < parts.size(); ++i) walk.enterDirectory(parts[i]);
  walk.enterFile(parts.back());
  return walk.finish();
}

TrustedFile openTrustedDirectory(const std::string& path, const TrustRules& rules) {
  Walk walk(rules);
  for (const auto& part : componentsOf(path)) walk.enterDirectory(part);
  return walk.finish();
}

}  // namespace rauha::plugin
