#include "core/changes/layer_writer.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/base/utf8.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr uint64_t kEntryBytes = 4096;  // what an entry costs beside its content, about: inode, name, block
// Digests that are remembered for files with several names, and from which size on: what is smaller is as quickly read again.
constexpr size_t kDigested = 200'000;
constexpr int64_t kDigestedBytes = 16 << 10;
// Files up to this size are read whole, and made by the FileMaker.
constexpr int64_t kHandedOver = 128 << 10;

bool isFull(int error) noexcept { return error == ENOSPC || error == EDQUOT; }

void setTimes(int directory, const char* name, const struct timespec& mtime, int flags) {
  const struct timespec times[2] = {mtime, mtime};
  // A time that the file system cannot hold is cut by the kernel.
  if (utimensat(directory, name, times, flags) != 0) throwErrno(kClass, "set the time of a kept file");
}

}  // namespace

int LayerDirectory::need() {
  if (!writer_.writing()) return -1;
  if (fd_) return fd_->get();
  const int parent = parent_->need();
  if (parent < 0) return -1;
  if (!writer_.made(mkdirat(parent, name_.c_str(), 0700), name_)) return -1;
  UniqueFd own = openDirectory(parent, name_);
  if (!own) throw Error(kClass, Code::internal, "a kept directory vanished: " + toUtf8(name_));
  fd_ = std::make_shared<const UniqueFd>(std::move(own));
  return fd_->get();
}

void LayerDirectory::finish() {
  if (!writer_.writing() || !fd_ || parent_ == nullptr) return;
  writer_.dressDirectory(std::move(fd_), name_, keep_);
}

void LayerWriter::finish() {
  if (!maker_) return;
  const FileMaker::Outcome outcome = maker_->finish();
  maker_.reset();
  diskBytes_ += outcome.diskBytes;
  if (!outcome.weakness.empty()) weakness_ = outcome.weakness;
  if (outcome.full != 0) giveUpFull(outcome.full);
}

void LayerWriter::giveUpFull(int error) { giveUp(std::string("the state directory is full: ") + strerror(error)); }

std::shared_ptr<const LayerPlace> LayerDirectory::place() {
  if (parent_ != nullptr && place_ == nullptr) place_ = std::make_shared<const LayerPlace>(LayerPlace{parent_->place(), name_});
  return place_;
}

void LayerWriter::giveUp(std::string why) {
  if (writing()) gaveUp_ = std::move(why);
  linked_.clear();
}

void LayerWriter::tooLarge() { giveUp("it takes more than the kept size of one task's changes, " + formatBytes(most_)); }

void LayerWriter::entryMade() {
  diskBytes_ += kEntryBytes;
  if (budget_.left < kEntryBytes)
    tooLarge();
  else
    budget_.left -= kEntryBytes;
}

bool LayerWriter::made(int result, const std::string& name) {
  if (result == 0) {
    entryMade();
    return writing();
  }
  if (!isFull(errno)) throwErrno(kClass, "keep " + toUtf8(name));
  giveUpFull(errno);
  return false;
}

void LayerWriter::dressDirectory(FileMaker::Directory directory, const std::string& name, const Keep& keep) {
  if (maker_) return maker_->dressDirectory(std::move(directory), name, keep);
  if (auto weakness = dress(directory->get(), name, keep); !weakness.empty()) weakness_ = std::move(weakness);
}

void LayerWriter::dressUnopened(int directory, const std::string& name, const Keep& keep) {
  if (fchownat(directory, name.c_str(), keep.uid, keep.gid, AT_SYMLINK_NOFOLLOW) != 0)
    throwErrno(kClass, "set the owner of " + toUtf8(name));
  setTimes(directory, name.c_str(), keep.mtime, AT_SYMLINK_NOFOLLOW);
}

void LayerWriter::whiteout(LayerDirectory& in, const std::string& name) {
  const int directory = in.need();
  if (directory < 0) return;
  if (whiteoutDirectory_ && linkat(whiteoutDirectory_.get(), whiteoutName_.c_str(), directory, name.c_str(), 0) == 0) return;
  if (mknodat(directory, name.c_str(), S_IFCHR, makedev(0, 0)) == 0) {
    whiteoutDirectory_ = duplicate(directory);
    whiteoutName_ = name;
    entryMade();
    return;
  }
  // overlayfs refuses to hold another overlay's whiteouts; then diff and apply, which read the manifest, are all there is.
  if (errno == EPERM || errno == EOPNOTSUPP) {
    weakness_ = "the state directory's file system takes no whiteouts (is it an overlay itself?)";
    return;
  }
  made(-1, name);
}

bool LayerWriter::link(LayerDirectory& in, const std::string& name, int fromDirectory, const struct stat& st) {
  const int directory = in.need();
  if (directory < 0) return true;
  if (linkat(fromDirectory, name.c_str(), directory, name.c_str(), 0) == 0) {
    if (st.st_nlink == 1 || counted_.emplace(st.st_dev, st.st_ino).second) diskBytes_ += static_cast<uint64_t>(st.st_blocks) * 512;
    return true;
  }
  if (errno == EXDEV || errno == EMLINK || errno == EPERM) return false;
  made(-1, name);
  return true;
}

void LayerWriter::symlink(LayerDirectory& in, const std::string& name, const std::string& target, const Keep& keep) {
  const int directory = in.need();
  if (directory < 0 || !made(symlinkat(target.c_str(), directory, name.c_str()), name)) return;
  dressUnopened(directory, name, keep);
}

void LayerWriter::fifo(LayerDirectory& in, const std::string& name, const Keep& keep) {
  const int directory = in.need();
  if (directory < 0 || !made(mkfifoat(directory, name.c_str(), 0600), name)) return;
  dressUnopened(directory, name, keep);
  // After the owner, whose change drops bits. Nobody else can reach this directory: the name is still the FIFO.
  if (fchmodat(directory, name.c_str(), keep.mode & 07777, 0) != 0) throwErrno(kClass, "set the mode of " + toUtf8(name));
}

std::optional<Content> LayerWriter::digested(const struct stat& st) const {
  const auto known = digested_.find({st.st_dev, st.st_ino});
  return st.st_nlink > 1 && known != digested_.end() ? std::optional(known->second) : std::nullopt;
}

void LayerWriter::remember(const struct stat& st, const Content& content) {
  if (st.st_nlink > 1 && st.st_size >= kDigestedBytes && digested_.size() < kDigested) digested_[{st.st_dev, st.st_ino}] = content;
}

// Not one of several names, which are linked to the first; nor one with holes, which stay holes.
bool LayerWriter::forMaker(const struct stat& st) {
  if (++files_ <= filesAlone_ || st.st_nlink > 1 || st.st_size > kHandedOver || static_cast<int64_t>(st.st_blocks) * 512 < st.st_size)
    return false;
  try {
    if (!maker_) maker_ = std::make_unique<FileMaker>();
  } catch (const std::system_error&) {
    // No thread to be had: then without one.
  }
  return maker_ != nullptr;
}

Content LayerWriter::handOver(LayerDirectory& in, const std::string& name, int from, const struct stat& st, const Keep& keep) {
  std::string bytes = readBytes(from, static_cast<uint64_t>(st.st_size));
  const Content content = contentOf(bytes);
  if (maker_->full()) {
    finish();
  } else if (bytes.size() > budget_.left) {
    tooLarge();
  } else {
    budget_.left -= bytes.size();
    entryMade();
    maker_->file(in.fd_, name, std::move(bytes), keep);
  }
  return content;
}

int LayerWriter::reopened(LayerDirectory& in, const std::shared_ptr<const LayerPlace>& place) {
  if (place == nullptr) return in.top();
  if (place != openedPlace_) {
    // Components one by one: together they may be longer than a system call takes.
    std::vector<const LayerPlace*> way;
    for (const LayerPlace* at = place.get(); at != nullptr; at = at->parent.get()) way.push_back(at);
    UniqueFd fd;
    for (auto at = way.rbegin(); at != way.rend(); ++at) {
      fd = openDirectory(fd ? fd.get() : in.top(), (*at)->name);
      if (!fd) throw Error(kClass, Code::internal, "a kept directory vanished: " + toUtf8((*at)->name));
    }
    opened_ = std::move(fd);
    openedPlace_ = place;
  }
  return opened_.get();
}

bool LayerWriter::anotherName(LayerDirectory& in, const std::string& name, const Kept& kept) {
  const int from = reopened(in, kept.firstDirectory);
  if (linkat(from, kept.firstName.c_str(), in.need(), name.c_str(), 0) == 0) return true;
  if (errno == EMLINK) return false;
  made(-1, name);
  return true;
}

Content LayerWriter::file(LayerDirectory& in, const std::string& name, int from, const struct stat& st, const Keep& keep,
                          uint64_t holeBytes) {
  const auto size = static_cast<uint64_t>(st.st_size);
  const auto key = std::pair<uint64_t, uint64_t>(st.st_dev, st.st_ino);
  const int directory = in.need();
  const auto digest = [&] {
    const Content content = readContent(from, size, holeBytes);
    remember(st, content);
    return content;
  };
  if (directory < 0) return digest();
  if (const auto known = linked_.find(key); st.st_nlink > 1 && known != linked_.end()) {
    const Content content = known->second.content;
    if (anotherName(in, name, known->second)) return content;
  }
  if (forMaker(st)) return handOver(in, name, from, st, keep);
  UniqueFd to(openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!made(to ? 0 : -1, name)) return digest();
  const Content content = readContent(from, size, holeBytes, to.get(), budget_);
  remember(st, content);
  if (budget_.exceeded) {
    if (budget_.error != 0)
      giveUpFull(budget_.error);
    else
      tooLarge();
    return content;
  }
  if (auto weakness = dress(to.get(), name, keep); !weakness.empty()) weakness_ = std::move(weakness);
  struct stat written {};
  if (fstat(to.get(), &written) == 0) diskBytes_ += static_cast<uint64_t>(written.st_blocks) * 512;
  if (st.st_nlink > 1) linked_[key] = Kept{name, in.place(), content};
  return content;
}

}  // namespace rauha::changes
