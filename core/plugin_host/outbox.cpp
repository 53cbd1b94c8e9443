#include "core/plugin_host/outbox.h"

#include <sys/eventfd.h>

#include "core/base/error.h"

namespace rauha::plugin_host {
namespace {

constexpr size_t kMaxLines = 1000;
constexpr size_t kMaxText = 4096;
constexpr size_t kMaxReports = 256;

UniqueFd makeBell() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throwErrno("plugin", "eventfd of the outbox");
  return fd;
}

capnp::Text::Reader text(const std::string& s) { return {s.c_str(), s.size()}; }

}  // namespace

Outbox::Outbox(kj::UnixEventPort& port) : bell_(makeBell()), observer_(port, bell_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

void Outbox::wake() noexcept { eventfd_write(bell_.get(), 1); }

bool Outbox::put(Line line) {
  {
    std::lock_guard lock(mutex_);
    if (lines_.size() >= kMaxLines) {
      if (line.event) ++droppedEvents_;
      return false;
    }
    lines_.push_back(std::move(line));
  }
  wake();
  return true;
}

bool Outbox::log(int32_t level, std::string_view line) { return put({level, std::string(line.substr(0, kMaxText)), std::nullopt}); }
bool Outbox::event(plugin::PluginEvent&& event) { return put({0, {}, std::move(event)}); }

void Outbox::progress(uint64_t call, std::string_view what, uint64_t done, uint64_t total) {
  {
    std::lock_guard lock(mutex_);
    if (reports_.size() >= kMaxReports && reports_.count(call) == 0) return;
    reports_[call] = {std::string(what), done, total};
  }
  wake();
}

void Outbox::violation(const std::string& text) {
  {
    std::lock_guard lock(mutex_);
    ++violations_;
    lastViolation_ = text.substr(0, kMaxText);
  }
  wake();
}

void Outbox::watch(uint64_t call, schema::Progress::Client client) { watchers_.emplace(call, kj::mv(client)); }

void Outbox::forget(uint64_t call) {
  watchers_.erase(call);
  std::lock_guard lock(mutex_);
  reports_.erase(call);
}

Task<void> Outbox::sendLines(schema::HostServices::Client& services) {
  for (;;) {
    Line line;
    uint32_t dropped = 0;
    {
      std::lock_guard lock(mutex_);
      if (lines_.empty()) co_return;
      line = std::move(lines_.front());
      lines_.pop_front();
      if (line.event) dropped = std::exchange(droppedEvents_, 0);
    }
    if (!line.event) {
      auto request = services.logRequest();
      request.setLevel(line.level);
      request.setText(text(line.text));
      co_await request.send();
      continue;
    }
    auto request = services.eventRequest();
    request.setDroppedBefore(dropped);
    auto event = request.initEvent();
    event.setSeverity(line.event->severity);
    event.setName(text(line.event->name));
    event.setZoneId(text(line.event->zoneId));
    event.setMessage(text(line.event->message));
    auto attributes = event.initAttributes(static_cast<unsigned>(line.event->attributes.size()));
    for (unsigned i = 0; i < attributes.size(); ++i) {
      attributes[i].setKey(text(line.event->attributes[i].first));
      attributes[i].setValue(text(line.event->attributes[i].second));
    }
    co_await request.send();
  }
}

Task<void> Outbox::sendReports() {
  for (;;) {
    uint64_t call = 0;
    Report report;
    {
      std::lock_guard lock(mutex_);
      if (reports_.empty()) co_return;
      call = reports_.begin()->first;
      report = std::move(reports_.begin()->second);
      reports_.erase(reports_.begin());
    }
    const auto watcher = watchers_.find(call);
    if (watcher == watchers_.end()) continue;
    auto request = watcher->second.reportRequest();
    request.setWhat(text(report.what));
    request.setDone(report.done);
    request.setTotal(report.total);
    co_await request.send();
  }
}

Task<void> Outbox::sendViolations(schema::HostServices::Client& services) {
  auto request = services.violationRequest();
  {
    std::lock_guard lock(mutex_);
    if (violations_ == 0) co_return;
    request.setCount(std::exchange(violations_, 0));
    request.setText(text(lastViolation_));
  }
  co_await request.send();
}

Task<void> Outbox::send(schema::HostServices::Client services) {
  for (;;) {
    auto ready = observer_.whenBecomesReadable();
    eventfd_t count = 0;
    eventfd_read(bell_.get(), &count);  // what is rung from here on makes it readable again
    auto lines = sendLines(services);
    co_await kj::mv(lines);
    auto reports = sendReports();
    co_await kj::mv(reports);
    auto violations = sendViolations(services);
    co_await kj::mv(violations);
    co_await kj::mv(ready);
  }
}

}  // namespace rauha::plugin_host
