#pragma once
// What the host offers to one plugin: the function table, and one rauha_call for each call in progress.
//
// HostServices is owned by the LoadedPlugin and outlives its instance. All functions of the table are [any] and hold whatever a plugin
// hands them to limits: a plugin may flood, pass garbage texts, or call from threads of its own.

#include <rauha/plugin.h>

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/plugin/call.h"
#include "core/plugin/registry.h"

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
  void log(LogLevel level, std::string_view text) const noexcept;
  // A table by id, or null. This daemon has none yet: what needs one is refused before it is made.
  static const void* service(std::string_view id) noexcept;

  // The functions behind the table.
  void emit(const rauha_event* event) noexcept;
  bool onLoopThread() const noexcept;

 private:
  PluginEvent copyEvent(const rauha_event& raw) const;

  const std::string plugin_;
  const std::string instance_, stateDir_, runtimeDir_, libexecDir_;
  const HostCallbacks callbacks_;
  rauha_environment environment_{};
  rauha_host table_{};
  std::atomic<uint64_t> dropped_{0};
};

// One call into a plugin: gives it its rauha_call, turns what it returns into an Error.
//   PluginCall call(host, options, "backend", "zone_create");
//   call.finish(table.zone_create(instance, call.raw(), …));
class PluginCall final {
 public:
  // Throws cancelled or deadline when there is no use in beginning. errorClass, function: literals.
  PluginCall(HostServices& host, const CallOptions& options, std::string_view errorClass, std::string_view function);
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

  rauha_call* raw() noexcept { return reinterpret_cast<rauha_call*>(this); }
  static PluginCall* from(rauha_call* raw) noexcept { return reinterpret_cast<PluginCall*>(raw); }

  // Throws unless status is RAUHA_OK and the plugin kept the contract. Logs when the deadline was overrun.
  void finish(rauha_status status);
  // The plugin broke the contract: finish() will throw this whatever the status. The first one counts. Any thread.
  void fault(const Error& what) noexcept;

  // The functions behind the table.
  void setError(rauha_str text, rauha_str hint) noexcept;
  void progress(rauha_str what, uint64_t done, uint64_t total) noexcept;
  bool cancelled() const noexcept { return options_.cancel != nullptr && options_.cancel->cancelled(); }
  int cancelFd() const noexcept { return options_.cancel == nullptr ? -1 : options_.cancel->fd(); }
  int64_t deadlineNs() const noexcept { return options_.deadlineNs; }

 private:
  void logOverrun() const;
  Error errorFor(rauha_status status) const;

  HostServices& host_;
  const CallOptions& options_;
  const std::string_view errorClass_, function_;
  std::mutex mutex_;  // plugins may set texts from threads of their own
  std::string text_, hint_, fault_;
};

}  // namespace rauha::plugin
