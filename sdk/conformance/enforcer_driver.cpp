// rauha.enforcer/1 (draft) for the cases: a thing is a zone that was registered and has a policy.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>

#include "driver.h"

namespace rauha::conformance {
namespace {

using testing::CountersCapture;
using testing::DiscrepancyCapture;
using testing::FakeCall;

const StructShape kZone = {
    "rauha_enforcer_zone",
    sizeof(rauha_enforcer_zone),
    {{"zone_id", offsetof(rauha_enforcer_zone, zone_id), true}, {"cgroup_path", offsetof(rauha_enforcer_zone, cgroup_path), false}},
    0};
const StructShape kPolicy = {
    "rauha_enforcer_policy",
    sizeof(rauha_enforcer_policy),
    {{"zone_id", offsetof(rauha_enforcer_policy, zone_id), true}, {"digest", offsetof(rauha_enforcer_policy, digest), false}},
    offsetof(rauha_enforcer_policy, records)};
const StructShape kTask = {
    "rauha_enforcer_task", sizeof(rauha_enforcer_task), {{"zone_id", offsetof(rauha_enforcer_task, zone_id), true}}, 0};

std::string wrongDiscrepancies(const DiscrepancyCapture& got) {
  for (const auto& d : got.discrepancies)
    if (d.structSize < sizeof(rauha_discrepancy) || d.flags != 0 || d.kind.empty())
      return "a discrepancy has a wrong size, unknown flags or no kind";
  return {};
}
std::string wrongCounters(const CountersCapture& got) {
  std::set<uint32_t> seen;
  for (const auto& c : got.counters) {
    if (c.struct_size < sizeof(rauha_enforcer_counters)) return "a counter's struct_size is " + std::to_string(c.struct_size);
    if (!seen.insert(c.operation).second) return "counters of operation " + std::to_string(c.operation) + " were pushed twice";
  }
  return {};
}

template <typename T>
Outcome taking(Session& s, FakeCall& call, Input& input, rauha_status (*f)(rauha_instance*, rauha_call*, const T*)) {
  Outcome out;
  guardedCall(out, call, [&] { return f(s.raw(), call.raw(), input.as<T>()); });
  return out;
}

Outcome capabilities(Session& s, FakeCall& call, Input&) {
  Outcome out;
  rauha_enforcer_capabilities before;
  std::memset(static_cast<void*>(&before), 0x5a, sizeof before);
  before.struct_size = sizeof before;
  rauha_enforcer_capabilities got = before;
  guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->capabilities)(s.raw(), call.raw(), &got); });
  if (!out.ok() && std::memcmp(&before, &got, sizeof before) != 0) out.touched = "the rauha_enforcer_capabilities";
  if (out.ok() && (got.flags & ~(RAUHA_ENFORCER_BY_CGROUP | RAUHA_ENFORCER_AUDIT_ONLY)) != 0)
    out.contract = "capabilities has unknown flags " + std::to_string(got.flags);
  if (out.ok() && got.state > RAUHA_ENFORCER_ENFORCING) out.contract = "capabilities has the unknown state " + std::to_string(got.state);
  return out;
}

const std::vector<Operation>& enforcerOperations() {
  using Takes = Operation::Takes;
  static const std::vector<Operation> list = {
      {"capabilities", Takes::nothing, nullptr, false, false, capabilities},
      {"zone_register", Takes::record, &kZone, false, true,
       [](Session& s, FakeCall& call, Input& in) {
         return taking<rauha_enforcer_zone>(s, call, in, s.table<rauha_enforcer_v1>()->zone_register);
       }},
      {"policy_apply", Takes::record, &kPolicy, false, true,
       [](Session& s, FakeCall& call, Input& in) {
         return taking<rauha_enforcer_policy>(s, call, in, s.table<rauha_enforcer_v1>()->policy_apply);
       }},
      {"task_label", Takes::record, &kTask, false, true,
       [](Session& s, FakeCall& call, Input& in) {
         return taking<rauha_enforcer_task>(s, call, in, s.table<rauha_enforcer_v1>()->task_label);
       }},
      {"zone_remove", Takes::text, nullptr, true, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->zone_remove)(s.raw(), call.raw(), in.text); });
         return out;
       }},
      {"verify", Takes::text, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         DiscrepancyCapture got;
         guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->verify)(s.raw(), call.raw(), in.text, got.raw()); });
         if (out.ok()) out.contract = wrongDiscrepancies(got);
         return out;
       }},
      {"stats", Takes::text, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         CountersCapture got;
         guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->stats)(s.raw(), call.raw(), in.text, got.raw()); });
         if (out.ok()) out.contract = wrongCounters(got);
         return out;
       }},
      {"drain", Takes::nothing, nullptr, false, false,
       [](Session& s, FakeCall& call, Input&) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->drain)(s.raw(), call.raw()); });
         return out;
       }},
      {"reconcile", Takes::list, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& in) {
         Outcome out;
         DiscrepancyCapture got;
         guardedCall(out, call, [&] { return plain(s.table<rauha_enforcer_v1>()->reconcile)(s.raw(), call.raw(), in.list, got.raw()); });
         if (out.ok()) out.contract = wrongDiscrepancies(got);
         return out;
       }},
  };
  return list;
}

// A process that waits, as a task before its exec; it ends with its owner.
struct Waiting {
  Waiting() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    pid = ::fork();
    if (pid == 0) {
      ::close(ends[1]);
      char byte = 0;
      (void)!::read(ends[0], &byte, 1);
      ::_exit(0);
    }
    ::close(ends[0]);
    gate = ends[1];
    pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  }
  ~Waiting() {
    if (gate >= 0) ::close(gate);
    if (pid > 0) ::kill(pid, SIGKILL), ::waitpid(pid, nullptr, 0);
    if (pidfd >= 0) ::close(pidfd);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  pid_t pid = -1;
  int gate = -1, pidfd = -1;
};

std::string v2Root() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);)
    if (line.find(" - cgroup2 ") != std::string::npos) {
      size_t field = 0;
      for (int i = 0; i < 4; ++i) field = line.find(' ', field) + 1;
      return line.substr(field, line.find(' ', field) - field);
    }
  return "/sys/fs/cgroup";
}

// The kit's own groups do not carry the instance's name: what carries it and stays is the plugin's.
std::string groupPrefix(const std::string& instance) { return "rauha-kit-of-" + instance.substr(instance.rfind('-') + 1) + "-"; }

// A control group for each zone, empty: nobody is confined by what the cases apply.
struct Group {
  Group(const std::string& instance, const std::string& zone) : path(v2Root() + "/" + groupPrefix(instance) + zone) {
    made = ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST;
    struct stat st {};
    id = ::stat(path.c_str(), &st) == 0 ? st.st_ino : 1;
  }
  ~Group() {
    if (made) ::rmdir(path.c_str());
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  std::string path;
  uint64_t id = 0;
  bool made = false;
};

class EnforcerDriver final : public Driver {
 public:
  const char* interface() const override { return RAUHA_ENFORCER_V1; }
  const std::vector<Operation>& operations() const override { return enforcerOperations(); }

  Input input(Session& session, const Operation& operation, const std::string& name) override {
    Input out;
    if (operation.takes == Operation::Takes::text) out.text = out.own(name);
    if (operation.shape == &kZone) {
      const auto group = groupOf(session, name);
      out.keep.push_back(group);
      put(out, rauha_enforcer_zone{sizeof(rauha_enforcer_zone), 0, out.own(name), out.own(group->path), group->id});
    } else if (operation.shape == &kPolicy) {
      const auto records = std::make_shared<std::vector<rauha_record>>();
      records->push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, RAUHA_ENFORCE_MODE, 0, 1, {nullptr, 0}});
      out.keep.push_back(records);
      put(out, rauha_enforcer_policy{sizeof(rauha_enforcer_policy),
                                     0,
                                     out.own(name),
                                     out.own("sha256:" + std::string(64, '0')),
                                     {records->data(), static_cast<uint32_t>(records->size()), sizeof(rauha_record)}});
    } else if (operation.shape == &kTask) {
      const auto task = std::make_shared<Waiting>();
      out.keep.push_back(task);
      put(out, rauha_enforcer_task{sizeof(rauha_enforcer_task), 0, out.own(name), task->pidfd, task->pid});
    }
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
      context.memory["why"] = std::string(::geteuid() == 0 ? "" : "needs root: ") +
                              "zone_register, policy_apply: " + statusText(made.status) + " " + inQuotes(made.text);
    return context.memory["why"];
  }
  Outcome make(Session& session, FakeCall& call, const std::string& name) override {
    for (const char* what : {"zone_register", "policy_apply"}) {
      const Operation& op = operation(what);
      Input in = input(session, op, name);
      Outcome out = op.call(session, call, in);
      if (!out.ok() || op.name == std::string_view("policy_apply")) return out;
    }
    return {};
  }
  Outcome unmake(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& op = operation("zone_remove");
    Input in = input(session, op, name);
    Outcome out = op.call(session, call, in);
    const std::lock_guard held(mutex_);
    groups_.erase(name);
    return out;
  }
  void empty(Session&) override {}
  Outcome verify(Session& session, FakeCall& call, const std::string& name) override {
    Outcome out;
    DiscrepancyCapture got;
    guardedCall(out, call,
                [&] { return plain(session.table<rauha_enforcer_v1>()->verify)(session.raw(), call.raw(), sdk::str(name), got.raw()); });
    if (out.ok() && !got.discrepancies.empty()) {
      out.status = RAUHA_E_CONFLICT;
      out.text = got.discrepancies.front().kind + ": " + got.discrepancies.front().detail;
    }
    return out;
  }
  Outcome reconcile(Session& session, FakeCall& call, const std::vector<std::string>& keep, std::vector<std::string>* removed) override {
    const std::vector<rauha_str> texts = viewsOf(keep);
    const rauha_array list{texts.data(), static_cast<uint32_t>(texts.size()), sizeof(rauha_str)};
    Outcome out;
    DiscrepancyCapture got;
    guardedCall(out, call,
                [&] { return plain(session.table<rauha_enforcer_v1>()->reconcile)(session.raw(), call.raw(), list, got.raw()); });
    for (const auto& d : got.discrepancies)
      if (removed != nullptr) removed->push_back(d.kind + " of " + inQuotes(d.zoneId) + ": " + d.detail);
    return out;
  }
  std::string missingFunctions(const void* table) const override {
    const auto* t = static_cast<const rauha_enforcer_v1*>(table);
    std::string out;
    const auto need = [&](bool has, const char* name) { out += has ? "" : std::string(out.empty() ? "" : ", ") + name; };
    need(RAUHA_HAS(t, capabilities) && t->capabilities != nullptr, "capabilities");
    need(RAUHA_HAS(t, zone_register) && t->zone_register != nullptr, "zone_register");
    need(RAUHA_HAS(t, policy_apply) && t->policy_apply != nullptr, "policy_apply");
    need(RAUHA_HAS(t, task_label) && t->task_label != nullptr, "task_label");
    need(RAUHA_HAS(t, zone_remove) && t->zone_remove != nullptr, "zone_remove");
    need(RAUHA_HAS(t, verify) && t->verify != nullptr, "verify");
    need(RAUHA_HAS(t, stats) && t->stats != nullptr, "stats");
    need(RAUHA_HAS(t, drain) && t->drain != nullptr, "drain");
    need(RAUHA_HAS(t, reconcile) && t->reconcile != nullptr, "reconcile");
    return out;
  }
  void life(Context& context, Session& session) override;

 private:
  template <typename T>
  static void put(Input& out, const T& value) {
    out.bytes.resize(sizeof value);
    std::memcpy(out.bytes.data(), &value, sizeof value);
  }
  std::shared_ptr<Group> groupOf(Session& session, const std::string& name) {
    const std::lock_guard held(mutex_);
    auto& group = groups_[name];
    if (!group) group = std::make_shared<Group>(session.host.instance(), name);
    return group;
  }
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Group>> groups_;
};

void EnforcerDriver::life(Context& context, Session& session) {
  const auto expect = [&](const char* what, const std::string& name, const char* when, std::initializer_list<rauha_status> allowed) {
    FakeCall call(session.host);
    const Operation& op = operation(what);
    Input in = input(session, op, name);
    context.step(std::string(what) + " of " + when);
    expectStatus(context, op.call(session, call, in), std::string(what) + " of " + when, allowed);
  };
  expect("capabilities", "", "this machine", {RAUHA_OK});
  expect("task_label", "zone_a", "a zone that is not registered", {RAUHA_E_NOT_FOUND});
  expect("zone_register", "zone_a", "a new zone", {RAUHA_OK});
  expect("zone_register", "zone_a", "a zone with the same group again", {RAUHA_OK});
  FakeCall call(session.host);
  Input other = input(session, operation("zone_register"), "zone_a");
  other.as<rauha_enforcer_zone>()->cgroup_id += 1;
  other.as<rauha_enforcer_zone>()->cgroup_path = other.own("/sys/fs/cgroup/elsewhere");
  context.step("zone_register with another group");
  expectStatus(context, operation("zone_register").call(session, call, other), "zone_register of a zone with another group",
               {RAUHA_E_CONFLICT});
  expect("policy_apply", "zone_a", "a registered zone", {RAUHA_OK});
  expect("policy_apply", "zone_a", "a zone that has a policy", {RAUHA_OK});
  expect("task_label", "zone_a", "a registered zone", {RAUHA_OK});
  expectStatus(context, verify(session, call, "zone_a"), "verify of a zone that stands, with nothing pushed", {RAUHA_OK});
  expect("stats", "zone_a", "a registered zone", {RAUHA_OK});
  expect("drain", "", "what happened so far", {RAUHA_OK, RAUHA_E_LIMIT});
  expect("zone_register", "zone_b", "a second zone", {RAUHA_OK});
  std::vector<std::string> removed;
  expectStatus(context, reconcile(session, call, {"zone_a"}, &removed), "reconcile that keeps one of two zones", {RAUHA_OK});
  if (removed.empty()) context.fail("reconcile does not report that it removed zone_b");
  expect("task_label", "zone_b", "the zone that reconcile was not told of", {RAUHA_E_NOT_FOUND});
  expect("task_label", "zone_a", "the zone that reconcile was told to keep", {RAUHA_OK});
  expect("zone_remove", "zone_a", "a zone", {RAUHA_OK});
  expect("task_label", "zone_a", "a zone that was removed", {RAUHA_E_NOT_FOUND});
}

}  // namespace

void removeKitGroups(const std::string& instance) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(v2Root(), error))
    if (entry.path().filename().string().rfind(groupPrefix(instance), 0) == 0) ::rmdir(entry.path().c_str());
}

std::unique_ptr<Driver> enforcerDriver() { return std::make_unique<EnforcerDriver>(); }

}  // namespace rauha::conformance
