#include "core/changes/git_index.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/changes/git_hash.h"

namespace rauha::changes {
namespace {

constexpr size_t kHeader = 12, kStat = 40, kModeAt = 24;
constexpr size_t kMostName = 4096, kMostDepth = 512;
constexpr uint16_t kExtended = 0x4000, kAssumeValid = 0x8000, kStage = 0x3000, kIntentToAdd = 0x2000;
constexpr uint32_t kDirectoryMode = 040000;

// Takes from the front; what is not there sets `bad`.
class Reader final {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  bool bad() const { return bad_; }
  std::string_view take(size_t size) {
    if (size > left()) return fail();
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  // Up to this byte, which is taken as well.
  std::string_view until(char end, size_t most) {
    const size_t size = bytes_.substr(at_, most).find(end);
    if (size == std::string_view::npos) return fail();
    const auto out = take(size);
    ++at_;
    return out;
  }
  uint32_t number(size_t size) {
    uint32_t out = 0;
    for (const char c : take(size)) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  // Version 4's.
  size_t offset() {
    size_t out = 0;
    for (int i = 0; i < 4; ++i) {
      const uint32_t byte = number(1);
      out = out << 7 | (byte & 0x7f);
      if ((byte & 0x80) == 0) return out;
      ++out;
    }
    fail();
    return 0;
  }
  // Decimal digits and perhaps a minus sign before them, up to this byte.
  int64_t decimal(char end) {
    auto text = until(end, 12);
    const bool minus = text.starts_with('-');
    text.remove_prefix(minus ? 1 : 0);
    int64_t out = 0;
    if (text.empty()) fail();
    for (const char c : text) {
      if (c < '0' || c > '9') fail();
      out = out * 10 + (c - '0');
    }
    return minus ? -out : out;
  }

 private:
  std::string_view fail() {
    bad_ = true;
    at_ = bytes_.size();
    return {};
  }
  const std::string_view bytes_;
  size_t at_ = 0;
  bool bad_ = false;
};

struct Entry {
  uint32_t nameAt = 0, nameSize = 0, mode = 0;
  uint16_t flags = 0, more = 0;
  uint64_t idAt = 0, start = 0;
};

class Index final {
 public:
  // Empty: not understood.
  static std::optional<Index> parse(std::string_view bytes) {
    // Nothing in the file says how long an id is. One that can be read in both ways was made for it.
    Index sha1(bytes, kSha1Bytes), sha256(bytes, kSha256Bytes);
    const bool one = sha1.read(), other = sha256.read();
    if (one == other) return std::nullopt;
    return one ? std::move(sha1) : std::move(sha256);
  }

  const std::vector<Entry>& entries() const { return entries_; }
  size_t idBytes() const { return idBytes_; }
  std::string_view trees() const { return trees_; }
  std::string_view name(const Entry& e) const { return std::string_view(names_).substr(e.nameAt, e.nameSize); }
  std::string_view id(const Entry& e) const { return bytes_.substr(e.idAt, idBytes_); }
  auto meaning(const Entry& e) const { return std::make_tuple(name(e), e.mode, id(e), e.flags & (kAssumeValid | kStage), e.more); }
  auto place(const Entry& e) const { return std::make_pair(name(e), e.flags & kStage); }

 private:
  Index(std::string_view bytes, size_t idBytes) : bytes_(bytes), idBytes_(idBytes) {}

  bool read() {
    if (bytes_.size() < kHeader + idBytes_) return false;
    Reader in(bytes_.substr(0, bytes_.size() - idBytes_));  // the last one is the file's checksum
    if (in.take(4) != "DIRC") return false;
    version_ = in.number(4);
    const uint32_t count = in.number(4);
    if (version_ < 2 || version_ > 4) return false;
    for (uint32_t i = 0; i < count; ++i)
      if (!entry(in)) return false;
    entriesEnd_ = in.at();
    while (!in.bad() && in.left() > 0)
      if (!extension(in)) return false;
    return !in.bad();
  }

  bool entry(Reader& in) {
    Entry e;
    e.start = in.at();
    const auto stat = in.take(kStat);
    if (in.bad()) return false;
    Reader mode(stat.substr(kModeAt, 4));
    e.mode = mode.number(4);
    e.idAt = in.at();
    in.take(idBytes_);
    e.flags = static_cast<uint16_t>(in.number(2));
    if ((e.flags & kExtended) != 0) e.more = static_cast<uint16_t>(in.number(2));
    std::string_view previous = entries_.empty() ? std::string_view() : name(entries_.back());
    std::string name;
    if (version_ == 4) {
      const size_t drop = in.offset();
      if (in.bad() || drop > previous.size()) return false;
      name = previous.substr(0, previous.size() - drop);
      name += in.until('\0', kMostName);
    } else {
      name = in.until('\0', kMostName);
      // One NUL to eight, to a multiple of eight bytes; one was taken.
      while (!in.bad() && (in.at() - e.start) % 8 != 0)
        if (in.number(1) != 0) return false;
    }
    if (in.bad() || name.empty() || name.size() > kMostName) return false;
    e.nameAt = static_cast<uint32_t>(names_.size());
    e.nameSize = static_cast<uint32_t>(name.size());
    names_ += name;
    if (names_.size() > 4 * kMostIndexBytes) return false;
    entries_.push_back(e);
    // In git's order: then one look at both finds what differs.
    return entries_.size() < 2 || place(entries_[entries_.size() - 2]) < place(e);
  }

  bool extension(Reader& in) {
    const auto name = in.take(4);
    const auto bytes = in.take(in.number(4));
    if (in.bad()) return false;
    if (name == "TREE") {
      if (hasTrees_) return false;
      hasTrees_ = true;
      trees_ = bytes;
      return true;
    }
    // Where git's threads begin to read: elsewhere than we did?
    if (name == "EOIE") return Reader(bytes).number(4) == entriesEnd_;
    if (name == "IEOT") return blocksAreOurs(bytes);
    // In small letters: not to be understood without. "link" keeps entries in another file; "sdir" only says that some are directories.
    return name == "sdir" || (name[0] >= 'A' && name[0] <= 'Z');
  }

  bool blocksAreOurs(std::string_view bytes) const {
    Reader in(bytes);
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
  uint32_t version_ = 0;
  uint64_t entriesEnd_ = 0;
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
    out.count = in_.decimal(' ');
    const int64_t children = in_.decimal('\n');
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
        whole = whole && (e.flags & kStage) == 0 && (e.more & kIntentToAdd) == 0;
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
  Reader in_;
  bool good_ = true;
};

}  // namespace

IndexVerdict judgeIndex(std::string_view before, std::string_view after,
                        const std::function<std::string_view(std::string_view)>& protection) {
  constexpr std::string_view kNotUnderstood = "git index that is not understood";
  if (before.size() > kMostIndexBytes || after.size() > kMostIndexBytes) return {false, kNotUnderstood};
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
