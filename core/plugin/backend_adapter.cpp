#include <fcntl.h>
#include <rauha/backend.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>

#include "core/plugin/adapters.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/sink.h"

namespace rauha::plugin {
namespace {

constexpr size_t kTableV1 = offsetof(rauha_backend_v1, reconcile) + sizeof(void*);  // sizes in ABI 1.0
constexpr size_t kHandleV1 = offsetof(rauha_zone_handle, reserved) + sizeof(uint32_t);
constexpr size_t kLayerV1 = offsetof(rauha_layer, remedy) + sizeof(rauha_str);
constexpr size_t kFindingV1 = offsetof(rauha_zone_finding, action) + sizeof(rauha_str);
constexpr size_t kMaxLayers = 64;
constexpr size_t kMaxFindings = 10'000;
constexpr size_t kMaxName = 64;
constexpr size_t kMaxText = 512;

void refuseFlags(uint32_t flags, const char* what) {
  if (flags != 0) throw Error("plugin", Code::unsupported, std::string(what) + " has unknown flag bits " + std::to_string(flags));
}

Layer copyLayer(const rauha_layer* from) {
  const auto raw = readTable<rauha_layer>(from, kLayerV1, "a layer");
  refuseFlags(raw.flags, "a layer");
  Layer out;
  out.name = exactText(raw.name, kMaxName, "a layer's name");
  if (out.name.empty() ||
      !std::all_of(out.name.begin(), out.name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }))
    throw Error("plugin", Code::invalid, "a layer's name \"" + cleanText(raw.name, kMaxName) + "\" is not [a-z0-9_]");
  if (raw.state > RAUHA_LAYER_FULL)
    throw Error("plugin", Code::unsupported, "layer " + out.name + " has the unknown state " + std::to_string(raw.state));
  out.state = raw.state == RAUHA_LAYER_FULL      ? LayerState::full
              : raw.state == RAUHA_LAYER_PARTIAL ? LayerState::partial
                                                 : LayerState::missing;
  out.detail = cleanText(raw.detail, kMaxText);
  out.reason = cleanText(raw.reason, kMaxText);
  out.remedy = cleanText(raw.remedy, kMaxText);
  return out;
}

class LayerSink final {
 public:
  explicit LayerSink(PluginCall& call) : sink_(call) {
    raw_ = {sizeof(rauha_layer_sink), 0, this,
            [](void* self, const rauha_layer* layer) noexcept { static_cast<LayerSink*>(self)->push(layer); }};
  }
  const rauha_layer_sink* raw() const noexcept { return &raw_; }
  std::vector<Layer> layers;

 private:
  void push(const rauha_layer* layer) noexcept {
    sink_.take([&] {
      bound(layers, kMaxLayers, "layers");
      layers.push_back(copyLayer(layer));
    });
  }
  Sink sink_;
  rauha_layer_sink raw_{};
};

class FindingSink final {
 public:
  explicit FindingSink(PluginCall& call) : sink_(call) {
    raw_ = {sizeof(rauha_finding_sink), 0, this,
            [](void* self, const rauha_zone_finding* f) noexcept { static_cast<FindingSink*>(self)->push(f); }};
  }
  const rauha_finding_sink* raw() const noexcept { return &raw_; }
  std::vector<Finding> findings;

 private:
  void push(const rauha_zone_finding* finding) noexcept {
    sink_.take([&] {
      bound(findings, kMaxFindings, "findings");
      const auto raw = readTable<rauha_zone_finding>(finding, kFindingV1, "a finding");
      refuseFlags(raw.flags, "a finding");
      findings.push_back({cleanText(raw.zone_id, kMaxName), cleanText(raw.object, kMaxText), cleanText(raw.action, kMaxText)});
    });
  }
  Sink sink_;
  rauha_finding_sink raw_{};
};

// A zone spec in C, borrowed from the C++ one.
class SpecView final {
 public:
  explicit SpecView(const ZoneSpec& spec, uint32_t flags = 0) {
    for (const auto& r : spec.records) records_.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, r.tag, 0, r.number, toStr(r.text)});
    raw_.struct_size = sizeof raw_;
    raw_.flags = flags | (spec.ephemeral ? RAUHA_ZONE_EPHEMERAL : 0u) | (spec.usernsHost ? RAUHA_ZONE_USERNS_HOST : 0u);
    raw_.network = network(spec.network);
    raw_.zone_id = toStr(spec.id);
    raw_.hostname = toStr(spec.hostname);
    raw_.records = {records_.data(), static_cast<uint32_t>(records_.size()), sizeof(rauha_record)};
  }
  const rauha_zone_spec* raw() const noexcept { return &raw_; }

 private:
  static uint32_t network(ZoneNetwork n) noexcept {
    switch (n) {
      case ZoneNetwork::isolated:
        return RAUHA_NETWORK_ISOLATED;
      case ZoneNetwork::bridged:
        return RAUHA_NETWORK_BRIDGED;
      case ZoneNetwork::host:
        return RAUHA_NETWORK_HOST;
    }
    return RAUHA_NETWORK_ISOLATED;
  }
  std::vector<rauha_record> records_;
  rauha_zone_spec raw_{};
};

rauha_zone_handle emptyHandle() {
  rauha_zone_handle out{};
  out.struct_size = sizeof out;
  out.agent_fd_take = -1;
  out.cgroup_fd_take = -1;
  return out;
}

// The descriptor is ours from here on, whatever else is wrong. Only what is no open socket is left alone: the number may be anybody's.
UniqueFd takeSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (fd < 3 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    throw Error("plugin", Code::internal, "returned OK, but agent_fd_take " + std::to_string(fd) + " is not an open socket");
  UniqueFd owned(fd);
  if (type != SOCK_STREAM) throw Error("plugin", Code::internal, "returned OK, but agent_fd_take is not a stream socket");
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) throwErrno("plugin", "set close-on-exec on the agent's socket");
  return owned;
}

// Ours from here on, as the socket is.
UniqueFd takeDirectory(int fd) {
  struct stat st {};
  if (fd < 3 || fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
    throw Error("plugin", Code::internal, "returned OK, but cgroup_fd_take " + std::to_string(fd) + " is not an open directory");
  UniqueFd owned(fd);
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) throwErrno("plugin", "set close-on-exec on the zone's control group");
  return owned;
}

ZoneHandle takeHandle(const rauha_zone_handle& raw, bool usernsHost) {
  ZoneHandle out;
  out.agent = takeSocket(raw.agent_fd_take);
  if (raw.struct_size < kHandleV1 || raw.struct_size > sizeof raw)
    throw Error("plugin", Code::internal,
                "says that the zone handle has " + std::to_string(raw.struct_size) + " bytes, the daemon gave room for " +
                    std::to_string(sizeof raw));
  if ((raw.flags & RAUHA_ZONE_HANDLE_CGROUP) != 0) out.cgroup = takeDirectory(raw.cgroup_fd_take);
  refuseFlags(raw.flags & ~RAUHA_ZONE_HANDLE_CGROUP, "the zone handle");
  if (raw.shim_pid < 0 || raw.shim_pid == 1)
    throw Error("plugin", Code::internal, "returned OK with the shim's pid " + std::to_string(raw.shim_pid));
  if (uint64_t{raw.host_id_base} + raw.host_id_count > UINT32_MAX || (!usernsHost && raw.host_id_base == 0 && raw.host_id_count != 0))
    throw Error("plugin", Code::internal,
                "returned OK with the host ids " + std::to_string(raw.host_id_base) + " and " + std::to_string(raw.host_id_count) +
                    " on from there");
  out.shimPid = raw.shim_pid;
  out.idBase = raw.host_id_base;
  out.idCount = raw.host_id_count;
  return out;
}

class PluginBackend final : public Backend {
 public:
  explicit PluginBackend(std::shared_ptr<PluginInstance> plugin)
      : plugin_(std::move(plugin)),
        table_(readTable<rauha_backend_v1>(plugin_->table(RAUHA_BACKEND_V1), kTableV1, "table " RAUHA_BACKEND_V1)) {
    const auto need = [](bool present, const char* function) {
      if (!present) throw Error("plugin", Code::invalid, std::string("table " RAUHA_BACKEND_V1 " has no ") + function);
    };
    need(table_.probe != nullptr, "probe");
    need(table_.zone_create != nullptr, "zone_create");
    need(table_.zone_connect != nullptr, "zone_connect");
    need(table_.zone_update != nullptr, "zone_update");
    need(table_.zone_destroy != nullptr, "zone_destroy");
    need(table_.zone_check != nullptr, "zone_check");
    need(table_.reconcile != nullptr, "reconcile");
  }

  const std::string& name() const noexcept override { return plugin_->name(); }

  std::vector<Layer> probe(const CallOptions& options) override {
    PluginCall call(plugin_->host(), options, "backend", "probe");
    LayerSink sink(call);
    call.finish(call.run(table_.probe, plugin_->instance(), call.raw(), sink.raw()));
    return std::move(sink.layers);
  }

  ZoneHandle createZone(const CallOptions& options, const ZoneSpec& spec) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_create");
    LayerSink sink(call);
    const SpecView view(spec);
    rauha_zone_handle raw = emptyHandle();
    const rauha_status status = call.run(table_.zone_create, plugin_->instance(), call.raw(), view.raw(), sink.raw(), &raw);
    ZoneHandle out = receive(call, status, raw, spec.usernsHost, &spec.id);
    out.layers = std::move(sink.layers);
    return out;
  }

  void prepareZone(const CallOptions& options, const ZoneSpec& spec) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_create");
    LayerSink sink(call);
    const SpecView view(spec, RAUHA_ZONE_PREPARE);
    rauha_zone_handle raw = emptyHandle();
    const rauha_status status = call.run(table_.zone_create, plugin_->instance(), call.raw(), view.raw(), sink.raw(), &raw);
    if (status == RAUHA_OK && (raw.agent_fd_take != -1 || raw.cgroup_fd_take != -1)) {
      call.fault(Error("plugin", Code::internal, "returned OK and descriptors of a zone that was to be prepared"));
      try {
        if (raw.agent_fd_take != -1) takeSocket(raw.agent_fd_take);
        if (raw.cgroup_fd_take != -1) takeDirectory(raw.cgroup_fd_take);
      } catch (const Error&) {
        // None of ours, then.
      }
    }
    try {
      call.finish(status);
    } catch (const Error&) {
      if (status == RAUHA_OK) undoZone(spec.id);
      throw;
    }
  }

  ZoneHandle connectZone(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_connect");
    rauha_zone_handle raw = emptyHandle();
    const rauha_status status = call.run(table_.zone_connect, plugin_->instance(), call.raw(), toStr(zoneId), &raw);
    return receive(call, status, raw, true, nullptr);
  }

  void updateZone(const CallOptions& options, const ZoneSpec& spec) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_update");
    const SpecView view(spec);
    call.finish(call.run(table_.zone_update, plugin_->instance(), call.raw(), view.raw()));
  }

  void destroyZone(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_destroy");
    call.finish(call.run(table_.zone_destroy, plugin_->instance(), call.raw(), toStr(zoneId)));
  }

  void checkZone(const CallOptions& options, std::string_view zoneId) override {
    PluginCall call(plugin_->host(), options, "backend", "zone_check");
    call.finish(call.run(table_.zone_check, plugin_->instance(), call.raw(), toStr(zoneId)));
  }

  std::vector<Finding> reconcile(const CallOptions& options, const std::vector<std::string>& zoneIds) override {
    PluginCall call(plugin_->host(), options, "backend", "reconcile");
    FindingSink sink(call);
    std::vector<rauha_str> ids;
    ids.reserve(zoneIds.size());
    for (const auto& id : zoneIds) ids.push_back(toStr(id));
    const rauha_array array{ids.data(), static_cast<uint32_t>(ids.size()), sizeof(rauha_str)};
    call.finish(call.run(table_.reconcile, plugin_->instance(), call.raw(), array, sink.raw()));
    return std::move(sink.findings);
  }

 private:
  // A zone whose handle is no good is taken down again (`undo`): the caller was told that nothing is left after a failure.
  ZoneHandle receive(PluginCall& call, rauha_status status, const rauha_zone_handle& raw, bool usernsHost, const std::string* undo) {
    ZoneHandle out;
    if (status == RAUHA_OK) try {
        out = takeHandle(raw, usernsHost);
      } catch (const Error& e) {
        call.fault(e);
      }
    try {
      call.finish(status);
    } catch (const Error&) {
      if (status == RAUHA_OK && undo != nullptr) undoZone(*undo);
      throw;
    }
    return out;
  }

  void undoZone(const std::string& zoneId) noexcept {
    try {
      const CallOptions unlimited;
      destroyZone(unlimited, zoneId);
    } catch (const std::exception& e) {
      plugin_->host().log(LogLevel::error, "zone " + zoneId + " could not be taken down after a broken zone_create: " + e.what());
    }
  }

  const std::shared_ptr<PluginInstance> plugin_;
  const rauha_backend_v1 table_;
};

}  // namespace

std::unique_ptr<Backend> adaptBackend(std::shared_ptr<PluginInstance> plugin) {
  const std::string name = plugin->name();
  try {
    return std::make_unique<PluginBackend>(std::move(plugin));
  } catch (const Error& e) {
    throw Error("plugin", e.code(), name + ": " + e.text(), e.hint());
  }
}

}  // namespace rauha::plugin
