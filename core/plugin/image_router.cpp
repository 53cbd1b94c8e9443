#include "core/plugin/image_router.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <mutex>
#include <type_traits>

namespace rauha::plugin {
namespace {

constexpr size_t kShown = 200;  // of a foreign name

std::string_view schemeOf(std::string_view reference) noexcept {
  const size_t colon = reference.find(':');
  return colon == std::string_view::npos ? std::string_view() : reference.substr(0, colon);
}

// A plugin's word, for a line of the log.
std::string shown(std::string_view reference) {
  std::string out(reference.substr(0, kShown));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

class ImageRouter final : public ImageSource {
 public:
  using Problem = std::function<void(const std::string& plugin, const std::string& text)>;
  ImageRouter(std::vector<ImageRoute> routes, Problem problem) : routes_(std::move(routes)), problem_(std::move(problem)) {
    for (const auto& route : routes_) {
      if (route.schemes.empty()) rest_ = &route;
      for (const auto& scheme : route.schemes) byScheme_[scheme] = &route;
    }
  }

  const std::string& name() const noexcept override { return rest_->plugin; }

  ResolvedImage resolve(const CallOptions& options, const ImageRequest& request) override {
    noteLease(request);
    return told(request.reference, [&](ImageSource& source) {
      if (routeOf(request.reference).schemes.empty() || request.credentials.empty()) return source.resolve(options, request);
      // A scheme is no registry: what the client found for the name is not for this plugin.
      ImageRequest without = request;
      without.credentials.clear();
      return source.resolve(options, without);
    });
  }
  ResolvedImage inspect(const CallOptions& options, const ImageRequest& request) override {
    return told(request.reference, [&](ImageSource& source) { return source.inspect(options, request); });
  }
  ResolvedImage importImage(const CallOptions& options, const ImageRequest& request) override {
    const ImageRoute& route = routeOf(request.reference);
    // "snapshot:1" would be a fine name and tag for the other plugin, and then nobody could reach it.
    if (const ImageRoute& named = routeOf(request.name); named.plugin != route.plugin && !named.schemes.empty())
      throw Error("image", Code::invalid,
                  "image name " + request.name + " belongs to plugin " + named.plugin + ", but " + request.reference + " is read by " +
                      route.plugin,
                  "choose a name that does not begin with " + std::string(schemeOf(request.name)) + ":", request.name);
    ResolvedImage image = told(request.reference, [&](ImageSource& source) { return source.importImage(options, request); });
    if (routeOf(image.info.reference).plugin != route.plugin)
      throw Error("image", Code::internal,
                  route.plugin + ": stored image " + image.info.reference + " under a name that belongs to plugin " +
                      routeOf(image.info.reference).plugin,
                  "report this to the plugin's author");
    return image;
  }
  void remove(const CallOptions& options, std::string_view reference) override {
    told(reference, [&](ImageSource& source) { source.remove(options, reference); });
  }

  std::vector<ResolvedImage> list(const CallOptions& options) override {
    std::vector<ResolvedImage> out;
    for (const auto& route : routes_) {
      if (route.source == nullptr) continue;
      auto images = route.source->list(options);
      const auto foreign = std::stable_partition(images.begin(), images.end(),
                                                 [&](const ResolvedImage& image) { return &routeOf(image.info.reference) == &route; });
      if (foreign != images.end())
        problem_(route.plugin, "lists " + std::to_string(images.end() - foreign) +
                                   " images that are not its own to name, and are left out; the first is " +
                                   shown(foreign->info.reference));
      std::move(images.begin(), foreign, std::back_inserter(out));
    }
    return out;
  }

  std::vector<ResolvedImage> prune(const CallOptions& options, const ImageRequest& request) override {
    std::vector<ResolvedImage> out;
    forAll([&](ImageSource& source) {
      for (auto& image : source.prune(options, request)) out.push_back(std::move(image));
    });
    return out;
  }

  ResolvedImage exportImage(const CallOptions& options, const ImageRequest& request) override {
    return told(request.reference, [&](ImageSource& source) { return source.exportImage(options, request); });
  }
  std::vector<ImageCheck> verify(const CallOptions& options, const ImageRequest& request) override {
    if (!request.reference.empty()) return told(request.reference, [&](ImageSource& source) { return source.verify(options, request); });
    std::vector<ImageCheck> out;
    for (const auto& route : routes_) {
      if (route.source == nullptr) {  // its store is there all the same
        out.push_back(
            {CheckState::unknown, "store", {}, {}, "plugin " + route.plugin + " is not loaded: " + route.refusal, route.hint, 0, {}});
        continue;
      }
      for (auto& check : route.source->verify(options, request)) out.push_back(std::move(check));
    }
    return out;
  }

  // Who leased is asked alone: a plugin that fails or hangs is no matter of zones that never were its own. What an earlier daemon leased is
  // not known: everybody is asked, and the first that cannot is reported after all were.
  void release(const CallOptions& options, std::string_view lease) override {
    const std::vector<const ImageRoute*> holders = holdersOf(lease);
    if (holders.empty()) return forAll([&](ImageSource& source) { source.release(options, lease); });
    for (const ImageRoute* holder : holders)
      if (holder->source != nullptr) holder->source->release(options, lease);
    std::lock_guard lock(mutex_);
    leases_.erase(std::string(lease));
  }
  void reconcile(const CallOptions& options, const std::vector<std::string>& leases) override {
    forAll([&](ImageSource& source) { source.reconcile(options, leases); });
  }

 private:
  const ImageRoute& routeOf(std::string_view reference) const {
    const auto found = byScheme_.find(schemeOf(reference));
    return found == byScheme_.end() ? *rest_ : *found->second;
  }
  ImageSource& sourceOf(std::string_view reference) const {
    const ImageRoute& route = routeOf(reference);
    if (route.source == nullptr)
      throw Error("image", Code::notFound,
                  "image " + std::string(reference) + ": its plugin " + route.plugin + " is not loaded: " + route.refusal,
                  route.hint.empty() ? "see `rauha plugin list`" : route.hint, std::string(reference));
    return *route.source;
  }
  // What is said of images in general speaks of our own kinds: the remedy of a plugin beside ours is its own, or names it.
  template <typename F>
  std::invoke_result_t<F, ImageSource&> told(std::string_view reference, F&& f) const {
    ImageSource& source = sourceOf(reference);
    try {
      return f(source);
    } catch (const Error& e) {
      const ImageRoute& route = routeOf(reference);
      if (route.schemes.empty() || !e.hint().empty() || e.errorClass() != "image") throw;
      throw Error("image", e.code(), e.text(), "see what plugin " + route.plugin + " says of its images: it is no part of Rauha",
                  e.object());
    }
  }
  // Noted before the plugin is asked: one that fails in the middle may have leased.
  void noteLease(const ImageRequest& request) {
    if (request.lease.empty()) return;
    const ImageRoute* route = &routeOf(request.reference);
    std::lock_guard lock(mutex_);
    auto& holders = leases_[request.lease];
    if (std::find(holders.begin(), holders.end(), route) == holders.end()) holders.push_back(route);
  }
  std::vector<const ImageRoute*> holdersOf(std::string_view lease) const {
    std::lock_guard lock(mutex_);
    const auto found = leases_.find(lease);
    return found == leases_.end() ? std::vector<const ImageRoute*>() : found->second;
  }
  template <typename F>
  void forAll(F&& f) const {
    std::exception_ptr first;
    for (const auto& route : routes_) {
      if (route.source == nullptr) continue;
      try {
        f(*route.source);
      } catch (...) {
        if (first == nullptr) first = std::current_exception();
      }
    }
    if (first != nullptr) std::rethrow_exception(first);
  }

  const std::vector<ImageRoute> routes_;
  const Problem problem_;
  const ImageRoute* rest_ = nullptr;
  std::map<std::string, const ImageRoute*, std::less<>> byScheme_;
  mutable std::mutex mutex_;  // leases_: at most one entry for each zone that lives
  std::map<std::string, std::vector<const ImageRoute*>, std::less<>> leases_;
};

}  // namespace

bool isImageScheme(std::string_view text) noexcept {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return text.size() >= 2 && text.size() <= 32 && letter(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
           return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '.' || c == '-';
         });
}

std::unique_ptr<ImageSource> routeImages(std::vector<ImageRoute> routes,
                                         std::function<void(const std::string& plugin, const std::string& text)> problem) {
  return std::make_unique<ImageRouter>(std::move(routes), std::move(problem));
}

}  // namespace rauha::plugin
