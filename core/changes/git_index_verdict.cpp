#include "core/changes/git_index_verdict.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/byte_reader.h"
#include "core/base/git_index.h"
#include "core/changes/git_hash.h"

namespace rauha::changes {
namespace {

constexpr size_t kMostName = 4096, kMostDepth = 512;
constexpr uint32_t kDirectoryMode = 040000;

struct Entry {
  uint32_t nameAt = 0, nameSize = 0, mode = 0;
  uint16_t flags = 0, more = 0;
  size_t idAt = 0, start = 0;
};

// Decimal digits and perhaps a minus sign before them, up to this byte.
int64_t decimal(ByteReader& in, char end) {
  auto text = in.until(end, 12);
  const bool minus = text.starts_with('-');
  text.remove_prefix(minus ? 1 : 0);
  int64_t out = 0;
  if (text.empty()) in.fail();
  for (const char c : text) {
    if (c < '0' || c > '9') in.fail();
    out = out * 10 + (c - '0');
  }
  return minus ? -out : out;
}

class Index final : private GitIndexVisitor {
 public:
  // Empty: not understood.
  static std::optional<Index> parse(std::string_view bytes) {
    // Nothing in the file says how long an id is. One that can be read in both ways was made for it.
    Index sha1(bytes, kSha1Bytes), sha256(bytes, kSha256Bytes);
    const bool one = readGitIndex(bytes, kSha1Bytes, sha1), other = readGitIndex(bytes, kSha256Bytes, sha256);
    if (one == other) return std::nullopt;
    return one ? std::move(sha1) : std::move(sha256);
  }

  const std::vector<Entry>& entries() const { return entries_; }
  size_t idBytes() const { return idBytes_; }
  std::string_view trees() const { return trees_; }
  std::string_view name(const Entry& e) const { return std::string_view(names_).substr(e.nameAt, e.nameSize); }
  std::string_view id(const Entry& e) const { return bytes_.substr(e.idAt, idBytes_); }
  auto meaning(const Entry& e) const {
    return std::make_tuple(name(e), e.mode, id(e), e.flags & (GitIndexEntry::kAssumeValid | GitIndexEntry::kStage), e.more);
  }
  auto place(const Entry& e) const { return std::make_pair(name(e), e.flags & GitIndexEntry::kStage); }

 private:
  Index(std::string_view bytes, size_t idBytes) : bytes_(bytes), idBytes_(idBytes) {}

  bool entry(const GitIndexEntry& e) override {
    const auto idAt = static_cast<size_t>(e.id.data() - bytes_.data());
    entries_.push_back(
        {static_cast<uint32_t>(names_.size()), static_cast<uint32_t>(e.name.size()), e.mode, e.flags, e.more, idAt, e.start});
    names_ += e.name;
    // In git's order: then one look at both finds what differs.
    return entries_.size() < 2 || place(entries_[entries_.size() - 2]) < place(entries_.back());
  }

  bool extension(std::string_view name, std::string_view bytes, size_t at) override {
    if (entriesEnd_ == 0) entriesEnd_ = at;
    // Where git's threads begin to read: elsewhere than we did?
    if (name == "EOIE") return ByteReader(bytes).number(4) == entriesEnd_;
    if (name == "IEOT") return blocksAreOurs(bytes);
    if (name != "TREE") return true;
    if (hasTrees_) return false;
    hasTrees_ = true;
    trees_ = bytes;
    return true;
  }

  bool blocksAreOurs(std::string_view bytes) const {
    ByteReader in(bytes);
    in.number(4);  // version
    uint64_t seen = 0;
    while (!in.bad() && in.left() > 0) {
      const uint32_t offset = in.number(4), count = in.number(4);
      if (seen >= entries_.size() || entries_[seen].start != offset) return false;
      seen += count;
    }
    return !in.bad() && seen == entries_.size();
  }

  std::string_view bytes_;
  size_t idBytes_;
  size_t entriesEnd_ = 0;
  std::vector<Entry> entries_;
  std::string names_;
  std::string_view trees_;
  bool hasTrees_ = false;
};

// The cache of trees says which tree a directory of the index is, and `git commit` believes it. Made again here from the entries.
class Trees final {
 public:
  explicit Trees(const Index& index) : index_(index), in_(index.trees()) {}
  bool areOfTheEntries() {
    if (index_.trees().empty()) return true;
    const auto root = node(0);
    if (!root || in_.left() > 0 || !root->name.empty()) return false;
    good_ = true;
    treeOf(0, index_.entries().size(), 0, &*root, 0);
    return good_;
  }

 private:
  struct Node {
    std::string_view name, id;
    int64_t count = -1;
    std::vector<Node> children;
  };

  std::optional<Node> node(size_t depth) {
    if (depth > kMostDepth) return std::nullopt;
    Node out;
    out.name = in_.until('\0', kMostName);
    out.count = decimal(in_, ' ');
    const int64_t children = decimal(in_, '\n');
    if (out.count >= 0) out.id = in_.take(index_.idBytes());
    if (in_.bad() || children < 0) return std::nullopt;
    for (int64_t i = 0; i < children; ++i) {
      auto child = node(depth + 1);
      if (!child) return std::nullopt;
      out.children.push_back(std::move(*child));
    }
    std::sort(out.children.begin(), out.children.end(), [](const Node& a, const Node& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(out.children.begin(), out.children.end(), [](const Node& a, const Node& b) { return a.name == b.name; });
    if (twice != out.children.end()) return std::nullopt;
    return out;
  }

  static const Node* childOf(const Node* node, std::string_view name) {
    if (node == nullptr) return nullptr;
    const auto at =
        std::lower_bound(node->children.begin(), node->children.end(), name, [](const Node& n, std::string_view v) { return n.name < v; });
    return at != node->children.end() && at->name == name ? &*at : nullptr;
  }

  // The id of the tree of these entries, whose names have `prefix` bytes in common. Empty: git would make none.
  std::string treeOf(size_t begin, size_t end, size_t prefix, const Node* node, size_t depth) {
    std::string id = depth > kMostDepth ? std::string() : contentId(begin, end, prefix, node, depth);
    if (node != nullptr && node->count >= 0 && (static_cast<uint64_t>(node->count) != end - begin || node->id != id)) good_ = false;
    return id;
  }

  std::string contentId(size_t begin, size_t end, size_t prefix, const Node* node, size_t depth) {
    const auto& entries = index_.entries();
    // A sparse index has an entry for a whole directory.
    if (end - begin == 1 && entries[begin].mode == kDirectoryMode && entries[begin].nameSize == prefix)
      return std::string(index_.id(entries[begin]));
    std::string content;
    bool whole = true;
    for (size_t i = begin; i < end;) {
      const Entry& e = entries[i];
      const auto rest = index_.name(e).substr(prefix);
      const size_t slash = rest.find('/');
      if (slash == std::string_view::npos) {
        whole = whole && (e.flags & GitIndexEntry::kStage) == 0 && (e.more & GitIndexEntry::kIntentToAdd) == 0;
        add(content, e.mode, rest, index_.id(e));
        ++i;
        continue;
      }
      size_t last = i + 1;
      const auto directory = rest.substr(0, slash + 1);
      while (last < end && index_.name(entries[last]).substr(prefix).starts_with(directory)) ++last;
      const auto name = rest.substr(0, slash);
      const std::string id = treeOf(i, last, prefix + slash + 1, childOf(node, name), depth + 1);
      whole = whole && !id.empty();
      add(content, kDirectoryMode, name, id);
      i = last;
    }
    if (!whole) return {};
    GitHash hash(index_.idBytes());
    hash.update("tree " + std::to_string(content.size()) + std::string(1, '\0'));
    hash.update(content);
    return hash.finish();
  }

  static void add(std::string& content, uint32_t mode, std::string_view name, std::string_view id) {
    char text[16];
    content.append(text, static_cast<size_t>(snprintf(text, sizeof text, "%o ", mode)));
    content += name;
    content += '\0';
    content += id;
  }

  const Index& index_;
  ByteReader in_;
  bool good_ = true;
};

}  // namespace

IndexVerdict judgeIndex(std::string_view before, std::string_view after,
                        const std::function<std::string_view(std::string_view)>& protection) {
  constexpr std::string_view kNotUnderstood = "git index that is not understood";
  if (before.size() > kMostGitIndexBytes) return {false, kNotUnderstood};
  const auto now = Index::parse(after);
  if (!now) return {false, kNotUnderstood};
  const auto old = before.empty() ? std::nullopt : Index::parse(before);
  static const std::vector<Entry> none;
  const auto &left = old ? old->entries() : none, &right = now->entries();
  IndexVerdict out{true, {}};
  const auto differs = [&](std::string_view path) {
    out.same = false;
    if (out.reason.empty() && !protection(path).empty()) out.reason = "protected path in git's index";
  };
  for (size_t l = 0, r = 0; l < left.size() || r < right.size();) {
    const bool onlyOld = r == right.size() || (l < left.size() && old->place(left[l]) < now->place(right[r]));
    const bool onlyNew = !onlyOld && (l == left.size() || now->place(right[r]) < old->place(left[l]));
    if (onlyOld) {
      differs(old->name(left[l++]));
    } else if (onlyNew) {
      differs(now->name(right[r++]));
    } else {
      if (old->meaning(left[l]) != now->meaning(right[r])) differs(now->name(right[r]));
      ++l, ++r;
    }
  }
  const bool knownTrees = out.same && old && old->trees() == now->trees();
  if (out.reason.empty() && !knownTrees && !Trees(*now).areOfTheEntries()) return {false, "git index with trees that are not its entries'"};
  return out;
}

}  // namespace rauha::changes
