#include "plugins/image-oci/json_text.h"

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/limits.h"

namespace rauha::oci {
namespace {

[[noreturn]] void wrongType(const std::string& what, const char* key, const nlohmann::json& value, const char* wanted) {
  throw Error("image", Code::invalid, what + ": '" + key + "' is " + value.type_name() + ", not " + wanted);
}

const nlohmann::json* member(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// A linear look over the text, so that no limit depends on how the parser allocates.
void checkShape(std::string_view text, const std::string& what) {
  size_t depth = 0, values = 1;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      ++values;
      if (++depth > kJsonDepthMax)
        throw Error("image", Code::limit, what + ": nested deeper than " + std::to_string(kJsonDepthMax) + " levels");
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
    } else if (c == ',' && ++values > kJsonValuesMax) {
      throw Error("image", Code::limit, what + ": more than " + std::to_string(kJsonValuesMax) + " values");
    }
  }
}

}  // namespace

nlohmann::json parseJson(std::string_view text, const std::string& what) {
  if (text.size() > kJsonMax)
    throw Error("image", Code::limit, what + " is " + std::to_string(text.size()) + " bytes, more than " + std::to_string(kJsonMax));
  checkShape(text, what);
  nlohmann::json out = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!out.is_discarded()) return out;
  const size_t first = text.find_first_not_of(" \t\r\n");
  std::string looks = first == std::string_view::npos ? "it is empty" : "it begins with '" + toUtf8(text.substr(first, 16)) + "'";
  if (first != std::string_view::npos && text[first] == '<') looks = "it looks like HTML or XML";
  throw Error("image", Code::invalid, what + " is not JSON: " + looks);
}

std::string jsonText(const nlohmann::json& object, const char* key, const std::string& what, std::string fallback) {
  const auto* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) wrongType(what, key, *value, "text");
  return value->get<std::string>();
}

uint64_t jsonNumber(const nlohmann::json& object, const char* key, const std::string& what, uint64_t fallback) {
  const auto* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number_unsigned()) wrongType(what, key, *value, "a whole number of at least 0");
  return value->get<uint64_t>();
}

const nlohmann::json* jsonObject(const nlohmann::json& object, const char* key, const std::string& what) {
  const auto* value = member(object, key);
  if (value != nullptr && !value->is_object()) wrongType(what, key, *value, "an object");
  return value;
}

const nlohmann::json* jsonArray(const nlohmann::json& object, const char* key, const std::string& what) {
  const auto* value = member(object, key);
  if (value != nullptr && !value->is_array()) wrongType(what, key, *value, "an array");
  return value;
}

}  // namespace rauha::oci
