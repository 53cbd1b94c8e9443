// `rauha`: the table of contents.
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "core/base/kj_error.h"
#include "core/base/near_name.h"
#include "frontends/cli/client.h"
#include "frontends/cli/command_line.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Invocation&);
};

constexpr Command kCommands[] = {
    {"sandbox", "run one command in a zone of its own and report what happened", sandboxCommand},
    {"diff", "show what a task did to its repository", diffCommand},
    {"apply", "bring a task's changes into the repository", applyCommand},
    {"task", "list, show, delete, prune finished tasks", taskCommand},
    {"zone", "create, list, show, delete zones", zoneCommand},
    {"policy", "show, validate, apply policies", policyCommand},
    {"image", "list, inspect, pull, import, remove, prune images", imageCommand},
    {"login", "keep credentials for a registry", loginCommand},
    {"logout", "forget them", logoutCommand},
    {"doctor", "what this machine can enforce, what not, why, what to do", doctorCommand},
    {"plugin", "list plugins", pluginCommand},
    {"events", "follow what happens", eventsCommand},
    {"daemon", "status of the daemon, stop it", daemonCommand},
    {"version", "versions of program and daemon", versionCommand},
};

const Command* find(const std::string& name) {
  for (const auto& command : kCommands)
    if (name == command.name) return &command;
  return nullptr;
}

// "did you mean 'sandbox'?", when the word is a slip of a command's name.
Error unknownCommand(const std::string& text, const std::string& name) {
  std::vector<std::string_view> known;
  for (const auto& command : kCommands) known.emplace_back(command.name);
  const auto near = nearest(name, known);
  return Error("usage", Code::invalid, text, (near.empty() ? "" : "did you mean '" + std::string(near) + "'? ") + "see `rauha --help`",
               name);
}

int help() {
  std::string text =
      "Usage: rauha [--root DIR] COMMAND [options]\n\nRuns commands of AI agents in zones: one boundary around files, processes, network and resources.\n\nCommands:\n";
  for (const auto& command : kCommands) {
    const std::string name = command.name;
    text += "  " + name + std::string(12 - name.size(), ' ') + command.summary + "\n";
  }
  text += R"(
Options
  --root DIR  use the private instance in DIR (also: RAUHA_ROOT)
  --json      print exactly one JSON document on standard output (every command)
  --help      `rauha COMMAND --help` has a command's options and examples
  --version

Examples
  rauha sandbox --image host -- python3 --version
  rauha sandbox --json --image host --repo-path . -- python3 -m pytest -q
  rauha diff last && rauha apply last
  rauha doctor

`rauha help exit-codes` explains the exit status. The daemon is started when it is needed.
)";
  printText(text);
  return kOk;
}

int helpCommand(const Invocation& invocation) {
  if (invocation.options.empty()) return help();
  const std::string& topic = invocation.options.front();
  if (topic == "help" || topic == "--help" || topic == "-h") return help();
  if (topic == "exit-codes") return printText(exitCodeHelp()), kOk;
  const Command* command = find(invocation.options.front());
  if (command == nullptr)
    throw unknownCommand("rauha help: nothing is known about '" + invocation.options.front() + "'", invocation.options.front());
  Invocation asked = invocation;
  asked.options.erase(asked.options.begin());
  asked.options.emplace_back("--help");
  return command->run(asked);
}

int run(const CommandLine& line) {
  if (line.version && line.command.empty()) return printText(std::string("rauha ") + programVersion() + "\n"), kOk;
  if (line.command == "help") return helpCommand(line.invocation);
  if (line.help && line.command.empty()) return help();
  if (line.command.empty()) throw Error("usage", Code::invalid, "rauha: no command", "see `rauha --help`");
  const Command* command = find(line.command);
  if (command == nullptr) throw unknownCommand("rauha: '" + line.command + "' is no command", line.command);
  Invocation invocation = line.invocation;
  if (line.help) invocation.options.emplace_back("--help");
  return command->run(invocation);
}

int fail(const Error& error, bool json) {
  const int status = error.errorClass() == "usage" ? kUsage : kFailure;
  if (!json) return printError(error), status;
  try {
    printDocument(errorDocument(error));
  } catch (const std::exception&) {
    printError(error);  // standard output does not take it
  }
  return status;
}

}  // namespace
}  // namespace rauha::cli

int main(int argc, char** argv) {
  using namespace rauha::cli;
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    return run(readCommandLine(words));
  } catch (const OutputClosed&) {
    return kSignalBase + SIGPIPE;
  } catch (...) {
    return fail(rauha::currentError("internal"), wantsJson(words));
  }
}
