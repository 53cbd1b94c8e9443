#include "plugins/backend-linux/id_range.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <sstream>

#include "core/base/error.h"

namespace rauha::backend {
namespace {

struct Span {
  uint64_t first, end;
};
bool overlap(const Span& a, const Span& b) { return a.first < b.end && b.first < a.end; }

// "name:first:count" lines; a missing file promises nothing, a malformed line is skipped as the shadow tools do.
std::vector<Span> promised(const std::vector<std::string>& files) {
  std::vector<Span> out;
  for (const std::string& file : files) {
    if (::access(file.c_str(), F_OK) != 0) continue;
    std::istringstream lines(readFile(file));
    for (std::string line; std::getline(lines, line);) {
      const size_t a = line.find(':'), b = a == std::string::npos ? a : line.find(':', a + 1);
      if (b == std::string::npos) continue;
      uint64_t first = 0, count = 0;
      const char* end = line.data() + line.size();
      if (std::from_chars(line.data() + a + 1, line.data() + b, first).ec == std::errc() &&
          std::from_chars(line.data() + b + 1, end, count).ec == std::errc())
        out.push_back({first, first + count});
    }
  }
  return out;
}

// The ids that exist in our own user namespace: lines of "inside outside count".
std::vector<Span> mapped(const std::string& file) {
  std::vector<Span> out;
  std::istringstream in(readFile(file));
  for (uint64_t inside = 0, outside = 0, count = 0; in >> inside >> outside >> count;) out.push_back({inside, inside + count});
  return out;
}

bool covered(const std::vector<Span>& spans, const Span& wanted) {
  return std::any_of(spans.begin(), spans.end(), [&](const Span& s) { return s.first <= wanted.first && wanted.end <= s.end; });
}

UniqueFd lock(int directory, const std::string& name) {
  UniqueFd fd(::openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throwErrno("backend", "open " + name + "/lock");
  int result;
  do result = ::flock(fd.get(), LOCK_EX);
  while (result != 0 && errno == EINTR);
  if (result != 0) throwErrno("backend", "lock " + name + "/lock");
  return fd;
}

std::string contentAt(int directory, const char* name) {
  UniqueFd fd(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return fd ? readAll(fd.get(), name, 4096) : std::string();
}

std::string content(const std::string& instance, const std::string& zoneId) { return instance + " " + zoneId + "\n"; }

}  // namespace

UniqueFd IdRanges::openDirectory(bool make) const {
  if (make && ::mkdir(config_.directory.c_str(), 0700) != 0 && errno != EEXIST)
    throwErrno("backend", "make directory " + config_.directory);
  UniqueFd fd(::open(config_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT && !make) return fd;
  if (!fd) throwErrno("backend", "open " + config_.directory);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) throwErrno("backend", "stat " + config_.directory);
  // Whoever can write here can hand one zone's ids to another.
  if (st.st_uid != ::geteuid() || (st.st_mode & 022) != 0)
    throw Error("backend", Code::denied, config_.directory + " belongs to uid " + std::to_string(st.st_uid) + " or others may write to it",
                "remove it, or chown it to root and chmod it 0700", config_.directory);
  return fd;
}

uint32_t IdRanges::allocate(const std::string& instance, const std::string& zoneId) {
  const std::vector<Span> taken = promised(config_.subidFiles), own = mapped(config_.idMapFile);
  const UniqueFd directory = openDirectory(true);
  const UniqueFd held = lock(directory.get(), config_.directory);
  bool anyInside = false;
  for (uint32_t slot = 0; slot < config_.slots; ++slot) {
    const uint64_t first = config_.base + uint64_t{slot} * kIdsPerZone;
    const Span span{first, first + kIdsPerZone};
    if (!covered(own, span)) continue;
    anyInside = true;
    if (std::any_of(taken.begin(), taken.end(), [&](const Span& s) { return overlap(s, span); })) continue;
    const std::string name = std::to_string(first);
    UniqueFd file(::openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file && errno == EEXIST) {
      if (contentAt(directory.get(), name.c_str()).ends_with('\n')) continue;
      // Claims are written under the lock that we hold: an unfinished one is of a process that died in between.
      file.reset(::openat(directory.get(), name.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW));
    }
    if (!file) throwErrno("backend", "make " + config_.directory + "/" + name);
    Defer undo([&] { ::unlinkat(directory.get(), name.c_str(), 0); });
    writeAll(file.get(), content(instance, zoneId), config_.directory + "/" + name);
    undo.dismiss();
    return static_cast<uint32_t>(first);
  }
  if (!anyInside)
    throw Error("backend", Code::unsupported,
                "no range of host ids from " + std::to_string(config_.base) + " is mapped in the user namespace that Rauha runs in",
                "run Rauha in the host's user namespace, or set id_base and id_slots of backend-linux");
  throw Error("backend", Code::limit,
              "all " + std::to_string(config_.slots) + " ranges of host ids from " + std::to_string(config_.base) + " are taken",
              "delete zones, raise id_slots of backend-linux, or look for leftovers in " + config_.directory);
}

void IdRanges::releaseAt(uint32_t base, const std::string& instance, const std::string& zoneId) {
  const UniqueFd directory = openDirectory(false);
  if (!directory) return;
  const UniqueFd held = lock(directory.get(), config_.directory);
  const std::string name = std::to_string(base);
  if (contentAt(directory.get(), name.c_str()) != content(instance, zoneId)) return;
  if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT)
    throwErrno("backend", "remove " + config_.directory + "/" + name);
}

void IdRanges::release(const std::string& instance, const std::string& zoneId) {
  for (const IdClaim& claim : claims(instance))
    if (claim.zoneId == zoneId) releaseAt(claim.base, instance, zoneId);
}

std::vector<IdClaim> IdRanges::claims(const std::string& instance) const {
  std::vector<IdClaim> out;
  const UniqueFd directory = openDirectory(false);
  if (!directory) return out;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(duplicate(directory.get()).release()), ::closedir);
  if (!stream) throwErrno("backend", "list " + config_.directory);
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    IdClaim claim;
    const auto number = std::from_chars(name.data(), name.data() + name.size(), claim.base);
    if (number.ec != std::errc() || number.ptr != name.data() + name.size()) continue;
    std::istringstream words(contentAt(directory.get(), entry->d_name));
    if (words >> claim.instance >> claim.zoneId && claim.instance == instance) out.push_back(std::move(claim));
  }
  std::sort(out.begin(), out.end(), [](const IdClaim& a, const IdClaim& b) { return a.base < b.base; });
  return out;
}

std::string IdRanges::obstacle() const {
  const std::vector<Span> own = mapped(config_.idMapFile);
  for (uint32_t slot = 0; slot < config_.slots; ++slot) {
    const uint64_t first = config_.base + uint64_t{slot} * kIdsPerZone;
    if (covered(own, {first, first + kIdsPerZone})) return {};
  }
  return "no range of host ids from " + std::to_string(config_.base) + " is mapped in the user namespace that Rauha runs in";
}

}  // namespace rauha::backend
