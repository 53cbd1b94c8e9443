#include "core/changes/change.h"

namespace rauha::changes {

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
