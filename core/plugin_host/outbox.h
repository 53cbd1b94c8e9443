#pragma once
// What the plugin says to the daemon on its way out: written on any thread without waiting, sent one by one by the event loop. Bounded:
// what finds no room is refused (and counted by whoever asked), and of a call's progress only the latest is kept.

#include <kj/async-unix.h>
#include <schemas/plugin_host.capnp.h>

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "core/base/coro.h"
#include "core/base/fd.h"
#include "core/plugin/registry.h"

namespace rauha::plugin_host {

class Outbox final {
 public:
  explicit Outbox(kj::UnixEventPort& port);
  KJ_DISALLOW_COPY(Outbox);

  // Any thread. False: there is no room.
  bool log(int32_t level, std::string_view line);
  bool event(plugin::PluginEvent&& event);
  void progress(uint64_t call, std::string_view what, uint64_t done, uint64_t total);
  void violation(const std::string& text);

  // The event loop's: who is told about a call's progress; sends until the connection is lost.
  void watch(uint64_t call, schema::Progress::Client client);
  void forget(uint64_t call);
  Task<void> send(schema::HostServices::Client services);

 private:
  struct Line {
    int32_t level = 0;
    std::string text;
    std::optional<plugin::PluginEvent> event;
  };
  struct Report {
    std::string what;
    uint64_t done = 0, total = 0;
  };
  void wake() noexcept;
  bool put(Line line);
  Task<void> sendLines(schema::HostServices::Client& services);
  Task<void> sendReports();
  Task<void> sendViolations(schema::HostServices::Client& services);

  UniqueFd bell_;
  kj::UnixEventPort::FdObserver observer_;
  std::map<uint64_t, schema::Progress::Client> watchers_;
  std::mutex mutex_;
  std::deque<Line> lines_;
  std::map<uint64_t, Report> reports_;
  uint32_t droppedEvents_ = 0;
  uint32_t violations_ = 0;
  std::string lastViolation_;
};

}  // namespace rauha::plugin_host
