#include "core/evidence/json_writer.h"

#include <capnp/compat/json.capnp.h>
#include <capnp/schema.h>
#include <schemas/common.capnp.h>
#include <schemas/task.capnp.h>

#include <cmath>
#include <cstdio>

#include "core/base/utf8.h"

namespace rauha {
namespace {

// $Json.name of capnp/compat/json.capnp; the generated header only declares it for reflection.
constexpr uint64_t kJsonName = 0xfa5b1fd61c2e7c3dULL;

std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

template <typename Proto>
std::string jsonName(Proto proto) {
  for (const auto annotation : proto.getAnnotations())
    if (annotation.getId() == kJsonName) return std::string(view(annotation.getValue().getText()));
  return snakeCase(view(proto.getName()));
}

bool isOptionalInt(capnp::StructSchema schema) { return schema == capnp::Schema::from<schema::OptionalInt>(); }
bool isOptionalInt(capnp::Type type) { return type.isStruct() && isOptionalInt(type.asStruct()); }

bool needsEscape(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == 0x7f; }

void appendCodePoint(std::string& out, unsigned codePoint) {
  char escape[16];
  snprintf(escape, sizeof escape, "\\u%04x", codePoint);
  out += escape;
}

void appendEscape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  appendCodePoint(out, static_cast<unsigned>(c));
}

struct Steering {
  size_t bytes = 0;  // 0: it is none
  unsigned codePoint = 0;
};

// A character of several bytes that steers a terminal or turns text around, which JSON itself lets stand: U+0080 to U+009F, U+061C, U+200E,
// U+200F, U+2028 to U+202E, U+2066 to U+2069.
Steering steeringAt(std::string_view utf8) noexcept {
  const auto byte = [&](size_t i) { return i < utf8.size() ? static_cast<unsigned char>(utf8[i]) : 0u; };
  if (byte(0) == 0xc2 && byte(1) <= 0x9f) return {2, byte(1)};
  if (byte(0) == 0xd8 && byte(1) == 0x9c) return {2, 0x061c};
  if (byte(0) != 0xe2 || (byte(1) != 0x80 && byte(1) != 0x81)) return {};
  const unsigned point = 0x2000 + ((byte(1) & 0x3f) << 6) + (byte(2) & 0x3f);
  const bool steers = point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
  return steers ? Steering{3, point} : Steering{};
}

// The fields of TaskResult that the result document always has.
bool isPromised(capnp::StructSchema schema, std::string_view field) {
  if (schema != capnp::Schema::from<schema::TaskResult>()) return false;
  for (const std::string_view name :
       {"taskId", "zoneId", "zoneName", "command", "startedAt", "finishedAt", "stdout", "stderr", "stdoutStats", "stderrStats", "events",
        "enforcementEvents", "eventCounters", "image", "imageDigest", "policy", "policyDigest", "notes"})
    if (name == field) return true;
  return false;
}

// A promised value that is absent: what was printed is text, if only an empty one; a list has no entries; anything else is null.
std::string_view absent(capnp::StructSchema::Field field) {
  if (field.getType().isList()) return "[]";
  const auto name = view(field.getProto().getName());
  return name == "stdout" || name == "stderr" ? "\"\"" : "null";
}

// Interfaces and untyped pointers have no JSON.
bool isWritable(capnp::StructSchema::Field field) { return !field.getType().isAnyPointer() && !field.getType().isInterface(); }

}  // namespace

std::string snakeCase(std::string_view camelCase) {
  std::string out;
  for (const char c : camelCase) {
    if (c >= 'A' && c <= 'Z') {
      if (!out.empty()) out += '_';
      out += static_cast<char>(c + 32);
    } else {
      out += c;
    }
  }
  return out;
}

void appendJsonString(std::string& out, std::string_view bytes) {
  std::string cleaned;
  if (!isUtf8(bytes)) {
    cleaned = toUtf8(bytes);
    bytes = cleaned;
  }
  out.reserve(out.size() + bytes.size() + 2);
  out += '"';
  // In runs: most of a task's output needs no escape.
  size_t run = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto steering = static_cast<signed char>(bytes[i]) < 0 ? steeringAt(bytes.substr(i, 3)) : Steering{};
    if (steering.bytes == 0 && !needsEscape(bytes[i])) continue;
    out.append(bytes, run, i - run);
    if (steering.bytes > 0)
      appendCodePoint(out, steering.codePoint);
    else
      appendEscape(out, bytes[i]);
    i += steering.bytes > 0 ? steering.bytes - 1 : 0;
    run = i + 1;
  }
  out.append(bytes, run);
  out += '"';
}

void JsonWriter::breakLine() {
  if (!pretty_) return;
  out_ += '\n';
  out_.append(static_cast<size_t>(depth_) * 2, ' ');
}

void JsonWriter::real(double value) {
  if (!std::isfinite(value)) {
    out_ += "null";
    return;
  }
  char text[32];
  snprintf(text, sizeof text, "%.17g", value);
  out_ += text;
}

void JsonWriter::optionalInt(capnp::DynamicStruct::Reader value) {
  const auto typed = value.as<schema::OptionalInt>();
  out_ += typed.isValue() ? std::to_string(typed.getValue()) : "null";
}

void JsonWriter::value(capnp::DynamicValue::Reader value) {
  switch (value.getType()) {
    case capnp::DynamicValue::BOOL:
      out_ += value.as<bool>() ? "true" : "false";
      return;
    case capnp::DynamicValue::INT:
      out_ += std::to_string(value.as<int64_t>());
      return;
    case capnp::DynamicValue::UINT:
      out_ += std::to_string(value.as<uint64_t>());
      return;
    case capnp::DynamicValue::FLOAT:
      real(value.as<double>());
      return;
    case capnp::DynamicValue::TEXT:
      appendJsonString(out_, view(value.as<capnp::Text>()));
      return;
    case capnp::DynamicValue::DATA: {
      const auto data = value.as<capnp::Data>();
      appendJsonString(out_, base64({reinterpret_cast<const char*>(data.begin()), data.size()}));
      return;
    }
    case capnp::DynamicValue::LIST:
      list(value.as<capnp::DynamicList>());
      return;
    case capnp::DynamicValue::ENUM: {
      const auto number = value.as<capnp::DynamicEnum>();
      // A value of a later version still makes a valid document.
      std::string name = "unknown_" + std::to_string(number.getRaw());
      KJ_IF_MAYBE (enumerant, number.getEnumerant()) name = jsonName(enumerant->getProto());
      appendJsonString(out_, name);
      return;
    }
    case capnp::DynamicValue::STRUCT: {
      const auto inner = value.as<capnp::DynamicStruct>();
      if (isOptionalInt(inner.getSchema()))
        optionalInt(inner);
      else
        object(inner);
      return;
    }
    case capnp::DynamicValue::UNKNOWN:
    case capnp::DynamicValue::VOID:
    case capnp::DynamicValue::CAPABILITY:
    case capnp::DynamicValue::ANY_POINTER:
      out_ += "null";
      return;
  }
}

void JsonWriter::member(std::string_view name, bool& first) {
  if (!first) out_ += ',';
  first = false;
  breakLine();
  appendJsonString(out_, name);
  out_ += pretty_ ? ": " : ":";
}

void JsonWriter::object(capnp::DynamicStruct::Reader value) {
  const auto type = value.getSchema();
  out_ += '{';
  ++depth_;
  bool first = true;
  for (const auto field : type.getNonUnionFields()) {
    const auto proto = field.getProto();
    if (!isWritable(field)) continue;
    const bool given = isOptionalInt(field.getType()) || value.has(field);
    if (!given && !isPromised(type, view(proto.getName()))) continue;
    member(jsonName(proto), first);
    if (given)
      this->value(value.get(field));
    else
      out_ += absent(field);
  }
  KJ_IF_MAYBE (field, value.which()) {
    if (isWritable(*field)) {
      member(jsonName(field->getProto()), first);
      this->value(value.get(*field));
    }
  }
  --depth_;
  if (!first) breakLine();
  out_ += '}';
}

void JsonWriter::list(capnp::DynamicList::Reader values) {
  out_ += '[';
  ++depth_;
  bool first = true;
  for (const auto item : values) {
    if (!first) out_ += ',';
    first = false;
    breakLine();
    value(item);
  }
  --depth_;
  if (!first) breakLine();
  out_ += ']';
}

}  // namespace rauha
