#include "core/task/copy_watch.h"

#include "core/base/clock.h"

namespace rauha {
namespace {

constexpr int64_t kEventNs = 10'000'000'000;

}  // namespace

struct CopyWatch::State {
  kj::Maybe<schema::CopyProgress::Client> client;
  Tell tell;
  int64_t heardNs = 0, toldNs = 0;
  bool sending = false;  // a client that does not answer gets nothing more
};

class CopyWatch::Server final : public schema::CopyProgress::Server {
 public:
  explicit Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

  kj::Promise<void> report(ReportContext context) override {
    const auto params = context.getParams();
    const Report report{params.getFiles(), params.getBytes(), params.getDone()};
    const int64_t now = monotonicNs();
    state_->heardNs = now;
    const bool due = state_->toldNs == 0 || now - state_->toldNs >= kEventNs;
    if (due && state_->tell) {
      state_->toldNs = now;
      state_->tell(report);
    }
    forward(report);
    return kj::READY_NOW;
  }

 private:
  void forward(const Report& report) {
    KJ_IF_MAYBE (client, state_->client) {
      if (state_->sending && !report.done) return;
      state_->sending = true;
      auto call = client->reportRequest();
      call.setFiles(report.files);
      call.setBytes(report.bytes);
      call.setDone(report.done);
      const auto answered = [state = state_] { state->sending = false; };
      call.send().ignoreResult().then(answered, [](kj::Exception&&) {}).detach([](kj::Exception&&) {});
    }
  }

  const std::shared_ptr<State> state_;
};

CopyWatch::CopyWatch(kj::Maybe<schema::CopyProgress::Client> client, Tell tell) : state_(std::make_shared<State>()) {
  state_->client = kj::mv(client);
  state_->tell = std::move(tell);
}

CopyWatch::~CopyWatch() {
  state_->client = nullptr;
  state_->tell = nullptr;
}

schema::CopyProgress::Client CopyWatch::capability() const { return kj::heap<Server>(state_); }

int64_t CopyWatch::heardNs() const noexcept { return state_->heardNs; }

}  // namespace rauha
