#include "frontends/cli/changes/work_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "core/base/error.h"
#include "core/base/ids.h"
#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {
namespace {

constexpr const char* kIdPrefix = "apply";

UniqueFd openDirectory(int at, const std::string& name) {
  return UniqueFd(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

std::vector<std::string> entriesOf(int directory) {
  std::vector<std::string> out;
  const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fd < 0 ? nullptr : fdopendir(fd), closedir);
  while (const dirent* entry = entries ? readdir(entries.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(name);
  }
  return out;
}

bool isOurs(const std::string& name) {
  return name.size() > 1 && (name[0] == 's' || name[0] == 'u') &&
         std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void removeEntry(int directory, const std::string& name) noexcept {
  if (unlinkat(directory, name.c_str(), 0) != 0 && errno == EISDIR) unlinkat(directory, name.c_str(), AT_REMOVEDIR);
}

bool removeLeftover(int top, const std::string& name) {
  const UniqueFd fd = openDirectory(top, name);
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 07777u) != 0700) return false;
  const auto entries = entriesOf(fd.get());
  if (!std::all_of(entries.begin(), entries.end(), isOurs)) return false;
  for (const auto& entry : entries) removeEntry(fd.get(), entry);
  return unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0;
}

}  // namespace

WorkDirectory::WorkDirectory(int top) : top_(top), name_(kWorkPrefix + newId(kIdPrefix)) {
  if (mkdirat(top, name_.c_str(), 0700) != 0)
    throw osError("repository", "make a directory in the repository", errno, "you need write permission on its top directory");
  fd_ = openDirectory(top, name_);
  if (!fd_) throwErrno("repository", "open " + name_);
}

WorkDirectory::~WorkDirectory() {
  if (!fd_) return;
  try {
    for (const auto& entry : entriesOf(fd_.get())) removeEntry(fd_.get(), entry);
  } catch (...) {
    // Out of memory: the next apply finds it.
  }
  unlinkat(top_, name_.c_str(), AT_REMOVEDIR);
}

void WorkDirectory::drop(const std::string& name) const noexcept { removeEntry(fd_.get(), name); }

std::vector<std::string> removeLeftovers(int top) {
  std::vector<std::string> left;
  for (const auto& name : entriesOf(top)) {
    if (name.rfind(kWorkPrefix, 0) != 0) continue;
    const bool shaped = isId(kIdPrefix, name.substr(std::string(kWorkPrefix).size()));
    if (!shaped || !removeLeftover(top, name)) left.push_back(name);
  }
  return left;
}

}  // namespace rauha::cli
