#include "core/changes/renames.h"

#include <map>
#include <string>
#include <unordered_map>

#include "core/base/fd.h"
#include "core/changes/content.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

using Candidates = std::map<std::string, std::vector<size_t>>;  // by content, as bytes

std::string_view nameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool isFile(const FileState& s) { return s.type == FileType::regular && s.size > 0; }

// Empty: nothing to compare by.
std::string contentKey(const FileState& s) {
  if (s.type == FileType::symlink) return "l" + s.target;
  if (!isFile(s) || !s.digest) return {};
  return "f" + std::to_string(s.size) + ":" + std::string(reinterpret_cast<const char*>(s.digest->data()), s.digest->size());
}

// Only old files of a size that a new one has are worth reading.
void digestOld(std::vector<Change>& changes, int base, uint64_t bytes, uint64_t holeBytes) {
  std::unordered_map<uint64_t, bool> sizes;
  for (const auto& c : changes)
    if (c.kind == Kind::added && isFile(c.after) && c.after.digest) sizes[c.after.size] = true;
  for (auto& c : changes) {
    if (c.kind != Kind::deleted || !isFile(c.before) || !sizes.contains(c.before.size) || c.before.size > bytes) continue;
    const UniqueFd fd = openRegularBeneath(base, c.path);
    if (!fd) continue;
    bytes -= c.before.size;
    c.before.digest = readContent(fd.get(), c.before.size, holeBytes).digest;
  }
}

}  // namespace

std::vector<RenamePair> findRenames(std::vector<Change>& changes, int base, uint64_t bytes, uint64_t holeBytes) {
  digestOld(changes, base, bytes, holeBytes);
  Candidates gone;
  for (size_t i = 0; i < changes.size(); ++i)
    if (changes[i].kind == Kind::deleted)
      if (auto key = contentKey(changes[i].before); !key.empty()) gone[std::move(key)].push_back(i);
  std::vector<RenamePair> out;
  if (gone.empty()) return out;
  std::vector<bool> used(changes.size(), false);
  // By the same name through maps, not by trying all pairs: a thousand empty-looking twins must not cost a million comparisons.
  std::map<std::pair<std::string_view, std::string_view>, std::vector<size_t>> byName;
  for (const auto& [key, indexes] : gone)
    for (auto i = indexes.rbegin(); i != indexes.rend(); ++i) byName[{key, nameOf(changes[*i].path)}].push_back(*i);
  std::map<std::string_view, size_t> next;
  for (const bool sameName : {true, false})
    for (size_t i = 0; i < changes.size(); ++i) {
      if (changes[i].kind != Kind::added || used[i]) continue;
      const std::string key = contentKey(changes[i].after);
      const auto found = gone.find(key);
      if (key.empty() || found == gone.end()) continue;
      if (sameName) {
        const auto named = byName.find({found->first, nameOf(changes[i].path)});
        if (named == byName.end() || named->second.empty()) continue;
        const size_t old = named->second.back();
        named->second.pop_back();
        used[i] = used[old] = true;
        out.push_back({old, i});
        continue;
      }
      size_t& at = next[found->first];
      while (at < found->second.size() && used[found->second[at]]) ++at;
      if (at == found->second.size()) continue;
      used[i] = used[found->second[at]] = true;
      out.push_back({found->second[at], i});
    }
  return out;
}

}  // namespace rauha::changes
