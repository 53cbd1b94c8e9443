#pragma once
// Writes the kept layer: directories when something in them needs one, whiteouts, copies and hard links.
//
// When a limit is crossed or the disk is full the writer gives up: it stops writing, and what it is asked to keep is only digested. The
// collector then removes what there is. Owner: the collector; one thread, and that of the FileMaker once there are many files.
//
// A file with several names is written once: what a layer takes is bounded by what the task's scratch holds, however many names that has.
// Memory for it: a record a file, of which the bytes that may be kept allow some 250 a MiB.

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/base/fd.h"
#include "core/changes/content.h"
#include "core/changes/file_maker.h"
#include "core/changes/tree.h"

namespace rauha::changes {

class LayerWriter;

// Where a directory of the layer is: found again without a descriptor for each.
struct LayerPlace {
  std::shared_ptr<const LayerPlace> parent;  // null: the top
  std::string name;
};

// A directory of the layer, made when it is first needed. Lives on the stack of the walk, inside its parent.
class LayerDirectory final {
 public:
  LayerDirectory(LayerWriter& writer, LayerDirectory& parent, std::string name, const Keep& keep)
      : writer_(writer), parent_(&parent), name_(std::move(name)), keep_(keep) {}
  // The top: is there already.
  LayerDirectory(LayerWriter& writer, UniqueFd top) : writer_(writer), fd_(std::make_shared<const UniqueFd>(std::move(top))) {}
  // Makes it and its parents. -1: the writer gave up.
  int need();
  // After everything in it: owner, mode, attributes, time.
  void finish();
  // Null: the top.
  std::shared_ptr<const LayerPlace> place();
  // The top's descriptor.
  int top() const noexcept { return parent_ != nullptr ? parent_->top() : fd_->get(); }

 private:
  LayerWriter& writer_;
  LayerDirectory* parent_ = nullptr;
  std::string name_;
  Keep keep_;
  FileMaker::Directory fd_;
  std::shared_ptr<const LayerPlace> place_;
  friend class LayerWriter;
};

class LayerWriter final {
 public:
  // filesAlone: how many files are made before a thread is started for the others.
  LayerWriter(uint64_t bytes, uint64_t filesAlone) : most_(bytes), filesAlone_(filesAlone) { budget_.left = bytes; }
  // After everything: waits for what is not made yet. Throws what went wrong there.
  void finish();
  bool writing() const noexcept { return gaveUp_.empty(); }
  const std::string& gaveUp() const noexcept { return gaveUp_; }
  void giveUp(std::string why);
  // Can another layer be put on this one? Not when the file system took no whiteout or no attribute.
  const std::string& weakness() const noexcept { return weakness_; }
  uint64_t diskBytes() const noexcept { return diskBytes_; }

  void whiteout(LayerDirectory& in, const std::string& name);
  // A regular file from an open descriptor. Digests it in any case.
  Content file(LayerDirectory& in, const std::string& name, int from, const struct stat& st, const Keep& keep, uint64_t holeBytes);
  void symlink(LayerDirectory& in, const std::string& name, const std::string& target, const Keep& keep);
  void fifo(LayerDirectory& in, const std::string& name, const Keep& keep);
  // What file() found in this inode under another name: it has not to be read again for each of its names. Absent: small, or not seen.
  std::optional<Content> digested(const struct stat& st) const;
  // A file or link of another layer of ours. False: it has to be copied.
  bool link(LayerDirectory& in, const std::string& name, int fromDirectory, const struct stat& st);

 private:
  friend class LayerDirectory;
  // -1: full. Anything else is thrown.
  bool made(int result, const std::string& name);
  void dressDirectory(FileMaker::Directory directory, const std::string& name, const Keep& keep);
  bool forMaker(const struct stat& st);
  Content handOver(LayerDirectory& in, const std::string& name, int from, const struct stat& st, const Keep& keep);
  void giveUpFull(int error);
  void dressUnopened(int directory, const std::string& name, const Keep& keep);
  void entryMade();
  void tooLarge();
  void remember(const struct stat& st, const Content& content);

  struct Kept {
    std::string firstName;
    std::shared_ptr<const LayerPlace> firstDirectory;
    Content content;
  };
  // Another name for a file that is kept already. False: it has as many as the file system allows.
  bool anotherName(LayerDirectory& in, const std::string& name, const Kept& kept);
  int reopened(LayerDirectory& in, const std::shared_ptr<const LayerPlace>& place);

  const uint64_t most_, filesAlone_;
  uint64_t files_ = 0;
  WriteBudget budget_;
  std::string gaveUp_, weakness_;
  uint64_t diskBytes_ = 0;
  // Files with several names in the upper layer, by device and inode.
  std::map<std::pair<uint64_t, uint64_t>, Kept> linked_;
  // Files of another layer with several names there, that count already.
  std::set<std::pair<uint64_t, uint64_t>> counted_;
  // The directory that was last opened again.
  std::shared_ptr<const LayerPlace> openedPlace_;
  UniqueFd opened_;
  std::map<std::pair<uint64_t, uint64_t>, Content> digested_;
  // All whiteouts are one inode with many names, as overlayfs itself makes them; the last one that was made.
  UniqueFd whiteoutDirectory_;
  std::string whiteoutName_;
  std::unique_ptr<FileMaker> maker_;
};

}  // namespace rauha::changes
