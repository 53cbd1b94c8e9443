#pragma once
// A host for the tests: private directories, calls that can be cancelled, sinks that keep what they get.

#include <stdlib.h>
#include <sys/eventfd.h>
#include <rauha/plugin.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::backend {

class TestHost final {
 public:
  explicit TestHost(std::string instanceName) : instance_(std::move(instanceName)), cancel_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    std::string name = (std::filesystem::temp_directory_path() / "rauha-backend-XXXXXX").string();
    root = ::mkdtemp(name.data());
    state_ = (root / "state").string();
    runtime_ = (root / "run").string();
    std::filesystem::create_directories(state_);
    std::filesystem::create_directories(runtime_);
    setLibexec(RAUHA_FAKE_LIBEXEC);
    environment_.struct_size = sizeof environment_;
    host_.struct_size = sizeof host_;
    host_.abi_minor = RAUHA_ABI_MINOR;
    host_.context = reinterpret_cast<rauha_host_context*>(this);
    host_.environment = &environment_;
    host_.set_error = [](rauha_call*, rauha_status, rauha_str, rauha_str) noexcept {};
    host_.log = [](rauha_host_context* c, int32_t, rauha_str text) noexcept {
      reinterpret_cast<TestHost*>(c)->logged.emplace_back(sdk::view(text));
    };
    host_.progress = [](rauha_call*, rauha_str, uint64_t, uint64_t) noexcept {};
    host_.cancelled = [](rauha_call* c) noexcept -> int32_t { return self(c)->cancelledNow ? 1 : 0; };
    host_.cancel_fd = [](rauha_call* c) noexcept -> int32_t { return self(c)->cancel_.get(); };
    host_.deadline_ns = [](rauha_call* c) noexcept { return self(c)->deadline; };
    host_.emit = [](rauha_host_context*, const rauha_event*) noexcept {};
    host_.on_loop_thread = [](rauha_host_context*) noexcept -> int32_t { return 0; };
    host_.get_service = [](rauha_host_context*, const char*) noexcept -> const void* { return nullptr; };
  }
  ~TestHost() { std::filesystem::remove_all(root); }
  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  void setLibexec(std::string path) {
    libexec_ = std::move(path);
    environment_.instance = sdk::str(instance_);
    environment_.state_dir = sdk::str(state_);
    environment_.runtime_dir = sdk::str(runtime_);
    environment_.libexec_dir = sdk::str(libexec_);
  }
  sdk::Host host() const { return sdk::Host(&host_); }
  sdk::Call call() { return {&host_, reinterpret_cast<rauha_call*>(this)}; }
  void cancel() {
    cancelledNow = true;
    ::eventfd_write(cancel_.get(), 1);
  }
  const std::string& runtime() const { return runtime_; }
  const std::string& state() const { return state_; }

  std::filesystem::path root;
  std::vector<std::string> logged;
  bool cancelledNow = false;
  int64_t deadline = 0;

 private:
  static TestHost* self(rauha_call* c) noexcept { return reinterpret_cast<TestHost*>(c); }
  std::string instance_, state_, runtime_, libexec_;
  UniqueFd cancel_;
  rauha_environment environment_{};
  rauha_host host_{};
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

struct LayerList {
  struct Item {
    uint32_t state;
    std::string name, detail, reason, remedy;
  };
  std::vector<Item> items;
  rauha_layer_sink sink() {
    return {sizeof(rauha_layer_sink), 0, this, [](void* c, const rauha_layer* l) noexcept {
              static_cast<LayerList*>(c)->items.push_back({l->state, std::string(sdk::view(l->name)), std::string(sdk::view(l->detail)),
                                                           std::string(sdk::view(l->reason)), std::string(sdk::view(l->remedy))});
            }};
  }
  const Item* find(std::string_view name) const {
    for (const Item& i : items)
      if (i.name == name) return &i;
    return nullptr;
  }
};

struct FindingList {
  struct Item {
    std::string zone, object, action;
  };
  std::vector<Item> items;
  rauha_finding_sink sink() {
    return {sizeof(rauha_finding_sink), 0, this, [](void* c, const rauha_zone_finding* f) noexcept {
              static_cast<FindingList*>(c)->items.push_back(
                  {std::string(sdk::view(f->zone_id)), std::string(sdk::view(f->object)), std::string(sdk::view(f->action))});
            }};
  }
};

}  // namespace rauha::backend
