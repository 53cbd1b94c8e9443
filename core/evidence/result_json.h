#pragma once
// The JSON of every document that Rauha prints, made from the schema: names by $Json.name (else snake_case), enumerants by their names,
// 64-bit integers as exact numbers, OptionalInt as a number or null, Data as base64.
//
// Pure functions, any thread; also linked into the static CLI. Whatever bytes a text holds, the result is one valid JSON document (RFC
// 8259) in UTF-8: ill-formed bytes become U+FFFD, control characters are escaped. Absent pointers are left out, except the fields that the
// contract of TaskResult promises (they are "" or []) and OptionalInt (null).
// Why not capnp's JsonCodec: 64-bit integers pass through a double there, and it copies each text several times.

#include <schemas/client.capnp.h>
#include <schemas/common.capnp.h>
#include <schemas/event.capnp.h>
#include <schemas/image.capnp.h>
#include <schemas/policy.capnp.h>
#include <schemas/task.capnp.h>
#include <schemas/zone.capnp.h>

#include <string>
#include <string_view>

namespace rauha {

// pretty: two spaces of indentation; no newline at the end in either form.
std::string toJson(schema::TaskResult::Reader value, bool pretty = false);
std::string toJson(schema::ZoneInfo::Reader value, bool pretty = false);
std::string toJson(schema::ImageInfo::Reader value, bool pretty = false);
std::string toJson(schema::VerifyReport::Reader value, bool pretty = false);
std::string toJson(schema::Policy::Reader value, bool pretty = false);
std::string toJson(schema::PluginInfo::Reader value, bool pretty = false);
std::string toJson(schema::DoctorReport::Reader value, bool pretty = false);
std::string toJson(schema::Event::Reader value, bool pretty = false);
std::string toJson(schema::ServerInfo::Reader value, bool pretty = false);
std::string toJson(schema::Error::Reader value, bool pretty = false);
std::string toJson(capnp::List<schema::ZoneInfo>::Reader values, bool pretty = false);
std::string toJson(capnp::List<schema::ImageInfo>::Reader values, bool pretty = false);
std::string toJson(capnp::List<schema::HistoryEntry>::Reader values, bool pretty = false);
std::string toJson(capnp::List<schema::PluginInfo>::Reader values, bool pretty = false);
std::string toJson(capnp::List<schema::Event>::Reader values, bool pretty = false);
std::string toJson(capnp::List<schema::Error>::Reader values, bool pretty = false);
std::string toJson(capnp::List<capnp::Text>::Reader values, bool pretty = false);

// A quoted JSON string of any bytes.
std::string jsonString(std::string_view bytes);

}  // namespace rauha
