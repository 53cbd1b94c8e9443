#include "core/changes/testing/overlay_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/changes/tree.h"

namespace rauha::changes::testing {
namespace {

void check(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what + ": " + strerror(errno));
}

class OwnMountNamespace final : public ::testing::Environment {
 public:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "needs root: " << strerror(errno);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0) << strerror(errno);
  }
};
const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new OwnMountNamespace);

void look(int fd, const std::string& prefix, Snapshot& out) {
  for (const auto& name : names(fd)) {
    const auto st = lookup(fd, name);
    check(st.has_value(), "stat " + name);
    Seen seen;
    seen.type = typeOf(*st);
    seen.mode = st->st_mode & 07777;
    seen.uid = st->st_uid;
    seen.gid = st->st_gid;
    seen.mtimeNs = nanoseconds(st->st_mtim);
    seen.xattrs = readAttributes(fd, name, *st, 0).visible;
    if (seen.type == FileType::regular) {
      seen.size = static_cast<uint64_t>(st->st_size);
      const UniqueFd file = openRegular(fd, name);
      seen.content = readAll(file.get(), name, 1 << 26);
    }
    if (seen.type == FileType::symlink) seen.content = readLink(fd, name);
    out[prefix + name] = seen;
    if (seen.type == FileType::directory) look(openDirectory(fd, name).get(), prefix + name + "/", out);
  }
}

std::string options(const std::vector<std::string>& lowers) {
  std::string out = "redirect_dir=nofollow,metacopy=off,index=off,lowerdir=";
  for (size_t i = 0; i < lowers.size(); ++i) out += (i == 0 ? "" : ":") + lowers[i];
  return out;
}

void dress(const std::string& path, const FileState& s) {
  check(lchown(path.c_str(), s.uid, s.gid) == 0, "chown");
  if (s.type != FileType::symlink) check(chmod(path.c_str(), s.mode) == 0, "chmod");
  if (s.type == FileType::regular || s.type == FileType::directory) {
    char list[65536];
    const ssize_t n = llistxattr(path.c_str(), list, sizeof list);
    for (ssize_t at = 0; at < n; at += static_cast<ssize_t>(strlen(list + at)) + 1)
      if (strncmp(list + at, "user.", 5) == 0) check(lremovexattr(path.c_str(), list + at) == 0, "removexattr");
    for (const auto& [key, value] : s.xattrs)
      check(lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) == 0, "setxattr " + key);
  }
}

}  // namespace

Snapshot snapshot(const std::string& top) {
  Snapshot out;
  look(openTop(top).get(), "", out);
  return out;
}

std::string difference(const Snapshot& expected, const Snapshot& actual) {
  std::ostringstream out;
  int shown = 0;
  const auto describe = [](const Seen& s) {
    std::ostringstream text;
    text << "type " << int(s.type) << " mode " << std::oct << s.mode << std::dec << " owner " << s.uid << ":" << s.gid << " size " << s.size
         << " mtime " << s.mtimeNs << " xattrs " << s.xattrs.size() << " content '" << toUtf8(s.content.substr(0, 30)) << "'";
    return text.str();
  };
  for (const auto& [path, seen] : expected) {
    const auto other = actual.find(path);
    if (other != actual.end() && other->second == seen) continue;
    if (++shown > 10) break;
    out << toUtf8(path) << ": expected " << describe(seen) << ", is " << (other == actual.end() ? "absent" : describe(other->second))
        << "\n";
  }
  for (const auto& [path, seen] : actual)
    if (!expected.contains(path) && ++shown <= 10) out << toUtf8(path) << ": expected absent, is " << describe(seen) << "\n";
  return out.str();
}

void makeDirectories(const std::string& path) { std::filesystem::create_directories(path); }

void write(const std::string& path, const std::string& content, unsigned mode) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  check(bool(fd), "open " + path);
  writeAll(fd.get(), content, path);
}

std::string read(const std::string& path) { return readFile(path, 1 << 26); }

void removeAll(const std::string& path) {
  const size_t slash = path.rfind('/');
  removeTree(openTop(path.substr(0, slash)).get(), path.substr(slash + 1));
}

void copyTree(const std::string& from, const std::string& to) {
  const auto entries = snapshot(from);
  makeDirectories(to);
  std::vector<std::pair<std::string, int64_t>> times;
  for (const auto& [path, seen] : entries) {
    const std::string target = to + "/" + path;
    FileState s;
    s.type = seen.type;
    s.mode = static_cast<uint16_t>(seen.mode);
    s.uid = seen.uid;
    s.gid = seen.gid;
    s.xattrs = seen.xattrs;
    if (seen.type == FileType::regular) write(target, seen.content);
    if (seen.type == FileType::directory) check(mkdir(target.c_str(), 0700) == 0, "mkdir " + target);
    if (seen.type == FileType::symlink) check(symlink(seen.content.c_str(), target.c_str()) == 0, "symlink " + target);
    if (seen.type == FileType::fifo) check(mkfifo(target.c_str(), 0600) == 0, "mkfifo " + target);
    dress(target, s);
    times.emplace_back(target, seen.mtimeNs);
  }
  for (auto i = times.rbegin(); i != times.rend(); ++i) setMtime(i->first, i->second);
}

void setMtime(const std::string& path, int64_t ns) {
  const struct timespec t { ns / 1'000'000'000, ns % 1'000'000'000 };
  const struct timespec both[2] = {t, t};
  check(utimensat(AT_FDCWD, path.c_str(), both, AT_SYMLINK_NOFOLLOW) == 0, "utimensat " + path);
}

UniqueFd openTop(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(bool(fd), "open " + path);
  return fd;
}

void applyTo(const std::string& tree, const ChangeSet& set, const std::string& layer) {
  const Snapshot before = snapshot(tree);
  for (const auto& c : set.changes)
    if (c.kind == Kind::renamed || (c.kind == Kind::deleted && c.before.type != FileType::directory)) {
      const std::string old = tree + "/" + (c.kind == Kind::renamed ? c.from : c.path);
      check(unlink(old.c_str()) == 0, "unlink " + old);
    }
  for (auto c = set.changes.rbegin(); c != set.changes.rend(); ++c)
    if (c->kind == Kind::deleted && c->before.type == FileType::directory)
      check(rmdir((tree + "/" + c->path).c_str()) == 0, "rmdir " + c->path);
  for (auto c = set.changes.rbegin(); c != set.changes.rend(); ++c)
    if (c->kind == Kind::typeChanged) check(remove((tree + "/" + c->path).c_str()) == 0, "remove " + c->path);
  std::map<std::string, int64_t> times;  // children before parents when walked backwards
  for (const auto& [path, seen] : before)
    if (seen.type == FileType::directory) times[tree + "/" + path] = seen.mtimeNs;
  for (const auto& c : set.changes) {
    if (c.kind == Kind::deleted) times.erase(tree + "/" + c.path);
    if (c.kind == Kind::deleted) continue;
    const std::string path = tree + "/" + c.path;
    const auto& s = c.after;
    const bool replaces = c.kind != Kind::modified || (c.fields & (kContent | kTarget)) != 0;
    if (replaces) {
      if (c.kind == Kind::modified) check(unlink(path.c_str()) == 0, "unlink " + path);
      if (s.type == FileType::regular) write(path, read(layer + "/" + c.path));
      if (s.type == FileType::directory) check(mkdir(path.c_str(), 0700) == 0, "mkdir " + path);
      if (s.type == FileType::symlink) check(symlink(s.target.c_str(), path.c_str()) == 0, "symlink " + path);
      if (s.type == FileType::fifo) check(mkfifo(path.c_str(), 0600) == 0, "mkfifo " + path);
    }
    if (s.type == FileType::socket) continue;
    dress(path, s);
    times[path] = s.mtimeNs;
  }
  for (auto i = times.rbegin(); i != times.rend(); ++i) setMtime(i->first, i->second);
}

const Change* find(const ChangeSet& set, const std::string& path) {
  for (const auto& c : set.changes)
    if (c.path == path) return &c;
  return nullptr;
}

void OverlayTest::SetUp() {
  std::string path = (std::filesystem::temp_directory_path() / "rauha-changes-XXXXXX").string();
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  top_ = path;
  ASSERT_EQ(mount("tmpfs", top_.c_str(), "tmpfs", 0, "mode=0755"), 0) << strerror(errno);
  base_ = fresh("base");
  merged_ = fresh("merged");
  input_.startedNs = realNs() + 3600LL * 1'000'000'000;  // what the test itself makes of the base is no change meanwhile
  input_.basePath = base_;
}

void OverlayTest::TearDown() {
  unmount();
  ASSERT_EQ(umount2(top_.c_str(), MNT_DETACH), 0) << strerror(errno);
  ASSERT_EQ(rmdir(top_.c_str()), 0) << strerror(errno);
}

std::string OverlayTest::fresh(const std::string& name) {
  const std::string path = top_ + "/" + name + (std::filesystem::exists(top_ + "/" + name) ? std::to_string(++counter_) : "");
  makeDirectories(path);
  return path;
}

void OverlayTest::mountOverlay(const std::vector<std::string>& lowers, const std::string& upper) {
  const std::string data = options(lowers) + ",upperdir=" + upper + ",workdir=" + fresh("work");
  check(mount("overlay", merged_.c_str(), "overlay", 0, data.c_str()) == 0, "mount overlay " + data);
  mounted_ = true;
}

void OverlayTest::mountReadOnly(const std::vector<std::string>& lowers) {
  const std::string data = options(lowers);
  check(mount("overlay", merged_.c_str(), "overlay", MS_RDONLY, data.c_str()) == 0, "mount overlay " + data);
  mounted_ = true;
}

void OverlayTest::unmount() {
  if (mounted_) check(umount2(merged_.c_str(), 0) == 0, "umount " + merged_);
  mounted_ = false;
}

ChangeSet OverlayTest::collectLayer(const std::string& upper, const std::string& predecessor) {
  destination_ = fresh("set");
  const UniqueFd upperFd = openTop(upper), baseFd = openTop(base_), destination = openTop(destination_);
  const UniqueFd before = predecessor.empty() ? UniqueFd() : openTop(predecessor);
  input_.upper = upperFd.get();
  input_.base = baseFd.get();
  input_.destination = destination.get();
  input_.predecessor = before.get();
  return collect(input_);
}

}  // namespace rauha::changes::testing
