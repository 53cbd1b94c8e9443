#pragma once
// The walk of the collector: what the task saw (its layer over its predecessor's over the host's tree) against the host's tree alone, and
// the one layer that says the same over the host's tree.
//
// Only directories that a layer mentions are entered, so the cost is that of the changes, not of the repository; a directory of the host is
// read whole only where it was deleted or hidden. Owner: collect(); one thread.

#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/changes/change_set_message.h"
#include "core/changes/collector.h"
#include "core/changes/layer_writer.h"
#include "core/changes/tally.h"
#include "core/changes/tree.h"

namespace rauha::changes {

class Merge final {
 public:
  // Descriptors are borrowed and readable directories; predecessor -1: none. known: of the predecessor's manifest.
  Merge(const Input& input, int base, int upper, int predecessor, KnownContents known, LayerWriter& writer, Tally& tally);
  void run(UniqueFd layer);
  bool tooDeep() const noexcept { return tooDeep_; }
  bool tooLong() const noexcept { return tooLong_; }
  // One line for each thing that could not be carried over.
  std::vector<std::string> notes() const;

 private:
  // One entry of a layer: of the upper one, whose owners are raw ids, or of the predecessor's, whose owners are the zone's.
  struct LayerEntry {
    struct stat st {};
    Attributes attributes;
    Xattrs kept, shown;       // with ACLs: by the zone's ids, by the host's
    bool foreignAcl = false;  // an ACL names somebody who has no id in the zone: it is in neither
    int directory = -1;
    bool fromUpper = true;
    bool whiteout() const {
      return (S_ISCHR(st.st_mode) && st.st_rdev == 0) || (attributes.whiteout && S_ISREG(st.st_mode) && st.st_size == 0);
    }
    bool isDirectory() const { return S_ISDIR(st.st_mode); }
  };
  // A directory of the merged tree that a layer mentions.
  struct Frame {
    std::string prefix;  // "" or "a/b/"
    uint32_t depth;
    int base, upper, predecessor;
    bool baseShows;  // what no layer mentions is the base's; false: a layer hides the base's directory
    bool moved;      // the base's directory, or one above it, may not be the one that the task saw
    LayerDirectory& kept;
  };
  // Did a directory of the base come from elsewhere, with what is in it? untold: its time says nothing, since a predecessor wrote there and
  // may have been applied.
  enum class Moved : uint8_t { no, yes, untold };

  std::vector<std::string> entries(const Frame& frame) const;
  std::optional<LayerEntry> layerEntry(int directory, const std::string& name, const std::string& path, bool upper);
  void translateAcls(LayerEntry& entry);
  void keepHostsAttributes(const LayerEntry& entry, Change& change);
  bool namesStrangers(const FileState& state) const;
  bool tooLong(const std::string& path);
  uint64_t holeAllowance(const struct stat& st);
  void directory(Frame& frame);
  void entry(Frame& frame, const std::string& name);
  void directoryEntry(Frame& frame, const std::string& name, const LayerEntry& top, const std::optional<LayerEntry>& below,
                      const std::optional<struct stat>& base);
  void leaf(Frame& frame, const std::string& name, const LayerEntry& top, const std::optional<struct stat>& base);
  void keepLeaf(Frame& frame, const std::string& name, const LayerEntry& top, Change& change);
  void keepRegular(Frame& frame, const std::string& name, const LayerEntry& top, Change& change);
  void gone(Frame& frame, const std::string& name, const struct stat& base, Moved moved);
  // Lists what the base has at `name` as deleted, with everything below.
  void listDeleted(int directory, const std::string& name, const std::string& path, const struct stat& st, uint32_t depth, Moved moved);
  void listDeletedIn(int directory, const std::string& name, const std::string& path, const struct stat& st, uint32_t depth, Moved moved);
  bool hostChanged(const FileState& before, bool moved) const;

  FileState baseState(int directory, const std::string& name, const struct stat& st);
  FileState layerState(const LayerEntry& entry, const std::string& name);
  void compareIndexes(int old, int now, Change& change) const;
  void compareContent(int base, const std::string& name, const struct stat& st, const LayerEntry& top, Change& change);
  Keep keepOf(const LayerEntry& entry) const;
  std::optional<uint32_t> zoneId(uint32_t raw) const noexcept;
  std::pair<uint32_t, uint32_t> zoneIds(const LayerEntry& entry) const;
  void checkCancelled();

  const Input& input_;
  const int base_, upper_, predecessor_;
  const KnownContents known_;
  LayerWriter& writer_;
  Tally& tally_;
  uint64_t visited_ = 0;
  uint64_t holesLeft_;
  bool tooDeep_ = false, tooLong_ = false;
  mutable uint64_t foreignOwners_ = 0;
  const bool userAttributes_, accessLists_;  // can the task's layer hold them?
  uint64_t specials_ = 0;
  // Whose attributes are the host's, whatever the layer says; with the first paths.
  struct Kept {
    uint64_t count = 0;
    std::string paths;
    void add(const std::string& path);
    std::string text() const;
  } acls_, unheld_;
};

}  // namespace rauha::changes
