#include "frontends/cli/changes/diff.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_set>

#include "core/base/cache_paths.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {
namespace {

constexpr size_t kGraphWidth = 40;
constexpr size_t kNamed = 10;

std::string octal(uint32_t mode) {
  char text[8];
  snprintf(text, sizeof text, "%04o", mode);
  return text;
}

// Would git, or who reads "new directory", expect another mode?
bool isUnusual(const Change& change) {
  if (change.kind != ChangeKind::added && (change.kind != ChangeKind::typeChanged || change.fields.mode)) return false;
  const uint32_t withoutGroup = change.after.mode & ~020U;
  if (change.after.type == FileType::directory) return withoutGroup != 0755;
  return change.after.type == FileType::regular && withoutGroup != 0644 && withoutGroup != 0755;
}

// Which new contents are about to be opened.
std::vector<std::string> opened(const std::vector<const Change*>& changes, uint64_t limit) {
  std::vector<std::string> out;
  for (const Change* change : changes)
    if (change->after.type == FileType::regular && change->after.size <= limit && needsContent(*change)) out.push_back(change->path);
  return out;
}

const char* nounOf(FileType type) {
  switch (type) {
    case FileType::directory:
      return "directory";
    case FileType::symlink:
      return "symbolic link";
    case FileType::special:
      return "special file";
    default:
      return "file";
  }
}

std::string verbOf(const Change& change) {
  const FileType type = change.after.type == FileType::none ? change.before.type : change.after.type;
  switch (change.kind) {
    case ChangeKind::added:
      return std::string("new ") + nounOf(type);
    case ChangeKind::deleted:
      return std::string("deleted ") + nounOf(type);
    case ChangeKind::typeChanged:
      return std::string(nounOf(change.before.type)) + " -> " + nounOf(change.after.type);
    case ChangeKind::renamed:
      return "renamed";
    case ChangeKind::modified:
      break;
  }
  return "changed";
}

// Bytes of a diff for a terminal: line breaks and tabs stay, the rest cannot steer it.
std::string forTerminal(std::string_view line) {
  std::string out;
  for (;;) {
    const size_t tab = line.find('\t');
    std::string part = printable(line.substr(0, tab));
    out += part;
    if (tab == std::string_view::npos) return out;
    out += '\t';
    line.remove_prefix(tab + 1);
  }
}

Colour colourOf(std::string_view line) {
  if (line.empty()) return Colour::none;
  if (line.rfind("diff --git", 0) == 0 || line.rfind("+++ ", 0) == 0 || line.rfind("--- ", 0) == 0) return Colour::bold;
  if (line.rfind("@@", 0) == 0) return Colour::dim;
  if (line.front() == '+') return Colour::green;
  return line.front() == '-' ? Colour::red : Colour::none;
}

std::string namedPaths(const std::vector<std::string>& paths) {
  std::string out;
  for (size_t i = 0; i < paths.size() && i < kNamed; ++i) out += (i == 0 ? "" : ", ") + quotePath(paths[i]);
  if (paths.size() > kNamed) out += " and " + std::to_string(paths.size() - kNamed) + " more";
  return out;
}

bool sameAcl(const FileState& a, const FileState& b) {
  const auto acls = [](const FileState& state) {
    std::vector<Xattr> out;
    std::copy_if(state.xattrs.begin(), state.xattrs.end(), std::back_inserter(out), [](const Xattr& x) { return isAcl(x.name); });
    return out;
  };
  return acls(a) == acls(b);
}

struct Row {
  std::string path;
  LineCounts counts;
  std::string instead;  // of a graph
};

std::string graph(const LineCounts& counts, size_t most) {
  const size_t all = counts.added + counts.removed;
  const auto scaled = [&](size_t n) { return most <= kGraphWidth ? n : n == 0 ? size_t{0} : std::max<size_t>(1, n * kGraphWidth / most); };
  return std::to_string(all) + " " + std::string(scaled(counts.added), '+') + std::string(scaled(counts.removed), '-');
}

}  // namespace

std::vector<const Change*> protectedFirst(std::vector<const Change*> changes) {
  std::stable_partition(changes.begin(), changes.end(), [](const Change* change) { return !protectionOf(*change).empty(); });
  return changes;
}

char letterOf(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::added:
      return 'A';
    case ChangeKind::modified:
      return 'M';
    case ChangeKind::deleted:
      return 'D';
    case ChangeKind::typeChanged:
      return 'T';
    case ChangeKind::renamed:
      break;
  }
  return 'R';
}

std::string metadataText(const Change& change) {
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : ", ") + text; };
  const auto owner = [](const FileState& s) { return std::to_string(s.uid) + ":" + std::to_string(s.gid); };
  if (isUnusual(change)) add("mode " + octal(change.after.mode));
  if (change.fields.mode) add("mode " + octal(change.before.mode) + " -> " + octal(change.after.mode));
  if (change.fields.owner) add("owner " + owner(change.before) + " -> " + owner(change.after));
  const bool acl = !sameAcl(change.before, change.after) && change.after.type != FileType::none;
  if (acl) add("access control list");
  if (change.fields.xattrs && !(acl && change.before.xattrs.size() + change.after.xattrs.size() == 1)) add("extended attributes");
  if (change.fields.mtime && out.empty() && change.fields.metadataOnly()) add("time");
  return out;
}

std::string DiffPrinter::shown(const std::string& path) const { return quotePath(path); }

// Whole lines.
void DiffPrinter::putDiff(std::string_view rest) const {
  if (!terminal_) return out_(rest);
  std::string out;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    out += style_.paint(colourOf(rest.substr(0, end)), forTerminal(rest.substr(0, end))) + "\n";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  out_(out);
}

std::string DiffPrinter::tooManyLines(const Loaded& sides) const {
  const size_t lines = linesToCompare(sides.before, sides.after);
  if (lines > kComparedLines) return "too large to compare: " + std::to_string(lines) + " lines differ or lie between";
  return lines > work_.lines ? "not compared: the files before it had too many lines" : std::string();
}

void DiffPrinter::oneText(const Change& change, Loader& loader) {
  std::string head = "# " + shown(change.path) + ": " + verbOf(change);
  if (!change.from.empty()) head += " from " + shown(change.from);
  if (const std::string metadata = metadataText(change); !metadata.empty()) head += ", " + metadata;
  if (const std::string why = protectionOf(change); !why.empty()) head += style_.paint(Colour::yellow, ", protected: " + printable(why));
  if (change.hostChanged) head += ", " + meanwhile_;
  Loaded sides = loader.load(change);
  if (sides.omitted.empty()) sides.omitted = tooManyLines(sides);
  if (sides.hostDiffers) head += style_.paint(Colour::yellow, ", the host's file changed since the task began");
  if (!sides.omitted.empty()) head += ", " + sides.omitted;
  if (sides.already && sides.omitted.empty()) head += std::string(", ") + kAlready;
  out_(head + "\n");
  if (sides.omitted.empty())
    writePatch(change.path, change.from, sides.before, sides.after, BinaryForm::named, work_,
               [this](std::string_view lines) { putDiff(lines); });
}

// One line a group tells of it; not of what was named as it is, or is in a named cache or part of `.git`.
bool DiffPrinter::grouped(const Change& change, bool all) const {
  if (all || change.noise.empty() || !protectionOf(change).empty()) return false;
  return std::none_of(paths_.begin(), paths_.end(), [&](const std::string& path) {
    return isAtOrBelow(change.path, path) && (change.path == path || !cacheGroup(path).empty() || isInsideGit(path));
  });
}

// Protected ones first, without what is grouped as noise.
std::vector<const Change*> DiffPrinter::worthALook(const std::vector<const Change*>& changes, bool all) {
  auto out = protectedFirst(changes);
  std::erase_if(out, [&](const Change* change) { return grouped(*change, all); });
  source_.expect(opened(out, textLimits().side));
  return out;
}

void DiffPrinter::text(const std::vector<const Change*>& changes, bool all) {
  Loader loader(tree_, source_, textLimits());
  for (const Change* change : worthALook(changes, all)) oneText(*change, loader);
  noiseLines(changes, all);
  if (const std::string left = loader.leftOut(); !left.empty()) note_(left);
}

void DiffPrinter::noiseLines(const std::vector<const Change*>& changes, bool all) {
  std::map<std::string, std::pair<size_t, uint64_t>> groups;
  for (const Change* change : changes) {
    if (!grouped(*change, all)) continue;
    auto& [count, bytes] = groups[change->noise];
    ++count;
    bytes += change->after.size;
  }
  for (const auto& [name, group] : groups)
    out_(style_.paint(Colour::dim, "# " + printable(name) + ": " + std::to_string(group.first) +
                                       (group.first == 1 ? " change, " : " changes, ") + formatBytes(group.second) +
                                       " (--all shows them)") +
         "\n");
}

bool DiffPrinter::patch(const std::vector<const Change*>& all, bool caches) {
  bool whole = true;
  std::map<std::string, std::vector<std::string>> left;  // what is not said -> paths
  std::vector<const Change*> changes;
  std::vector<std::string> dangerous;
  for (const Change* change : all) {
    const bool planted = !caches && change->after.type != FileType::none && !cacheGroup(change->path).empty();
    if (planted)
      left["caches, whose content tools run (--all has them)"].push_back(change->path);
    else
      changes.push_back(change);
    if (!planted && !protectionOf(*change).empty()) dangerous.push_back(change->path);
  }
  source_.expect(opened(changes, patchLimits().side));
  Loader loader(tree_, source_, patchLimits());
  for (const Change* change : changes) {
    if (isInsideGit(change->path) || (!change->from.empty() && isInsideGit(change->from))) {
      left["inside of .git, which git apply refuses"].push_back(change->path);
      continue;
    }
    for (const auto& what : unsaid(*change)) left[what].push_back(change->path);
    if (change->fields.mtime && change->fields.metadataOnly() && metadataText(*change) == "time") left["time"].push_back(change->path);
    const Loaded sides = loader.load(*change);
    if (sides.hostDiffers) note_("the host's file changed since the task began: " + shown(change->path));
    if (sides.already && !sides.omitted.empty()) {
      left[kAlready].push_back(change->path);
      continue;
    }
    if (!sides.omitted.empty()) {
      note_("not in the patch: " + shown(change->path) + ": " + sides.omitted);
      whole = false;
      continue;
    }
    writePatch(change->path, change->from, sides.before, sides.after, BinaryForm::literal, work_,
               [this](std::string_view lines) { putDiff(lines); });
  }
  // A directory is there when something in it is.
  std::unordered_set<std::string> filled;
  for (const Change* change : changes) {
    if (change->after.type == FileType::none || change->after.type == FileType::directory) continue;
    for (std::string parent = parentOf(change->path); !parent.empty() && filled.insert(parent).second;) parent = parentOf(parent);
  }
  for (const Change* change : changes)
    if (change->after.type == FileType::directory && change->before.type != FileType::directory && filled.count(change->path) == 0)
      left["empty directory"].push_back(change->path);
  if (const std::string beyond = loader.leftOut(); !beyond.empty()) note_(beyond);
  for (const auto& [what, paths] : left) note_("not in the patch: " + what + ": " + namedPaths(paths));
  if (!dangerous.empty()) note_("the patch has what can run code on this machine: " + namedPaths(dangerous));
  return whole;
}

void DiffPrinter::stat(const std::vector<const Change*>& changes, bool all) {
  std::vector<Row> rows;
  size_t width = 0, most = 0;
  Loader loader(tree_, source_, textLimits());
  for (const Change* change : worthALook(changes, all)) {
    Row row{shown(change->path), {}, {}};
    if (!change->from.empty()) row.path = shown(change->from) + " => " + row.path;
    Loaded sides = loader.load(*change);
    if (sides.omitted.empty()) sides.omitted = tooManyLines(sides);
    row.counts = sides.omitted.empty() ? countLines(sides.before, sides.after, work_) : LineCounts{};
    if (!sides.omitted.empty())
      row.instead = sides.omitted;
    else if (change->kind == ChangeKind::typeChanged)
      row.instead = verbOf(*change);
    else if (row.counts.binary)
      row.instead = "Bin " + std::to_string(sizeOf(sides.before)) + " -> " + std::to_string(sizeOf(sides.after)) + " bytes";
    else if (row.counts.added + row.counts.removed == 0)
      row.instead = verbOf(*change) + (metadataText(*change).empty() ? "" : ", " + metadataText(*change));
    if (const std::string why = protectionOf(*change); !why.empty()) row.path += " [" + printable(why) + "]";
    width = std::max(width, row.path.size());
    most = std::max(most, row.counts.added + row.counts.removed);
    rows.push_back(std::move(row));
  }
  for (const auto& row : rows)
    out_(" " + row.path + std::string(width - row.path.size(), ' ') + " | " +
         (row.instead.empty() ? graph(row.counts, most) : row.instead) + "\n");
  noiseLines(changes, all);
  if (const std::string left = loader.leftOut(); !left.empty()) note_(left);
}

void DiffPrinter::names(const std::vector<const Change*>& changes, bool all) {
  for (const Change* change : protectedFirst(changes)) {
    if (grouped(*change, all)) continue;
    const std::string why = protectionOf(*change);
    out_(std::string(1, letterOf(change->kind)) + "\t" + (change->from.empty() ? "" : shown(change->from) + "\t") + shown(change->path) +
         (why.empty() ? "" : "\t[" + printable(why) + "]") + "\n");
  }
  noiseLines(changes, all);
}

}  // namespace rauha::cli
