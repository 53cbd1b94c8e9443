#include "core/plugin/host_services.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "core/base/clock.h"
#include "core/plugin/c_struct.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxErrorText = 512;
constexpr size_t kMaxLogText = 4096;
constexpr size_t kMaxProgressText = 128;
constexpr size_t kMaxEventName = 64;
constexpr size_t kMaxEventText = 1024;
constexpr size_t kMaxZoneId = 40;
constexpr size_t kMaxAttributes = 32;
constexpr int64_t kOverrunGraceNs = 5'000'000'000;

HostServices* hostOf(rauha_host_context* context) noexcept { return reinterpret_cast<HostServices*>(context); }

bool isEventName(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxEventName && name.find('.') != std::string_view::npos &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_'; });
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

std::string statusName(rauha_status status) {
  static constexpr std::array<const char*, 14> names{"OK",    "INVALID",   "NOT_FOUND", "EXISTS", "UNSUPPORTED", "DENIED",  "BUSY",
                                                     "LIMIT", "CANCELLED", "DEADLINE",  "IO",     "CONFLICT",    "CORRUPT", "INTERNAL"};
  return status >= 0 && static_cast<size_t>(status) < names.size() ? names[static_cast<size_t>(status)]
                                                                   : "status " + std::to_string(status);
}

std::string seconds(int64_t ns) {
  char text[32];
  snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  return text;
}

}  // namespace

HostServices::HostServices(std::string plugin, const PluginConfig& config, HostCallbacks callbacks)
    : plugin_(std::move(plugin)),
      instance_(config.instance),
      stateDir_(config.stateDir),
      runtimeDir_(config.runtimeDir),
      libexecDir_(config.libexecDir),
      callbacks_(std::move(callbacks)) {
  environment_ = {sizeof(rauha_environment), 0, toStr(instance_), toStr(stateDir_), toStr(runtimeDir_), toStr(libexecDir_)};
  table_.struct_size = sizeof(rauha_host);
  table_.abi_minor = RAUHA_ABI_MINOR;
  table_.context = reinterpret_cast<rauha_host_context*>(this);
  table_.environment = &environment_;
  table_.set_error = [](rauha_call* c, rauha_status, rauha_str text, rauha_str hint) noexcept {
    if (c != nullptr) PluginCall::from(c)->setError(text, hint);
  };
  table_.log = [](rauha_host_context* h, int32_t level, rauha_str text) noexcept {
    if (h == nullptr) return;
    try {
      hostOf(h)->log(logLevelOf(level), cleanText(text, kMaxLogText));
    } catch (...) {  // out of memory: the record is lost
    }
  };
  table_.progress = [](rauha_call* c, rauha_str what, uint64_t done, uint64_t total) noexcept {
    if (c != nullptr) PluginCall::from(c)->progress(what, done, total);
  };
  table_.cancelled = [](rauha_call* c) noexcept -> int32_t { return c != nullptr && PluginCall::from(c)->cancelled() ? 1 : 0; };
  table_.cancel_fd = [](rauha_call* c) noexcept -> int32_t { return c == nullptr ? -1 : PluginCall::from(c)->cancelFd(); };
  table_.deadline_ns = [](rauha_call* c) noexcept -> int64_t { return c == nullptr ? 0 : PluginCall::from(c)->deadlineNs(); };
  table_.emit = [](rauha_host_context* h, const rauha_event* event) noexcept {
    if (h != nullptr) hostOf(h)->emit(event);
  };
  table_.on_loop_thread = [](rauha_host_context* h) noexcept -> int32_t { return h != nullptr && hostOf(h)->onLoopThread() ? 1 : 0; };
  table_.get_service = [](rauha_host_context*, const char* id) noexcept -> const void* { return id == nullptr ? nullptr : service(id); };
}

void HostServices::log(LogLevel level, std::string_view text) const noexcept {
  if (!callbacks_.log) return;
  try {
    callbacks_.log(level, plugin_, text);
  } catch (...) {  // nobody to tell
  }
}

const void* HostServices::service(std::string_view) noexcept { return nullptr; }

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
  if (!isUtf8(out.zoneId)) throw Error("plugin", Code::invalid, "zone id of an event is not text");
  out.message = cleanText(raw.message, kMaxEventText);
  const rauha_array& list = raw.attributes;
  if (list.count == 0) return out;
  if (list.ptr == nullptr || list.stride < sizeof(rauha_attribute) || list.count > kMaxAttributes)
    throw Error("plugin", Code::invalid,
                "attributes of an event: " + std::to_string(list.count) + " of " + std::to_string(list.stride) + " bytes");
  for (uint32_t i = 0; i < list.count; ++i) {
    rauha_attribute a;
    std::memcpy(&a, static_cast<const unsigned char*>(list.ptr) + size_t{i} * list.stride, sizeof a);
    out.attributes.emplace_back(cleanText(a.key, kMaxEventName), cleanText(a.value, kMaxEventText));
  }
  return out;
}

void HostServices::emit(const rauha_event* event) noexcept {
  try {
    // A table's rule, not a struct's: an event says that something happened, and losing it because it says more would be worse.
    const auto raw = readTable<rauha_event>(event, offsetof(rauha_event, attributes) + sizeof(rauha_array), "event");
    if (callbacks_.event && callbacks_.event(copyEvent(raw))) return;
  } catch (const Error& e) {
    log(LogLevel::warning, "event dropped: " + e.text());
  } catch (...) {  // out of memory: counted below
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
}

PluginCall::PluginCall(HostServices& host, const CallOptions& options, std::string_view errorClass, std::string_view function)
    : host_(host), options_(options), errorClass_(errorClass), function_(function) {
  if (cancelled()) throw Error(errorClass_, Code::cancelled, "cancelled by the caller before " + std::string(function_) + " began");
  if (options_.deadlineNs != 0 && monotonicNs() >= options_.deadlineNs)
    throw Error(errorClass_, Code::deadline, "the time was up before " + std::string(function_) + " of " + host_.plugin() + " began");
}

void PluginCall::setError(rauha_str text, rauha_str hint) noexcept {
  try {
    std::string cleanedText = cleanText(text, kMaxErrorText), cleanedHint = cleanText(hint, kMaxErrorText);
    std::lock_guard lock(mutex_);
    text_ = std::move(cleanedText);
    hint_ = std::move(cleanedHint);
  } catch (...) {  // out of memory: the status alone must do
  }
}

void PluginCall::progress(rauha_str what, uint64_t done, uint64_t total) noexcept {
  if (!options_.progress) return;
  try {
    options_.progress(cleanText(what, kMaxProgressText), done, total);
  } catch (...) {  // progress is a courtesy
  }
}

void PluginCall::fault(const Error& what) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (fault_.empty()) fault_ = what.text();
  } catch (...) {
    std::terminate();  // a broken contract must not be forgotten for lack of memory
  }
}

void PluginCall::logOverrun() const {
  const int64_t late = options_.deadlineNs == 0 ? 0 : monotonicNs() - options_.deadlineNs;
  if (late > kOverrunGraceNs) host_.log(LogLevel::warning, std::string(function_) + " returned " + seconds(late) + " after its deadline");
}

Error PluginCall::errorFor(rauha_status status) const {
  const bool known = status > 0 && status <= RAUHA_E_INTERNAL;
  const Code code = known ? static_cast<Code>(status) : Code::internal;
  if (text_.empty())
    return Error(errorClass_, code,
                 host_.plugin() + ": " + std::string(function_) + " returned " + statusName(status) + " without a message", hint_);
  return Error(errorClass_, code, known ? text_ : text_ + " (" + host_.plugin() + " status " + std::to_string(status) + ")", hint_);
}

void PluginCall::finish(rauha_status status) {
  logOverrun();
  std::lock_guard lock(mutex_);
  if (status != RAUHA_OK) throw errorFor(status);
  if (!fault_.empty())
    throw Error(errorClass_, Code::internal, host_.plugin() + ": " + std::string(function_) + ": " + fault_,
                "report this to the plugin's author");
}

}  // namespace rauha::plugin
