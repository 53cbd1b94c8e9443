#include "core/plugin/host_services.h"

#include <rauha/service_spawn.h>
#include <rauha/service_state.h>

#include <algorithm>
#include <cstddef>

#include "core/base/clock.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/service_tables.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxLogText = 4096;
constexpr size_t kMaxEventName = 64;
constexpr size_t kMaxEventText = 1024;
constexpr size_t kMaxZoneId = 40;
constexpr size_t kMaxAttributes = 32;
constexpr size_t kAttributeV1 = offsetof(rauha_attribute, value) + sizeof(rauha_str);  // size in ABI 1.0
// Across all zones: the event bus tells floods of single zones apart. A plugin that varies zone ids must not get around that.
constexpr double kEventsPerSecond = 400, kEventBurst = 800;
constexpr double kLinesPerSecond = 50, kLineBurst = 200;

HostServices* hostOf(rauha_host_context* context) noexcept { return reinterpret_cast<HostServices*>(context); }

bool isEventName(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxEventName && name.find('.') != std::string_view::npos &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_'; });
}

// Or empty: not about a zone.
bool isZoneId(std::string_view id) noexcept {
  return std::all_of(id.begin(), id.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

LogLevel logLevelOf(int32_t level) noexcept {
  switch (level) {
    case RAUHA_LOG_DEBUG:
      return LogLevel::debug;
    case RAUHA_LOG_INFO:
      return LogLevel::info;
    case RAUHA_LOG_WARNING:
      return LogLevel::warning;
    default:
      return LogLevel::error;
  }
}

}  // namespace

HostServices::HostServices(std::string plugin, const PluginConfig& config, HostCallbacks callbacks)
    : plugin_(std::move(plugin)),
      instance_(config.instance),
      stateDir_(config.stateDir),
      runtimeDir_(config.runtimeDir),
      libexecDir_(config.libexecDir),
      callbacks_(std::move(callbacks)),
      eventRate_(kEventsPerSecond, kEventBurst),
      logRate_(kLinesPerSecond, kLineBurst),
      calls_(plugin_, config.limits, [this](const std::string& text) { log(LogLevel::warning, text); }) {
  environment_ = {sizeof(rauha_environment), 0, toStr(instance_), toStr(stateDir_), toStr(runtimeDir_), toStr(libexecDir_)};
  table_.struct_size = sizeof(rauha_host);
  table_.abi_minor = RAUHA_ABI_MINOR;
  table_.context = reinterpret_cast<rauha_host_context*>(this);
  table_.environment = &environment_;
  table_.set_error = [](rauha_call* c, rauha_status, rauha_str text, rauha_str hint) noexcept {
    if (c != nullptr) PluginCall::from(c)->setError(text, hint);
  };
  table_.log = [](rauha_host_context* h, int32_t level, rauha_str text) noexcept {
    if (h != nullptr) hostOf(h)->pluginLog(logLevelOf(level), text);
  };
  table_.progress = [](rauha_call* c, rauha_str what, uint64_t done, uint64_t total) noexcept {
    if (c != nullptr) PluginCall::from(c)->progress(what, done, total);
  };
  table_.cancelled = [](rauha_call* c) noexcept -> int32_t { return c != nullptr && PluginCall::from(c)->cancelled() ? 1 : 0; };
  table_.cancel_fd = [](rauha_call* c) noexcept -> int32_t { return c == nullptr ? -1 : PluginCall::from(c)->cancelFd(); };
  table_.deadline_ns = [](rauha_call* c) noexcept -> int64_t { return c == nullptr ? 0 : PluginCall::from(c)->deadlineNs(); };
  table_.emit = [](rauha_host_context* h, const rauha_event* event) noexcept {
    if (h != nullptr) (void)hostOf(h)->emit(event);
  };
  table_.on_loop_thread = [](rauha_host_context* h) noexcept -> int32_t { return h != nullptr && hostOf(h)->onLoopThread() ? 1 : 0; };
  table_.get_service = [](rauha_host_context* h, const char* id) noexcept -> const void* {
    return h == nullptr || id == nullptr ? nullptr : hostOf(h)->service(id);
  };
}

void HostServices::log(LogLevel level, std::string_view text) const noexcept {
  if (!callbacks_.log) return;
  try {
    callbacks_.log(level, plugin_, text);
  } catch (...) {  // nobody to tell
  }
}

void HostServices::pluginLog(LogLevel level, rauha_str text) noexcept {
  try {
    if (!logRate_.admit(monotonicNs())) {
      linesDropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (const uint64_t lost = linesDropped_.exchange(0); lost > 0)
      log(LogLevel::warning, std::to_string(lost) + " lines of the plugin were dropped: it logs too fast");
    log(level, cleanText(text, kMaxLogText));
  } catch (...) {  // out of memory: the record is lost
  }
}

void HostServices::violation(const std::string& text, uint64_t count) noexcept {
  calls_.violation(text, count);
  if (callbacks_.violation) return callbacks_.violation(text);
  if (logRate_.admit(monotonicNs())) log(LogLevel::warning, text);
}

void HostServices::serviceFailed(rauha_call* call, const std::string& text, const std::string& hint, bool garbage) noexcept {
  if (garbage)
    violation(text);
  else if (call == nullptr)
    pluginLog(LogLevel::warning, toStr(text));
  if (call != nullptr) PluginCall::from(call)->setError(toStr(text), toStr(hint));
}

const void* HostServices::service(std::string_view id) const noexcept {
  const bool missing = (id == RAUHA_STATE_V1 && callbacks_.state == nullptr) || (id == RAUHA_SPAWN_V1 && !callbacks_.spawn);
  return missing ? nullptr : serviceTable(id);
}

ServiceThread& HostServices::serviceThread() {
  std::lock_guard lock(threadMutex_);
  if (!thread_) thread_ = std::make_unique<ServiceThread>();
  return *thread_;
}

std::vector<StuckCall> HostServices::checkCalls() {
  const int64_t now = monotonicNs();
  {
    std::lock_guard lock(threadMutex_);
    if (thread_) calls_.checkCallback(now, thread_->callbackSinceNs());
  }
  return calls_.check(now);
}

PluginHealth HostServices::health() const {
  PluginHealth out = calls_.health();
  out.eventsDropped = eventsDropped();
  return out;
}

bool HostServices::onLoopThread() const noexcept {
  try {
    return callbacks_.onLoopThread && callbacks_.onLoopThread();
  } catch (...) {
    return false;
  }
}

PluginEvent HostServices::copyEvent(const rauha_event& raw) const {
  PluginEvent out;
  out.plugin = plugin_;
  out.severity = std::min<uint32_t>(raw.severity, 4);
  out.name = exactText(raw.name, kMaxEventName, "event name");
  if (!isEventName(out.name))
    throw Error("plugin", Code::invalid, "event name \"" + cleanText(raw.name, kMaxEventName) + "\" is not area.what");
  out.zoneId = exactText(raw.zone_id, kMaxZoneId, "zone id of an event");
  if (!isZoneId(out.zoneId))
    throw Error("plugin", Code::invalid,
                "zone id \"" + cleanText(raw.zone_id, kMaxZoneId) + "\" of an event is not made of a-z, 0-9 and '_'");
  out.message = cleanText(raw.message, kMaxEventText);
  const rauha_array& list = raw.attributes;
  if (list.count == 0) return out;
  if (list.ptr == nullptr || list.stride < kAttributeV1 || list.count > kMaxAttributes)
    throw Error("plugin", Code::invalid,
                "attributes of an event: " + std::to_string(list.count) + " of " + std::to_string(list.stride) + " bytes");
  for (uint32_t i = 0; i < list.count; ++i) {
    rauha_attribute a{};  // an older plugin's elements are shorter than ours, a newer one's are longer
    std::memcpy(&a, static_cast<const unsigned char*>(list.ptr) + size_t{i} * list.stride, std::min<size_t>(list.stride, sizeof a));
    out.attributes.emplace_back(cleanText(a.key, kMaxEventName), cleanText(a.value, kMaxEventText));
  }
  return out;
}

rauha_status HostServices::emit(const rauha_event* event) noexcept {
  rauha_status status = RAUHA_E_LIMIT;
  try {
    if (eventRate_.admit(monotonicNs())) {
      const auto raw = readTable<rauha_event>(event, offsetof(rauha_event, attributes) + sizeof(rauha_array), "event");
      if (callbacks_.event && callbacks_.event(copyEvent(raw))) return RAUHA_OK;
    }
  } catch (const Error& e) {
    violation("event dropped: " + e.text());
    status = RAUHA_E_INVALID;
  } catch (...) {  // out of memory: counted below
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
  return status;
}

}  // namespace rauha::plugin
