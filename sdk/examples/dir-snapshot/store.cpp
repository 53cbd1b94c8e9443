#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;

constexpr size_t kMostNames = 1000;

Fd openDirectory(int at, const std::string& name) {
  if (mkdirat(at, name.c_str(), 0700) != 0 && errno != EEXIST) fail("make directory " + name);
  Fd out(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!out) fail("open directory " + name);
  return out;
}

std::vector<std::string> entriesOf(int dir) {
  const int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) fail("read the store");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy), closedir);
  std::vector<std::string> out;
  while (const dirent* entry = readdir(stream.get()))
    if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
  std::sort(out.begin(), out.end());
  return out;
}

// Whole or not at all; durable: also after a loss of power.
void writeFile(int dir, const std::string& name, std::string_view text, bool durable) {
  const std::string temporary = ".new-" + name;
  const Fd file(openat(dir, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || (durable && fsync(file.get()) != 0) ||
      renameat(dir, temporary.c_str(), dir, name.c_str()) != 0 || (durable && fsync(dir) != 0))
    fail("write " + name);
}

std::string readFile(int dir, const std::string& name) {
  const Fd file(openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  char text[256];
  const ssize_t size = file ? read(file.get(), text, sizeof text) : -1;
  if (size < 0) fail("read " + name);
  return {text, static_cast<size_t>(size)};
}

int64_t nowNs() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

bool isHex(const std::string& text) noexcept {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Zone ids become file names here: [a-z0-9_], as backend.h promises, and nothing else.
std::string leaseName(std::string_view zone) {
  if (zone.empty() || zone.size() > 40 || zone.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string_view::npos)
    throw Error(RAUHA_E_INVALID, "the lease is no zone's id");
  return std::string(zone);
}

// A tree in tmp/ that goes with the scope, unless it was renamed.
class Temporary {
 public:
  Temporary(int tmp, const std::string& path) : tmp_(tmp) {
    std::string text = path + "/tmp/XXXXXX";
    if (mkdtemp(text.data()) == nullptr) fail("make a directory in " + path + "/tmp");
    name_ = text.substr(text.rfind('/') + 1);
    dir_ = openDirectory(tmp, name_);
    // Whoever finds it unlocked knows that nobody is at work in it.
    if (flock(dir_.get(), LOCK_EX | LOCK_NB) != 0) fail("lock " + name_);
    root_ = openDirectory(dir_.get(), "root");
  }
  ~Temporary() {
    try {
      removeTree(tmp_, name_);
    } catch (const std::exception&) {  // reconcile finds it again
    }
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const std::string& name() const noexcept { return name_; }
  int dir() const noexcept { return dir_.get(); }
  int root() const noexcept { return root_.get(); }

 private:
  int tmp_;
  std::string name_;
  Fd dir_, root_;
};

}  // namespace

Store::Store(std::string path, TreeLimits limits)
    : path_(std::move(path)), limits_(limits), root_(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
  if (!root_) fail("open " + path_);
  layers_ = openDirectory(root_.get(), "layers");
  names_ = openDirectory(root_.get(), "names");
  leases_ = openDirectory(root_.get(), "leases");
  tmp_ = openDirectory(root_.get(), "tmp");
}

Fd Store::lock() const {
  Fd file(openat(root_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file || flock(file.get(), LOCK_EX) != 0) fail("lock the store");  // held for moments only
  return file;
}

Snapshot Store::take(int source, Caller caller, std::string_view zone, std::string_view name, Call& call) {
  const Temporary copy(tmp_.get(), path_);
  const TreeFacts facts = readTree(source, caller, copy.root(), limits_, call);
  writeFile(copy.dir(), "facts", std::to_string(facts.bytes) + " " + std::to_string(facts.entries) + "\n", false);
  // What a name keeps must be whole after a loss of power as well, and one sync of the file system is cheaper than one of each file; it
  // covers an equal snapshot that is there already. What only zones use goes with them: they do not outlive the power either.
  if (!name.empty() && syncfs(copy.dir()) != 0) fail("write the snapshot to disk");
  call.check();

  std::vector<std::string> away;
  Snapshot out = [&] {
    const Fd held = lock();
    publish(copy.name(), facts);
    if (!name.empty() && fsync(layers_.get()) != 0) fail("put snapshot " + facts.digest + " into the store");
    Snapshot there = snapshotOf(facts.digest.substr(7));
    if (!zone.empty()) lease(zone, there.hex);
    if (name.empty()) return there;
    if (entriesOf(names_.get()).size() >= kMostNames) throw Error(RAUHA_E_LIMIT, "the store has 1000 snapshots", "remove one");
    there.name = name;
    there.createdNs = nowNs();
    writeFile(names_.get(), there.name, there.hex + " " + std::to_string(there.createdNs) + "\n", true);
    away = collect();  // what the name meant before
    return there;
  }();
  discard(away);
  out.notes = facts.notes;
  if (facts.leftOut > facts.notes.size()) out.notes.push_back(std::to_string(facts.leftOut - facts.notes.size()) + " more");
  return out;
}

// The same tree may be there already, from another caller: then the copy is thrown away.
void Store::publish(const std::string& temporary, const TreeFacts& facts) const {
  const std::string hex = facts.digest.substr(7);
  if (renameat2(tmp_.get(), temporary.c_str(), layers_.get(), hex.c_str(), RENAME_NOREPLACE) != 0 && errno != EEXIST)
    fail("put snapshot " + hex + " into the store");
}

Snapshot Store::snapshotOf(const std::string& hex) const {
  Snapshot out;
  out.hex = hex;
  out.path = path_ + "/layers/" + hex + "/root";
  unsigned long long bytes = 0, entries = 0;
  if (sscanf(readFile(layers_.get(), hex + "/facts").c_str(), "%llu %llu", &bytes, &entries) != 2)
    throw Error(RAUHA_E_CORRUPT, "the facts of snapshot " + hex + " are damaged", "take it again");
  out.bytes = bytes;
  out.entries = entries;
  return out;
}

Snapshot Store::readName(const std::string& name) const {
  struct stat st {};
  if (fstatat(names_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) fail("look for snapshot " + name);
    throw Error(RAUHA_E_NOT_FOUND, "there is no snapshot of the name " + name, "take one: rauha image import snapshot:DIR --name " + name);
  }
  const std::string text = readFile(names_.get(), name);
  const std::string hex = text.substr(0, text.find(' '));
  if (!isHex(hex)) throw Error(RAUHA_E_CORRUPT, "the record of snapshot " + name + " is damaged", "remove it, and take it again");
  Snapshot out = snapshotOf(hex);
  out.name = name;
  out.createdNs = std::strtoll(text.c_str() + hex.size(), nullptr, 10);
  return out;
}

Snapshot Store::find(std::string_view name, std::string_view zone) {
  const Fd held = lock();
  Snapshot out = readName(std::string(name));
  if (!zone.empty()) lease(zone, out.hex);
  return out;
}

std::vector<Snapshot> Store::list() {
  const Fd held = lock();
  std::vector<Snapshot> out;
  for (const std::string& name : entriesOf(names_.get())) out.push_back(readName(name));
  return out;
}

void Store::remove(std::string_view name) {
  discard([&] {
    const Fd held = lock();
    const Snapshot there = readName(std::string(name));
    if (const auto zones = zonesUsing(there.hex); !zones.empty())
      throw Error(RAUHA_E_BUSY, "snapshot " + there.name + " is in use by " + zones.front(), "end what runs in it first");
    if (unlinkat(names_.get(), there.name.c_str(), 0) != 0) fail("remove the name " + there.name);
    return collect();
  }());
}

void Store::lease(std::string_view zone, const std::string& hex) const {
  const Fd dir = openDirectory(leases_.get(), leaseName(zone));
  const Fd file(openat(dir.get(), hex.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) fail("lease snapshot " + hex);
}

void Store::release(std::string_view zone) {
  discard([&] {
    const Fd held = lock();
    removeTree(leases_.get(), leaseName(zone));
    return collect();
  }());
}

void Store::reconcile(const std::vector<std::string_view>& living) {
  std::vector<std::string> away;
  {
    const Fd held = lock();
    for (const std::string& zone : entriesOf(leases_.get()))
      if (std::find(living.begin(), living.end(), zone) == living.end()) removeTree(leases_.get(), zone);
    away = collect();
  }
  for (const std::string& name : entriesOf(tmp_.get())) {
    const Fd dir(openat(tmp_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (dir && flock(dir.get(), LOCK_EX | LOCK_NB) != 0) continue;  // a copy that is being made
    away.push_back(name);
  }
  discard(away);
}

std::vector<std::string> Store::zonesUsing(const std::string& hex) const {
  std::vector<std::string> out;
  for (const std::string& zone : entriesOf(leases_.get()))
    if (faccessat(leases_.get(), (zone + "/" + hex).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) out.push_back(zone);
  return out;
}

// Under the lock: what nobody needs leaves the place where it is found. Returns where it went; deleting a large tree takes its time, and
// nobody should wait for that.
std::vector<std::string> Store::collect() const {
  std::set<std::string> needed;
  for (const std::string& name : entriesOf(names_.get())) {
    const std::string text = readFile(names_.get(), name);
    needed.insert(text.substr(0, text.find(' ')));
  }
  for (const std::string& zone : entriesOf(leases_.get()))
    for (const std::string& hex : entriesOf(openDirectory(leases_.get(), zone).get())) needed.insert(hex);
  std::vector<std::string> away;
  for (const std::string& hex : entriesOf(layers_.get())) {
    if (needed.count(hex) > 0) continue;
    std::string place = path_ + "/tmp/XXXXXX";
    if (mkdtemp(place.data()) == nullptr) fail("make a directory in " + path_ + "/tmp");
    away.push_back(place.substr(place.rfind('/') + 1));
    if (renameat(layers_.get(), hex.c_str(), tmp_.get(), (away.back() + "/gone").c_str()) != 0) fail("take snapshot " + hex + " away");
  }
  return away;
}

// Without the lock.
void Store::discard(const std::vector<std::string>& away) const {
  for (const std::string& name : away) removeTree(tmp_.get(), name);
}
