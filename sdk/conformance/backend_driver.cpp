// rauha.backend/1 for the cases: a thing is a zone.
#include <sys/socket.h>
#include <sys/stat.h>

#include "driver.h"

namespace rauha::conformance {
namespace {

using testing::FakeCall;
using testing::FindingCapture;
using testing::LayerCapture;

const StructShape kSpec = {
    "rauha_zone_spec",
    sizeof(rauha_zone_spec),
    {{"zone_id", offsetof(rauha_zone_spec, zone_id), true}, {"hostname", offsetof(rauha_zone_spec, hostname), false}},
    offsetof(rauha_zone_spec, records)};

std::string wrongLayers(const LayerCapture& got) {
  if (got.layers.size() > 64) return "pushed " + std::to_string(got.layers.size()) + " layers, at most 64";
  for (const auto& l : got.layers) {
    if (l.structSize < sizeof(rauha_layer)) return "a layer's struct_size is " + std::to_string(l.structSize);
    if (l.flags != 0) return "layer " + inQuotes(l.name) + " has unknown flags " + std::to_string(l.flags);
    if (l.state > RAUHA_LAYER_FULL) return "layer " + inQuotes(l.name) + " has the unknown state " + std::to_string(l.state);
    if (!isId(l.name)) return "a layer is called " + inQuotes(l.name) + ", and names are [a-z0-9_]";
    if (l.state != RAUHA_LAYER_FULL && l.reason.empty()) return "layer " + inQuotes(l.name) + " is not FULL and says no reason";
    for (const std::string& text : {l.detail, l.reason, l.remedy})
      if (text.find('\n') != std::string::npos) return "a text of layer " + inQuotes(l.name) + " has more than one line: " + inQuotes(text);
  }
  return {};
}

std::string wrongHandle(const rauha_zone_handle& h, bool hostIds) {
  int type = 0;
  socklen_t size = sizeof type;
  sockaddr_storage peer{};
  socklen_t peerSize = sizeof peer;
  const int fd = h.agent_fd_take;
  if ((h.flags & ~RAUHA_ZONE_HANDLE_CGROUP) != 0) return "the handle has unknown flags " + std::to_string(h.flags);
  if ((h.flags & RAUHA_ZONE_HANDLE_CGROUP) != 0) {
    struct stat st {};
    if (h.cgroup_fd_take < 3 || ::fstat(h.cgroup_fd_take, &st) != 0 || !S_ISDIR(st.st_mode))
      return "cgroup_fd_take " + std::to_string(h.cgroup_fd_take) + " is not a directory";
    if ((::fcntl(h.cgroup_fd_take, F_GETFD) & FD_CLOEXEC) == 0) return "cgroup_fd_take is not O_CLOEXEC";
  }
  if (fd < 3 || ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    return "agent_fd_take " + std::to_string(fd) + " is not a stream socket";
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peerSize) != 0 && errno == ENOTCONN)
    return "the socket agent_fd_take is not connected";
  if ((::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) return "agent_fd_take is not O_CLOEXEC";
  if (h.shim_pid < 0 || h.shim_pid == 1) return "shim_pid is " + std::to_string(h.shim_pid);
  if (!hostIds && h.host_id_count > 0 && h.host_id_base == 0) return "the zone's ids begin at the host's root";
  if (uint64_t{h.host_id_base} + h.host_id_count > UINT32_MAX) return "the zone's ids go beyond the last id";
  return {};
}

// Calls something that fills a handle; on failure looks whether it was touched.
template <typename F>
Outcome withHandle(FakeCall& call, rauha_zone_handle& handle, F&& f, bool prepared = false) {
  Outcome out;
  rauha_zone_handle before;
  std::memset(static_cast<void*>(&before), 0x5a, sizeof before);
  before.struct_size = sizeof before;
  handle = before;
  guardedCall(out, call, [&] { return f(&handle); });
  if (out.ok() && prepared)
    out.contract = handle.agent_fd_take == -1 && handle.cgroup_fd_take == -1 ? "" : "a zone that was prepared has descriptors already";
  else if (out.ok())
    out.contract = wrongHandle(handle, false);
  else if (std::memcmp(&before, &handle, sizeof before) != 0)
    out.touched = "the rauha_zone_handle";
  if (out.ok() && handle.agent_fd_take > 2) ::close(handle.agent_fd_take);
  if (out.ok() && (handle.flags & RAUHA_ZONE_HANDLE_CGROUP) != 0 && handle.cgroup_fd_take > 2) ::close(handle.cgroup_fd_take);
  return out;
}

Outcome create(Session& s, FakeCall& call, Input& input, LayerCapture& layers, rauha_zone_handle& handle) {
  rauha_status (*f)(rauha_instance*, rauha_call*, const rauha_zone_spec*, const rauha_layer_sink*, rauha_zone_handle*) =
      s.table<rauha_backend_v1>()->zone_create;
  const bool prepared =
      input.bytes.size() >= offsetof(rauha_zone_spec, network) && (input.as<rauha_zone_spec>()->flags & RAUHA_ZONE_PREPARE) != 0;
  Outcome out = withHandle(
      call, handle, [&](rauha_zone_handle* h) { return f(s.raw(), call.raw(), input.as<rauha_zone_spec>(), layers.raw(), h); }, prepared);
  if (out.ok() && out.contract.empty()) out.contract = wrongLayers(layers);
  return out;
}

const std::vector<Operation>& backendOperations() {
  using Takes = Operation::Takes;
  static const std::vector<Operation> list = {
      {"probe", Takes::nothing, nullptr, false, false,
       [](Session& s, FakeCall& call, Input&) {
         Outcome out;
         LayerCapture layers;
         guardedCall(out, call, [&] { return plain(s.table<rauha_backend_v1>()->probe)(s.raw(), call.raw(), layers.raw()); });
         if (out.ok()) out.contract = wrongLayers(layers);
         return out;
       }},
      {"zone_create", Takes::record, &kSpec, false, true,
       [](Session& s, FakeCall& call, Input& input) {
         LayerCapture layers;
         rauha_zone_handle handle{};
         return create(s, call, input, layers, handle);
       }},
      {"zone_connect", Takes::text, nullptr, false, true,
       [](Session& s, FakeCall& call, Input& input) {
         rauha_zone_handle handle{};
         rauha_status (*f)(rauha_instance*, rauha_call*, rauha_str, rauha_zone_handle*) = s.table<rauha_backend_v1>()->zone_connect;
         return withHandle(call, handle, [&](rauha_zone_handle* h) { return f(s.raw(), call.raw(), input.text, h); });
       }},
      {"zone_update", Takes::record, &kSpec, false, true,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         rauha_status (*f)(rauha_instance*, rauha_call*, const rauha_zone_spec*) = s.table<rauha_backend_v1>()->zone_update;
         guardedCall(out, call, [&] { return f(s.raw(), call.raw(), input.as<rauha_zone_spec>()); });
         return out;
       }},
      {"zone_destroy", Takes::text, nullptr, true, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_backend_v1>()->zone_destroy)(s.raw(), call.raw(), input.text); });
         return out;
       }},
      {"zone_check", Takes::text, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_backend_v1>()->zone_check)(s.raw(), call.raw(), input.text); });
         return out;
       }},
      {"reconcile", Takes::list, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         FindingCapture findings;
         guardedCall(out, call,
                     [&] { return plain(s.table<rauha_backend_v1>()->reconcile)(s.raw(), call.raw(), input.list, findings.raw()); });
         for (const auto& f : findings.findings)
           if (out.ok() && (f.structSize < sizeof(rauha_zone_finding) || f.flags != 0 || f.object.empty() || f.action.empty()))
             out.contract = "a finding has a wrong size, unknown flags, no object or no action";
         return out;
       }},
  };
  return list;
}

class BackendDriver final : public Driver {
 public:
  const char* interface() const override { return RAUHA_BACKEND_V1; }
  const std::vector<Operation>& operations() const override { return backendOperations(); }

  Input input(Session&, const Operation& operation, const std::string& name) override {
    Input out;
    if (operation.takes == Operation::Takes::text) out.text = out.own(name);
    if (operation.takes != Operation::Takes::record) return out;
    const auto record =
        std::make_shared<rauha_record>(rauha_record{sizeof(rauha_record), RAUHA_RECORD_CRITICAL, RAUHA_ZONE_PIDS, 0, 64, {nullptr, 0}});
    out.keep.push_back(record);
    rauha_zone_spec spec{};
    spec.struct_size = sizeof spec;
    spec.network = RAUHA_NETWORK_ISOLATED;
    spec.zone_id = out.own(name);
    spec.hostname = out.own("check");
    spec.records = {record.get(), 1, sizeof(rauha_record)};
    out.bytes.resize(sizeof spec);
    std::memcpy(out.bytes.data(), &spec, sizeof spec);
    return out;
  }

  std::string cannotMake(Context& context) override {
    if (!context.memory.emplace("tried", "").second) return context.memory["why"];
    Session session(context);
    FakeCall call(session.host);
    context.step("a first zone");
    const Outcome made = make(session, call, "zone_first");
    FakeCall end(session.host);
    unmake(session, end, "zone_first");
    if (!made.ok())
      context.memory["why"] = std::string(::geteuid() == 0 ? "" : "needs root: ") + "zone_create: " + statusText(made.status) + " " +
                              inQuotes(made.text) +
                              (context.options.libexecDir == "/nonexistent" ? "; if it needs rauha-shim, give --libexec" : "");
    return context.memory["why"];
  }
  Outcome make(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& create = operation("zone_create");
    Input in = input(session, create, name);
    return create.call(session, call, in);
  }
  Outcome unmake(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& destroy = operation("zone_destroy");
    Input in = input(session, destroy, name);
    return destroy.call(session, call, in);
  }
  void empty(Session&) override {}
  Outcome verify(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& check = operation("zone_check");
    Input in = input(session, check, name);
    return check.call(session, call, in);
  }
  Outcome reconcile(Session& session, FakeCall& call, const std::vector<std::string>& keep, std::vector<std::string>* removed) override {
    const std::vector<rauha_str> texts = viewsOf(keep);
    const rauha_array list{texts.data(), static_cast<uint32_t>(texts.size()), sizeof(rauha_str)};
    Outcome out;
    FindingCapture findings;
    guardedCall(out, call,
                [&] { return plain(session.table<rauha_backend_v1>()->reconcile)(session.raw(), call.raw(), list, findings.raw()); });
    for (const auto& f : findings.findings)
      if (f.action != "adopted" && removed != nullptr) removed->push_back(f.object + " of " + inQuotes(f.zoneId) + ": " + f.action);
    return out;
  }
  std::string missingFunctions(const void* table) const override {
    const auto* t = static_cast<const rauha_backend_v1*>(table);
    std::string out;
    const auto need = [&](bool has, const char* name) { out += has ? "" : std::string(out.empty() ? "" : ", ") + name; };
    need(RAUHA_HAS(t, probe) && t->probe != nullptr, "probe");
    need(RAUHA_HAS(t, zone_create) && t->zone_create != nullptr, "zone_create");
    need(RAUHA_HAS(t, zone_connect) && t->zone_connect != nullptr, "zone_connect");
    need(RAUHA_HAS(t, zone_update) && t->zone_update != nullptr, "zone_update");
    need(RAUHA_HAS(t, zone_destroy) && t->zone_destroy != nullptr, "zone_destroy");
    need(RAUHA_HAS(t, zone_check) && t->zone_check != nullptr, "zone_check");
    need(RAUHA_HAS(t, reconcile) && t->reconcile != nullptr, "reconcile");
    return out;
  }
  void life(Context& context, Session& session) override;

 private:
  void prepared(Context& context, Session& session);
  Outcome one(Context& context, Session& session, const char* what, const std::string& name) {
    FakeCall call(session.host);
    const Operation& op = operation(what);
    Input in = input(session, op, name);
    context.step(std::string(what) + " of " + name);
    return op.call(session, call, in);
  }
};

void BackendDriver::life(Context& context, Session& session) {
  const auto expect = [&](const char* what, const std::string& name, const char* when, std::initializer_list<rauha_status> allowed) {
    expectStatus(context, one(context, session, what, name), std::string(what) + " of " + when, allowed);
  };
  expect("zone_check", "zone_a", "a zone that never was", {RAUHA_E_NOT_FOUND});
  expect("zone_connect", "zone_a", "a zone that never was", {RAUHA_E_NOT_FOUND});
  expect("zone_create", "zone_a", "a new zone", {RAUHA_OK});
  expect("zone_create", "zone_a", "a zone that is there already", {RAUHA_E_EXISTS});
  expect("zone_check", "zone_a", "a zone that stands", {RAUHA_OK});
  expect("zone_connect", "zone_a", "a zone that stands", {RAUHA_OK});
  expect("zone_update", "zone_a", "a zone that stands", {RAUHA_OK});
  expect("zone_check", "zone_a", "a zone after an update", {RAUHA_OK});
  FakeCall call(session.host);
  Input in = input(session, operation("zone_update"), "zone_a");
  const rauha_record fixed{sizeof(rauha_record), RAUHA_RECORD_CRITICAL, RAUHA_ZONE_NO_SUID_BITS, 0, 1, {nullptr, 0}};
  in.as<rauha_zone_spec>()->records = {&fixed, 1, sizeof fixed};
  context.step("zone_update with a record that cannot change");
  expectStatus(context, operation("zone_update").call(session, call, in), "zone_update with a record that cannot change on a living zone",
               {RAUHA_E_UNSUPPORTED});
  expect("zone_create", "zone_b", "a second zone", {RAUHA_OK});
  std::vector<std::string> removed;
  expectStatus(context, reconcile(session, call, {"zone_a"}, &removed), "reconcile that keeps one of two zones", {RAUHA_OK});
  if (removed.empty()) context.fail("reconcile does not report what it removed of zone_b");
  expect("zone_check", "zone_a", "the zone that reconcile was told to keep", {RAUHA_OK});
  expect("zone_check", "zone_b", "the zone that reconcile was not told of", {RAUHA_E_NOT_FOUND});
  expect("zone_destroy", "zone_a", "a zone", {RAUHA_OK});
  expect("zone_check", "zone_a", "a zone that was destroyed", {RAUHA_E_NOT_FOUND});
  expect("zone_connect", "zone_a", "a zone that was destroyed", {RAUHA_E_NOT_FOUND});
  expect("zone_create", "zone_a", "a zone of the same name again", {RAUHA_OK});
  expect("zone_destroy", "zone_a", "a zone", {RAUHA_OK});
  prepared(context, session);
}

// Since 1.1. A backend that prepares nothing says so.
void BackendDriver::prepared(Context& context, Session& session) {
  const auto prepare = [&](const std::string& name) {
    FakeCall call(session.host);
    Input in = input(session, operation("zone_create"), name);
    auto* spec = in.as<rauha_zone_spec>();
    spec->flags = RAUHA_ZONE_PREPARE | RAUHA_ZONE_EPHEMERAL;
    spec->records = {nullptr, 0, sizeof(rauha_record)};
    context.step("preparing " + name);
    return operation("zone_create").call(session, call, in);
  };
  const Outcome first = prepare("zone_p");
  if (!first.threw && first.status == RAUHA_E_UNSUPPORTED) return;
  expectStatus(context, first, "preparing a zone", {RAUHA_OK});
  expectStatus(context, prepare("zone_p"), "preparing a zone that is prepared", {RAUHA_E_EXISTS});
  // As a whole other zone: not ephemeral, another hostname.
  expectStatus(context, one(context, session, "zone_create", "zone_p"), "zone_create of a zone that was prepared", {RAUHA_OK});
  expectStatus(context, one(context, session, "zone_check", "zone_p"), "zone_check of a zone that was prepared", {RAUHA_OK});
  expectStatus(context, one(context, session, "zone_destroy", "zone_p"), "zone_destroy of a zone that was prepared", {RAUHA_OK});
  expectStatus(context, prepare("zone_q"), "preparing a zone", {RAUHA_OK});
  expectStatus(context, one(context, session, "zone_destroy", "zone_q"), "zone_destroy of a zone that nobody finished", {RAUHA_OK});
  expectStatus(context, one(context, session, "zone_check", "zone_q"), "zone_check of what was prepared and destroyed",
               {RAUHA_E_NOT_FOUND});
  expectStatus(context, prepare("zone_r"), "preparing a zone", {RAUHA_OK});
  FakeCall call(session.host);
  std::vector<std::string> removed;
  expectStatus(context, reconcile(session, call, {}, &removed), "reconcile with a zone that is prepared", {RAUHA_OK});
  if (removed.empty()) context.fail("reconcile does not report what it removed of zone_r, which was prepared and is not to be kept");
}

}  // namespace

std::unique_ptr<Driver> backendDriver() { return std::make_unique<BackendDriver>(); }

}  // namespace rauha::conformance
