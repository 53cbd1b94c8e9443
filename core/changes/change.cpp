#include "core/changes/change.h"

namespace rauha::changes {
namespace {

uint64_t textBytes(const FileState& state) noexcept {
  uint64_t out = state.target.size();
  for (const auto& [name, value] : state.xattrs) out += name.size() + value.size();
  return out;
}

}  // namespace

uint64_t textBytes(const Change& change) noexcept {
  return change.path.size() + change.from.size() + textBytes(change.before) + textBytes(change.after);
}

std::vector<std::string_view> fieldNames(uint8_t fields) {
  static constexpr struct {
    Field bit;
    std::string_view name;
  } kNames[] = {{kContent, "content"}, {kType, "type"},     {kMode, "mode"},  {kOwner, "owner"},
                {kXattrs, "xattrs"},   {kTarget, "target"}, {kMtime, "mtime"}};
  std::vector<std::string_view> out;
  for (const auto& [bit, name] : kNames)
    if ((fields & bit) != 0) out.push_back(name);
  return out;
}

}  // namespace rauha::changes
