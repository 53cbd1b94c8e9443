// rauha.net/1 (draft) for the cases: a thing is a zone's attachment.
#include <sched.h>

#include "driver.h"

namespace rauha::conformance {
namespace {

using testing::AttachmentCapture;
using testing::FakeCall;
using testing::LayerCapture;
using testing::NetFindingCapture;

const StructShape kSpec = {"rauha_net_spec",
                           sizeof(rauha_net_spec),
                           {{"zone_id", offsetof(rauha_net_spec, zone_id), true}, {"state", offsetof(rauha_net_spec, state), false}},
                           offsetof(rauha_net_spec, records)};

Outcome attach(Session& s, FakeCall& call, Input& in, AttachmentCapture& got) {
  Outcome out;
  guardedCall(out, call, [&] { return plain(s.table<rauha_net_v1>()->attach)(s.raw(), call.raw(), in.as<rauha_net_spec>(), got.raw()); });
  if (!out.ok()) return out;
  if (got.attachments.size() != 1)
    out.contract = "attach returned OK with " + std::to_string(got.attachments.size()) + " results, expected 1";
  else if (got.attachments[0].structSize < sizeof(rauha_net_result) || got.attachments[0].flags != 0)
    out.contract = "attach's result has a wrong size or unknown flags";
  else if (got.attachments[0].state.size() > 65536)
    out.contract = "attach's state has " + std::to_string(got.attachments[0].state.size()) + " bytes, at most 65536";
  else if (got.attachments[0].interfaceName.empty())
    out.contract = "attach's result names no interface";
  return out;
}

const std::vector<Operation>& netOperations() {
  using Takes = Operation::Takes;
  static const std::vector<Operation> list = {
      {"probe", Takes::nothing, nullptr, false, false,
       [](Session& s, FakeCall& call, Input&) {
         Outcome out;
         LayerCapture got;
         guardedCall(out, call, [&] { return plain(s.table<rauha_net_v1>()->probe)(s.raw(), call.raw(), got.raw()); });
         for (const auto& l : got.layers)
           if (l.structSize < sizeof(rauha_layer) || l.flags != 0 || l.state > RAUHA_LAYER_FULL || !isId(l.name))
             out.contract = "layer " + inQuotes(l.name) + " has a wrong size, flags, state or name";
         return out;
       }},
      {"attach", Takes::record, &kSpec, false, true,
       [](Session& s, FakeCall& call, Input& in) {
         AttachmentCapture got;
         return attach(s, call, in, got);
       }},
      {"update", Takes::record, &kSpec, false, true,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_net_v1>()->update)(s.raw(), call.raw(), in.as<rauha_net_spec>()); });
         return out;
       }},
      {"detach", Takes::record, &kSpec, true, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_net_v1>()->detach)(s.raw(), call.raw(), in.as<rauha_net_spec>()); });
         return out;
       }},
      {"check", Takes::record, &kSpec, false, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         NetFindingCapture got;
         guardedCall(out, call,
                     [&] { return plain(s.table<rauha_net_v1>()->check)(s.raw(), call.raw(), in.as<rauha_net_spec>(), got.raw()); });
         if (out.ok() && !got.findings.empty()) out.contract = "check pushed a difference and returned OK";
         return out;
       }},
      {"reconcile", Takes::list, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         NetFindingCapture got;
         guardedCall(out, call, [&] { return plain(s.table<rauha_net_v1>()->reconcile)(s.raw(), call.raw(), in.list, got.raw()); });
         return out;
       }},
  };
  return list;
}

// A network namespace without a process, or -1 without the rights to make one.
struct Namespace {
  Namespace() {
    std::thread([this] {
      if (::unshare(CLONE_NEWNET) == 0) fd = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }).join();
  }
  ~Namespace() {
    if (fd >= 0) ::close(fd);
  }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  int fd = -1;
};

class NetDriver final : public Driver {
 public:
  const char* interface() const override { return RAUHA_NET_V1; }
  const std::vector<Operation>& operations() const override { return netOperations(); }

  Input input(Session&, const Operation& operation, const std::string& name) override {
    Input out;
    if (operation.takes != Operation::Takes::record) return out;
    std::shared_ptr<Namespace> space;
    std::string state;
    {
      const std::lock_guard held(mutex_);
      auto& known = spaces_[name];
      if (!known) known = std::make_shared<Namespace>();
      space = known;
      state = states_[name];
    }
    rauha_net_spec spec{};
    spec.struct_size = sizeof spec;
    spec.zone_id = out.own(name);
    spec.netns_fd_borrow = space->fd;
    spec.records = {nullptr, 0, sizeof(rauha_record)};
    if (!state.empty() && operation.name != std::string_view("attach")) spec.state = out.own(state);
    out.keep.push_back(space);
    out.bytes.resize(sizeof spec);
    std::memcpy(out.bytes.data(), &spec, sizeof spec);
    return out;
  }

  std::string cannotMake(Context& context) override {
    if (!context.memory.emplace("tried", "").second) return context.memory["why"];
    Session session(context);
    FakeCall call(session.host);
    context.step("a first attachment");
    const Outcome made = make(session, call, "zone_first");
    FakeCall end(session.host);
    unmake(session, end, "zone_first");
    if (!made.ok())
      context.memory["why"] =
          std::string(::geteuid() == 0 ? "" : "needs root: ") + "attach: " + statusText(made.status) + " " + inQuotes(made.text);
    return context.memory["why"];
  }
  Outcome make(Session& session, FakeCall& call, const std::string& name) override {
    AttachmentCapture got;
    Input in = input(session, operation("attach"), name);
    Outcome out = attach(session, call, in, got);
    const std::lock_guard held(mutex_);
    if (!got.attachments.empty()) states_[name] = got.attachments[0].state;
    return out;
  }
  Outcome unmake(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& op = operation("detach");
    Input in = input(session, op, name);
    Outcome out = op.call(session, call, in);
    const std::lock_guard held(mutex_);
    states_.erase(name);
    spaces_.erase(name);
    return out;
  }
  void empty(Session&) override {}
  Outcome verify(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& op = operation("check");
    Input in = input(session, op, name);
    return op.call(session, call, in);
  }
  Outcome reconcile(Session& session, FakeCall& call, const std::vector<std::string>& keep, std::vector<std::string>* removed) override {
    const std::vector<rauha_str> texts = viewsOf(keep);
    const rauha_array list{texts.data(), static_cast<uint32_t>(texts.size()), sizeof(rauha_str)};
    Outcome out;
    NetFindingCapture got;
    guardedCall(out, call, [&] { return plain(session.table<rauha_net_v1>()->reconcile)(session.raw(), call.raw(), list, got.raw()); });
    for (const auto& f : got.findings)
      if (f.action != "adopted" && removed != nullptr) removed->push_back(f.object + " of " + inQuotes(f.zoneId) + ": " + f.action);
    return out;
  }
  std::string missingFunctions(const void* table) const override {
    const auto* t = static_cast<const rauha_net_v1*>(table);
    std::string out;
    const auto need = [&](bool has, const char* name) { out += has ? "" : std::string(out.empty() ? "" : ", ") + name; };
    need(RAUHA_HAS(t, probe) && t->probe != nullptr, "probe");
    need(RAUHA_HAS(t, attach) && t->attach != nullptr, "attach");
    need(RAUHA_HAS(t, update) && t->update != nullptr, "update");
    need(RAUHA_HAS(t, detach) && t->detach != nullptr, "detach");
    need(RAUHA_HAS(t, check) && t->check != nullptr, "check");
    need(RAUHA_HAS(t, reconcile) && t->reconcile != nullptr, "reconcile");
    return out;
  }
  void life(Context& context, Session& session) override;

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Namespace>> spaces_;
  std::map<std::string, std::string> states_;
};

void NetDriver::life(Context& context, Session& session) {
  const auto expect = [&](const char* what, const std::string& name, const char* when, std::initializer_list<rauha_status> allowed) {
    FakeCall call(session.host);
    const Operation& op = operation(what);
    Input in = input(session, op, name);
    context.step(std::string(what) + " of " + when);
    expectStatus(context, op.call(session, call, in), std::string(what) + " of " + when, allowed);
  };
  FakeCall call(session.host);
  context.step("attach");
  expectStatus(context, make(session, call, "zone_a"), "attach of a new zone", {RAUHA_OK});
  expect("attach", "zone_a", "a zone that is attached already", {RAUHA_E_EXISTS});
  expect("check", "zone_a", "a zone that stands", {RAUHA_OK});
  expect("update", "zone_a", "an attached zone", {RAUHA_OK});
  expect("check", "zone_a", "a zone after an update", {RAUHA_OK});
  expectStatus(context, make(session, call, "zone_b"), "attach of a second zone", {RAUHA_OK});
  std::vector<std::string> removed;
  expectStatus(context, reconcile(session, call, {"zone_a"}, &removed), "reconcile that keeps one of two zones", {RAUHA_OK});
  if (removed.empty()) context.fail("reconcile does not report what it removed of zone_b");
  expect("check", "zone_a", "the zone that reconcile was told to keep", {RAUHA_OK});
  context.step("detach without a namespace and without state");
  Input bare = input(session, operation("detach"), "zone_a");
  bare.as<rauha_net_spec>()->netns_fd_borrow = -1;
  bare.as<rauha_net_spec>()->state = {nullptr, 0};
  expectStatus(context, operation("detach").call(session, call, bare), "detach from the zone's id alone", {RAUHA_OK});
  expectStatus(context, make(session, call, "zone_a"), "attach after detach", {RAUHA_OK});
  expect("detach", "zone_a", "a zone", {RAUHA_OK});
}

}  // namespace

std::unique_ptr<Driver> netDriver() { return std::make_unique<NetDriver>(); }

}  // namespace rauha::conformance
