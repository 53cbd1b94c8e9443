#include "core/zone/policy_change.h"

#include <capnp/dynamic.h>

#include <set>

namespace rauha {
namespace {

// JSON names: what people read in the policy.
std::string firstDifference(capnp::DynamicStruct::Reader now, capnp::DynamicStruct::Reader next, const std::set<std::string>& mayDiffer) {
  for (auto field : now.getSchema().getFields()) {
    const std::string name = field.getProto().getName().cStr();
    if (mayDiffer.contains(name)) continue;
    if (kj::str(now.get(field)) != kj::str(next.get(field))) return name;
  }
  return {};
}

}  // namespace

std::string unchangeableDifference(schema::Policy::Reader now, schema::Policy::Reader next) {
  const std::string top = firstDifference(now, next, {"name", "digest", "source", "resources", "require"});
  if (!top.empty()) return top == "userNamespace" ? "user_namespace" : top;
  const std::string limit = firstDifference(
      now.getResources(), next.getResources(),
      {"cpuMillis", "cpuWeight", "memoryBytes", "pids", "ioWeight", "ioReadBps", "ioWriteBps", "timeoutMs", "stopGraceMs", "outputBytes"});
  if (limit.empty()) return {};
  return limit == "openFiles" ? "resources.open_files" : limit == "coreBytes" ? "resources.core" : "resources." + limit;
}

}  // namespace rauha
