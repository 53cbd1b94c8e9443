#pragma once
// Both sides' contents of the changes that one call of `rauha diff` shows, within limits: of a side, and of the whole call. What is beyond
// them is named, and counted; nothing is cut.

#include <cstdint>
#include <string>

#include "frontends/cli/changes/change.h"
#include "frontends/cli/changes/patch.h"
#include "frontends/cli/changes/tree.h"

namespace rauha::cli {

struct Loaded {
  Side before, after;
  std::string omitted;       // content is not here, and why; sides are then not to be compared
  bool hostDiffers = false;  // the host's file is not what the task saw
  bool already = false;      // … but what the task left
};
inline constexpr const char* kAlready = "already in your tree";

struct LoadLimits {
  uint64_t side = 0, call = 0;  // bytes
  // Binary content, whose size is all that is shown of it: a NUL byte among the first ones, or a hole. Else it is not read.
  bool wholeBinaries = false;
};
LoadLimits textLimits() noexcept;   // for people: text, --stat
LoadLimits patchLimits() noexcept;  // git holds a patch in memory several times

class Loader final {
 public:
  // tree: null when the host's tree is not there.
  Loader(const Tree* tree, ContentSource& source, const LoadLimits& limits) : tree_(tree), source_(source), limits_(limits) {}
  const LoadLimits& limits() const noexcept { return limits_; }
  // Throws Error when the layer cannot be read.
  Loaded load(const Change& change);
  // "" or what the limit of the call left out, with exact counts.
  std::string leftOut() const;

 private:
  friend class Loading;
  bool take(uint64_t bytes);

  const Tree* tree_;
  ContentSource& source_;
  const LoadLimits limits_;
  uint64_t taken_ = 0, leftChanges_ = 0, leftBytes_ = 0;
};

// Does it need its contents to be shown?
bool needsContent(const Change& change);

}  // namespace rauha::cli
