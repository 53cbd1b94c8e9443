#include "core/changes/tally.h"

#include <sys/stat.h>

#include "core/base/protected_paths.h"
#include "core/changes/git_directories.h"
#include "core/changes/noise.h"
#include "core/changes/renames.h"

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

bool newContent(const Change& c) {
  return c.after.type == FileType::regular && (c.kind == Kind::added || c.kind == Kind::typeChanged || (c.fields & kContent) != 0);
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

void Tally::classify(Change& c) const {
  c.noise = c.reason = {};
  if (c.kind == Kind::modified && c.fields == kMtime) {
    c.noise = kTimes;
    return;
  }
  c.reason = protectedReason(c.path, patterns_);
  if (c.reason.empty() && c.kind == Kind::renamed) c.reason = protectedReason(c.from, patterns_);
  if (c.reason.empty() && !hooksPath_.empty() && isAtOrBelow(c.path, hooksPath_)) c.reason = "git hook";
  if (c.reason.empty()) c.reason = dangerousState(c.after);
  // A link that only changed its owner or time leads where it led.
  const bool leads = c.kind != Kind::modified || (c.fields & kTarget) != 0;
  if (c.reason.empty() && leads && c.after.type == FileType::symlink && linkLeavesTree(c.path, c.after.target)) c.reason = kLinkOut;
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

void Tally::protectRepositories(int base) {
  for (const auto& [index, reason] : gitDirectoryChanges(changes_, base)) {
    Change& change = changes_[index];
    if (!change.reason.empty()) continue;
    account(change, false);
    change.noise = {};
    change.reason = reason;
    account(change, true);
  }
}

void Tally::finish(ChangeSet& out) {
  out.totals = totals_;
  out.truncated = truncated_;
  out.changes = std::move(changes_);
  for (const auto& [name, group] : noise_)
    if (group.changes > 0) out.noise.push_back(group);
}

}  // namespace rauha::changes
