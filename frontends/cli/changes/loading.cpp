#include "frontends/cli/changes/loading.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/units.h"

namespace rauha::cli {
namespace {

constexpr size_t kProbe = 8000;  // looksBinary() looks at no more
constexpr size_t kBlock = 256 << 10;

size_t readAt(int fd, char* to, size_t size, uint64_t offset, const std::string& path) {
  for (;;) {
    const ssize_t n = pread(fd, to, size, static_cast<off_t>(offset));
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) throwErrno("repository", "read " + path);
  }
}

std::string readWhole(int fd, uint64_t size, uint64_t limit, const std::string& path) {
  std::string out;
  out.reserve(std::min(size, limit));
  // Most files are small: clearing a large buffer for each took longer than reading it.
  std::vector<char> buffer(std::clamp<uint64_t>(size + 1, 512, kBlock));
  while (const size_t n = readAt(fd, buffer.data(), buffer.size(), out.size(), path)) {
    out.append(buffer.data(), n);
    if (out.size() > limit) throw Error("repository", Code::limit, path + " grew beyond " + formatBytes(limit), "", path);
  }
  return out;
}

bool sameBytes(int a, int b, const std::string& path) {
  std::vector<char> one(kBlock), other(kBlock);
  for (uint64_t at = 0;;) {
    const size_t n = readAt(a, one.data(), kBlock, at, path);
    if (readAt(b, other.data(), kBlock, at, path) != n || memcmp(one.data(), other.data(), n) != 0) return false;
    if (n == 0) return true;
    at += n;
  }
}

bool isBinary(int fd, uint64_t size, const std::string& path) {
  char start[kProbe];
  if (looksBinary({start, readAt(fd, start, sizeof start, 0, path)})) return true;
  const off_t hole = lseek(fd, 0, SEEK_HOLE);
  return hole >= 0 && static_cast<uint64_t>(hole) < size;
}

uint64_t sizeOf(int fd, const std::string& path) {
  struct stat st {};
  if (fstat(fd, &st) != 0) throwErrno("repository", "stat " + path);
  return static_cast<uint64_t>(st.st_size);
}

std::string tooLarge(uint64_t size) { return "too large to show: " + formatBytes(size); }

}  // namespace

// One change.
class Loading final {
 public:
  Loading(Loader& loader, const Change& change)
      : loader_(loader), change_(change), tree_(loader.tree_), limit_(loader.limits_.side), whole_(loader.limits_.wholeBinaries) {}

  Loaded load() {
    out_.before = sideOf(change_.before);
    out_.after = sideOf(change_.after);
    if (tree_ != nullptr) lookAtHost();
    if (!needsContent(change_)) return std::move(out_);  // where contents are equal, two empty ones are as good
    if (change_.after.type == FileType::regular) loadAfter();
    if (change_.before.type == FileType::regular && out_.omitted.empty()) loadBefore();
    if (out_.omitted.empty()) compareWithHost();
    return std::move(out_);
  }

 private:
  static Side sideOf(const FileState& state) {
    return {state.type, state.mode, state.type == FileType::symlink ? state.target : std::string()};
  }

  void lookAtHost() {
    const Found host = tree_->look(change_.path);
    const FileType type = host.parentError == 0 ? host.state.type : FileType::none;
    const Found old = change_.from.empty() ? host : tree_->look(change_.from);
    out_.hostDiffers = isOther(old);
    const FileState& after = change_.after;
    hostIsAlike_ = alike(host.state, after);
    if (change_.kind == ChangeKind::deleted)
      out_.already = type == FileType::none;
    else if (change_.kind == ChangeKind::renamed)
      out_.already = (old.parentError != 0 || old.state.type == FileType::none) && hostIsAlike_ && hasTasksContent();
    else if (after.type == FileType::symlink || (after.type == FileType::directory && change_.kind != ChangeKind::modified))
      out_.already = type == after.type && host.state.target == after.target;
    if (out_.already && change_.kind != ChangeKind::added) out_.omitted = kAlready;
  }
  bool hasTasksContent() const {
    if (change_.after.type != FileType::regular) return true;
    int error = 0;
    const UniqueFd fd = tree_->openFile(change_.path, error);
    return fd && !change_.after.digest.empty() && digestOf(fd.get(), change_.path) == change_.after.digest;
  }
  // New content that the host has as well. What the limit of the call leaves no room for is not said.
  void compareWithHost() {
    if (tree_ == nullptr || change_.after.type != FileType::regular) return;
    if (!out_.already) out_.already = change_.before.type == FileType::regular ? sidesAreSame() : hostHasAfter();
    if (!out_.already) return;
    out_.hostDiffers = false;
    if (change_.kind != ChangeKind::added) out_.omitted = kAlready;
  }
  bool sidesAreSame() const { return !out_.before.unread && !out_.after.unread && out_.before.bytes == out_.after.bytes; }
  bool hostHasAfter() const {
    int error = 0;
    const UniqueFd fd = hostIsAlike_ ? tree_->openFile(change_.path, error) : UniqueFd();
    return fd && loader_.take(2 * change_.after.size) && sameBytes(fd.get(), after_.get(), change_.path);
  }

  // What can be said without reading: it went or came, is of another type, leads elsewhere, or has another size. What the task left is
  // what an apply brought there.
  bool isOther(const Found& host) const { return !alike(host.state, change_.before) && !alike(host.state, change_.after); }
  static bool alike(const FileState& a, const FileState& b) {
    if (a.type != b.type) return false;
    if (a.type == FileType::symlink) return a.target == b.target;
    return a.type != FileType::regular || a.size == b.size;
  }

  bool take(uint64_t bytes) {
    if (loader_.take(bytes)) return true;
    const auto sizeIn = [](const FileState& state) { return state.type == FileType::regular ? state.size : 0; };
    out_.omitted = "left out: more than " + formatBytes(loader_.limits_.call) + " in one call";
    ++loader_.leftChanges_;
    loader_.leftBytes_ += sizeIn(change_.before) + sizeIn(change_.after);
    return false;
  }

  void loadAfter() {
    if (change_.after.size > limit_) {
      out_.omitted = tooLarge(change_.after.size);
      return;
    }
    after_ = loader_.source_.open(change_.path);
    const uint64_t size = sizeOf(after_.get(), change_.path);
    if (!whole_ && isBinary(after_.get(), size, change_.path))
      out_.after.unread = size;
    else if (take(size))
      out_.after.bytes = readWhole(after_.get(), size, limit_, change_.path);
  }

  void loadBefore() {
    if (tree_ == nullptr) {
      out_.omitted = "the host's tree is not there";
      return;
    }
    int error = 0;
    const UniqueFd fd = tree_->openFile(change_.path, error);
    struct stat st {};
    if (!fd || fstat(fd.get(), &st) != 0) {
      out_.hostDiffers = true;
      out_.omitted = std::string("the host's file cannot be read: ") + strerror(error);
      return;
    }
    const auto size = static_cast<uint64_t>(st.st_size);
    if (size > limit_) {
      out_.omitted = tooLarge(size);
      return;
    }
    const bool sameInode = st.st_ino == change_.before.inode &&
                           static_cast<int64_t>(st.st_ctim.tv_sec) * 1'000'000'000 + st.st_ctim.tv_nsec == change_.before.ctimeNs;
    if (!whole_ && (out_.after.unread || isBinary(fd.get(), size, change_.path))) return leaveUnread(fd.get(), size, sameInode);
    if (!take(size)) return;
    out_.before.bytes = readWhole(fd.get(), size, limit_, change_.path);
    if (sameInode) return;
    out_.hostDiffers = out_.hostDiffers || out_.before.bytes.size() != change_.before.size ||
                       (!change_.before.digest.empty() && sha256(out_.before.bytes) != change_.before.digest);
  }

  void leaveUnread(int fd, uint64_t size, bool sameInode) {
    const uint64_t other = out_.after.unread.value_or(out_.after.bytes.size());
    out_.before.unread = size;
    // Read only where somebody else may have written it, without keeping it: an apply may have brought there what the task left.
    if (sameInode) return;
    out_.hostDiffers = out_.hostDiffers || size != change_.before.size;
    const bool comparable = after_ && size == other;
    if ((comparable || !out_.hostDiffers) && !take(comparable ? 2 * size : size)) return;
    if (!out_.hostDiffers && !change_.before.digest.empty()) out_.hostDiffers = digestOf(fd, change_.path) != change_.before.digest;
    if (!comparable || !sameBytes(fd, after_.get(), change_.path)) return;
    out_.before.unread.reset();
    out_.after.unread.reset();
    out_.after.bytes.clear();
  }

  Loader& loader_;
  const Change& change_;
  const Tree* tree_;
  const uint64_t limit_;
  const bool whole_;
  bool hostIsAlike_ = false;  // has what is at the change's path the type and size of what the task left there?
  UniqueFd after_;
  Loaded out_;
};

LoadLimits textLimits() noexcept { return {32 << 20, 512 << 20, false}; }
LoadLimits patchLimits() noexcept { return {256 << 20, 2ULL << 30, true}; }

Loaded Loader::load(const Change& change) { return Loading(*this, change).load(); }

bool Loader::take(uint64_t bytes) {
  if (bytes > limits_.call - taken_) return false;
  taken_ += bytes;
  return true;
}

std::string Loader::leftOut() const {
  if (leftChanges_ == 0) return {};
  return "the content of " + std::to_string(leftChanges_) + (leftChanges_ == 1 ? " change (" : " changes (") + formatBytes(leftBytes_) +
         ") is left out: one call reads " + formatBytes(limits_.call) + " at most; name paths to see the rest";
}

bool needsContent(const Change& change) {
  if (change.kind == ChangeKind::renamed) return false;
  return change.kind != ChangeKind::modified || change.fields.content;
}

}  // namespace rauha::cli
