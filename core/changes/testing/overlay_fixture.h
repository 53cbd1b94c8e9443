#pragma once
// For tests of change sets: a tree, an overlay mount over it, and a plain way to look at and change trees.
//
// Everything is on a tmpfs in a mount namespace of the test process's own, so nothing is left behind however it ends. Needs root.

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "core/changes/collector.h"

namespace rauha::changes::testing {

// One entry as a reader sees it; equal when nothing can tell the two apart but inode and change time.
struct Seen {
  FileType type = FileType::none;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  int64_t mtimeNs = 0;
  std::string content;  // or the link's text
  std::vector<std::pair<std::string, std::string>> xattrs;
  bool operator==(const Seen&) const = default;
};
using Snapshot = std::map<std::string, Seen>;

// Without the top itself.
Snapshot snapshot(const std::string& top);
// "" or the first differences, for people.
std::string difference(const Snapshot& expected, const Snapshot& actual);

void makeDirectories(const std::string& path);
void write(const std::string& path, const std::string& content, unsigned mode = 0644);
std::string read(const std::string& path);
void removeAll(const std::string& path);
void copyTree(const std::string& from, const std::string& to);  // with owners, modes, times, attributes
void setMtime(const std::string& path, int64_t ns);
UniqueFd openTop(const std::string& path);

// What apply does, in its plainest form: makes `tree`, which is as the base was, what the set says. layer: the kept one.
void applyTo(const std::string& tree, const ChangeSet& set, const std::string& layer);
const Change* find(const ChangeSet& set, const std::string& path);

class OverlayTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // lowers: from the top down. The layer that the writes go to is `upper`.
  void mountOverlay(const std::vector<std::string>& lowers, const std::string& upper);
  void mountReadOnly(const std::vector<std::string>& lowers);
  void unmount();
  // Makes an empty directory below the fixture's and returns its path.
  std::string fresh(const std::string& name);
  // Collects `upper` against `base`, into a fresh destination.
  ChangeSet collectLayer(const std::string& upper, const std::string& predecessor = {});
  // Of the last collectLayer.
  std::string keptLayer() const { return destination_ + "/layer"; }

  std::string top_, base_, merged_, destination_;
  Input input_;

 private:
  int counter_ = 0;
  bool mounted_ = false;
};

}  // namespace rauha::changes::testing
