#include "frontends/cli/changes/diff.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <unordered_set>

#include "core/base/cache_paths.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {
namespace {

constexpr uint64_t kTextLimit = 32 << 20;    // a side; larger files are named
constexpr uint64_t kPatchLimit = 256 << 20;  // a side; git holds a patch in memory several times
constexpr size_t kGraphWidth = 40;
constexpr size_t kNamed = 10;
constexpr const char* kAlready = "already in your tree";

std::string readWhole(int fd, uint64_t limit, const std::string& path) {
  std::string out;
  std::vector<char> buffer(256 * 1024);
  for (off_t at = 0;;) {
    const ssize_t n = pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("repository", "read " + path);
    if (n == 0) return out;
    at += n;
    out.append(buffer.data(), static_cast<size_t>(n));
    if (out.size() > limit) throw Error("repository", Code::limit, path + " grew beyond " + formatBytes(limit), "", path);
  }
}

std::string tooLarge(uint64_t size) { return "too large to show: " + formatBytes(size); }

std::string octal(uint32_t mode) {
  char text[8];
  snprintf(text, sizeof text, "%04o", mode);
  return text;
}

bool needsContent(const Change& change) {
  if (change.kind == ChangeKind::renamed) return false;
  return change.kind != ChangeKind::modified || change.fields.content;
}

// Which new contents are about to be opened.
std::vector<std::string> opened(const std::vector<const Change*>& changes, uint64_t limit) {
  std::vector<std::string> out;
  for (const Change* change : changes)
    if (change->after.type == FileType::regular && change->after.size <= limit && needsContent(*change)) out.push_back(change->path);
  return out;
}

class Loader final {
 public:
  Loader(const Change& change, const Tree* tree, ContentSource& source, uint64_t limit)
      : change_(change), tree_(tree), source_(source), limit_(limit) {}

  Loaded load() {
    out_.before = sideOf(change_.before);
    out_.after = sideOf(change_.after);
    if (tree_ != nullptr) lookAtHost();
    if (!needsContent(change_)) return std::move(out_);  // where contents are equal, two empty ones are as good
    if (change_.after.type == FileType::regular) loadAfter();
    if (change_.before.type == FileType::regular && out_.omitted.empty()) loadBefore();
    if (out_.omitted.empty()) compareWithHost();
    return std::move(out_);
  }

 private:
  static Side sideOf(const FileState& state) {
    return {state.type, state.mode, state.type == FileType::symlink ? state.target : std::string()};
  }

  void lookAtHost() {
    const Found host = tree_->look(change_.path);
    const FileType type = host.parentError == 0 ? host.state.type : FileType::none;
    const Found old = change_.from.empty() ? host : tree_->look(change_.from);
    out_.hostDiffers = isOther(old);
    const FileState& after = change_.after;
    if (change_.kind == ChangeKind::deleted)
      out_.already = type == FileType::none;
    else if (change_.kind == ChangeKind::renamed)
      out_.already = (old.parentError != 0 || old.state.type == FileType::none) && alike(host.state, after) && sameFile();
    else if (after.type == FileType::symlink || (after.type == FileType::directory && change_.kind != ChangeKind::modified))
      out_.already = type == after.type && host.state.target == after.target;
    if (out_.already && change_.kind != ChangeKind::added) out_.omitted = kAlready;
  }
  bool sameFile() const {
    if (change_.after.type != FileType::regular) return true;
    int error = 0;
    const UniqueFd fd = tree_->openFile(change_.path, error);
    return fd && !change_.after.digest.empty() && digestOf(fd.get(), change_.path) == change_.after.digest;
  }
  // New content that the host has as well.
  void compareWithHost() {
    if (tree_ == nullptr || change_.after.type != FileType::regular || out_.already) return;
    const bool replaces = change_.before.type == FileType::regular;
    std::string host = replaces ? out_.before.bytes : std::string();
    if (!replaces) {
      const Found found = tree_->look(change_.path);
      int error = 0;
      const UniqueFd fd = alike(found.state, change_.after) ? tree_->openFile(change_.path, error) : UniqueFd();
      if (!fd) return;
      host = readWhole(fd.get(), limit_, change_.path);
    }
    if (host != out_.after.bytes) return;
    out_.already = true;
    out_.hostDiffers = false;
    if (change_.kind != ChangeKind::added) out_.omitted = kAlready;
  }

  // What can be said without reading: it went or came, is of another type, leads elsewhere, or has another size. What the task left is
  // what an apply brought there.
  bool isOther(const Found& host) const { return !alike(host.state, change_.before) && !alike(host.state, change_.after); }
  static bool alike(const FileState& a, const FileState& b) {
    if (a.type != b.type) return false;
    if (a.type == FileType::symlink) return a.target == b.target;
    return a.type != FileType::regular || a.size == b.size;
  }

  void loadAfter() {
    if (change_.after.size > limit_) {
      out_.omitted = tooLarge(change_.after.size);
      return;
    }
    const UniqueFd fd = source_.open(change_.path);
    out_.after.bytes = readWhole(fd.get(), limit_, change_.path);
  }
  void loadBefore() {
    if (tree_ == nullptr) {
      out_.omitted = "the host's tree is not there";
      return;
    }
    int error = 0;
    const UniqueFd fd = tree_->openFile(change_.path, error);
    struct stat st {};
    if (!fd || fstat(fd.get(), &st) != 0) {
      out_.hostDiffers = true;
      out_.omitted = std::string("the host's file cannot be read: ") + strerror(error);
      return;
    }
    if (static_cast<uint64_t>(st.st_size) > limit_) {
      out_.omitted = tooLarge(static_cast<uint64_t>(st.st_size));
      return;
    }
    out_.before.bytes = readWhole(fd.get(), limit_, change_.path);
    const bool sameInode = st.st_ino == change_.before.inode &&
                           static_cast<int64_t>(st.st_ctim.tv_sec) * 1'000'000'000 + st.st_ctim.tv_nsec == change_.before.ctimeNs;
    if (sameInode) return;
    out_.hostDiffers = out_.hostDiffers || out_.before.bytes.size() != change_.before.size ||
                       (!change_.before.digest.empty() && sha256(out_.before.bytes) != change_.before.digest);
  }

  const Change& change_;
  const Tree* tree_;
  ContentSource& source_;
  uint64_t limit_;
  Loaded out_;
};

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

Loaded loadSides(const Change& change, const Tree* tree, ContentSource& source, uint64_t limit) {
  return Loader(change, tree, source, limit).load();
}

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
  if (change.fields.mode) add("mode " + octal(change.before.mode) + " -> " + octal(change.after.mode));
  if (change.fields.owner) add("owner " + owner(change.before) + " -> " + owner(change.after));
  const bool acl = !sameAcl(change.before, change.after) && change.after.type != FileType::none;
  if (acl) add("access control list");
  if (change.fields.xattrs && !(acl && change.before.xattrs.size() + change.after.xattrs.size() == 1)) add("extended attributes");
  if (change.fields.mtime && out.empty() && change.fields.metadataOnly()) add("time");
  return out;
}

std::string DiffPrinter::shown(const std::string& path) const { return quotePath(path); }

void DiffPrinter::putDiff(const std::string& diff) {
  if (!terminal_) return out_(diff);
  std::string_view rest = diff;
  std::string out;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    out += style_.paint(colourOf(rest.substr(0, end)), forTerminal(rest.substr(0, end))) + "\n";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  out_(out);
}

void DiffPrinter::oneText(const Change& change) {
  std::string head = "# " + shown(change.path) + ": " + verbOf(change);
  if (!change.from.empty()) head += " from " + shown(change.from);
  if (const std::string metadata = metadataText(change); !metadata.empty()) head += ", " + metadata;
  if (const std::string why = protectionOf(change); !why.empty()) head += style_.paint(Colour::yellow, ", protected: " + printable(why));
  if (change.hostChanged) head += ", " + meanwhile_;
  const Loaded sides = loadSides(change, tree_, source_, kTextLimit);
  if (sides.hostDiffers) head += style_.paint(Colour::yellow, ", the host's file changed since the task began");
  if (!sides.omitted.empty()) head += ", " + sides.omitted;
  if (sides.already && sides.omitted.empty()) head += std::string(", ") + kAlready;
  out_(head + "\n");
  if (sides.omitted.empty()) putDiff(patchOf(change.path, change.from, sides.before, sides.after, BinaryForm::named));
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
  source_.expect(opened(out, kTextLimit));
  return out;
}

void DiffPrinter::text(const std::vector<const Change*>& changes, bool all) {
  for (const Change* change : worthALook(changes, all)) oneText(*change);
  noiseLines(changes, all);
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
  source_.expect(opened(changes, kPatchLimit));
  for (const Change* change : changes) {
    if (isInsideGit(change->path) || (!change->from.empty() && isInsideGit(change->from))) {
      left["inside of .git, which git apply refuses"].push_back(change->path);
      continue;
    }
    for (const auto& what : unsaid(*change)) left[what].push_back(change->path);
    if (change->fields.mtime && change->fields.metadataOnly() && metadataText(*change) == "time") left["time"].push_back(change->path);
    const Loaded sides = loadSides(*change, tree_, source_, kPatchLimit);
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
    out_(patchOf(change->path, change->from, sides.before, sides.after, BinaryForm::literal));
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
  for (const auto& [what, paths] : left) note_("not in the patch: " + what + ": " + namedPaths(paths));
  if (!dangerous.empty()) note_("the patch has what can run code on this machine: " + namedPaths(dangerous));
  return whole;
}

void DiffPrinter::stat(const std::vector<const Change*>& changes, bool all) {
  std::vector<Row> rows;
  size_t width = 0, most = 0;
  for (const Change* change : worthALook(changes, all)) {
    Row row{shown(change->path), {}, {}};
    if (!change->from.empty()) row.path = shown(change->from) + " => " + row.path;
    const Loaded sides = loadSides(*change, tree_, source_, kTextLimit);
    row.counts = sides.omitted.empty() ? countLines(sides.before, sides.after) : LineCounts{};
    if (!sides.omitted.empty())
      row.instead = sides.omitted;
    else if (change->kind == ChangeKind::typeChanged)
      row.instead = verbOf(*change);
    else if (row.counts.binary)
      row.instead = "Bin " + std::to_string(sides.before.bytes.size()) + " -> " + std::to_string(sides.after.bytes.size()) + " bytes";
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
