#include "frontends/cli/inputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/protected_paths.h"
#include "frontends/cli/builtin_policies.h"

namespace rauha::cli {
namespace {

constexpr size_t kMaxPolicyBytes = 1 << 20;

struct SourceKind {
  std::string_view prefix;
  bool directory;
  bool mayHaveTag;
};
constexpr std::array kSourceKinds = {SourceKind{"dir:", true, false}, SourceKind{"oci:", true, true},
                                     SourceKind{"oci-archive:", false, true}, SourceKind{"docker-archive:", false, true},
                                     SourceKind{"tar:", false, false}};

bool exists(const std::string& path) noexcept {
  struct stat st {};
  // Only "there is no such thing" sends us on to a shorter path; what may not be looked at is reported when it is opened.
  return stat(path.c_str(), &st) == 0 || (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG);
}

// "a/b:1.2" -> "a/b" when "a/b:1.2" does not exist; the text itself when nothing fits.
std::string longestExisting(const std::string& text) {
  for (size_t end = text.size(); end != std::string::npos && end > 0; end = text.find_last_of(":@", end - 1))
    if (exists(text.substr(0, end))) return text.substr(0, end);
  return text;
}

std::string imagePath(const SourceKind& kind, const std::string& reference) {
  const std::string rest = reference.substr(kind.prefix.size());
  if (rest.empty())
    throw Error("image", Code::invalid, "image reference '" + reference + "' names no path", "write " + std::string(kind.prefix) + "PATH",
                reference);
  if (!kind.mayHaveTag) return rest;
  const std::string path = longestExisting(rest);
  const size_t slash = path.rfind('/');
  // The daemon sees only the text and would take what follows the ':' for a tag.
  if (path == rest && exists(path) && path.find(':', slash == std::string::npos ? 0 : slash) != std::string::npos)
    throw Error("image", Code::invalid, "image path '" + path + "' has a ':' in its last part, which begins a tag",
                "add the tag (" + reference + ":TAG), or rename it", reference);
  return path;
}

// Non-blocking, so that a FIFO does not hold us; regular files do not care.
UniqueFd openRegular(std::string_view errorClass, const std::string& what, const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) throw osError(errorClass, what, errno, "check the path and its permissions");
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) throwErrno(errorClass, what);
  if (S_ISDIR(st.st_mode)) throw Error(errorClass, Code::invalid, what + ": it is a directory, not a file", "name the file", path);
  if (!S_ISREG(st.st_mode)) throw Error(errorClass, Code::invalid, what + ": it is not a regular file", "copy it into a file first", path);
  return fd;
}

UniqueFd openDirectory(std::string_view errorClass, const std::string& what, const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) return fd;
  if (errno == ENOTDIR) {
    struct stat st {};
    if (stat(path.c_str(), &st) == 0) throw Error(errorClass, Code::invalid, what + ": it is not a directory", "name the directory", path);
  }
  throw osError(errorClass, what, errno, "check the path and its permissions: the directory is opened with your rights");
}

// "snapshot:/srv/tree", "snapshot:./tree": a path behind the scheme of a plugin that we do not know. Stored names, tags, ports and digests
// begin with neither '/' nor '.'. The rest of the text is the path, whole. Empty: no path.
std::string foreignPath(const std::string& reference) {
  const size_t colon = reference.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+.-");
  if (colon == std::string::npos || colon == 0 || reference[colon] != ':') return {};
  const std::string rest = reference.substr(colon + 1);
  const bool path = rest == "." || rest == ".." || rest.starts_with('/') || rest.starts_with("./") || rest.starts_with("../");
  return path ? rest : std::string();
}

}  // namespace

UniqueFd openRepository(const std::string& path, bool forWriting) {
  const std::string what = "repository " + path;
  UniqueFd fd = openDirectory("repository", what, path);
  if (faccessat(fd.get(), ".", R_OK | X_OK, AT_EACCESS) != 0)
    throw osError("repository", what, errno, "you need read and search permission on it");
  if (forWriting && faccessat(fd.get(), ".", W_OK, AT_EACCESS) != 0)
    throw osError("repository", what + " cannot be written by you", errno, "use --repo-mode ro, or a directory that you own");
  return fd;
}

std::string gitDirectoryOutside(int repository, const std::string& path) {
  constexpr std::string_view kKey = "gitdir: ";
  const UniqueFd fd(openat(repository, ".git", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  char text[PATH_MAX + kKey.size()];
  const ssize_t size = read(fd.get(), text, sizeof text);
  std::string_view line(text, size > 0 ? static_cast<size_t>(size) : 0);
  line = line.substr(0, line.find('\n'));
  if (!line.starts_with(kKey) || line.size() == kKey.size()) return {};
  line.remove_prefix(kKey.size());
  const std::string named = line.front() == '/' ? std::string(line) : path + "/" + std::string(line);
  char real[PATH_MAX];
  const std::string directory =
      realpath(named.c_str(), real) == nullptr ? std::filesystem::path(named).lexically_normal().string() : std::string(real);
  return isAtOrBelow(directory, path) ? std::string() : directory;
}

UniqueFd openImageSource(const std::string& reference) {
  for (const auto& kind : kSourceKinds) {
    if (reference.compare(0, kind.prefix.size(), kind.prefix) != 0) continue;
    const std::string path = imagePath(kind, reference);
    const std::string what = "image " + reference;
    return kind.directory ? openDirectory("image", what, path) : openRegular("image", what, path);
  }
  const std::string path = foreignPath(reference);
  if (path.empty()) return {};
  struct stat st {};
  const std::string what = "image " + reference;
  // Which of both the plugin wants is for it to say; what is neither may do things when it is opened.
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) ? openRegular("image", what, path) : openDirectory("image", what, path);
}

PolicyText readPolicy(const std::string& nameOrPath) {
  if (nameOrPath.empty())
    throw Error("policy", Code::invalid, "the policy's name is empty", "name a file, or one of: " + builtinPolicyNames());
  if (const auto toml = builtinPolicy(nameOrPath)) return {std::string(*toml), nameOrPath};
  const std::string what = "policy " + nameOrPath;
  try {
    UniqueFd fd = openRegular("policy", what, nameOrPath);
    struct stat st {};
    if (fstat(fd.get(), &st) == 0 && st.st_size > static_cast<off_t>(kMaxPolicyBytes))
      throw Error("policy", Code::limit,
                  what + " has " + std::to_string(st.st_size) + " bytes, more than " + std::to_string(kMaxPolicyBytes),
                  "a policy is a small text; is it the right file?", nameOrPath);
    return {readAll(fd.get(), what, kMaxPolicyBytes), nameOrPath};
  } catch (const Error& e) {
    if (e.code() == Code::notFound && nameOrPath.find('/') == std::string::npos)
      throw Error("policy", Code::notFound, e.text(), "name a file, or one of the built-in policies: " + builtinPolicyNames(), nameOrPath);
    throw;
  }
}

}  // namespace rauha::cli
