#include "core/image/progress_relay.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace rauha {
namespace {

constexpr auto kPeriod = 100 * kj::MILLISECONDS;
constexpr size_t kSubjectsMax = 1024;  // layers and notices

}  // namespace

struct ProgressRelay::Mailbox {
  struct Amount {
    uint64_t done = 0, total = 0;
  };
  std::mutex mutex;
  std::map<std::string, Amount, std::less<>> changed;

  void put(std::string_view what, uint64_t done, uint64_t total) {
    const std::lock_guard<std::mutex> guard(mutex);
    if (const auto it = changed.find(what); it != changed.end())
      it->second = {done, total};
    else if (changed.size() < kSubjectsMax)
      changed.emplace(std::string(what), Amount{done, total});
  }
  std::map<std::string, Amount, std::less<>> take() {
    const std::lock_guard<std::mutex> guard(mutex);
    return std::exchange(changed, {});
  }
};

ProgressRelay::ProgressRelay(kj::Timer& timer) : timer_(timer), mailbox_(std::make_shared<Mailbox>()) {}
ProgressRelay::~ProgressRelay() noexcept(false) = default;

std::function<void(std::string_view, uint64_t, uint64_t)> ProgressRelay::start(schema::ImageProgress::Client sink) {
  sink_ = kj::mv(sink);
  // A client that is gone or fails is told nothing more; the call goes on.
  carrying_ = carry().promise().eagerlyEvaluate([](kj::Exception&&) {});
  return [mailbox = mailbox_](std::string_view what, uint64_t done, uint64_t total) { mailbox->put(what, done, total); };
}

void ProgressRelay::stop() {
  carrying_ = kj::READY_NOW;
  send().detach([](kj::Exception&&) {});
  sink_ = nullptr;
}

kj::Promise<void> ProgressRelay::send() {
  KJ_IF_MAYBE (sink, sink_) {
    const auto changed = mailbox_->take();
    if (changed.empty()) return kj::READY_NOW;
    auto request = sink->reportRequest();
    auto items = request.initItems(static_cast<unsigned>(changed.size()));
    unsigned i = 0;
    for (const auto& [what, amount] : changed) {
      items[i].setWhat(capnp::Text::Reader(what.c_str(), what.size()));
      items[i].setDone(amount.done);
      items[i].setTotal(amount.total);
      ++i;
    }
    return request.send().ignoreResult();
  }
  return kj::READY_NOW;
}

Task<void> ProgressRelay::carry() {
  for (;;) {
    co_await timer_.afterDelay(kPeriod);
    auto sent = send();
    co_await kj::mv(sent);
  }
}

}  // namespace rauha
