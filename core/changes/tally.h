#pragma once
// Keeps the list of changes within its limit and the totals exact, and says of each change whether it is noise or protected.
// Owner: the collector.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/changes/change.h"

namespace rauha::changes {

class Tally final {
 public:
  // hookPaths: where the host's own repository has its hooks (git_directories.h).
  Tally(uint64_t limit, uint64_t textBytes, std::span<const std::string> protectedPatterns, std::vector<std::string> hookPaths = {})
      : limit_(limit), textBytes_(textBytes), patterns_(protectedPatterns), hookPaths_(std::move(hookPaths)) {}
  void add(Change change);
  // Turns pairs of the list into renames: the deleted halves leave it.
  void findRenames(int base, uint64_t bytes, uint64_t holeBytes);
  // Marks what would make git take a directory of the resulting tree for a repository, or steer one that is none by its name; what is not
  // harmless in git's stores of objects; and indexes that say something else than before. layer: the kept one, which has the new contents.
  void protectRepositories(int base, int layer);
  // Moves totals, list and noise groups out.
  void finish(ChangeSet& out);

  bool truncated() const noexcept { return truncated_; }
  bool textExceeded() const noexcept { return textUsed_ > textBytes_; }
  uint64_t count() const noexcept { return totals_.count(); }

 private:
  void classify(Change& change) const;
  std::string_view pathReason(std::string_view path) const;
  std::string_view pathReasonAbove(std::string_view path) const;
  // Another reason and group of noise for one of the list.
  void turn(Change& change, std::string_view noise, std::string_view reason);
  void judgeIndex(Change& change, int base, int layer);
  void account(const Change& change, bool add);

  const uint64_t limit_, textBytes_;
  uint64_t textUsed_ = 0;
  const std::span<const std::string> patterns_;
  const std::vector<std::string> hookPaths_;
  std::vector<Change> changes_;
  Totals totals_;
  std::map<std::string_view, NoiseGroup> noise_;
  bool truncated_ = false;
};

// The attributes in which two states of one type differ, without content and target.
uint8_t differing(const FileState& a, const FileState& b);

}  // namespace rauha::changes
