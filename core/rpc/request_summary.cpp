#include "core/rpc/request_summary.h"

#include <nlohmann/json.hpp>

namespace rauha::rpc {

RequestSummary readRequestSummary(const std::string& json) {
  RequestSummary out;
  const auto document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) return out;
  const auto text = [&](const char* name, std::string& to) {
    if (const auto found = document.find(name); found != document.end() && found->is_string()) to = found->get<std::string>();
  };
  text("image", out.image);
  text("repository", out.repository);
  text("repo_mode", out.repoMode);
  if (const auto command = document.find("command"); command != document.end() && command->is_array())
    for (const auto& word : *command)
      if (word.is_string()) out.command.push_back(word.get<std::string>());
  return out;
}

}  // namespace rauha::rpc
