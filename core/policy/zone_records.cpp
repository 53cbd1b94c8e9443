#include "core/policy/zone_records.h"

#include <rauha/backend.h>

#include "core/base/error.h"
#include "core/policy/allowing_line.h"
#include "core/policy/dangerous/host_network.h"
#include "core/policy/dangerous/host_user_namespace.h"

namespace rauha::policy {
namespace {

constexpr uint32_t kDefaultWeight = 100;

std::string text(capnp::Text::Reader in) { return std::string(in.begin(), in.size()); }

class Records final {
 public:
  void number(uint32_t tag, uint64_t value) { out_.push_back({tag, value, {}}); }
  void limit(uint32_t tag, uint64_t value) {
    if (value != 0) number(tag, value);
  }
  void weight(uint32_t tag, uint32_t value) {
    if (value != kDefaultWeight) number(tag, value);
  }
  void texts(uint32_t tag, capnp::List<capnp::Text>::Reader values) {
    for (const auto value : values) out_.push_back({tag, 0, text(value)});
  }
  void one(uint32_t tag, std::string value) { out_.push_back({tag, 0, std::move(value)}); }
  std::vector<ZoneRecord> take() { return std::move(out_); }

 private:
  std::vector<ZoneRecord> out_;
};

template <typename Token>
void checkToken(const Token* token, schema::Policy::Reader policy, std::string_view feature) {
  if (token != nullptr && token->policyDigest() == text(policy.getDigest()) && Token::from(policy)) return;
  throw Error("policy", Code::denied,
              "policy '" + text(policy.getName()) + "': " + std::string(feature) + " = \"host\" is not allowed here",
              "needs " + allowingLine(feature, "host"), std::string(feature));
}

uint32_t networkNumber(schema::NetworkMode mode) {
  switch (mode) {
    case schema::NetworkMode::ISOLATED:
      return RAUHA_NETWORK_ISOLATED;
    case schema::NetworkMode::BRIDGED:
      return RAUHA_NETWORK_BRIDGED;
    case schema::NetworkMode::HOST:
      return RAUHA_NETWORK_HOST;
  }
  throw Error("policy", Code::unsupported, "network.mode has the unknown number " + std::to_string(static_cast<unsigned>(mode)));
}

}  // namespace

std::vector<ZoneRecord> zoneRecords(schema::Policy::Reader policy) {
  Records out;
  const auto r = policy.getResources();
  out.limit(RAUHA_ZONE_CPU_MILLIS, r.getCpuMillis());
  out.weight(RAUHA_ZONE_CPU_WEIGHT, r.getCpuWeight());
  out.limit(RAUHA_ZONE_MEMORY_BYTES, r.getMemoryBytes());
  out.limit(RAUHA_ZONE_PIDS, r.getPids());
  out.number(RAUHA_ZONE_OPEN_FILES, r.getOpenFiles());
  out.weight(RAUHA_ZONE_IO_WEIGHT, r.getIoWeight());
  out.limit(RAUHA_ZONE_IO_READ_BPS, r.getIoReadBps());
  out.limit(RAUHA_ZONE_IO_WRITE_BPS, r.getIoWriteBps());
  // Unlike the others 0 is a limit here: no core dumps.
  out.number(RAUHA_ZONE_CORE_BYTES, r.getCoreBytes());
  out.texts(RAUHA_ZONE_CAPABILITY, policy.getCapabilities());
  out.texts(RAUHA_ZONE_SYSCALL_DENY, policy.getSyscalls().getDeny());
  out.texts(RAUHA_ZONE_SYSCALL_ALLOW, policy.getSyscalls().getAllow());
  for (const auto device : policy.getDevices()) out.one(RAUHA_ZONE_DEVICE, text(device.getPath()) + " " + text(device.getAccess()));
  out.texts(RAUHA_ZONE_REQUIRE, policy.getRequire());
  return out.take();
}

ZoneView zoneView(schema::Policy::Reader policy, const dangerous::HostUserNamespace* userNamespace, const dangerous::HostNetwork* network) {
  ZoneView view;
  // Whatever is not plainly private counts as host, so that a value of a later version cannot slip through.
  if (policy.getUserNamespace() != schema::UserNamespace::PRIVATE) {
    checkToken(userNamespace, policy, "user_namespace");
    view.flags |= RAUHA_ZONE_USERNS_HOST;
  }
  view.network = networkNumber(policy.getNetwork().getMode());
  if (view.network == RAUHA_NETWORK_HOST) checkToken(network, policy, "network.mode");
  view.records = zoneRecords(policy);
  return view;
}

}  // namespace rauha::policy
