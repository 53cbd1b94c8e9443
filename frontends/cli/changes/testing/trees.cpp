#include "frontends/cli/changes/testing/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::cli::testing {
namespace fs = std::filesystem;
namespace {

std::string contentOf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

int64_t ns(const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

FileState stateOf(const std::string& path) {
  FileState out;
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return out;
  out.type = S_ISREG(st.st_mode)   ? FileType::regular
             : S_ISDIR(st.st_mode) ? FileType::directory
             : S_ISLNK(st.st_mode) ? FileType::symlink
                                   : FileType::special;
  out.mode = st.st_mode & 07777u;
  out.uid = st.st_uid;
  out.gid = st.st_gid;
  out.mtimeNs = ns(st.st_mtim);
  out.ctimeNs = ns(st.st_ctim);
  out.inode = st.st_ino;
  if (out.type == FileType::regular || out.type == FileType::symlink) out.size = static_cast<uint64_t>(st.st_size);
  if (out.type == FileType::regular) out.digest = sha256(contentOf(path));
  if (out.type == FileType::symlink) out.target = fs::read_symlink(path).string();
  if (out.type == FileType::regular || out.type == FileType::directory) {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd) out.xattrs = xattrsOf(fd.get(), path);
  }
  return out;
}

void collect(const std::string& top, std::map<std::string, FileState>& out) {
  for (const auto& entry : fs::recursive_directory_iterator(top)) {
    const std::string path = entry.path().string();
    out[path.substr(top.size() + 1)] = stateOf(path);
  }
}

Fields fieldsOf(const FileState& a, const FileState& b) {
  Fields f;
  f.type = a.type != b.type;
  f.content = a.type == b.type && a.type == FileType::regular && (a.size != b.size || a.digest != b.digest);
  f.mode = b.type != FileType::symlink && a.mode != b.mode;
  f.owner = a.uid != b.uid || a.gid != b.gid;
  f.xattrs = a.xattrs != b.xattrs;
  f.target = a.target != b.target && !f.type;
  f.mtime = a.mtimeNs != b.mtimeNs;
  return f;
}
bool differs(const Fields& f) { return f.type || f.content || f.mode || f.owner || f.xattrs || f.target || f.mtime; }

}  // namespace

UniqueFd DirectorySource::open(const std::string& path) {
  ++opened;
  UniqueFd fd(::open((top_ + "/" + path).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throwErrno("repository", "open " + path);
  return fd;
}

Listing listing(const std::string& top, bool directoryTimes) {
  Listing out;
  std::map<std::string, FileState> states;
  collect(top, states);
  for (const auto& [path, s] : states) {
    std::ostringstream line;
    line << static_cast<int>(s.type) << " mode " << std::oct << (s.type == FileType::symlink ? 0 : s.mode) << std::dec << " owner " << s.uid
         << ":" << s.gid << " size " << s.size << " " << s.digest << " -> " << s.target;
    if (s.type != FileType::directory || directoryTimes) line << " at " << s.mtimeNs;
    for (const auto& x : s.xattrs) line << " " << x.name << "=" << base64(x.value);
    out[path] = line.str();
  }
  return out;
}

Trees::Trees() {
  char name[] = "/tmp/rauha-apply-test-XXXXXX";
  top_ = mkdtemp(name);
  fs::create_directory(top_ + "/host");
  fs::create_directory(top_ + "/task");
}
Trees::~Trees() {
  std::error_code ignored;
  fs::remove_all(top_, ignored);
}

void Trees::put(const std::string& side, const std::string& path, const std::string& content, unsigned mode) const {
  fs::create_directories(fs::path(at(side, path)).parent_path());
  std::ofstream(at(side, path), std::ios::binary) << content;
  ASSERT_EQ(chmod(at(side, path).c_str(), mode), 0) << path;
}
void Trees::directory(const std::string& side, const std::string& path, unsigned mode) const {
  fs::create_directories(at(side, path));
  ASSERT_EQ(chmod(at(side, path).c_str(), mode), 0);
}
void Trees::link(const std::string& side, const std::string& path, const std::string& target) const {
  fs::create_directories(fs::path(at(side, path)).parent_path());
  ASSERT_EQ(symlink(target.c_str(), at(side, path).c_str()), 0) << path;
}
std::string Trees::content(const std::string& side, const std::string& path) const { return contentOf(at(side, path)); }
bool Trees::exists(const std::string& side, const std::string& path) const {
  struct stat st {};
  return lstat(at(side, path).c_str(), &st) == 0;
}

// NOLINTNEXTLINE(cert-env33-c): with a path of our own making
void Trees::begin() const { ASSERT_EQ(system(("rm -rf " + top_ + "/task && cp -a " + top_ + "/host " + top_ + "/task").c_str()), 0); }

ChangeSet Trees::changes() const {
  std::map<std::string, FileState> host, task;
  collect(top_ + "/host", host);
  collect(top_ + "/task", task);
  ChangeSet set;
  set.taskId = "task_00000000000000000000";
  struct stat st {};
  EXPECT_EQ(stat((top_ + "/host").c_str(), &st), 0);
  set.base = {top_ + "/host", st.st_dev, st.st_ino, st.st_uid, st.st_gid};
  auto add = [&](const std::string& path, ChangeKind kind, const FileState& before, const FileState& after) {
    Change change;
    change.path = path;
    change.kind = kind;
    change.before = before;
    change.after = after;
    if (kind == ChangeKind::modified || kind == ChangeKind::typeChanged) change.fields = fieldsOf(before, after);
    set.changes.push_back(std::move(change));
  };
  for (const auto& [path, before] : host) {
    const auto now = task.find(path);
    if (now == task.end()) {
      add(path, ChangeKind::deleted, before, {});
    } else if (differs(fieldsOf(before, now->second))) {
      add(path, before.type == now->second.type ? ChangeKind::modified : ChangeKind::typeChanged, before, now->second);
    }
  }
  for (const auto& [path, after] : task)
    if (host.count(path) == 0) add(path, ChangeKind::added, {}, after);
  return set;
}

std::vector<Item> Trees::apply(const ChangeSet& set, const ApplyOptions& options) {
  const Tree tree(set.base.path);
  DirectorySource source(top_ + "/task");
  auto items = planApply(set, tree, options);
  report_ = {};
  if (!options.dryRun && (options.skipConflicts || countOf(items, Verdict::conflict) == 0))
    report_ = runApply(set, tree, source, options, items);
  for (const auto& entry : fs::directory_iterator(top_ + "/host"))
    EXPECT_NE(entry.path().filename().string().rfind(kWorkPrefix, 0), 0u) << "the work directory stayed";
  return items;
}

void Trees::expectSame() const { EXPECT_EQ(listing(top_ + "/host", true), listing(top_ + "/task", true)); }

const Item& itemOf(const std::vector<Item>& items, const std::string& path) {
  for (const auto& item : items)
    if (item.change->path == path) return item;
  static const Change none;
  static Item missing;
  missing.change = &none;
  missing.reason = "there is no item for " + path;
  ADD_FAILURE() << missing.reason;
  return missing;
}

size_t countOf(const std::vector<Item>& items, Verdict verdict) {
  size_t n = 0;
  for (const auto& item : items) n += item.verdict == verdict ? 1 : 0;
  return n;
}

void scribble(const std::string& top, std::mt19937& random, int operations) {
  const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const char* names[] = {"a", "b", "c", "with space", "n\nl", "\xff", "-rf", "Makefile2"};
  for (int i = 0; i < operations; ++i) {
    std::vector<std::string> all{top};
    for (const auto& entry : fs::recursive_directory_iterator(top)) all.push_back(entry.path().string());
    const std::string chosen = all[pick(static_cast<unsigned>(all.size()))];
    const bool isTop = chosen == top, isDirectory = fs::is_directory(fs::symlink_status(chosen));
    const std::string fresh = (isDirectory ? chosen : fs::path(chosen).parent_path().string()) + "/" + names[pick(8)];
    std::error_code error;
    switch (pick(9)) {
      case 0:
        if (!fs::exists(fs::symlink_status(fresh))) fs::create_directory(fresh, error);
        break;
      case 1:
      case 2:
        if (!fs::is_directory(fs::symlink_status(fresh)) && !fs::is_symlink(fs::symlink_status(fresh)))
          std::ofstream(fresh) << "content " << random() << "\n";
        break;
      case 3:
        if (!fs::exists(fs::symlink_status(fresh))) fs::create_symlink(names[pick(8)], fresh, error);
        break;
      case 4:
        if (!isTop) fs::remove_all(chosen, error);
        break;
      case 5:
        if (!isTop && fresh.rfind(chosen + "/", 0) != 0) fs::rename(chosen, fresh, error);
        break;
      case 6:
        if (!isTop && !fs::is_symlink(fs::symlink_status(chosen))) chmod(chosen.c_str(), isDirectory ? 0700 | pick(64) : 0400 | pick(0400));
        break;
      case 7:
        if (!isTop && !fs::is_symlink(fs::symlink_status(chosen))) setxattr(chosen.c_str(), "user.rauha", names[pick(8)], 1, 0);
        break;
      default:
        if (!isTop) {
          const timespec times[2] = {{0, UTIME_OMIT}, {1'600'000'000 + pick(1000), static_cast<long>(pick(1'000'000'000))}};
          utimensat(AT_FDCWD, chosen.c_str(), times, AT_SYMLINK_NOFOLLOW);
        }
    }
  }
}

}  // namespace rauha::cli::testing
