#include <fcntl.h>
#include <seccomp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/backend-linux/seccomp_lists.h"
#include "plugins/backend-linux/seccomp_profile.h"

namespace rauha::backend {
namespace {

// Raised whenever seccomp_profile.cpp makes another program of the same lists: programs on disk are then made again.
constexpr int kProfileRevision = 3;
constexpr size_t kMostBytes = 64 << 10;
constexpr size_t kDigestBytes = 71;  // "sha256:" and 64 digits

#if defined(__x86_64__)
constexpr const char* kArchitecture = "x86_64";
#else
constexpr const char* kArchitecture = "aarch64";
#endif

std::string keyOf(const SeccompRequest& request) {
  std::string out = request.privileged ? "privileged" : "standard";
  for (const uint8_t capability : request.capabilities) out += " " + std::to_string(capability);
  out += "\ndeny";
  for (const std::string& name : request.deny) out += " " + name;
  out += "\nallow";
  for (const std::string& name : request.allow) out += " " + name;
  return out;
}

std::string fileName(const std::string& key) {
  const scmp_version* version = seccomp_version();
  const std::string all = std::string(RAUHA_VERSION) + " " + std::to_string(kProfileRevision) + " " + kArchitecture + " libseccomp " +
                          std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->micro) +
                          "\n" + key + "\n" + std::string(listsFingerprint());
  return sha256(all).substr(7) + ".bpf";
}

// A file is its content's digest, a newline, and the program; anything else is not used.
std::string load(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) return {};
  const std::string text = readFile(path, kMostBytes);
  if (text.size() <= kDigestBytes + 1 || text[kDigestBytes] != '\n') return {};
  std::string program = text.substr(kDigestBytes + 1);
  return sha256(program) == text.substr(0, kDigestBytes) && program.size() % 8 == 0 ? program : std::string();
}

// Without a name until it is whole: a kill in the middle leaves nothing.
void store(const std::string& directory, const std::string& name, const std::string& program) {
  std::filesystem::create_directories(directory);
  if (::chmod(directory.c_str(), 0700) != 0) throwErrno("backend", "chmod " + directory);
  const std::string path = directory + "/" + name;
  UniqueFd fd(::open(directory.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
  if (!fd) throwErrno("backend", "make a file in " + directory);
  writeAll(fd.get(), sha256(program) + "\n" + program, path);
  ::unlink(path.c_str());  // what was not used
  const std::string unnamed = "/proc/self/fd/" + std::to_string(fd.get());
  if (::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) throwErrno("backend", "name " + path);
}

}  // namespace

template <typename Compile>
std::string SeccompCache::get(const std::string& key, Compile&& compile) {
  const std::lock_guard held(mutex_);
  if (const auto it = programs_.find(key); it != programs_.end()) return it->second;
  const std::string name = directory_.empty() ? std::string() : fileName(key);
  std::string program;
  if (!name.empty()) program = load(directory_ + "/" + name);
  if (program.empty()) {
    program = compile();
    try {
      if (!name.empty()) store(directory_, name, program);
    } catch (const std::exception&) {
      // A full or read-only disk costs the next daemon 10 ms, not this zone its filter.
    }
  }
  // Policies are few; a caller that invents them endlessly must not fill the memory.
  if (programs_.size() >= 256) programs_.clear();
  programs_[key] = program;
  return program;
}

std::string SeccompCache::filter(const SeccompRequest& request) {
  return get(keyOf(request), [&] { return compileFilter(request); });
}

std::string SeccompCache::noSuidFilter() {
  return get("no set-user-ID bits", [] { return compileNoSuidFilter(); });
}

}  // namespace rauha::backend
