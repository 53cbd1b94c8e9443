#include "core/rpc/image_calls.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "core/base/clock.h"
#include "core/base/kj_error.h"
#include "core/base/schema_error.h"
#include "core/image/image_config.h"
#include "core/image/progress_relay.h"

namespace rauha::rpc {
namespace {

constexpr int64_t kDeadlineNs = 24LL * 3600 * 1'000'000'000;  // a net below the plugin's own limits on silence

constexpr size_t kVerifyMax = 256;  // images of one call

using Checks = std::vector<plugin::ImageCheck>;

// One call on its way; awaited once.
template <typename Result>
class ImageCall final {
 public:
  ImageCall(Services& services, kj::Maybe<schema::ImageProgress::Client> progress, std::function<Result(const plugin::CallOptions&)> work)
      : relay_(services.zones.timer()), token_(std::make_shared<plugin::CancelToken>()), result_(kj::Promise<Result>(nullptr)) {
    plugin::CallOptions options;
    options.cancel = token_;
    options.deadlineNs = monotonicNs() + kDeadlineNs;
    KJ_IF_MAYBE (sink, progress) options.progress = relay_.start(*sink);
    result_ = services.imageWorkers.run([work = std::move(work), options = std::move(options)] { return work(options); })
                  .eagerlyEvaluate(nullptr);
  }
  // The client let go, or is gone.
  ~ImageCall() { token_->cancel(); }
  KJ_DISALLOW_COPY(ImageCall);

  void awaitOnce() {
    if (std::exchange(awaited_, true)) throw Error("usage", Code::conflict, "the call is awaited already");
  }
  // nullopt: it failed, and the outcome says so.
  Task<std::optional<Result>> result(schema::Outcome::Builder outcome) {
    std::optional<Error> failure;
    std::optional<Result> out;
    try {
      out = co_await kj::mv(result_);
    } catch (...) {
      failure = currentError("image");
    }
    relay_.stop();
    if (failure)
      writeOutcome(outcome, *failure);
    else
      outcome.setOk();
    co_return kj::mv(out);
  }

 private:
  ProgressRelay relay_;
  std::shared_ptr<plugin::CancelToken> token_;
  kj::Promise<Result> result_;
  bool awaited_ = false;
};

class ImagePullServer final : public schema::ImagePull::Server {
 public:
  ImagePullServer(Services& services, kj::Maybe<schema::ImageProgress::Client> progress,
                  std::function<plugin::ResolvedImage(const plugin::CallOptions&)> work,
                  std::function<void(const plugin::ResolvedImage&)> done)
      : call_(services, kj::mv(progress), std::move(work)), done_(std::move(done)) {}

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    call_.awaitOnce();
    return waitTask(context);
  }

 private:
  Task<void> waitTask(WaitContext context) {
    auto pending = call_.result(context.getResults().initOutcome());
    const auto image = co_await kj::mv(pending);
    if (!image) co_return;
    if (done_) done_(*image);
    image::writeInfo(context.getResults().initImage(), *image);
  }

  ImageCall<plugin::ResolvedImage> call_;
  std::function<void(const plugin::ResolvedImage&)> done_;
};

void writeCheck(schema::ImageCheck::Builder to, const plugin::ImageCheck& from) {
  to.setState(static_cast<schema::CheckState>(static_cast<uint16_t>(from.state)));
  to.setKind(from.kind);
  if (!from.digest.empty()) to.setDigest(from.digest);
  if (!from.path.empty()) to.setPath(from.path);
  if (!from.text.empty()) to.setText(from.text);
  if (!from.remedy.empty()) to.setRemedy(from.remedy);
  to.setSizeBytes(from.bytes);
  auto images = to.initImages(static_cast<unsigned>(from.images.size()));
  for (unsigned i = 0; i < images.size(); ++i) images.set(i, from.images[i]);
}

void writeReport(schema::VerifyReport::Builder out, Checks checks) {
  using State = plugin::CheckState;
  std::stable_sort(checks.begin(), checks.end(), [](const plugin::ImageCheck& a, const plugin::ImageCheck& b) {
    return a.state != b.state && a.state != State::good && (b.state == State::good || a.state < b.state);
  });
  uint64_t bytes = 0;
  auto list = out.initChecks(static_cast<unsigned>(checks.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    writeCheck(list[i], checks[i]);
    bytes += checks[i].bytes;
  }
  const auto count = [&](State state) {
    return static_cast<uint32_t>(std::count_if(checks.begin(), checks.end(), [&](const auto& check) { return check.state == state; }));
  };
  out.setGood(count(State::good));
  out.setDamaged(count(State::damaged));
  out.setMissing(count(State::missing));
  out.setUnknown(count(State::unknown));
  out.setSizeBytes(bytes);
}

class ImageVerifyServer final : public schema::ImageVerify::Server {
 public:
  ImageVerifyServer(Services& services, kj::Maybe<schema::ImageProgress::Client> progress,
                    std::function<Checks(const plugin::CallOptions&)> work)
      : call_(services, kj::mv(progress), std::move(work)) {}

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    call_.awaitOnce();
    return waitTask(context);
  }

 private:
  Task<void> waitTask(WaitContext context) {
    auto pending = call_.result(context.getResults().initOutcome());
    auto checks = co_await kj::mv(pending);
    if (checks) writeReport(context.getResults().initReport(), std::move(*checks));
  }

  ImageCall<Checks> call_;
};

}  // namespace

schema::ImagePull::Client startImagePull(Services& services, plugin::ImageRequest request,
                                         kj::Maybe<schema::ImageProgress::Client> progress,
                                         std::function<void(const plugin::ResolvedImage&)> done) {
  auto work = [&services, request = std::move(request)](const plugin::CallOptions& options) {
    return services.registry.images().resolve(options, request);
  };
  return kj::heap<ImagePullServer>(services, kj::mv(progress), std::move(work), std::move(done));
}

schema::ImagePull::Client startImageExport(Services& services, plugin::ImageRequest request, UniqueFd target,
                                           kj::Maybe<schema::ImageProgress::Client> progress) {
  request.targetFd = target.get();
  // The worker's own, however soon the client lets go.
  auto work = [&services, request = std::move(request), target = std::make_shared<UniqueFd>(std::move(target))](
                  const plugin::CallOptions& options) { return services.registry.images().exportImage(options, request); };
  return kj::heap<ImagePullServer>(services, kj::mv(progress), std::move(work), std::function<void(const plugin::ResolvedImage&)>());
}

schema::ImageVerify::Client startImageVerify(Services& services, std::vector<plugin::ImageRequest> requests,
                                             kj::Maybe<schema::ImageProgress::Client> progress) {
  auto work = [&services, requests = std::move(requests)](const plugin::CallOptions& options) {
    if (requests.size() > kVerifyMax)
      throw Error("usage", Code::limit, std::to_string(requests.size()) + " images at once, at most " + std::to_string(kVerifyMax),
                  "name none: then the whole store is looked at");
    Checks out;
    for (const auto& request : requests)
      for (auto& check : services.registry.images().verify(options, request)) {
        // Images share things, which are named once.
        const auto same = [&](const plugin::ImageCheck& other) { return other.path == check.path && other.kind == check.kind; };
        if (!check.path.empty() && std::any_of(out.begin(), out.end(), same)) continue;
        out.push_back(std::move(check));
      }
    return out;
  };
  return kj::heap<ImageVerifyServer>(services, kj::mv(progress), std::move(work));
}

}  // namespace rauha::rpc
