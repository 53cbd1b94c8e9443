// An image plugin whose calls do nothing: what is measured is the border.
#include <rauha/plugin.hpp>

#include <vector>

namespace {
class IdleImages {
 public:
  IdleImages(rauha::sdk::Host, std::string_view) {}
  void resolve(rauha::sdk::Call&, const rauha_image_request& request, const rauha_image_sink& sink) {
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = request.reference;
    info.source = rauha::sdk::str("idle");
    sink.info(sink.context, &info);
  }
  void inspect(rauha::sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) { resolve(call, request, sink); }
  void importImage(rauha::sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    resolve(call, request, sink);
  }
  void release(rauha::sdk::Call&, std::string_view) {}
  void list(rauha::sdk::Call&, const rauha_image_request&, const rauha_image_sink&) {}
  void remove(rauha::sdk::Call&, const rauha_image_request&) {}
  void reconcile(rauha::sdk::Call&, const std::vector<std::string_view>&) {}
};
}  // namespace

RAUHA_IMAGE_PLUGIN(IdleImages, "idle-image", "0.1", "Apache-2.0");
