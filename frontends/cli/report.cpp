#include "frontends/cli/report.h"

#include <unistd.h>

#include <capnp/message.h>

#include "core/base/schema_error.h"
#include "core/base/units.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

struct Line {
  std::string name, value;
};

// "scratchBytes" -> "scratch_bytes"
std::string snake(kj::StringPtr name) {
  std::string out;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z') {
      out += '_';
      c = static_cast<char>(c - 'A' + 'a');
    }
    out += c;
  }
  return out;
}

bool endsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string numberText(const std::string& name, uint64_t number) {
  if (endsWith(name, "_bytes")) return formatBytes(number);
  if (endsWith(name, "_ms")) return formatDuration(number);
  return std::to_string(number);
}

std::string scalar(const std::string& name, const capnp::DynamicValue::Reader& value) {
  switch (value.getType()) {
    case capnp::DynamicValue::BOOL:
      return value.as<bool>() ? "true" : "false";
    case capnp::DynamicValue::INT:
      return std::to_string(value.as<int64_t>());
    case capnp::DynamicValue::UINT:
      return numberText(name, value.as<uint64_t>());
    case capnp::DynamicValue::TEXT:
      return str(value.as<capnp::Text>());
    case capnp::DynamicValue::ENUM: {
      const auto enumerant = value.as<capnp::DynamicEnum>();
      KJ_IF_MAYBE (known, enumerant.getEnumerant()) return snake(known->getProto().getName());
      return std::to_string(enumerant.getRaw());
    }
    default:
      return {};
  }
}

void collect(const std::string& prefix, capnp::DynamicStruct::Reader value, std::vector<Line>& lines);

void collectValue(const std::string& name, const capnp::DynamicValue::Reader& value, std::vector<Line>& lines) {
  if (value.getType() == capnp::DynamicValue::STRUCT) return collect(name + ".", value.as<capnp::DynamicStruct>(), lines);
  if (value.getType() != capnp::DynamicValue::LIST) return lines.push_back({name, scalar(name, value)});
  const auto list = value.as<capnp::DynamicList>();
  std::string words;
  for (kj::uint i = 0; i < list.size(); ++i) {
    const auto element = list[i];
    if (element.getType() == capnp::DynamicValue::STRUCT)
      collect(name + "[" + std::to_string(i) + "].", element.as<capnp::DynamicStruct>(), lines);
    else
      words += (words.empty() ? "" : ", ") + scalar(name, element);
  }
  if (!words.empty()) lines.push_back({name, words});
}

void collect(const std::string& prefix, capnp::DynamicStruct::Reader value, std::vector<Line>& lines) {
  for (const auto field : value.getSchema().getFields()) {
    if (field.getProto().getDiscriminantValue() != capnp::schema::Field::NO_DISCRIMINANT) {
      KJ_IF_MAYBE (active, value.which()) {
        if (*active != field) continue;
      }
    }
    // Absent pointers say nothing; numbers and enumerants always have a value.
    if (!value.has(field, capnp::HasMode::NON_NULL)) continue;
    collectValue(prefix + snake(field.getProto().getName()), value.get(field), lines);
  }
}

}  // namespace

void printDocument(std::string_view json) { writeFully(STDOUT_FILENO, std::string(json) + "\n", "write to standard output"); }

void printText(std::string_view text) { writeFully(STDOUT_FILENO, text, "write to standard output"); }

std::string document(std::string_view key, std::string_view json) { return "{\"" + std::string(key) + "\":" + std::string(json) + "}"; }

std::string errorDocument(const Error& error) {
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<schema::Error>();
  writeError(out, error);
  return document("error", toJson(out.asReader()));
}

std::string fieldLines(capnp::DynamicStruct::Reader value) {
  std::vector<Line> lines;
  collect("", value, lines);
  size_t width = 0;
  for (const auto& line : lines) width = std::max(width, line.name.size());
  std::string out;
  for (const auto& line : lines) out += line.name + std::string(width - line.name.size() + 2, ' ') + printable(line.value) + "\n";
  return out;
}

std::string str(capnp::Text::Reader text) { return std::string(text.begin(), text.size()); }

}  // namespace rauha::cli
