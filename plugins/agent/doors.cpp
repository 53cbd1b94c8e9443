#include "plugins/agent/doors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr size_t kNamed = 3, kNameBytes = 200;

struct Found {
  std::string names;
  size_t count = 0;
};

using Listing = std::unique_ptr<DIR, int (*)(DIR*)>;

Listing list(int top, const std::string& path) {
  UniqueFd fd(sys::openat2Raw(top, path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
                              RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV));
  Listing out(fd ? ::fdopendir(fd.get()) : nullptr, ::closedir);
  if (out) (void)fd.release();
  return out;
}

unsigned char typeOf(DIR* in, const dirent& entry) {
  struct stat st;
  const bool asked = entry.d_type == DT_UNKNOWN && ::fstatat(::dirfd(in), entry.d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  return asked ? static_cast<unsigned char>(IFTODT(st.st_mode)) : entry.d_type;
}

// A name as it may stand in one line.
std::string shown(const std::string& path) {
  std::string out = toUtf8(path.substr(0, kNameBytes));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }, '?');
  return out;
}

void take(Found& found, const std::string& path) {
  if (found.count++ < kNamed) found.names += (found.names.empty() ? "" : ", ") + shown(path);
}

// Level by level: what lies near the top is what somebody put there to be found.
Found look(int top, size_t limit) {
  Found found;
  std::deque<std::string> pending{""};
  for (size_t seen = 0; !pending.empty() && seen < limit; pending.pop_front()) {
    const std::string& at = pending.front();
    const Listing listing = list(top, at);
    if (!listing) continue;
    while (const dirent* entry = ::readdir(listing.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++seen > limit) break;
      const std::string path = at.empty() ? name : at + "/" + name;
      const unsigned char type = typeOf(listing.get(), *entry);
      if (type == DT_SOCK || type == DT_FIFO) take(found, path);
      if (type == DT_DIR) pending.push_back(path);
    }
  }
  return found;
}

}  // namespace

std::string noteDoors(int directory, size_t limit) {
  const Found found = look(directory, limit);
  if (found.count == 0) return {};
  const std::string more = found.count > kNamed ? " and " + std::to_string(found.count - kNamed) + " more" : "";
  return "repository: the task reaches who listens on the host behind the sockets and named pipes in it: " + found.names + more +
         "; --repo-mode overlay closes them";
}

}  // namespace rauha::agent
