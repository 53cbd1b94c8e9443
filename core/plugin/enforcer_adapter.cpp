#include <rauha/draft/enforcer.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/plugin/adapters.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/enforcer.h"
#include "core/plugin/sink.h"

namespace rauha::plugin {
namespace {

constexpr size_t kTable = sizeof(rauha_enforcer_v1);  // a draft: built with this very daemon, or refused
constexpr size_t kCounters = sizeof(rauha_enforcer_counters);
constexpr size_t kDiscrepancy = sizeof(rauha_discrepancy);
constexpr size_t kMaxCounters = 64;
constexpr size_t kMaxDiscrepancies = 10'000;
constexpr size_t kMaxName = 64;
constexpr size_t kMaxText = 512;

constexpr std::array<const char*, 9> kOperations{"file_open",     "exec",       "mmap_exec", "ptrace", "signal",
                                                 "cgroup_attach", "capability", "socket",    "mount"};

void refuseFlags(uint32_t flags, uint32_t known, const char* what) {
  if ((flags & ~known) != 0)
    throw Error("plugin", Code::unsupported, std::string(what) + " has unknown flag bits " + std::to_string(flags & ~known));
}

class CountersSink final {
 public:
  explicit CountersSink(PluginCall& call) : sink_(call) {
    raw_ = {sizeof(rauha_counters_sink), 0, this,
            [](void* self, const rauha_enforcer_counters* c) noexcept { static_cast<CountersSink*>(self)->push(c); }};
  }
  const rauha_counters_sink* raw() const noexcept { return &raw_; }
  std::vector<EnforcerCounters> counters;

 private:
  void push(const rauha_enforcer_counters* from) noexcept {
    sink_.take([&] {
      bound(counters, kMaxCounters, "counters");
      const auto raw = readTable<rauha_enforcer_counters>(from, kCounters, "counters");
      if (std::any_of(counters.begin(), counters.end(), [&](const auto& c) { return c.operation == raw.operation; }))
        throw Error("plugin", Code::internal, "pushed the counters of " + operationName(raw.operation) + " twice");
      counters.push_back({raw.operation, raw.allowed, raw.denied, raw.would_deny, raw.errors, raw.lost});
    });
  }
  Sink sink_;
  rauha_counters_sink raw_{};
};

class DiscrepancySink final {
 public:
  explicit DiscrepancySink(PluginCall& call) : sink_(call) {
    raw_ = {sizeof(rauha_discrepancy_sink), 0, this,
            [](void* self, const rauha_discrepancy* d) noexcept { static_cast<DiscrepancySink*>(self)->push(d); }};
  }
  const rauha_discrepancy_sink* raw() const noexcept { return &raw_; }
  std::vector<Discrepancy> found;

 private:
  void push(const rauha_discrepancy* from) noexcept {
    sink_.take([&] {
      bound(found, kMaxDiscrepancies, "discrepancies");
      const auto raw = readTable<rauha_discrepancy>(from, kDiscrepancy, "a discrepancy");
      refuseFlags(raw.flags, 0, "a discrepancy");
      found.push_back({cleanText(raw.zone_id, kMaxName), cleanText(raw.kind, kMaxName), cleanText(raw.detail, kMaxText)});
    });
  }
  Sink sink_;
  rauha_discrepancy_sink raw_{};
};

class PluginEnforcer final : public Enforcer {
 public:
  explicit PluginEnforcer(std::shared_ptr<PluginInstance> plugin)
      : plugin_(std::move(plugin)),
        table_(readTable<rauha_enforcer_v1>(plugin_->table(RAUHA_ENFORCER_V1), kTable, "table " RAUHA_ENFORCER_V1)) {
    const auto need = [](bool present, const char* function) {
      if (!present) throw Error("plugin", Code::invalid, std::string("table " RAUHA_ENFORCER_V1 " has no ") + function);
    };
    need(table_.capabilities != nullptr, "capabilities");
    need(table_.zone_register != nullptr, "zone_register");
    need(table_.policy_apply != nullptr, "policy_apply");
    need(table_.task_label != nullptr, "task_label");
    need(table_.zone_remove != nullptr, "zone_remove");
    need(table_.verify != nullptr, "verify");
    need(table_.stats != nullptr, "stats");
    need(table_.drain != nullptr, "drain");
    need(table_.reconcile != nullptr, "reconcile");
  }

  const std::string& name() const noexcept override { return plugin_->name(); }

  EnforcerCapabilities capabilities(const CallOptions& options) override {
    PluginCall call(plugin_->host(), options, "enforcer", "capabilities");
    rauha_enforcer_capabilities raw{};
    raw.struct_size = sizeof raw;
    const rauha_status status = call.run(table_.capabilities, plugin_->instance(), call.raw(), &raw);
    EnforcerCapabilities out;
    if (status == RAUHA_OK) try {
        out = copyCapabilities(raw);
      } catch (const Error& e) {
        call.fault(e);
      }
    call.finish(status);
    return out;
  }

  void registerZone(const CallOptions& options, std::string_view zoneId, std::string_view cgroupPath, uint64_t cgroupId) override {
    PluginCall call(plugin_->host(), options, "enforcer", "zone_register");
    const rauha_enforcer_zone zone{sizeof zone, 0, toStr(zoneId), toStr(cgroupPath), cgroupId};
    call.finish(call.run(table_.zone_register, plugin_->instance(), call.raw(), &zone));
  }

  void applyPolicy(const CallOptions& options, const EnforcerPolicy& policy) override {
    PluginCall call(plugin_->host(), options, "enforcer", "policy_apply");
    std::vector<rauha_record> records;
    for (const auto& r : policy.records)
      records.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, r.tag, 0, r.number, toStr(r.text)});
    const rauha_enforcer_policy raw{sizeof raw,
                                    0,
                                    toStr(policy.zoneId),
                                    toStr(policy.digest),
                                    {records.data(), static_cast<uint32_t>(records.size()), sizeof(rauha_record)}};
    call.finish(call.run(table_.policy_apply, plugin_->instance(), call.raw(), &raw));
  }

  void labelTask(const CallOptions& options, std::string_view zoneId, int pidfd, int pid) override {
    PluginCall call(plugin_->host(), options, "enforcer", "task_label");
    const rauha_enforcer_task task{sizeof task, 0, toStr(zoneId), pidfd, pid};
    call.finish(call.run(table_.task_label, plugin_->instance(), call.raw(), &task));
  }

  void removeZone(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "enforcer", "zone_remove");
    call.finish(call.run(table_.zone_remove, plugin_->instance(), call.raw(), toStr(zoneId)));
  }

  std::vector<Discrepancy> verify(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "enforcer", "verify");
    DiscrepancySink sink(call);
    call.finish(call.run(table_.verify, plugin_->instance(), call.raw(), toStr(zoneId), sink.raw()));
    return std::move(sink.found);
  }

  std::vector<EnforcerCounters> stats(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "enforcer", "stats");
    CountersSink sink(call);
    call.finish(call.run(table_.stats, plugin_->instance(), call.raw(), toStr(zoneId), sink.raw()));
    return std::move(sink.counters);
  }

  void drain(const CallOptions& options) override {
    PluginCall call(plugin_->host(), options, "enforcer", "drain");
    call.finish(call.run(table_.drain, plugin_->instance(), call.raw()));
  }

  std::vector<Discrepancy> reconcile(const CallOptions& options, const std::vector<std::string>& zoneIds) override {
    PluginCall call(plugin_->host(), options, "enforcer", "reconcile");
    DiscrepancySink sink(call);
    std::vector<rauha_str> ids;
    ids.reserve(zoneIds.size());
    for (const auto& id : zoneIds) ids.push_back(toStr(id));
    const rauha_array array{ids.data(), static_cast<uint32_t>(ids.size()), sizeof(rauha_str)};
    call.finish(call.run(table_.reconcile, plugin_->instance(), call.raw(), array, sink.raw()));
    return std::move(sink.found);
  }

 private:
  static EnforcerCapabilities copyCapabilities(const rauha_enforcer_capabilities& raw) {
    if (raw.struct_size != sizeof raw)
      throw Error("plugin", Code::internal, "says that its capabilities have " + std::to_string(raw.struct_size) + " bytes");
    refuseFlags(raw.flags, RAUHA_ENFORCER_BY_CGROUP | RAUHA_ENFORCER_AUDIT_ONLY, "the set of capabilities");
    if (raw.state > RAUHA_ENFORCER_ENFORCING)
      throw Error("plugin", Code::unsupported, "is in the unknown state " + std::to_string(raw.state));
    return {static_cast<EnforcerState>(raw.state), (raw.flags & RAUHA_ENFORCER_BY_CGROUP) != 0,
            (raw.flags & RAUHA_ENFORCER_AUDIT_ONLY) != 0, raw.max_zones, raw.operations};
  }

  const std::shared_ptr<PluginInstance> plugin_;
  const rauha_enforcer_v1 table_;
};

}  // namespace

std::string_view enforcerStateName(EnforcerState state) noexcept {
  switch (state) {
    case EnforcerState::listed:
      return "listed";
    case EnforcerState::loadable:
      return "loadable";
    case EnforcerState::attached:
      return "attached";
    case EnforcerState::enforcing:
      return "enforcing";
  }
  return "listed";
}

std::string operationName(uint32_t operation) {
  return operation < kOperations.size() ? kOperations[operation] : "operation_" + std::to_string(operation);
}

std::unique_ptr<Enforcer> adaptEnforcer(std::shared_ptr<PluginInstance> plugin) {
  const std::string name = plugin->name();
  try {
    return std::make_unique<PluginEnforcer>(std::move(plugin));
  } catch (const Error& e) {
    throw Error("plugin", e.code(), name + ": " + e.text(), e.hint());
  }
}

}  // namespace rauha::plugin
