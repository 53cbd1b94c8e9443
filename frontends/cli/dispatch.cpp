#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/near_name.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

std::string groupHelp(const char* group, const Subcommand* subcommands, size_t count) {
  std::string text = "Usage: rauha " + std::string(group) + " COMMAND [options]\n\nCommands:\n";
  for (size_t i = 0; i < count; ++i) {
    const std::string name = subcommands[i].name;
    text += "  " + name + std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') + subcommands[i].summary + "\n";
  }
  return text + "\n`rauha " + group + " COMMAND --help` has the options and examples.\n";
}

std::string names(const Subcommand* subcommands, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += std::string(i == 0 ? "" : ", ") + subcommands[i].name;
  return out;
}

}  // namespace

int dispatch(const char* group, const Subcommand* subcommands, size_t count, const Invocation& invocation) {
  Invocation rest = invocation;
  // Options of the program may stand before the subcommand's name: `rauha zone --json list`.
  size_t at = 0;
  while (at < rest.options.size() && rest.options[at] == "--json") ++at;
  if (at == rest.options.size())
    throw Error("usage", Code::invalid, std::string("rauha ") + group + ": no command", "one of: " + names(subcommands, count));
  const std::string name = rest.options[at];
  if (name == "--help" || name == "-h" || name == "help") {
    printText(groupHelp(group, subcommands, count));
    return kOk;
  }
  rest.options.erase(rest.options.begin() + static_cast<std::ptrdiff_t>(at));
  for (size_t i = 0; i < count; ++i)
    if (name == subcommands[i].name) return subcommands[i].run(rest);
  std::vector<std::string_view> known;
  for (size_t i = 0; i < count; ++i) known.emplace_back(subcommands[i].name);
  const auto near = nearest(name, known);
  throw Error("usage", Code::invalid, std::string("rauha ") + group + ": '" + name + "' is no command of it",
              (near.empty() ? "" : "did you mean '" + std::string(near) + "'? ") + "one of: " + names(subcommands, count), name);
}

}  // namespace rauha::cli
