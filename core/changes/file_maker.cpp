#include "core/changes/file_maker.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr size_t kMostJobs = 256, kMostBytes = 8 << 20;
constexpr size_t kWorthWaking = 32;  // jobs

bool isFull(int error) noexcept { return error == ENOSPC || error == EDQUOT; }

// 0, or ENOSPC or EDQUOT.
int writeAll(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && isFull(errno)) return errno;
    if (n < 0) throwErrno(kClass, "keep " + toUtf8(name));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

struct stat statusOf(int fd, const std::string& name) {
  struct stat st {};
  if (fstat(fd, &st) != 0) throwErrno(kClass, "stat " + toUtf8(name));
  return st;
}

// st: as it is now.
std::string dress(int fd, const std::string& name, const Keep& keep, const struct stat& st) {
  const mode_t mode = keep.mode & 07777;
  // Each of these is a transaction of the file system's.
  const bool given = st.st_uid == keep.uid && st.st_gid == keep.gid;
  if (!given && fchown(fd, keep.uid, keep.gid) != 0) throwErrno(kClass, "set the owner of " + toUtf8(name));
  // After the owner, whose change drops bits.
  if ((!given || (st.st_mode & 07777) != mode) && fchmod(fd, mode) != 0) throwErrno(kClass, "set the mode of " + toUtf8(name));
  std::string weakness;
  if (keep.xattrs != nullptr)
    for (const auto& [key, value] : *keep.xattrs) {
      if (fsetxattr(fd, key.c_str(), value.data(), value.size(), 0) == 0) continue;
      if (errno != ENOTSUP && errno != EPERM && errno != E2BIG && errno != ERANGE && !isFull(errno))
        throwErrno(kClass, "set attribute " + toUtf8(key) + " of " + toUtf8(name));
      weakness = "the state directory's file system does not take attribute " + toUtf8(key) + " of " + toUtf8(name);
    }
  const struct timespec times[2] = {keep.mtime, keep.mtime};
  if (futimens(fd, times) != 0) throwErrno(kClass, "set the time of " + toUtf8(name));
  return weakness;
}

}  // namespace

std::string dress(int fd, const std::string& name, const Keep& keep) { return dress(fd, name, keep, statusOf(fd, name)); }

FileMaker::FileMaker() : thread_([this] { work(); }) {}

FileMaker::~FileMaker() {
  {
    const std::lock_guard held(mutex_);
    ending_ = true;
  }
  forWorker_.notify_one();
  thread_.join();
}

void FileMaker::file(Directory in, std::string name, std::string content, const Keep& keep) {
  add({std::move(in), std::move(name), std::move(content), true, {}, {}}, keep);
}

void FileMaker::dressDirectory(Directory directory, std::string name, const Keep& keep) {
  add({std::move(directory), std::move(name), {}, false, {}, {}}, keep);
}

void FileMaker::add(Job job, const Keep& keep) {
  job.keep = keep;
  if (keep.xattrs != nullptr) job.xattrs = *keep.xattrs;
  std::unique_lock held(mutex_);
  if (!hasRoom()) {
    hurried_ = true;
    forWorker_.notify_one();
    forOwner_.wait(held, [this] { return jobs_ <= kMostJobs / 2 && bytes_ <= kMostBytes / 2; });
    hurried_ = false;
  }
  if (error_ || outcome_.full != 0) return;
  ++jobs_;
  bytes_ += job.content.size();
  waiting_.push_back(std::move(job));
  if (idle_ && waiting_.size() >= kWorthWaking) forWorker_.notify_one();
}

bool FileMaker::hasRoom() const { return jobs_ < kMostJobs && bytes_ < kMostBytes; }

bool FileMaker::full() const {
  const std::lock_guard held(mutex_);
  return outcome_.full != 0;
}

FileMaker::Outcome FileMaker::finish() {
  std::unique_lock held(mutex_);
  hurried_ = true;
  forWorker_.notify_one();
  forOwner_.wait(held, [this] { return jobs_ == 0; });
  hurried_ = false;
  if (error_) std::rethrow_exception(error_);
  return outcome_;
}

void FileMaker::work() {
  std::unique_lock held(mutex_);
  for (;;) {
    idle_ = true;
    forWorker_.wait(held, [this] { return ending_ || waiting_.size() >= kWorthWaking || (hurried_ && !waiting_.empty()); });
    idle_ = false;
    if (ending_) return;
    std::deque<Job> taken = std::exchange(waiting_, {});
    held.unlock();
    makeAll(std::move(taken));
    held.lock();
  }
}

void FileMaker::makeAll(std::deque<Job> jobs) {
  while (!jobs.empty()) {
    Job job = std::move(jobs.front());
    jobs.pop_front();
    const size_t size = job.content.size();
    std::unique_lock held(mutex_);
    if (ending_) return;
    const bool going = !error_ && outcome_.full == 0;
    held.unlock();
    std::exception_ptr failed;
    try {
      if (going) make(job);
    } catch (...) {
      failed = std::current_exception();
    }
    job.directory.reset();
    held.lock();
    if (failed) error_ = failed;
    --jobs_;
    bytes_ -= size;
    const bool enough = jobs_ == 0 || (jobs_ <= kMostJobs / 2 && bytes_ <= kMostBytes / 2);
    held.unlock();
    if (enough) forOwner_.notify_one();
  }
}

void FileMaker::make(Job& job) {
  job.keep.xattrs = &job.xattrs;
  std::string weakness;
  struct stat written {};
  int full = 0;
  if (job.isFile) {
    const UniqueFd to(
        openat(job.directory->get(), job.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, job.keep.mode & 0777));
    if (!to && !isFull(errno)) throwErrno(kClass, "keep " + toUtf8(job.name));
    full = to ? writeAll(to.get(), job.content, job.name) : errno;
    if (full == 0) {
      written = statusOf(to.get(), job.name);
      weakness = dress(to.get(), job.name, job.keep, written);
      if (!job.xattrs.empty()) written = statusOf(to.get(), job.name);
    }
  } else {
    weakness = dress(job.directory->get(), job.name, job.keep);
  }
  const std::lock_guard held(mutex_);
  outcome_.diskBytes += static_cast<uint64_t>(written.st_blocks) * 512;
  if (!weakness.empty()) outcome_.weakness = std::move(weakness);
  if (full != 0) outcome_.full = full;
}

}  // namespace rauha::changes
