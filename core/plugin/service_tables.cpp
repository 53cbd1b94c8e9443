#include "core/plugin/service_tables.h"

#include <fcntl.h>
#include <rauha/service_events.h>
#include <rauha/service_spawn.h>
#include <rauha/service_state.h>
#include <rauha/service_timer.h>
#include <rauha/service_watch.h>

#include <algorithm>

#include "core/plugin/c_struct.h"
#include "core/plugin/host_services.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxZoneId = 40;
constexpr size_t kMaxArguments = 1024;
constexpr size_t kMaxArgument = 128u << 10;  // what execve(2) takes as one
constexpr size_t kMaxArgumentBytes = 1u << 20;
constexpr size_t kMaxPath = 4095;
constexpr int kMaxNumber = 255;
constexpr size_t kTimerRequestV1 = offsetof(rauha_timer_request, fire) + sizeof(void*);  // sizes in ABI 1.0
constexpr size_t kWatchRequestV1 = offsetof(rauha_watch_request, ready) + sizeof(void*);
constexpr size_t kSpawnRequestV1 = offsetof(rauha_spawn_request, directory) + sizeof(rauha_str);
constexpr size_t kDescriptorV1 = offsetof(rauha_spawn_descriptor, number) + sizeof(int32_t);
constexpr size_t kBytesSinkV1 = offsetof(rauha_bytes_sink, push) + sizeof(void*);

HostServices& hostOf(rauha_host_context* context) noexcept { return *reinterpret_cast<HostServices*>(context); }

Error invalid(const std::string& text) { return Error("plugin", Code::invalid, text); }

// Runs one service call of the plugin's; a failure becomes its status, and the text of the call or a line in the log.
template <typename F>
rauha_status answer(rauha_host_context* context, rauha_call* call, const char* what, F&& f) noexcept {
  if (context == nullptr) return RAUHA_E_INVALID;
  HostServices& host = hostOf(context);
  try {
    f(host);
    return RAUHA_OK;
  } catch (const Error& e) {
    // What cannot even be read is the plugin's mistake, not ours.
    const bool garbage = e.code() == Code::internal || e.code() == Code::invalid || e.code() == Code::unsupported;
    host.serviceFailed(call, std::string(what) + ": " + e.text(), e.hint(), garbage);
    return e.code() == Code::internal && e.errorClass() == "plugin" ? RAUHA_E_INVALID : static_cast<rauha_status>(e.code());
  } catch (const std::exception& e) {
    host.serviceFailed(call, std::string(what) + ": " + e.what(), {}, false);
    return RAUHA_E_INTERNAL;
  }
}

void refuseFlags(uint32_t flags, uint32_t known, const char* what) {
  if ((flags & ~known) != 0)
    throw Error("plugin", Code::unsupported, std::string(what) + " has unknown flag bits " + std::to_string(flags & ~known));
}

std::string zoneIdOf(rauha_str text) {
  std::string id = exactText(text, kMaxZoneId, "the zone id");
  if (id.empty() || !isUtf8(id)) throw invalid("no zone id was given");
  return id;
}

// An out-struct of the caller's: only as much is written as it has room for.
template <typename T>
void writeOut(T* to, T value, const char* what) {
  if (to == nullptr || to->struct_size < 2 * sizeof(uint32_t)) throw invalid(std::string(what) + " has no room");
  value.struct_size = std::min<uint32_t>(to->struct_size, sizeof value);
  std::memcpy(static_cast<void*>(to), &value, value.struct_size);
}

template <typename T>
const unsigned char* firstOf(const rauha_array& array, size_t limit, const char* what) {
  if (array.count > limit)
    throw Error("plugin", Code::limit, std::to_string(array.count) + " " + what + ", at most " + std::to_string(limit));
  if (array.count > 0 && (array.ptr == nullptr || array.stride < sizeof(T) || array.stride > kMaxStruct))
    throw invalid(std::string("the array of ") + what + " has a stride of " + std::to_string(array.stride));
  return static_cast<const unsigned char*>(array.ptr);
}

std::vector<std::string> textsOf(const rauha_array& array, const char* what, size_t& budget) {
  const unsigned char* at = firstOf<rauha_str>(array, kMaxArguments, what);
  std::vector<std::string> out;
  for (uint32_t i = 0; i < array.count; ++i) {
    rauha_str text;
    std::memcpy(&text, at + size_t{i} * array.stride, sizeof text);
    out.push_back(exactText(text, kMaxArgument, what));
    if (out.back().size() > budget)
      throw Error("plugin", Code::limit, "arguments and environment have more than " + std::to_string(kMaxArgumentBytes) + " bytes");
    budget -= out.back().size();
  }
  return out;
}

std::string absolute(rauha_str text, const char* what) {
  std::string path = exactText(text, kMaxPath, what);
  if (path.empty() || path[0] != '/') throw invalid(std::string(what) + " \"" + cleanText(text, kMaxPath) + "\" is not an absolute path");
  return path;
}

std::vector<std::pair<int, int>> descriptorsOf(const rauha_array& array) {
  const unsigned char* at = firstOf<uint32_t>(array, kMaxNumber + 1, "descriptors");
  std::vector<std::pair<int, int>> out;
  for (uint32_t i = 0; i < array.count; ++i) {
    const auto raw =
        readStruct(reinterpret_cast<const rauha_spawn_descriptor*>(at + size_t{i} * array.stride), kDescriptorV1, "a descriptor");
    refuseFlags(raw.flags, 0, "a descriptor");
    if (raw.number < 0 || raw.number > kMaxNumber)
      throw invalid("descriptor number " + std::to_string(raw.number) + " is not in 0 to " + std::to_string(kMaxNumber));
    if (std::any_of(out.begin(), out.end(), [&](const auto& o) { return o.second == raw.number; }))
      throw invalid("descriptor number " + std::to_string(raw.number) + " is given twice");
    if (raw.fd_borrow < 0 || fcntl(raw.fd_borrow, F_GETFD) < 0)
      throw invalid("fd_borrow " + std::to_string(raw.fd_borrow) + " is not an open descriptor");
    out.emplace_back(raw.fd_borrow, raw.number);
  }
  return out;
}

HelperRequest helperOf(const rauha_spawn_request* from) {
  const auto raw = readStruct(from, kSpawnRequestV1, "the request");
  refuseFlags(raw.flags, RAUHA_SPAWN_SET_USER_ID, "the request");
  HelperRequest out;
  size_t budget = kMaxArgumentBytes;
  out.program = absolute(raw.program, "the program");
  out.arguments = textsOf(raw.arguments, "arguments", budget);
  if (out.arguments.empty()) throw invalid("no arguments were given: the first is the program's name");
  out.environment = textsOf(raw.environment, "environment entries", budget);
  for (const auto& entry : out.environment)
    if (entry.find('=') == std::string::npos || entry[0] == '=') throw invalid("an environment entry is not NAME=value");
  out.descriptors = descriptorsOf(raw.descriptors);
  if (raw.directory.len > 0) out.directory = absolute(raw.directory, "the directory");
  out.setUserId = (raw.flags & RAUHA_SPAWN_SET_USER_ID) != 0;
  return out;
}

const rauha_state_v1 kState = {
    sizeof(rauha_state_v1),
    0,
    [](rauha_host_context* h, rauha_call* c, rauha_str zone, rauha_bytes bytes) noexcept {
      return answer(h, c, "put state", [&](HostServices& host) {
        const std::string id = zoneIdOf(zone);
        if (bytes.len > RAUHA_STATE_MAX_BYTES)
          throw Error("plugin", Code::limit,
                      std::to_string(bytes.len) + " bytes for zone " + id + ", at most " + std::to_string(RAUHA_STATE_MAX_BYTES));
        if (bytes.ptr == nullptr && bytes.len > 0) throw invalid("the bytes are a null pointer");
        host.state().put(host.plugin(), id, {static_cast<const char*>(bytes.ptr), bytes.len});
      });
    },
    [](rauha_host_context* h, rauha_call* c, rauha_str zone, const rauha_bytes_sink* sink) noexcept {
      // That nothing was put is an answer and no failure: no text, no line in the log.
      bool found = true;
      const rauha_status status = answer(h, c, "get state", [&](HostServices& host) {
        const auto to = readTable<rauha_bytes_sink>(sink, kBytesSinkV1, "the sink");
        if (to.push == nullptr) throw invalid("the sink has no push");
        const auto bytes = host.state().get(host.plugin(), zoneIdOf(zone));
        found = bytes.has_value();
        if (found) to.push(to.context, {bytes->data(), bytes->size()});
      });
      return status == RAUHA_OK && !found ? RAUHA_E_NOT_FOUND : status;
    },
    [](rauha_host_context* h, rauha_call* c, rauha_str zone) noexcept {
      return answer(h, c, "erase state", [&](HostServices& host) { host.state().erase(host.plugin(), zoneIdOf(zone)); });
    },
};

const rauha_events_v1 kEvents = {
    sizeof(rauha_events_v1),
    0,
    [](rauha_host_context* h, const rauha_event* event) noexcept -> rauha_status {
      return h == nullptr ? RAUHA_E_INVALID : hostOf(h).emit(event);
    },
    [](rauha_host_context* h) noexcept -> uint64_t { return h == nullptr ? 0 : hostOf(h).eventsDropped(); },
};

const rauha_timer_v1 kTimer = {
    sizeof(rauha_timer_v1),
    0,
    [](rauha_host_context* h, rauha_call* c, const rauha_timer_request* request, uint64_t* timer) noexcept {
      return answer(h, c, "start a timer", [&](HostServices& host) {
        const auto raw = readStruct(request, kTimerRequestV1, "the request");
        refuseFlags(raw.flags, 0, "the request");
        if (raw.fire == nullptr || timer == nullptr) throw invalid("there is no function to call, or no place for the number");
        if (raw.after_ns < 0) throw invalid("after_ns is " + std::to_string(raw.after_ns));
        if (raw.every_ns != 0 && raw.every_ns < RAUHA_TIMER_MIN_PERIOD_NS)
          throw invalid("every_ns is " + std::to_string(raw.every_ns) + ", at least " + std::to_string(RAUHA_TIMER_MIN_PERIOD_NS));
        host.serviceThread().start(raw, timer);
      });
    },
    [](rauha_host_context* h, uint64_t timer) noexcept {
      if (h != nullptr && timer != 0) hostOf(h).serviceThread().cancelTimer(timer);
    },
};

const rauha_watch_v1 kWatch = {
    sizeof(rauha_watch_v1),
    0,
    [](rauha_host_context* h, rauha_call* c, const rauha_watch_request* request, uint64_t* watch) noexcept {
      return answer(h, c, "watch a descriptor", [&](HostServices& host) {
        const auto raw = readStruct(request, kWatchRequestV1, "the request");
        refuseFlags(raw.flags, RAUHA_WATCH_ONCE, "the request");
        if (raw.ready == nullptr || watch == nullptr) throw invalid("there is no function to call, or no place for the number");
        if ((raw.events & ~(RAUHA_WATCH_READABLE | RAUHA_WATCH_WRITABLE | RAUHA_WATCH_HUNG_UP)) != 0)
          throw Error("plugin", Code::unsupported, "unknown events " + std::to_string(raw.events));
        if (raw.fd_borrow < 0 || fcntl(raw.fd_borrow, F_GETFD) < 0)
          throw invalid("fd_borrow " + std::to_string(raw.fd_borrow) + " is not an open descriptor");
        host.serviceThread().add(raw, watch);
      });
    },
    [](rauha_host_context* h, uint64_t watch) noexcept {
      if (h != nullptr && watch != 0) hostOf(h).serviceThread().removeWatch(watch);
    },
};

const rauha_spawn_v1 kSpawn = {
    sizeof(rauha_spawn_v1),
    0,
    [](rauha_host_context* h, rauha_call* c, const rauha_spawn_request* request, rauha_spawn_handle* out) noexcept {
      return answer(h, c, "start a helper", [&](HostServices& host) {
        if (out == nullptr || out->struct_size < sizeof(rauha_spawn_handle)) throw invalid("the handle has no room");
        auto [pidfd, pid] = host.helpers().start(helperOf(request));
        writeOut(out, {0, 0, pidfd.release(), pid}, "the handle");
      });
    },
    [](rauha_host_context* h, rauha_call* c, int32_t pidfd, rauha_spawn_end* out) noexcept {
      return answer(h, c, "wait for a helper", [&](HostServices& host) {
        if (out == nullptr || out->struct_size < sizeof(rauha_spawn_end)) throw invalid("the end has no room");
        const PluginCall* call = c == nullptr ? nullptr : PluginCall::from(c);
        const HelperEnd end = host.helpers().wait(pidfd, call == nullptr ? -1 : call->cancelFd(), call == nullptr ? 0 : call->deadlineNs());
        writeOut(out, {0, 0, end.signaled ? RAUHA_SPAWN_SIGNALED : RAUHA_SPAWN_EXITED, end.code}, "the end");
      });
    },
};

}  // namespace

std::vector<std::string> offeredServices(const HostCallbacks& callbacks) {
  std::vector<std::string> out{RAUHA_EVENTS_V1, RAUHA_TIMER_V1, RAUHA_WATCH_V1};
  if (callbacks.state != nullptr) out.emplace_back(RAUHA_STATE_V1);
  if (callbacks.spawn) out.emplace_back(RAUHA_SPAWN_V1);
  return out;
}

const void* serviceTable(std::string_view id) noexcept {
  if (id == RAUHA_STATE_V1) return &kState;
  if (id == RAUHA_EVENTS_V1) return &kEvents;
  if (id == RAUHA_TIMER_V1) return &kTimer;
  if (id == RAUHA_WATCH_V1) return &kWatch;
  if (id == RAUHA_SPAWN_V1) return &kSpawn;
  return nullptr;
}

}  // namespace rauha::plugin
