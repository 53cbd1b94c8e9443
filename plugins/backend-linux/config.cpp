#include "plugins/backend-linux/config.h"

#include "core/base/error.h"

// toml++ 3.3 asserts what malformed text can make untrue (a header "[[[[["). Here an assertion is a refusal, in every build.
namespace rauha::backend {
[[noreturn]] static void failTomlAssertion() {
  throw Error("backend", Code::invalid, "configuration of backend-linux is not valid TOML", "see https://toml.io/en/v1.0.0");
}
}  // namespace rauha::backend
#undef NDEBUG
#define TOML_ASSERT(expression) (static_cast<bool>(expression) ? void(0) : ::rauha::backend::failTomlAssertion())
#include <toml++/toml.h>

namespace rauha::backend {
namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& hint = {}) {
  throw Error("backend", Code::invalid, "configuration of backend-linux: " + text, hint);
}

int64_t integer(const toml::node& node, const std::string& key, int64_t low, int64_t high) {
  const auto value = node.value_exact<int64_t>();
  if (!value) refuse(key + " is not a whole number");
  if (*value < low || *value > high)
    refuse(key + " is " + std::to_string(*value) + ", and must be " + std::to_string(low) + " to " + std::to_string(high));
  return *value;
}

std::string groupPath(const toml::node& node) {
  const auto value = node.value_exact<std::string>();
  if (!value || value->empty()) refuse("cgroup_parent is not a path", "for example \"rauha.slice\"");
  if (("/" + *value + "/").find("/../") != std::string::npos || value->find('\0') != std::string::npos)
    refuse("cgroup_parent \"" + *value + "\" leaves the tree");
  return *value;
}

}  // namespace

Config readConfig(std::string_view toml) {
  toml::table table;
  try {
    table = toml::parse(toml);
  } catch (const toml::parse_error& e) {
    refuse("line " + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  Config out;
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    if (key == "cgroup_parent")
      out.cgroupParent = groupPath(node);
    else if (key == "id_base")
      out.idBase = static_cast<uint32_t>(integer(node, key, 65536, 0xFFFF0000 - 65536));
    else if (key == "id_slots")
      out.idSlots = static_cast<uint32_t>(integer(node, key, 1, 65534));
    else
      refuse("unknown key \"" + key + "\"", "known keys: cgroup_parent, id_base, id_slots");
  }
  if (out.idBase % 65536 != 0) refuse("id_base is " + std::to_string(out.idBase) + ", and must be a multiple of 65536");
  // The last id, 2^32-1, means "no id" to the kernel: the range that holds it is never given out.
  if (out.idBase + uint64_t{out.idSlots} * 65536 > 0xFFFF0000) refuse("id_base and id_slots reach beyond the last host id");
  return out;
}

}  // namespace rauha::backend
