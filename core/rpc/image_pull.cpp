#include "core/rpc/image_pull.h"

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

class ImagePullServer final : public schema::ImagePull::Server {
 public:
  ImagePullServer(Services& services, plugin::ImageRequest request, kj::Maybe<schema::ImageProgress::Client> progress,
                  std::function<void(const plugin::ResolvedImage&)> done)
      : relay_(services.zones.timer()),
        done_(std::move(done)),
        token_(std::make_shared<plugin::CancelToken>()),
        result_(kj::Promise<plugin::ResolvedImage>(nullptr)) {
    plugin::CallOptions options;
    options.cancel = token_;
    options.deadlineNs = monotonicNs() + kDeadlineNs;
    KJ_IF_MAYBE (sink, progress) options.progress = relay_.start(*sink);
    result_ = services.imageWorkers
                  .run([&services, request = std::move(request), options = std::move(options)] {
                    return services.registry.images().resolve(options, request);
                  })
                  .eagerlyEvaluate(nullptr);
  }
  // The client let go, or is gone.
  ~ImagePullServer() noexcept(false) { token_->cancel(); }

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    if (std::exchange(awaited_, true)) throw Error("usage", Code::conflict, "the pull is awaited already");
    return waitTask(context);
  }

 private:
  Task<void> waitTask(WaitContext context) {
    std::optional<Error> failure;
    std::optional<plugin::ResolvedImage> image;
    try {
      image = co_await kj::mv(result_);
    } catch (...) {
      failure = currentError("image");
    }
    relay_.stop();
    if (failure) {
      writeOutcome(context.getResults().initOutcome(), *failure);
      co_return;
    }
    done_(*image);
    context.getResults().initOutcome().setOk();
    image::writeInfo(context.getResults().initImage(), *image);
  }

  ProgressRelay relay_;
  std::function<void(const plugin::ResolvedImage&)> done_;
  std::shared_ptr<plugin::CancelToken> token_;
  kj::Promise<plugin::ResolvedImage> result_;
  bool awaited_ = false;
};

}  // namespace

schema::ImagePull::Client startImagePull(Services& services, plugin::ImageRequest request,
                                         kj::Maybe<schema::ImageProgress::Client> progress,
                                         std::function<void(const plugin::ResolvedImage&)> done) {
  return kj::heap<ImagePullServer>(services, std::move(request), kj::mv(progress), std::move(done));
}

}  // namespace rauha::rpc
