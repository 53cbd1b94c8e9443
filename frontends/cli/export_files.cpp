#include "frontends/cli/export_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

constexpr size_t kTarBlock = 512;

// A name in a directory that is open: renames of the directory do not lead us astray.
struct Place {
  UniqueFd directory;
  std::string name, path;
};

[[noreturn]] void refuseExisting(const Place& place) {
  throw Error("image", Code::exists, place.path + " exists already", "remove it, or name another", place.path);
}

Place placeOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  Place out{UniqueFd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), path.substr(slash == std::string::npos ? 0 : slash + 1),
            path};
  if (!out.directory) throw osError("image", "open directory " + folder, errno, "make it first; it is opened with your rights");
  struct stat meta {};
  if (fstatat(out.directory.get(), out.name.c_str(), &meta, AT_SYMLINK_NOFOLLOW) == 0) refuseExisting(out);
  return out;
}

std::string hiddenPrefix(const Place& place) { return "." + place.name.substr(0, 200) + ".rauha-"; }

// Never over what is there.
void renameInto(const Place& place, const std::string& from) {
  if (syscall(SYS_renameat2, place.directory.get(), from.c_str(), place.directory.get(), place.name.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno == EEXIST || errno == ENOTEMPTY) refuseExisting(place);
  throw osError("image", "name the export " + place.path, errno);
}

void syncDirectory(const Place& place) {
  if (fsync(place.directory.get()) != 0) throw osError("image", "write the directory of " + place.path, errno);
}

class ArchiveSink final : public ExportSink {
 public:
  explicit ArchiveSink(const std::string& path) : place_(placeOf(path)) {
    file_.reset(openat(place_.directory.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666));
    if (file_) return;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) throw osError("image", "make " + path, errno);
    hidden_ = hiddenPrefix(place_) + newId("x");  // a file system without files that have no name
    file_.reset(openat(place_.directory.get(), hidden_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!file_) throw osError("image", "make " + path, errno);
  }
  ~ArchiveSink() override {
    if (!hidden_.empty()) unlinkat(place_.directory.get(), hidden_.c_str(), 0);
  }
  void write(std::string_view bytes) override { writeFully(file_.get(), bytes, "write " + place_.path); }
  void publish() override {
    if (fsync(file_.get()) != 0) throw osError("image", "write " + place_.path, errno);
    if (hidden_.empty())
      link();
    else
      renameInto(place_, hidden_);
    hidden_.clear();
    syncDirectory(place_);
  }

 private:
  void link() {
    const std::string mine = "/proc/self/fd/" + std::to_string(file_.get());
    if (linkat(AT_FDCWD, mine.c_str(), place_.directory.get(), place_.name.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    if (errno == EEXIST) refuseExisting(place_);
    throw osError("image", "name the export " + place_.path, errno);
  }
  const Place place_;
  UniqueFd file_;
  std::string hidden_;
};

// --- a layout

// Removes what a layout has, and nothing else: a directory with other things in it stays.
void removeLayout(int parent, const std::string& name) noexcept {
  const UniqueFd root(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root) return;
  UniqueFd blobs(openat(root.get(), "blobs/sha256", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (blobs) {
    DIR* list = fdopendir(blobs.get());
    if (list != nullptr) {
      const int fd = blobs.release();
      while (const dirent* entry = readdir(list)) unlinkat(fd, entry->d_name, 0);
      closedir(list);
    }
  }
  for (const char* file : {"oci-layout", "index.json"}) unlinkat(root.get(), file, 0);
  for (const char* directory : {"blobs/sha256", "blobs"}) unlinkat(root.get(), directory, AT_REMOVEDIR);
  unlinkat(parent, name.c_str(), AT_REMOVEDIR);
}

// What an export to the same name left that was killed: nobody holds its lock.
void removeAbandoned(const Place& place) noexcept {
  UniqueFd own(openat(place.directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* list = own ? fdopendir(own.get()) : nullptr;
  if (list == nullptr) return;
  own.release();
  const std::string prefix = hiddenPrefix(place);
  while (const dirent* entry = readdir(list)) {
    const std::string name = entry->d_name;
    if (name.compare(0, prefix.size(), prefix) != 0) continue;
    const UniqueFd fd(openat(place.directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat meta {};
    if (fd && fstat(fd.get(), &meta) == 0 && meta.st_uid == geteuid() && flock(fd.get(), LOCK_EX | LOCK_NB) == 0)
      removeLayout(place.directory.get(), name);
  }
  closedir(list);
}

bool isBlobName(std::string_view name) {
  constexpr std::string_view kBlobs = "blobs/sha256/";
  return name.substr(0, kBlobs.size()) == kBlobs && isSha256("sha256:" + std::string(name.substr(kBlobs.size())));
}

[[noreturn]] void strange(const std::string& why) {
  throw Error("image", Code::corrupt, "what the daemon sends is no OCI archive: " + why, "use a client of the daemon's version");
}

class LayoutSink final : public ExportSink {
 public:
  explicit LayoutSink(const std::string& path)
      : place_(placeOf(path)),
        tar_({[this](const std::string& name, uint64_t) { begin(name); }, [this](std::string_view bytes) { data(bytes); },
              [this] { end(); }}) {
    removeAbandoned(place_);
    hidden_ = hiddenPrefix(place_) + newId("x");
    if (mkdirat(place_.directory.get(), hidden_.c_str(), 0777) != 0) throw osError("image", "make directory " + path, errno);
    try {
      root_ = directory(place_.directory.get(), hidden_);
      if (flock(root_.get(), LOCK_EX | LOCK_NB) != 0) throw osError("image", "lock " + path, errno);
      if (mkdirat(root_.get(), "blobs", 0777) != 0 || mkdirat(root_.get(), "blobs/sha256", 0777) != 0)
        throw osError("image", "make directory " + path + "/blobs", errno);
    } catch (...) {
      removeLayout(place_.directory.get(), hidden_);
      throw;
    }
  }
  ~LayoutSink() override {
    if (!hidden_.empty()) removeLayout(place_.directory.get(), hidden_);
  }
  void write(std::string_view bytes) override { tar_.write(bytes); }
  void publish() override {
    if (!tar_.ended()) strange("it has no end");
    for (const char* needed : {"oci-layout", "index.json"})
      if (names_.count(needed) == 0) strange(std::string("it has no ") + needed);
    for (const char* folder : {"blobs/sha256", "blobs", "."})
      if (fsync(directory(root_.get(), folder).get()) != 0) throw osError("image", "write " + place_.path, errno);
    renameInto(place_, hidden_);
    hidden_.clear();
    syncDirectory(place_);
  }

 private:
  UniqueFd directory(int at, const std::string& name) const {
    UniqueFd fd(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) throw osError("image", "open directory " + place_.path + "/" + name, errno);
    return fd;
  }
  void begin(const std::string& name) {
    if (name != "oci-layout" && name != "index.json" && !isBlobName(name)) strange("it holds '" + printable(name) + "'");
    if (!names_.insert(name).second) strange("it holds '" + name + "' twice");
    name_ = name;
    file_.reset(openat(root_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!file_) throw osError("image", "make " + place_.path + "/" + name, errno);
    if (isBlobName(name)) hash_.emplace();
  }
  void data(std::string_view bytes) {
    if (hash_) hash_->update(bytes.data(), bytes.size());
    writeFully(file_.get(), bytes, "write " + place_.path + "/" + name_);
  }
  void end() {
    if (hash_ && hash_->finish() != "sha256:" + name_.substr(name_.rfind('/') + 1))
      throw Error("image", Code::corrupt, "blob " + name_ + " does not have its digest as it came from the daemon",
                  "run rauha image verify");
    hash_.reset();
    if (fsync(file_.get()) != 0) throw osError("image", "write " + place_.path + "/" + name_, errno);
    file_.reset();
  }

  const Place place_;
  PlainTar tar_;
  std::string hidden_, name_;
  UniqueFd root_, file_;
  std::optional<Sha256> hash_;
  std::set<std::string> names_;
};

// Octal text, or base 256 when the first bit is set.
uint64_t sizeOf(std::string_view field) {
  uint64_t out = 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80) != 0) {
    for (char c : field.substr(field.size() - 8)) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  for (char c : field) {
    if (c == '\0' || c == ' ') break;
    if (c < '0' || c > '7') strange("a size is no number");
    out = out * 8 + static_cast<uint64_t>(c - '0');
  }
  return out;
}

}  // namespace

void PlainTar::write(std::string_view bytes) {
  while (!bytes.empty() && !ended()) {
    if (left_ > 0) {
      const std::string_view some = bytes.substr(0, std::min<uint64_t>(left_, bytes.size()));
      handler_.data(some);
      left_ -= some.size();
      bytes.remove_prefix(some.size());
    } else if (padding_ > 0) {
      const size_t some = std::min<uint64_t>(padding_, bytes.size());
      padding_ -= some;
      bytes.remove_prefix(some);
    } else {
      const size_t some = std::min(kTarBlock - block_.size(), bytes.size());
      block_.append(bytes.substr(0, some));
      bytes.remove_prefix(some);
      if (block_.size() == kTarBlock) header();
    }
    if (inFile_ && left_ == 0) {
      inFile_ = false;
      handler_.end();
    }
  }
}

void PlainTar::header() {
  const std::string block = std::exchange(block_, {});
  if (block.find_first_not_of('\0') == std::string::npos) {
    ++zeros_;
    return;
  }
  const std::string_view view = block;
  constexpr size_t kSize = 124, kSum = 148, kSumSize = 8, kType = 156;
  uint64_t sum = 0;
  for (size_t i = 0; i < block.size(); ++i) sum += i >= kSum && i < kSum + kSumSize ? ' ' : static_cast<unsigned char>(block[i]);
  if (zeros_ > 0 || sum != sizeOf(view.substr(kSum, kSumSize)) || block[kType] != '0') strange("a header of it is no plain file's");
  left_ = sizeOf(view.substr(kSize, 12));
  padding_ = (kTarBlock - left_ % kTarBlock) % kTarBlock;
  inFile_ = true;
  handler_.begin(block.substr(0, std::min<size_t>(block.find('\0'), 100)), left_);
}

std::unique_ptr<ExportSink> archiveSink(const std::string& path) { return std::make_unique<ArchiveSink>(path); }
std::unique_ptr<ExportSink> layoutSink(const std::string& path) { return std::make_unique<LayoutSink>(path); }

std::unique_ptr<ExportSink> openExportSink(const ExportTarget& target) {
  return target.kind == ExportTarget::Kind::archive ? archiveSink(target.path) : layoutSink(target.path);
}

}  // namespace rauha::cli
