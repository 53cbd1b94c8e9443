#include "plugins/agent/user.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <optional>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

// Not "command": the command was not looked for yet, and 127 would say that it is missing.
constexpr std::string_view kClass = "image";

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool allDigits(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

// Colon-separated fields of one line; at most 8 are looked at.
std::vector<std::string_view> fields(std::string_view line) {
  std::vector<std::string_view> out;
  while (out.size() < 8) {
    const size_t colon = line.find(':');
    out.push_back(line.substr(0, colon));
    if (colon == std::string_view::npos) break;
    line.remove_prefix(colon + 1);
  }
  return out;
}

// Calls f(fields) for each line until it returns true.
template <typename F>
void eachLine(std::string_view text, F f) {
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    if (f(fields(text.substr(0, newline)))) return;
    if (newline == std::string_view::npos) return;
    text.remove_prefix(newline + 1);
  }
}

struct PasswdEntry {
  std::string name;
  uint32_t uid, gid;
};

std::optional<PasswdEntry> findUser(std::string_view passwd, std::string_view name, std::optional<uint32_t> uid) {
  std::optional<PasswdEntry> found;
  eachLine(passwd, [&](const auto& f) {
    if (f.size() < 4) return false;
    const auto lineUid = number(f[2]), lineGid = number(f[3]);
    if (!lineUid || !lineGid) return false;
    if (uid ? *lineUid != *uid : f[0] != name) return false;
    found = PasswdEntry{std::string(f[0]), *lineUid, *lineGid};
    return true;
  });
  return found;
}

uint32_t findGroup(std::string_view group, std::string_view name) {
  if (allDigits(name)) {
    if (const auto gid = number(name)) return *gid;
    throw Error(kClass, Code::invalid, "group " + std::string(name) + " is out of range");
  }
  std::optional<uint32_t> gid;
  eachLine(group, [&](const auto& f) {
    if (f.size() < 3 || f[0] != name) return false;
    gid = number(f[2]);
    return gid.has_value();
  });
  if (!gid)
    throw Error(kClass, Code::notFound, "group " + std::string(name) + " is not in the zone's /etc/group", "use a number",
                std::string(name));
  return *gid;
}

bool listed(std::string_view members, std::string_view name) {
  while (true) {
    const size_t comma = members.find(',');
    if (members.substr(0, comma) == name) return true;
    if (comma == std::string_view::npos) return false;
    members.remove_prefix(comma + 1);
  }
}

std::vector<uint32_t> memberships(std::string_view group, std::string_view name, uint32_t primary, uint32_t maxId) {
  std::vector<uint32_t> out;
  if (name.empty()) return out;
  eachLine(group, [&](const auto& f) {
    if (f.size() < 4 || !listed(f[3], name)) return false;
    const auto gid = number(f[2]);
    if (gid && *gid != primary && *gid <= maxId) out.push_back(*gid);
    return out.size() >= kMaxGroups;
  });
  return out;
}

void checkRange(uint32_t id, const char* what, uint32_t maxId) {
  if (id > maxId)
    throw Error(kClass, Code::invalid,
                std::string(what) + " " + std::to_string(id) + " does not exist in the zone, the highest is " + std::to_string(maxId));
}

void requireRegular(int fd, const char* path) {
  struct stat st;
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    throw Error(kClass, Code::denied, std::string("the zone's ") + path + " is not a regular file", "repair the image", path);
}

std::string readAccountFile(int rootFd, const char* path) {
  // This is read with the host's rights, before anything is masked. Links are followed within the root's own file system only, or a link of
  // the image would have /proc and /sys read. The file's own mount is fine (the image `host` has one for each file of /etc) where no link
  // leads to it. Looked at before it is opened (opening can do things, too); O_NONBLOCK for a FIFO.
  constexpr uint64_t kBeneath = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  uint64_t how = kBeneath | RESOLVE_NO_XDEV;
  UniqueFd seen(sys::openat2Raw(rootFd, path, O_PATH, 0, how));
  if (!seen && errno == EXDEV) {
    how = kBeneath | RESOLVE_NO_SYMLINKS;
    seen = UniqueFd(sys::openat2Raw(rootFd, path, O_PATH, 0, how));
    if (!seen && errno == ELOOP) errno = EXDEV;
  }
  if (seen) requireRegular(seen.get(), path);
  UniqueFd fd(seen ? sys::openat2Raw(rootFd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, how) : -1);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};
    if (errno == EXDEV)
      throw Error(kClass, Code::denied, std::string("the zone's ") + path + " leads out of the image, into another file system",
                  "replace that link of the image by a file", path);
    throwErrno(kClass, std::string("open the zone's ") + path);
  }
  requireRegular(fd.get(), path);
  return readAll(fd.get(), path, kMaxAccountFile);
}

}  // namespace

User resolveUser(std::string_view spec, std::string_view passwd, std::string_view group, uint32_t maxId) {
  User user;
  if (spec.empty()) return user;
  const size_t colon = spec.find(':');
  const std::string_view name = spec.substr(0, colon);
  std::optional<uint32_t> uid;
  if (allDigits(name)) {
    uid = number(name);
    if (!uid) throw Error(kClass, Code::invalid, "user " + std::string(name) + " is out of range");
  }
  const auto entry = findUser(passwd, name, uid);
  if (!entry && !uid && name != "root")
    throw Error(kClass, Code::notFound, "user " + std::string(name) + " is not in the zone's /etc/passwd", "use a number",
                std::string(name));
  user.uid = entry ? entry->uid : uid.value_or(0);
  user.gid = entry ? entry->gid : 0;
  if (colon != std::string_view::npos)
    user.gid = findGroup(group, spec.substr(colon + 1));
  else if (entry)
    user.groups = memberships(group, entry->name, user.gid, maxId);
  checkRange(user.uid, "user", maxId);
  checkRange(user.gid, "group", maxId);
  return user;
}

User resolveUserBeneath(int rootFd, std::string_view spec, uint32_t maxId) {
  if (spec.empty() || spec == "0:0") return {};
  return resolveUser(spec, readAccountFile(rootFd, "etc/passwd"), readAccountFile(rootFd, "etc/group"), maxId);
}

}  // namespace rauha::agent
