#include "core/rpc/request_summary.h"

#include <nlohmann/json.hpp>

namespace rauha::rpc {

RequestSummary readRequestSummary(const std::string& json) {
  RequestSummary out;
  const auto document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) return out;
  if (const auto image = document.find("image"); image != document.end() && image->is_string()) out.image = image->get<std::string>();
  if (const auto command = document.find("command"); command != document.end() && command->is_array())
    for (const auto& word : *command)
      if (word.is_string()) out.command.push_back(word.get<std::string>());
  return out;
}

}  // namespace rauha::rpc
