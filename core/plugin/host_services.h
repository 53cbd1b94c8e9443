#pragma once
// What the host offers to one plugin: the function table, and one rauha_call for each call in progress.
//
// HostServices is owned by the LoadedPlugin and outlives its instance. All functions of the table are [any] and hold whatever a plugin
// hands them to limits: a plugin may flood, pass garbage texts, or call from threads of its own.

#include <rauha/plugin.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/plugin/call.h"
#include "core/plugin/call_watch.h"
#include "core/plugin/helper_processes.h"
#include "core/plugin/rate_limit.h"
#include "core/plugin/registry.h"
#include "core/plugin/service_thread.h"

namespace rauha::plugin {

class HostServices final {
 public:
  HostServices(std::string plugin, const PluginConfig& config, HostCallbacks callbacks);
  HostServices(const HostServices&) = delete;
  HostServices& operator=(const HostServices&) = delete;

  const std::string& plugin() const noexcept { return plugin_; }
  const rauha_host* table() const noexcept { return &table_; }
  // Events that were lost before they got here.
  void countDropped(uint64_t events) noexcept { dropped_.fetch_add(events, std::memory_order_relaxed); }
  uint64_t eventsDropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  // Of the host about this plugin; the plugin's own lines come through pluginLog.
  void log(LogLevel level, std::string_view text) const noexcept;
  CallWatch& calls() noexcept { return calls_; }
  std::vector<StuckCall> checkCalls();
  PluginHealth health() const;
  // A breach of the contract: logged with the plugin's name, and counted. count: so many, of which text is the latest.
  void violation(const std::string& text, uint64_t count = 1) noexcept;

  // The functions behind the table.
  rauha_status emit(const rauha_event* event) noexcept;
  void pluginLog(LogLevel level, rauha_str text) noexcept;
  bool onLoopThread() const noexcept;
  const void* service(std::string_view id) const noexcept;

  // Behind the services' tables. state(): only with a keeper, else the table is not given out.
  StateKeeper& state() const noexcept { return *callbacks_.state; }
  ServiceThread& serviceThread();
  HelperProcesses& helpers() noexcept { return helpers_; }
  void serviceFailed(rauha_call* call, const std::string& text, const std::string& hint, bool garbage) noexcept;

 private:
  PluginEvent copyEvent(const rauha_event& raw) const;

  const std::string plugin_;
  const std::string instance_, stateDir_, runtimeDir_, libexecDir_;
  const HostCallbacks callbacks_;
  rauha_environment environment_{};
  rauha_host table_{};
  std::atomic<uint64_t> dropped_{0};
  std::atomic<uint64_t> linesDropped_{0};
  RateLimit eventRate_, logRate_;
  CallWatch calls_;
  HelperProcesses helpers_;
  std::mutex threadMutex_;
  std::unique_ptr<ServiceThread> thread_;
};

// One call into a plugin: gives it its rauha_call, turns what it returns into an Error.
//   PluginCall call(host, options, "backend", "zone_create");
//   call.finish(table.zone_create(instance, call.raw(), …));
class PluginCall final {
 public:
  // Throws cancelled or deadline when there is no use in beginning, and busy when too many calls of the plugin never returned.
  // errorClass, function: literals.
  PluginCall(HostServices& host, const CallOptions& options, std::string_view errorClass, std::string_view function);
  ~PluginCall() { host_.calls().end(number_); }
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

  rauha_call* raw() noexcept { return reinterpret_cast<rauha_call*>(this); }
  static PluginCall* from(rauha_call* raw) noexcept { return reinterpret_cast<PluginCall*>(raw); }

  // Calls a function of the plugin. The headers forbid exceptions, and whoever includes them in C++ keeps that; a plugin by other means may
  // throw all the same. Called as one that may throw, it becomes a fault of the call and not the end of the daemon.
  template <typename R, typename... Parameters, typename... Arguments>
  R run(R (*function)(Parameters...) noexcept, Arguments... arguments) noexcept {
    R (*const mayThrow)(Parameters...) = function;
    try {
      return mayThrow(arguments...);
    } catch (const std::exception& e) {
      threw(e.what());
    } catch (...) {
      threw("of no known type");
    }
    return RAUHA_E_INTERNAL;
  }
  // Throws unless status is RAUHA_OK and the plugin kept the contract. Each breach is logged and counted.
  void finish(rauha_status status);
  // The plugin broke the contract: finish() will throw this whatever the status. The first one counts. Any thread.
  void fault(const Error& what) noexcept;

  // The functions behind the table.
  void setError(rauha_str text, rauha_str hint) noexcept;
  void progress(rauha_str what, uint64_t done, uint64_t total) noexcept;
  bool cancelled() const noexcept { return options_.cancel != nullptr && options_.cancel->cancelled(); }
  int cancelFd() const noexcept { return options_.cancel == nullptr ? -1 : options_.cancel->fd(); }
  int64_t deadlineNs() const noexcept { return deadlineNs_; }

 private:
  Error errorFor(rauha_status status);
  void threw(const char* what) noexcept;

  HostServices& host_;
  const CallOptions& options_;
  const std::string_view errorClass_, function_;
  const int64_t deadlineNs_;
  const uint64_t number_;
  std::mutex mutex_;  // plugins may set texts from threads of their own
  std::string text_, hint_, fault_;
};

}  // namespace rauha::plugin
