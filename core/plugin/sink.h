#pragma once
// Receives what a plugin pushes during one call: copies it, holds it to a count, and remembers the first thing that was wrong.
//
// A push cannot answer, so a bad one is dropped and becomes the call's fault (PluginCall::fault). A value on the caller's stack; the
// plugin must not keep it. Pushes from several threads are serialized.

#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "core/plugin/host_services.h"

namespace rauha::plugin {

class Sink final {
 public:
  explicit Sink(PluginCall& call) : call_(call) {}
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Runs one push; whatever it throws becomes the fault.
  template <typename F>
  void take(F&& push) noexcept {
    try {
      std::lock_guard lock(mutex_);
      push();
    } catch (const Error& e) {
      call_.fault(e);
    } catch (...) {
      call_.fault(Error("plugin", Code::limit, "out of memory while taking what was pushed"));
    }
  }

 private:
  PluginCall& call_;
  std::mutex mutex_;
};

// Room for one more of `what`?
template <typename T>
void bound(const std::vector<T>& list, size_t limit, const char* what) {
  if (list.size() >= limit) throw Error("plugin", Code::limit, "pushed more than " + std::to_string(limit) + " " + what);
}

}  // namespace rauha::plugin
