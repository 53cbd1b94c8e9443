// The plugin's border: the class that the tables call, and the one place where rauha::Error becomes a status of the ABI.
#include <rauha/plugin.hpp>

#include "core/base/error.h"
#include "plugins/backend-linux/backend.h"

namespace rauha::backend {
namespace {

static_assert(static_cast<rauha_status>(Code::unsupported) == RAUHA_E_UNSUPPORTED &&
              static_cast<rauha_status>(Code::internal) == RAUHA_E_INTERNAL);

template <typename F>
auto translated(F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw sdk::Error(static_cast<rauha_status>(e.code()), e.text(), e.hint());
  }
}

class Plugin final {
 public:
  Plugin(sdk::Host host, std::string_view config) : backend_(translated([&] { return std::make_unique<LinuxBackend>(host, config); })) {}
  void probe(sdk::Call& call, const rauha_layer_sink& sink) {
    translated([&] { backend_->probe(call, sink); });
  }
  rauha_zone_handle createZone(sdk::Call& call, const rauha_zone_spec& spec, const rauha_layer_sink& sink) {
    return translated([&] { return backend_->createZone(call, spec, sink); });
  }
  rauha_zone_handle connectZone(sdk::Call& call, std::string_view zone) {
    return translated([&] { return backend_->connectZone(call, zone); });
  }
  void updateZone(sdk::Call& call, const rauha_zone_spec& spec) {
    translated([&] { backend_->updateZone(call, spec); });
  }
  void destroyZone(sdk::Call& call, std::string_view zone) {
    translated([&] { backend_->destroyZone(call, zone); });
  }
  void checkZone(sdk::Call& call, std::string_view zone) {
    translated([&] { backend_->checkZone(call, zone); });
  }
  void reconcile(sdk::Call& call, const std::vector<std::string_view>& zones, const rauha_finding_sink& sink) {
    translated([&] { backend_->reconcile(call, zones, sink); });
  }

 private:
  std::unique_ptr<LinuxBackend> backend_;
};

}  // namespace
}  // namespace rauha::backend

RAUHA_BACKEND_PLUGIN(rauha::backend::Plugin, "backend-linux", RAUHA_VERSION, "Apache-2.0");
