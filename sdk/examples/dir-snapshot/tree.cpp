#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "posix.h"
#include "sha256.h"

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;

constexpr unsigned kDepthMax = 128;  // three descriptors each
constexpr size_t kNotesMax = 8;
constexpr size_t kChunk = 256u << 10;
constexpr uint32_t kZoneIdMax = 65535, kNobody = 65534;

// This thread looks up and opens names as the caller, until the end of the scope.
class AsCaller {
 public:
  explicit AsCaller(Caller caller) : gid_(static_cast<gid_t>(setfsgid(caller.gid))), uid_(static_cast<uid_t>(setfsuid(caller.uid))) {
    // Neither call reports an error: asking with an impossible id tells what is in force.
    const bool good = static_cast<uid_t>(setfsuid(UINT32_MAX)) == caller.uid && static_cast<gid_t>(setfsgid(UINT32_MAX)) == caller.gid;
    if (good) return;
    restore();
    throw Error(RAUHA_E_DENIED,
                "cannot read with the rights of user " + std::to_string(caller.uid) + ": this process may not change its ids",
                "let the plugin keep CAP_SETUID and CAP_SETGID");
  }
  ~AsCaller() { restore(); }
  AsCaller(const AsCaller&) = delete;
  AsCaller& operator=(const AsCaller&) = delete;

 private:
  void restore() noexcept {
    const int saved = errno;
    setfsuid(uid_);
    setfsgid(gid_);
    errno = saved;
  }
  gid_t gid_;
  uid_t uid_;
};

// Other ids are not enough where a process keeps its capabilities through a change of ids, as Rauha's process for plugins does: with this
// one every file would be read for everybody.
void requirePlainRights(Caller caller) {
  if (caller.uid == 0) return;
  const AsCaller as(caller);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (syscall(SYS_capget, &header, sets) != 0) fail("look at this process's capabilities");
  if ((sets[0].effective & (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH)) != 0)
    throw Error(RAUHA_E_DENIED,
                "cannot read with the rights of user " + std::to_string(caller.uid) + " alone: this process keeps CAP_DAC_OVERRIDE",
                "take dac_override out of the plugin's capabilities");
}

struct DirCloser {
  void operator()(DIR* d) const noexcept { closedir(d); }
};

std::vector<std::string> namesIn(int dir, const std::string& path, uint64_t most) {
  const int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) fail("read directory " + path);
  const std::unique_ptr<DIR, DirCloser> stream(fdopendir(copy));
  std::vector<std::string> out;
  for (errno = 0; const dirent* entry = readdir(stream.get()); errno = 0) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (out.size() >= most) throw Error(RAUHA_E_LIMIT, "the tree has more than the allowed entries, at " + path, "raise max_entries");
    out.push_back(name);
  }
  if (errno != 0) fail("read directory " + path);
  std::sort(out.begin(), out.end());  // the digest must not depend on the file system's order
  return out;
}

class Reader {
 public:
  Reader(int from, Caller caller, const TreeLimits& limits, Call& call) : caller_(caller), limits_(limits), call_(call) {
    requirePlainRights(caller);
    struct stat st {};
    if (fstat(from, &st) != 0) fail("the directory");
    if (!S_ISDIR(st.st_mode)) throw Error(RAUHA_E_INVALID, "the source is not a directory", "name a directory");
    device_ = st.st_dev;
  }

  TreeFacts read(int from, int to) {
    struct stat st {};
    if (fstat(from, &st) != 0) fail("the directory");
    directory(from, to, st, ".", 0);
    facts_.digest = "sha256:" + hash_.hex();
    return std::move(facts_);
  }

 private:
  // --- what bounds everything
  void check() {
    call_.check();
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t deadline = call_.deadlineNs();
    if (deadline != 0 && now.tv_sec * 1'000'000'000 + now.tv_nsec >= deadline)
      throw Error(RAUHA_E_DEADLINE, "the time was up after " + std::to_string(facts_.entries) + " entries", "allow more time");
  }
  void countEntry() {
    if (++facts_.entries > limits_.entries)
      throw Error(RAUHA_E_LIMIT, "the tree has more than " + std::to_string(limits_.entries) + " entries", "raise max_entries");
    if (facts_.entries % 256 == 0) check();
  }
  void countBytes(uint64_t n) {
    facts_.bytes += n;
    if (facts_.bytes > limits_.bytes)
      throw Error(RAUHA_E_LIMIT, "the tree has more than " + std::to_string(limits_.bytes) + " bytes", "raise max_bytes");
    if (facts_.bytes - reported_ < (4u << 20)) return;
    reported_ = facts_.bytes;
    call_.progress("reading the tree", facts_.bytes, 0);
    check();
  }
  void leaveOut(const std::string& path, const char* what) {
    ++facts_.leftOut;
    if (facts_.notes.size() < kNotesMax) facts_.notes.push_back(path + " is " + what);
  }

  // --- the digest: every field with its length, so that no two trees give the same bytes
  void put(uint64_t n) {
    char bytes[8];
    for (unsigned i = 0; i < 8; ++i) bytes[i] = static_cast<char>(n >> 8 * i);
    hash_.update({bytes, sizeof bytes});
  }
  void put(std::string_view text) {
    put(text.size());
    hash_.update(text);
  }
  void putEntry(char kind, const std::string& name, const struct stat& st) {
    hash_.update({&kind, 1});
    put(name);
    put(modeOf(st));
    put(ownerOf(st).uid);
    put(ownerOf(st).gid);
  }
  uint32_t modeOf(const struct stat& st) const noexcept {
    const bool own = st.st_uid == caller_.uid;
    return st.st_mode & (own || S_ISDIR(st.st_mode) ? 07777u : 01777u);
  }

  // In the copy: the zone's ids, whose first is the zone's root.
  Caller ownerOf(const struct stat& st) const noexcept {
    const auto map = [this](uint32_t id, uint32_t own) { return id == own ? 0 : caller_.uid == 0 && id <= kZoneIdMax ? id : kNobody; };
    return {map(st.st_uid, caller_.uid), map(st.st_gid, caller_.gid)};
  }

  // --- entries
  void directory(int from, int to, const struct stat& meta, const std::string& path, unsigned depth) {
    if (depth > kDepthMax)
      throw Error(RAUHA_E_LIMIT, "directories below each other are deeper than " + std::to_string(kDepthMax) + " at " + path);
    putEntry('d', nameOf(path), meta);
    std::vector<std::string> names;
    {
      const AsCaller as(caller_);
      names = namesIn(from, path, limits_.entries - std::min(limits_.entries, facts_.entries));
    }
    for (const std::string& name : names) entry(from, to, name, path == "." ? name : path + "/" + name, depth);
    hash_.update("e");
    if (to >= 0) giveMeta(to, meta, path);
  }

  void entry(int from, int to, const std::string& name, const std::string& path, unsigned depth) {
    countEntry();
    // Opens nothing yet: a path descriptor says what it is, without the effects that opening a pipe or a device has.
    Fd at;
    {
      const AsCaller as(caller_);
      at = Fd(openat(from, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    }
    if (!at && errno == ENOENT) return;  // gone meanwhile
    struct stat st {};
    if (!at || fstat(at.get(), &st) != 0) fail("look at " + path);
    if (S_ISLNK(st.st_mode)) return link(at.get(), to, name, path, st);
    if (S_ISREG(st.st_mode)) return file(reopen(at.get(), O_RDONLY, path), to, name, path);
    if (!S_ISDIR(st.st_mode)) return leaveOut(path, S_ISSOCK(st.st_mode) ? "a socket" : S_ISFIFO(st.st_mode) ? "a pipe" : "a device");
    if (st.st_dev != device_) return leaveOut(path, "another file system");
    const Fd below = reopen(at.get(), O_RDONLY | O_DIRECTORY, path);
    const Fd copy = to < 0 ? Fd() : makeDirectory(to, name, path);
    directory(below.get(), copy.get(), st, path, depth + 1);
  }

  // The same file again, for reading; the caller's rights are checked now.
  Fd reopen(int at, int flags, const std::string& path) const {
    const AsCaller as(caller_);
    Fd out(open(("/proc/self/fd/" + std::to_string(at)).c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!out) fail("read " + path, errno, "make it readable, or take the snapshot as its owner");
    return out;
  }

  static Fd makeDirectory(int to, const std::string& name, const std::string& path) {
    if (mkdirat(to, name.c_str(), 0700) != 0) fail("make directory " + path);
    Fd out(openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!out) fail("open directory " + path);
    return out;
  }

  void link(int at, int to, const std::string& name, const std::string& path, const struct stat& st) {
    char text[PATH_MAX];
    const ssize_t size = readlinkat(at, "", text, sizeof text);
    if (size <= 0 || static_cast<size_t>(size) == sizeof text) fail("read link " + path, size < 0 ? errno : ENAMETOOLONG);
    putEntry('l', name, st);
    put(std::string_view(text, static_cast<size_t>(size)));
    if (to < 0) return;
    const std::string target(text, static_cast<size_t>(size));
    if (symlinkat(target.c_str(), to, name.c_str()) != 0) fail("make link " + path);
    const Caller owner = ownerOf(st);
    if (geteuid() == 0 && fchownat(to, name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0)
      fail("give link " + path + " its owner");
  }

  void file(Fd from, int to, const std::string& name, const std::string& path) {
    struct stat st {};
    if (fstat(from.get(), &st) != 0) fail("look at " + path);
    const auto expected = static_cast<uint64_t>(st.st_size);  // what it will be is counted; this saves reading a sparse terabyte
    if (expected > limits_.bytes) countBytes(expected);
    putEntry('f', name, st);
    Fd copy;
    if (to >= 0) {
      copy = Fd(openat(to, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!copy) fail("make file " + path);
    }
    // A clone costs no space, and nobody changes it while it is hashed.
    const bool cloned = copy && ioctl(copy.get(), FICLONE, from.get()) == 0;
    contents(cloned ? copy.get() : from.get(), cloned ? -1 : copy.get(), path);
    if (copy) giveMeta(copy.get(), st, path);
  }

  void contents(int from, int to, const std::string& path) {
    Sha256 hash;
    uint64_t size = 0;
    if (buffer_.empty()) buffer_.resize(kChunk);
    for (;;) {
      const ssize_t n = ::read(from, buffer_.data(), buffer_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("read " + path);
      if (n == 0) break;
      const std::string_view chunk(buffer_.data(), static_cast<size_t>(n));
      size += chunk.size();
      countBytes(chunk.size());
      hash.update(chunk);
      if (to >= 0) write(to, chunk, path);
    }
    put(size);
    hash_.update(hash.hex());
  }

  static void write(int to, std::string_view bytes, const std::string& path) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(to, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write " + path);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  // Owner before mode: a change of owner clears set-user-ID bits. Times last. Who is not root keeps the copies, as tests do.
  void giveMeta(int fd, const struct stat& st, const std::string& path) const {
    const Caller owner = ownerOf(st);
    if (geteuid() == 0 && fchown(fd, owner.uid, owner.gid) != 0) fail("give " + path + " its owner");
    if (fchmod(fd, modeOf(st)) != 0) fail("give " + path + " its mode");
    const timespec times[2] = {st.st_mtim, st.st_mtim};
    if (futimens(fd, times) != 0) fail("give " + path + " its time");
  }

  static std::string nameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  const Caller caller_;
  const TreeLimits& limits_;
  Call& call_;
  dev_t device_ = 0;
  TreeFacts facts_;
  uint64_t reported_ = 0;
  Sha256 hash_;
  std::vector<char> buffer_;
};

}  // namespace

TreeFacts readTree(int from, Caller caller, int to, const TreeLimits& limits, Call& call) {
  return Reader(from, caller, limits, call).read(from, to);
}

void removeTree(int dir, const std::string& name) {
  if (unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) fail("remove " + name);
  fchmodat(dir, name.c_str(), 0700, 0);  // a copied mode may keep us out, when we are not root; it is our own directory
  const Fd below(openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!below && errno == ENOENT) return;  // somebody else removes it as well
  if (!below) fail("remove " + name);
  for (const std::string& entry : namesIn(below.get(), name, UINT64_MAX)) removeTree(below.get(), entry);
  if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) fail("remove " + name);
}
