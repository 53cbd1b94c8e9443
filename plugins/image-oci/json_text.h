#pragma once
// JSON from outside, parsed with limits on size, depth and number of values before the library sees it. The only place that parses.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace rauha::oci {

// Throws Error invalid (not JSON, and what it looks like instead) or limit; `what` names the document.
nlohmann::json parseJson(std::string_view text, const std::string& what);

// Members by type. `what` names the document, `key` the member; a member of another type is Error invalid. null counts as missing.
std::string jsonText(const nlohmann::json& object, const char* key, const std::string& what, std::string fallback = {});
uint64_t jsonNumber(const nlohmann::json& object, const char* key, const std::string& what, uint64_t fallback = 0);
// nullptr when missing.
const nlohmann::json* jsonObject(const nlohmann::json& object, const char* key, const std::string& what);
const nlohmann::json* jsonArray(const nlohmann::json& object, const char* key, const std::string& what);

}  // namespace rauha::oci
