// A backend by the C++ wrapper that keeps the contract; the zone's id says what it does.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <thread>

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;
using rauha::sdk::str;
using rauha::sdk::view;

class GoodBackend {
 public:
  GoodBackend(rauha::sdk::Host host, std::string_view config) : host_(host) {
    if (config == "throw") throw Error(RAUHA_E_INVALID, "line 1: unknown key \"throw\"", "remove it");
    if (config == "throw-foreign") throw 42;
    struct stat st {};
    const std::string own = std::string(host.stateDir()) + "/plugins/good-backend";
    if (stat(own.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) || (st.st_mode & 0777) != 0700)
      throw Error(RAUHA_E_IO, "no directory of my own: " + own);
    host_.log(RAUHA_LOG_INFO, "made for " + std::string(host.instance()));
  }

  void probe(Call& call, const rauha_layer_sink& sink) {
    call.progress("probing", 1, 2);
    push(sink, "seccomp", RAUHA_LAYER_FULL, "strict", "", "");
    push(sink, "cgroup_io", RAUHA_LAYER_PARTIAL, "v1 blkio", "buffered writes are not counted", "boot with cgroup v2");
  }

  rauha_zone_handle createZone(Call& call, const rauha_zone_spec& spec, const rauha_layer_sink& sink) {
    const std::string id(view(spec.zone_id));
    call.check();
    if (id == "zone_exists") throw Error(RAUHA_E_EXISTS, "zone zone_exists is there already", "delete it");
    if (id == "zone_foreign") throw std::runtime_error("a library threw");
    if (id == "zone_thread") {
      std::thread([&] { host_.raw()->set_error(nullptr, 0, str(""), str("")), call.progress("from a thread", 0, 0); }).join();
    }
    std::string seen = std::to_string(spec.flags) + "," + std::to_string(spec.network) + "," + std::string(view(spec.hostname));
    for (const auto& r : rauha::sdk::elements<rauha_record>(spec.records, "record"))
      seen +=
          ";" + std::to_string(r.tag) + ":" + std::to_string(r.number) + ":" + std::string(view(r.text)) + ":" + std::to_string(r.flags);
    push(sink, "user_namespace", RAUHA_LAYER_FULL, seen, "", "");
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw Error(RAUHA_E_IO, "socketpair");
    (void)!write(ends[1], "hello", 5);
    close(ends[1]);
    return {sizeof(rauha_zone_handle),
            RAUHA_ZONE_HANDLE_CGROUP,
            ends[0],
            4242,
            0x70000000,
            65536,
            open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
            0};
  }

  rauha_zone_handle connectZone(Call&, std::string_view id) { throw Error(RAUHA_E_NOT_FOUND, "zone " + std::string(id) + " has no shim"); }

  void updateZone(Call&, const rauha_zone_spec& spec) {
    for (const auto& r : rauha::sdk::elements<rauha_record>(spec.records, "record"))
      if (r.tag > RAUHA_ZONE_IO_WRITE_BPS)
        throw Error(RAUHA_E_UNSUPPORTED, "record " + std::to_string(r.tag) + " cannot change on a living zone");
  }

  void destroyZone(Call& call, std::string_view id) {
    if (id == "zone_wait")
      while (!call.cancelled()) std::this_thread::yield();
    call.check();
    rauha_attribute a{str("zone"), str(id)};
    rauha_event e{};
    e.struct_size = sizeof e;
    e.severity = 1;
    e.name = str("zone.destroyed");
    e.zone_id = str(id);
    e.attributes = {&a, 1, sizeof a};
    host_.emit(e);
  }

  void checkZone(Call&, std::string_view id) {
    throw Error(RAUHA_E_CONFLICT, "zone " + std::string(id) + ": memory.max is 1, expected 2", "apply the policy again");
  }

  void reconcile(Call&, const std::vector<std::string_view>& zones, const rauha_finding_sink& sink) {
    for (const auto id : zones) {
      rauha_zone_finding f{sizeof f, 0, str(id), str("process 1"), str("adopted")};
      sink.push(sink.context, &f);
    }
  }

 private:
  static void push(const rauha_layer_sink& sink, std::string_view name, uint32_t state, std::string_view detail, std::string_view reason,
                   std::string_view remedy) {
    rauha_layer layer{sizeof layer, 0, state, 0, str(name), str(detail), str(reason), str(remedy)};
    sink.push(sink.context, &layer);
  }
  rauha::sdk::Host host_;
};

}  // namespace

RAUHA_BACKEND_PLUGIN(GoodBackend, "good-backend", "1.2.3", "Apache-2.0");
