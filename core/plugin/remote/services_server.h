#pragma once
// What a plugin's process may call of the daemon (schemas/plugin_host.capnp): log and events, which go into the same HostServices as those
// of a plugin in the daemon, and progress of one call. All of it is hostile: bounded, never waiting. Thread: the plugin's event loop.

#include <schemas/plugin_host.capnp.h>

#include <memory>

#include "core/plugin/host_services.h"

namespace rauha::plugin {

class ServicesServer final : public schema::HostServices::Server {
 public:
  explicit ServicesServer(HostServices& host) : host_(host) {}
  kj::Promise<void> log(LogContext context) override;
  kj::Promise<void> event(EventContext context) override;
  kj::Promise<void> violation(ViolationContext context) override;

 private:
  bool admitLog();

  HostServices& host_;
  int64_t secondNs_ = 0;
  uint32_t inSecond_ = 0;
  uint64_t dropped_ = 0;
};

// An open descriptor as a capability.
class PassedDescriptor final : public schema::Descriptor::Server {
 public:
  explicit PassedDescriptor(UniqueFd fd) : fd_(std::move(fd)) {}
  kj::Maybe<int> getFd() override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// *call is null once the call has ended.
class ProgressServer final : public schema::Progress::Server {
 public:
  ProgressServer(HostServices& host, std::shared_ptr<rauha_call*> call) : host_(host), call_(std::move(call)) {}
  kj::Promise<void> report(ReportContext context) override;

 private:
  HostServices& host_;
  const std::shared_ptr<rauha_call*> call_;
};

}  // namespace rauha::plugin
