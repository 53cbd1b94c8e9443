#include "core/plugin/call_watch.h"

#include <algorithm>
#include <cstdio>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::plugin {
namespace {

std::string seconds(int64_t ns) {
  char text[32];
  snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  return text;
}

}  // namespace

CallWatch::CallWatch(std::string plugin, CallLimits limits, Warn warn)
    : plugin_(std::move(plugin)), limits_(limits), warn_(std::move(warn)) {}

uint64_t CallWatch::begin(std::string_view errorClass, std::string_view function, int64_t deadlineNs, std::shared_ptr<CancelToken> cancel) {
  std::lock_guard lock(mutex_);
  if (health_.stuck >= limits_.maxAbandoned)
    throw Error(errorClass, Code::busy,
                plugin_ + " is not called any more: " + std::to_string(health_.stuck) + " of its calls have not returned",
                "restart rauhad, and report this to the plugin's author", plugin_);
  running_.push_back({next_, std::string(function), deadlineNs, std::move(cancel), std::this_thread::get_id()});
  return next_++;
}

std::string CallWatch::tell(Running& call, int64_t nowNs) {
  call.told = true;
  ++health_.overruns;
  health_.lastOverrun = call.function + " did not return " + seconds(nowNs - call.deadlineNs()) + " after its deadline";
  return health_.lastOverrun;
}

void CallWatch::end(uint64_t number) noexcept {
  std::string late;
  try {
    std::lock_guard lock(mutex_);
    const auto it = std::find_if(running_.begin(), running_.end(), [&](const Running& r) { return r.number == number; });
    if (it == running_.end()) return;
    const int64_t lateNs = monotonicNs() - it->deadlineNs();
    if (lateNs > limits_.overrunNs) {
      if (!it->told) tell(*it, monotonicNs());
      late = it->function + " returned " + seconds(lateNs) + " after its deadline";
      health_.lastOverrun = late;
    }
    if (it->abandoned) --health_.stuck;
    running_.erase(it);
  } catch (...) {  // no memory for a text
  }
  if (!late.empty()) warn_(late);
}

void CallWatch::violation(const std::string& text, uint64_t count) noexcept {
  try {
    std::lock_guard lock(mutex_);
    health_.violations += count;
    health_.lastViolation = text;
  } catch (...) {  // counted is enough
  }
}

std::vector<StuckCall> CallWatch::check(int64_t nowNs) {
  std::vector<StuckCall> stuck;
  std::vector<std::string> texts;
  {
    std::lock_guard lock(mutex_);
    for (auto& call : running_) {
      const int64_t late = nowNs - call.deadlineNs();
      if (late > limits_.overrunNs && !call.told) texts.push_back(tell(call, nowNs));
      if (late > limits_.abandonNs && !call.abandoned) stuck.push_back({plugin_, call.function, call.number, call.thread, late});
    }
  }
  for (const auto& text : texts) warn_(text);
  return stuck;
}

void CallWatch::checkCallback(int64_t nowNs, int64_t sinceNs) {
  std::string text;
  {
    std::lock_guard lock(mutex_);
    if (sinceNs == 0 || sinceNs == toldCallback_ || nowNs - sinceNs <= limits_.overrunNs) return;
    toldCallback_ = sinceNs;
    ++health_.overruns;
    text = health_.lastOverrun = "a callback of a timer or watch has been running for " + seconds(nowNs - sinceNs);
  }
  warn_(text);
}

void CallWatch::abandoned(uint64_t number) noexcept {
  std::lock_guard lock(mutex_);
  const auto it = std::find_if(running_.begin(), running_.end(), [&](const Running& r) { return r.number == number; });
  if (it == running_.end() || it->abandoned) return;
  it->abandoned = true;
  ++health_.abandoned;
  ++health_.stuck;
}

PluginHealth CallWatch::health() const {
  std::lock_guard lock(mutex_);
  return health_;
}

}  // namespace rauha::plugin
