#pragma once
// The public fake host with what the tests of this plugin need again and again: one call at a time that can be cancelled from a hook, and
// specs.

#include <rauha/testing/fake_host.hpp>

#include <deque>
#include <filesystem>
#include <string>
#include <vector>

namespace rauha::backend {

class TestHost final {
 public:
  explicit TestHost(std::string instanceName) : fake(options(std::move(instanceName))), root(fake.root()) {}

  sdk::Host host() const { return fake.host(); }
  sdk::Call call() { return fresh().sdk(); }
  testing::FakeCall& fresh() {
    const std::lock_guard held(mutex_);
    calls_.emplace_back(fake).setDeadlineNs(deadline);
    return calls_.back();
  }
  // The latest one.
  void cancel() { last().cancel(); }
  testing::FakeCall& last() {
    const std::lock_guard held(mutex_);
    return calls_.back();
  }
  const std::string& runtime() const { return fake.runtimeDir(); }
  const std::string& state() const { return fake.stateDir(); }

  testing::FakeHost fake;
  const std::filesystem::path root;
  int64_t deadline = 0;  // of calls from now on

 private:
  static testing::FakeHost::Options options(std::string instanceName) {
    testing::FakeHost::Options out;
    out.instance = std::move(instanceName);
    out.libexecDir = RAUHA_FAKE_LIBEXEC;
    return out;
  }
  std::mutex mutex_;
  std::deque<testing::FakeCall> calls_;
};

// Records of a zone spec, with the texts that they borrow.
struct SpecBuilder {
  std::vector<rauha_record> records;
  std::string id = "zone_test", hostname = "ok";
  uint32_t flags = 0, network = RAUHA_NETWORK_ISOLATED;
  SpecBuilder& number(uint32_t tag, uint64_t n) {
    records.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, tag, 0, n, {nullptr, 0}});
    return *this;
  }
  // text must outlive the builder.
  SpecBuilder& text(uint32_t tag, std::string_view t) {
    records.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, tag, 0, 0, sdk::str(t)});
    return *this;
  }
  rauha_zone_spec spec() const {
    rauha_zone_spec out{};
    out.struct_size = sizeof out;
    out.flags = flags;
    out.network = network;
    out.zone_id = sdk::str(id);
    out.hostname = sdk::str(hostname);
    out.records = {records.data(), static_cast<uint32_t>(records.size()), sizeof(rauha_record)};
    return out;
  }
};

}  // namespace rauha::backend
