#include "core/changes/tally.h"

#include <sys/stat.h>

#include <algorithm>

#include "core/base/cache_paths.h"
#include "core/base/fd.h"
#include "core/base/git_index.h"
#include "core/base/protected_paths.h"
#include "core/changes/git_directories.h"
#include "core/changes/git_index_verdict.h"
#include "core/changes/noise.h"
#include "core/changes/renames.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

// What the file can do whatever its name is.
std::string_view dangerousState(const FileState& s) {
  if (s.type != FileType::regular) return {};
  if ((s.mode & S_ISUID) != 0) return "set-user-ID";
  if ((s.mode & S_ISGID) != 0) return "set-group-ID";
  for (const auto& [name, value] : s.xattrs)
    if (name == "security.capability") return "file capability";
  return {};
}

// Newly so. A link's mode means nothing.
bool letsEverybodyWrite(const Change& c) {
  const bool isNew = c.kind != Kind::modified || ((c.fields & kMode) != 0 && (c.before.mode & S_IWOTH) == 0);
  return isNew && (c.after.mode & S_IWOTH) != 0 && c.after.type != FileType::symlink && c.after.type != FileType::none;
}

bool newContent(const Change& c) {
  return c.after.type == FileType::regular && (c.kind == Kind::added || c.kind == Kind::typeChanged || (c.fields & kContent) != 0);
}

// Empty also where it is not there or too large: both are no index.
std::string readBeneath(int directory, const std::string& path) {
  const UniqueFd fd = openRegularBeneath(directory, path);
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || static_cast<uint64_t>(st.st_size) > kMostGitIndexBytes) return {};
  return readAll(fd.get(), path, kMostGitIndexBytes);
}

bool oldContentGone(const Change& c) {
  return c.before.type == FileType::regular && (c.kind == Kind::deleted || c.kind == Kind::typeChanged || (c.fields & kContent) != 0);
}

void step(uint64_t& number, bool add, uint64_t by = 1) { number = add ? number + by : number - by; }

}  // namespace

uint8_t differing(const FileState& a, const FileState& b) {
  uint8_t out = 0;
  if (a.mode != b.mode && a.type != FileType::symlink) out |= kMode;
  if (a.uid != b.uid || a.gid != b.gid) out |= kOwner;
  if (a.xattrs != b.xattrs) out |= kXattrs;
  if (a.mtimeNs != b.mtimeNs) out |= kMtime;
  return out;
}

std::string_view Tally::pathReason(std::string_view path) const {
  const auto reason = protectedReason(path, patterns_);
  const auto isHook = [&](const std::string& hooks) { return isAtOrBelow(path, hooks); };
  if (reason.empty() && std::any_of(hookPaths_.begin(), hookPaths_.end(), isHook)) return "git hook";
  return reason;
}

// Of what moves another place to where protected paths are.
std::string_view Tally::pathReasonAbove(std::string_view path) const {
  const auto hasHooks = [&](const std::string& hooks) { return isAtOrBelow(hooks, path); };
  if (std::any_of(hookPaths_.begin(), hookPaths_.end(), hasHooks)) return "git hook";
  return ancestorReason(path, patterns_);
}

void Tally::classify(Change& c) const {
  c.noise = c.reason = {};
  if (c.kind == Kind::modified && c.fields == kMtime) {
    c.noise = kTimes;
    return;
  }
  c.reason = pathReason(c.path);
  if (c.reason.empty() && c.kind == Kind::renamed) c.reason = pathReason(c.from);
  if (c.reason.empty()) c.reason = dangerousState(c.after);
  // A link that only changed its owner or time leads where it led.
  const bool leads = c.kind != Kind::modified || (c.fields & kTarget) != 0;
  const bool link = leads && c.after.type == FileType::symlink;
  if (c.reason.empty() && link && linkLeavesTree(c.path, c.after.target)) c.reason = kLinkOut;
  if (c.reason.empty() && (link || c.kind == Kind::typeChanged)) c.reason = pathReasonAbove(c.path);
  if (c.reason.empty() && letsEverybodyWrite(c)) c.reason = kWorldWritable;
  // What can run code is never hidden among the noise.
  if (!c.reason.empty()) return;
  const auto group = noiseGroup(c.path);
  // The index is refreshed by looking; that one came or went says more.
  if (group == kGitIndex && c.kind != Kind::modified) return;
  if (c.kind == Kind::renamed && noiseGroup(c.from).empty()) return;
  c.noise = group;
  // Compressed; whether there is a NUL in it is chance.
  if (group == ".git/objects") c.binary = true;
}

void Tally::account(const Change& c, bool add) {
  switch (c.kind) {
    case Kind::added:
      step(totals_.added, add);
      break;
    case Kind::modified:
      step(totals_.modified, add);
      break;
    case Kind::deleted:
      step(totals_.deleted, add);
      break;
    case Kind::typeChanged:
      step(totals_.typeChanged, add);
      break;
    case Kind::renamed:
      step(totals_.renamed, add);
      break;
  }
  const uint64_t more = newContent(c) ? c.after.size : 0, less = oldContentGone(c) ? c.before.size : 0;
  step(totals_.addedBytes, add, more);
  step(totals_.deletedBytes, add, less);
  if (!c.reason.empty()) step(totals_.protectedCount, add);
  if (c.noise.empty()) return;
  step(totals_.noise, add);
  auto& group = noise_[c.noise];
  group.name = c.noise;
  step(group.changes, add);
  step(group.bytes, add, more + less);
}

void Tally::add(Change change) {
  classify(change);
  account(change, true);
  textUsed_ += textBytes(change);
  if (changes_.size() >= limit_ || textUsed_ > textBytes_)
    truncated_ = true;
  else
    changes_.push_back(std::move(change));
}

void Tally::findRenames(int base, uint64_t bytes, uint64_t holeBytes) {
  const auto pairs = changes::findRenames(changes_, base, bytes, holeBytes);
  if (pairs.empty()) return;
  std::vector<bool> leaves(changes_.size(), false);
  for (const auto& [deleted, added] : pairs) {
    Change& from = changes_[deleted];
    Change& to = changes_[added];
    account(from, false);
    account(to, false);
    to.kind = Kind::renamed;
    to.from = std::move(from.path);
    to.before = std::move(from.before);
    to.fields = differing(to.before, to.after);
    to.hostChanged = from.hostChanged;
    classify(to);
    account(to, true);
    leaves[deleted] = true;
  }
  std::vector<Change> rest;
  rest.reserve(changes_.size() - pairs.size());
  for (size_t i = 0; i < changes_.size(); ++i)
    if (!leaves[i]) rest.push_back(std::move(changes_[i]));
  changes_ = std::move(rest);
}

void Tally::turn(Change& change, std::string_view noise, std::string_view reason) {
  account(change, false);
  change.noise = noise;
  change.reason = reason;
  account(change, true);
}

void Tally::protectRepositories(int base, int layer) {
  for (const auto& [index, reason] : gitDirectoryChanges(changes_, base, layer))
    if (changes_[index].reason.empty()) turn(changes_[index], {}, reason);
  for (auto& change : changes_)
    if (isGitIndex(change.path) && change.reason.empty() && (newContent(change) || change.kind == Kind::renamed))
      judgeIndex(change, base, layer);
}

void Tally::judgeIndex(Change& change, int base, int layer) {
  const std::string before = change.kind == Kind::modified ? readBeneath(base, change.path) : std::string();
  const std::string after = readBeneath(layer, change.path);
  // Of a work tree whose place is known by the index's.
  constexpr std::string_view kOwn = ".git/index";
  const std::string top = change.path.ends_with(kOwn) ? change.path.substr(0, change.path.size() - kOwn.size()) : std::string();
  const auto verdict = changes::judgeIndex(before, after, [&](std::string_view path) {
    if (const auto reason = pathReason(top + std::string(path)); !reason.empty()) return reason;
    return cacheGroup(path);
  });
  if (!verdict.same || !verdict.reason.empty()) turn(change, {}, verdict.reason);
}

void Tally::finish(ChangeSet& out) {
  out.totals = totals_;
  out.truncated = truncated_;
  out.changes = std::move(changes_);
  for (const auto& [name, group] : noise_)
    if (group.changes > 0) out.noise.push_back(group);
}

}  // namespace rauha::changes
