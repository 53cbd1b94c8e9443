#pragma once
// The host's services for C++ plugins: thin, header-only, over service_*.h, which say what each does. Included by plugin.hpp.
//
// Each throws rauha::sdk::Error from its constructor when the host lacks the service (declare it in the plugin's macro, and it never
// does). Members of the plugin's class, used from any thread; Timer and Watch end with their objects. What a callback throws is logged and
// goes no further.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugin.hpp"
#include "service_events.h"
#include "service_spawn.h"
#include "service_state.h"
#include "service_timer.h"
#include "service_watch.h"

namespace rauha::sdk {

namespace detail {
// A failure of a service outside of any call: the host has logged the reason.
inline void serviceStatus(rauha_status status, const char* what, Call* call) {
  if (status == RAUHA_OK) return;
  throw ServiceError(status, std::string(what) + (call == nullptr ? ": refused by the host, see its log" : ": refused by the host"));
}
inline rauha_call* rawOf(Call* call) noexcept { return call == nullptr ? nullptr : call->raw(); }

// What a callback needs, at an address that does not move.
template <typename... Args>
struct Callback {
  const rauha_host* host;
  std::function<void(Args...)> function;
  void run(Args... args) noexcept {
    try {
      function(args...);
    } catch (const std::exception& e) {
      host->log(host->context, RAUHA_LOG_ERROR, str(e.what()));
    } catch (...) {
      host->log(host->context, RAUHA_LOG_ERROR, str("unknown exception in a callback"));
    }
  }
};
}  // namespace detail

// The zone's blob. Throws Error as the table says; get() gives nullopt where nothing was put.
class State {
 public:
  explicit State(Host host) : host_(host.raw()), table_(host.require<rauha_state_v1>(RAUHA_STATE_V1)) {}
  void put(Call& call, std::string_view zoneId, std::string_view bytes) const {
    detail::serviceStatus(table_.put(host_->context, call.raw(), str(zoneId), {bytes.data(), bytes.size()}), "put state", &call);
  }
  std::optional<std::string> get(Call& call, std::string_view zoneId) const {
    std::string out;
    const rauha_bytes_sink sink{sizeof sink, 0, &out, [](void* to, rauha_bytes bytes) noexcept {
                                  static_cast<std::string*>(to)->assign(static_cast<const char*>(bytes.ptr), bytes.len);
                                }};
    const rauha_status status = table_.get(host_->context, call.raw(), str(zoneId), &sink);
    if (status == RAUHA_E_NOT_FOUND) return std::nullopt;
    detail::serviceStatus(status, "get state", &call);
    return out;
  }
  void erase(Call& call, std::string_view zoneId) const {
    detail::serviceStatus(table_.erase(host_->context, call.raw(), str(zoneId)), "erase state", &call);
  }

 private:
  const rauha_host* host_;
  const rauha_state_v1& table_;
};

// Calls a function after a time, and then again every `everyNs` unless that is 0, until the object goes. The destructor waits for a call
// that runs, unless it is called from one.
class Timer {
 public:
  // function(times): periods since the last call.
  Timer(Host host, int64_t afterNs, int64_t everyNs, std::function<void(uint64_t)> function)
      : host_(host.raw()),
        table_(host.require<rauha_timer_v1>(RAUHA_TIMER_V1)),
        callback_(std::make_unique<detail::Callback<uint64_t>>(detail::Callback<uint64_t>{host_, std::move(function)})) {
    const rauha_timer_request request{
        sizeof request,  0,
        afterNs,         everyNs,
        callback_.get(), [](void* c, uint64_t, uint64_t times) noexcept {
                                        static_cast<detail::Callback<uint64_t>*>(c)->run(times); }};
    detail::serviceStatus(table_.start(host_->context, nullptr, &request, &number_), "start a timer", nullptr);
  }
  ~Timer() { table_.cancel(host_->context, number_); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  const rauha_host* host_;
  const rauha_timer_v1& table_;
  std::unique_ptr<detail::Callback<uint64_t>> callback_;
  uint64_t number_ = 0;
};

// Calls a function as long as a descriptor is ready (RAUHA_WATCH_*), until the object goes. The destructor waits for a call that runs,
// unless it is called from one.
class Watch {
 public:
  // function(events). fd stays the caller's.
  Watch(Host host, int fd, uint32_t events, std::function<void(uint32_t)> function)
      : host_(host.raw()),
        table_(host.require<rauha_watch_v1>(RAUHA_WATCH_V1)),
        callback_(std::make_unique<detail::Callback<uint32_t>>(detail::Callback<uint32_t>{host_, std::move(function)})) {
    const rauha_watch_request request{sizeof request, 0, fd, events, callback_.get(), [](void* c, uint64_t, uint32_t now) noexcept {
                                        static_cast<detail::Callback<uint32_t>*>(c)->run(now);
                                      }};
    detail::serviceStatus(table_.add(host_->context, nullptr, &request, &number_), "watch a descriptor", nullptr);
  }
  ~Watch() { table_.remove(host_->context, number_); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  const rauha_host* host_;
  const rauha_watch_v1& table_;
  std::unique_ptr<detail::Callback<uint32_t>> callback_;
  uint64_t number_ = 0;
};

// Events with an answer: false when it was dropped.
class Events {
 public:
  explicit Events(Host host) : host_(host.raw()), table_(host.require<rauha_events_v1>(RAUHA_EVENTS_V1)) {}
  bool emit(const rauha_event& event) const noexcept { return table_.emit(host_->context, &event) == RAUHA_OK; }
  uint64_t dropped() const noexcept { return table_.dropped(host_->context); }

 private:
  const rauha_host* host_;
  const rauha_events_v1& table_;
};

// Runs helper programs.
class Spawn {
 public:
  struct Descriptor {
    int fd;      // stays the caller's
    int number;  // in the helper
  };
  explicit Spawn(Host host) : host_(host.raw()), table_(host.require<rauha_spawn_v1>(RAUHA_SPAWN_V1)) {}

  // Starts it; the caller closes the pidfd that comes back.
  int start(Call& call, const std::vector<std::string>& arguments, std::initializer_list<Descriptor> descriptors = {},
            const std::vector<std::string>& environment = {}, uint32_t flags = 0) const {
    if (arguments.empty()) throw Error(RAUHA_E_INVALID, "no program to run");
    std::vector<rauha_str> argv, env;
    for (const auto& a : arguments) argv.push_back(str(a));
    for (const auto& e : environment) env.push_back(str(e));
    std::vector<rauha_spawn_descriptor> fds;
    for (const auto& d : descriptors) fds.push_back({sizeof(rauha_spawn_descriptor), 0, d.fd, d.number});
    rauha_spawn_request request{};
    request.struct_size = sizeof request;
    request.flags = flags;
    request.program = argv.front();
    request.arguments = {argv.data(), static_cast<uint32_t>(argv.size()), sizeof(rauha_str)};
    request.environment = {env.data(), static_cast<uint32_t>(env.size()), sizeof(rauha_str)};
    request.descriptors = {fds.data(), static_cast<uint32_t>(fds.size()), sizeof(rauha_spawn_descriptor)};
    rauha_spawn_handle out{sizeof out, 0, -1, 0};
    detail::serviceStatus(table_.start(host_->context, call.raw(), &request, &out), "start a helper", &call);
    return out.pidfd_take;
  }
  // Waits for its end; once per helper.
  rauha_spawn_end wait(Call& call, int pidfd) const {
    rauha_spawn_end out{sizeof out, 0, 0, 0};
    detail::serviceStatus(table_.wait(host_->context, call.raw(), pidfd, &out), "wait for a helper", &call);
    return out;
  }

 private:
  const rauha_host* host_;
  const rauha_spawn_v1& table_;
};

}  // namespace rauha::sdk
