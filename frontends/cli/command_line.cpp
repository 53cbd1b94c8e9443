#include "frontends/cli/command_line.h"

#include <algorithm>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

// One global option at `at`; advances. False: what is there begins the command.
bool takeGlobal(const std::vector<std::string>& words, size_t end, size_t& at, CommandLine& out) {
  const std::string& word = words[at];
  constexpr std::string_view kRoot = "--root=";
  if (word.empty() || word.front() != '-') return false;
  if (word == "--json") {
    // wantsJson sees it.
  } else if (word == "--help" || word == "-h") {
    out.help = true;
  } else if (word == "--version") {
    out.version = true;
  } else if (word.compare(0, kRoot.size(), kRoot) == 0) {
    out.invocation.root = word.substr(kRoot.size());
  } else if (word == "--root") {
    if (at + 1 >= end) throw Error("usage", Code::invalid, "rauha: --root needs a directory", "rauha --root DIR COMMAND", "--root");
    out.invocation.root = words[++at];
  } else {
    throw Error("usage", Code::invalid, "rauha: unknown option '" + word + "'",
                "see `rauha --help`; options of a command stand behind its name", word);
  }
  ++at;
  return true;
}

}  // namespace

bool wantsJson(const std::vector<std::string>& words) noexcept {
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::find(words.begin(), end, "--json") != end;
}

CommandLine readCommandLine(const std::vector<std::string>& words) {
  CommandLine out;
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const auto end = static_cast<size_t>(dashes - words.begin());
  out.invocation.json = wantsJson(words);
  out.invocation.dashes = dashes != words.end();
  if (out.invocation.dashes) out.invocation.command.assign(dashes + 1, words.end());
  size_t at = 0;
  while (at < end && takeGlobal(words, end, at, out)) {
  }
  if (at == end) return out;
  out.command = words[at];
  out.invocation.options.assign(words.begin() + static_cast<std::ptrdiff_t>(at) + 1, dashes);
  return out;
}

}  // namespace rauha::cli
