#include "core/policy/unavailable.h"

#include <algorithm>

namespace rauha::policy {

std::vector<Notice> unavailable(Section& root, schema::Policy::Reader policy) {
  std::vector<Notice> out;
  if (const auto required = root.texts("require"))
    for (const auto& layer : *required)
      if (layer.text == "enforcer")
        out.push_back({layer.line, layer.key + ": this version has no enforcer and refuses to make a zone that requires one"});
  if (policy.getNetwork().getMode() == schema::NetworkMode::BRIDGED)
    if (auto network = root.section("network"))
      out.push_back({network->line("mode"), "network.mode: this version has no bridged networks and refuses to make a zone with one"});
  std::stable_sort(out.begin(), out.end(), [](const Notice& a, const Notice& b) { return a.line < b.line; });
  return out;
}

}  // namespace rauha::policy
