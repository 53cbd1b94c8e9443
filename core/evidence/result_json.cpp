#include "core/evidence/result_json.h"

#include "core/evidence/json_writer.h"

namespace rauha {
namespace {

template <typename Reader>
std::string write(Reader value, bool pretty) {
  JsonWriter writer(pretty);
  writer.value(capnp::DynamicValue::Reader(value));
  return writer.take();
}

}  // namespace

std::string toJson(schema::TaskResult::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::ZoneInfo::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::ImageInfo::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::VerifyReport::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::Policy::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::PluginInfo::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::DoctorReport::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::Event::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::ServerInfo::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(schema::Error::Reader value, bool pretty) { return write(value, pretty); }
std::string toJson(capnp::List<schema::ZoneInfo>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<schema::ImageInfo>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<schema::HistoryEntry>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<schema::PluginInfo>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<schema::Event>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<schema::Error>::Reader values, bool pretty) { return write(values, pretty); }
std::string toJson(capnp::List<capnp::Text>::Reader values, bool pretty) { return write(values, pretty); }

std::string jsonString(std::string_view bytes) {
  std::string out;
  appendJsonString(out, bytes);
  return out;
}

}  // namespace rauha
