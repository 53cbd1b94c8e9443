#include "plugins/agent/request_fuzz_target.h"

#include <schemas/agent.capnp.h>

#include "core/base/error.h"
#include "core/base/schema_error.h"
#include "plugins/agent/connection.h"
#include "plugins/agent/plan_reader.h"
#include "tests/fuzz/any_server.h"

namespace rauha::agent {
namespace {

using fuzz::must;

bool noNul(const std::string& text) { return text.find('\0') == std::string::npos; }

void checkSource(const Source& source, size_t descriptors) {
  must(source.descriptor < static_cast<int>(descriptors));
  must(source.descriptor >= 0 ? source.path.empty() : !source.path.empty() && source.path[0] == '/' && noNul(source.path));
}

void checkRoot(const RootPlan& plan, size_t descriptors) {
  must(plan.layers.size() <= kMaxLayers && plan.mounts.size() <= kMaxMounts);
  for (const Source& layer : plan.layers) checkSource(layer, descriptors);
  size_t overlays = 0;
  for (const MountPlan& mount : plan.mounts) {
    must(!mount.target.empty() && mount.target[0] == '/' && noNul(mount.target));
    if (mount.kind == MountPlan::Kind::bind) checkSource(mount.source, descriptors);
    if (mount.overlay) ++overlays;
    must(mount.lower.size() <= kMaxOverlayLayers);
    for (const Source& layer : mount.lower) checkSource(layer, descriptors);
  }
  must(overlays <= kMaxOverlayMounts);
  for (const std::string& path : plan.masked) must(!path.empty() && path[0] == '/' && noNul(path));
  for (const DevicePlan& device : plan.devices) must(device.path.starts_with("/dev/"));
}

void checkProcess(const ProcessPlan& plan) {
  must(!plan.argv.empty() && !plan.argv[0].empty() && !plan.workdir.empty() && plan.workdir[0] == '/');
  for (const auto& list : {plan.argv, plan.env})
    for (const std::string& text : list) must(noNul(text));
}

class PlanServer final : public schema::Agent::Server {
 public:
  explicit PlanServer(bool& accepted) : accepted_(accepted) {}
  kj::Promise<void> create(CreateContext context) override {
    const auto spec = context.getParams().getSpec();
    const size_t descriptors = spec.getDescriptors().size();
    answer(context.getResults(), [&] {
      checkRoot(readRoot(spec.getRootfs(), descriptors), descriptors);
      checkProcess(readProcess(spec.getProcess()));
      context.getResults().setProcess(fuzz::anyServer<schema::Process>());
    });
    return kj::READY_NOW;
  }
  kj::Promise<void> exec(ExecContext context) override {
    answer(context.getResults(), [&] { checkProcess(readProcess(context.getParams().getSpec())); });
    return kj::READY_NOW;
  }

 private:
  template <typename Results, typename Read>
  void answer(Results results, Read read) {
    try {
      read();
      accepted_ = true;
      results.initOutcome().setOk();
    } catch (const Error& e) {
      must((e.errorClass() == "zone" || e.errorClass() == "command") && !e.text().empty() && e.text().find('\n') == std::string::npos);
      writeOutcome(results.initOutcome(), e);
    }
  }
  bool& accepted_;
};

}  // namespace

bool fuzzRequests(std::string_view bytes) {
  fuzz::quiet();
  bool accepted = false, gone = false;
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto pipe = kj::newCapabilityPipe();
  auto peer = kj::mv(pipe.ends[1]);
  Connection connection(kj::mv(pipe.ends[0]), schema::Agent::Client(kj::heap<PlanServer>(accepted)));
  auto end = connection.closed().then([&] { gone = true; }, [&](kj::Exception&&) { gone = true; }).eagerlyEvaluate(nullptr);
  fuzz::Feeder feeder(*peer, bytes, 0);
  fuzz::Drain drain(*peer);
  auto sent = feeder.run().then([&] { peer->shutdownWrite(); }).eagerlyEvaluate([](kj::Exception&&) {});
  auto read = drain.run().eagerlyEvaluate([](kj::Exception&&) {});
  scope.poll();
  must(gone);
  return accepted;
}

}  // namespace rauha::agent
