#include "core/plugin/remote/services_server.h"

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/plugin/c_struct.h"

namespace rauha::plugin {
namespace {

constexpr uint32_t kLogsPerSecond = 200;
constexpr unsigned kMaxAttributes = 32;  // as HostServices takes
constexpr size_t kMaxViolation = 1024;

rauha_str str(capnp::Text::Reader t) { return t.size() == 0 ? rauha_str{nullptr, 0} : rauha_str{t.begin(), t.size()}; }

}  // namespace

bool ServicesServer::admitLog() {
  const int64_t now = monotonicNs();
  if (now - secondNs_ >= 1'000'000'000) {
    if (dropped_ > 0)
      host_.log(LogLevel::warning,
                std::to_string(dropped_) + " log lines dropped: more than " + std::to_string(kLogsPerSecond) + " in a second");
    secondNs_ = now;
    inSecond_ = 0;
    dropped_ = 0;
  }
  if (inSecond_ < kLogsPerSecond) {
    ++inSecond_;
    return true;
  }
  ++dropped_;
  return false;
}

kj::Promise<void> ServicesServer::log(LogContext context) {
  if (admitLog()) {
    const rauha_host* table = host_.table();
    table->log(table->context, context.getParams().getLevel(), str(context.getParams().getText()));
  }
  return kj::READY_NOW;
}

kj::Promise<void> ServicesServer::event(EventContext context) {
  const auto params = context.getParams();
  host_.countDropped(params.getDroppedBefore());
  const auto from = params.getEvent();
  rauha_event event{};
  event.struct_size = sizeof event;
  event.severity = from.getSeverity();
  event.name = str(from.getName());
  event.zone_id = str(from.getZoneId());
  event.message = str(from.getMessage());
  std::vector<rauha_attribute> attributes;
  const auto list = from.getAttributes();
  for (unsigned i = 0; i < list.size() && i <= kMaxAttributes; ++i) attributes.push_back({str(list[i].getKey()), str(list[i].getValue())});
  event.attributes = {attributes.data(), static_cast<uint32_t>(attributes.size()), sizeof(rauha_attribute)};
  const rauha_host* table = host_.table();
  table->emit(table->context, &event);
  return kj::READY_NOW;
}

kj::Promise<void> ServicesServer::violation(ViolationContext context) {
  const auto params = context.getParams();
  host_.violation(cleanText(str(params.getText()), kMaxViolation), params.getCount());
  return kj::READY_NOW;
}

kj::Promise<void> ProgressServer::report(ReportContext context) {
  const auto params = context.getParams();
  if (*call_ != nullptr) host_.table()->progress(*call_, str(params.getWhat()), params.getDone(), params.getTotal());
  return kj::READY_NOW;
}

}  // namespace rauha::plugin
