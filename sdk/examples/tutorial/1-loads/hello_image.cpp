// hello-image, step 1: the smallest image plugin that loads. It knows no image.
#include <rauha/config.hpp>
#include <rauha/plugin.hpp>

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;

class HelloImage {
 public:
  HelloImage(rauha::sdk::Host, std::string_view config) {
    rauha::sdk::Config(config).refuseUnknown();  // it has no keys, so every key is unknown
  }

  void resolve(Call&, const rauha_image_request& request, const rauha_image_sink&) { notFound(request); }
  void inspect(Call&, const rauha_image_request& request, const rauha_image_sink&) { notFound(request); }
  void importImage(Call&, const rauha_image_request& request, const rauha_image_sink&) { notFound(request); }
  void remove(Call&, const rauha_image_request& request) { notFound(request); }
  void list(Call&, const rauha_image_request&, const rauha_image_sink&) {}  // it stores nothing
  void release(Call&, std::string_view) {}                                  // nothing was leased
  void reconcile(Call&, const std::vector<std::string_view>&) {}            // nothing can be left over

 private:
  [[noreturn]] static void notFound(const rauha_image_request& request) {
    throw Error(RAUHA_E_NOT_FOUND, "there is no image " + std::string(rauha::sdk::view(request.reference)), "wait for step 2");
  }
};

}  // namespace

RAUHA_IMAGE_PLUGIN(HelloImage, "hello-image", "0.1", "Apache-2.0");
