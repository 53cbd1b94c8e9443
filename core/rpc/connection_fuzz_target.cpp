#include "core/rpc/connection_fuzz_target.h"

#include <kj/timer.h>

#include "core/rpc/connection.h"
#include "tests/fuzz/any_server.h"

namespace rauha::rpc {
namespace {

using fuzz::must;

constexpr size_t kSteps[] = {0, 1, 7, 8, 9, 64, 100, 1000};
// Small, so that a small input crosses them.
Limits smallLimits() {
  Limits limits;
  limits.messageWords = 16 * 1024;
  limits.flowWords = 4096;
  limits.queuedReplies = 8;
  limits.segments = 16;
  limits.kept = 32;
  return limits;
}
constexpr MessageBounds kSmallBounds{512, 64 << 10, 32 << 10};

class CountingServer final : public capnp::DynamicCapability::Server {
 public:
  explicit CountingServer(size_t& calls) : Server(capnp::Schema::from<rauha::schema::Rauha>()), calls_(calls) {}
  kj::Promise<void> call(capnp::InterfaceSchema::Method method,
                         capnp::CallContext<capnp::DynamicStruct, capnp::DynamicStruct> context) override {
    ++calls_;
    return inner_.call(method, kj::mv(context));
  }

 private:
  size_t& calls_;
  fuzz::AnyServer inner_{capnp::Schema::from<rauha::schema::Rauha>()};
};

}  // namespace

bool fuzzConnection(std::string_view bytes) {
  if (bytes.empty()) return false;
  fuzz::quiet();
  const auto mode = static_cast<unsigned char>(bytes[0]);
  const bool reads = (mode & 8) == 0, stays = (mode & 16) != 0;
  const Limits limits = smallLimits();
  size_t calls = 0;
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  MessageBudget budget(kSmallBounds);
  {
    auto pipe = kj::newCapabilityPipe();
    auto peer = kj::mv(pipe.ends[1]);
    capnp::Capability::Client server = capnp::DynamicCapability::Client(kj::heap<CountingServer>(calls));
    auto connection = kj::heap<Connection>(kj::mv(pipe.ends[0]), timer, kj::mv(server), limits, budget, 1000);
    bool gone = false;
    auto end = connection->onDisconnect().then([&] { gone = true; }, [&](kj::Exception&&) { gone = true; }).eagerlyEvaluate(nullptr);
    fuzz::Feeder feeder(*peer, bytes.substr(1), kSteps[mode & 7]);
    fuzz::Drain drain(*peer);
    const auto ignore = [](kj::Exception&&) {};
    auto sent = feeder.run()
                    .then([&] {
                      if (!stays) peer->shutdownWrite();
                    })
                    .eagerlyEvaluate(ignore);
    auto read = (reads ? drain.run() : kj::Promise<void>(kj::NEVER_DONE)).eagerlyEvaluate(ignore);
    // In time of its own: what waits, waits for nothing.
    const kj::Duration most = (limits.messageMs + limits.patienceMs + 1000) * kj::MILLISECONDS;
    for (kj::Duration passed = 0 * kj::SECONDS; !gone && passed <= most; passed += 250 * kj::MILLISECONDS) {
      timer.advanceTo(kj::origin<kj::TimePoint>() + passed);
      scope.poll();
    }
    // A peer that has gone, or that does not let us answer, is let go. One that stays may.
    must(gone || stays);
    must(budget.held() <= kSmallBounds.perUserBytes);
    end = nullptr;
    connection = nullptr;
  }
  scope.poll();
  must(budget.held() == 0);
  return calls > 0;
}

}  // namespace rauha::rpc
