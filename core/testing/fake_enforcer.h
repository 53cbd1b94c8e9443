#pragma once
// An enforcer that writes down what it is told, for tests of core. Each call can be made to fail. Threads: calls come on workers; what is
// scripted is set before they do.

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/plugin/enforcer.h"

namespace rauha::testing {

class FakeEnforcer final : public plugin::Enforcer {
 public:
  std::set<std::string> fail;  // names of calls that fail
  plugin::EnforcerCapabilities can{plugin::EnforcerState::enforcing, false, false, 10, 1};

  const std::string& name() const noexcept override { return name_; }
  plugin::EnforcerCapabilities capabilities(const plugin::CallOptions&) override {
    failIf("capabilities");
    return can;
  }
  void registerZone(const plugin::CallOptions&, std::string_view zone, std::string_view, uint64_t) override { did("register", zone); }
  void applyPolicy(const plugin::CallOptions&, const plugin::EnforcerPolicy& policy) override {
    did(policy.records.at(0).number == 0 ? "policy" : "audit policy", policy.zoneId);
  }
  void labelTask(const plugin::CallOptions&, std::string_view zone, int, int) override { did("label", zone); }
  void removeZone(const plugin::CallOptions&, std::string_view zone) override { did("remove", zone); }
  std::vector<plugin::Discrepancy> verify(const plugin::CallOptions&, std::string_view) override { return {}; }
  std::vector<plugin::EnforcerCounters> stats(const plugin::CallOptions&, std::string_view) override {
    failIf("stats");
    return {{1, 2, 3, 4, 5, 6}};
  }
  void drain(const plugin::CallOptions&) override { failIf("drain"); }
  std::vector<plugin::Discrepancy> reconcile(const plugin::CallOptions&, const std::vector<std::string>& keep) override {
    did("reconcile", keep.empty() ? "nothing" : keep[0]);
    return {{"zone_old", "removed", "no such zone"}};
  }
  std::vector<std::string> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  void failIf(const std::string& call) const {
    if (fail.contains(call)) throw Error("enforcer", Code::io, call + " fails as told");
  }
  void did(const std::string& call, std::string_view zone) {
    failIf(call);
    std::lock_guard lock(mutex_);
    calls_.push_back(call + " " + std::string(zone));
  }
  const std::string name_ = "fake-enforcer";
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
};

}  // namespace rauha::testing
