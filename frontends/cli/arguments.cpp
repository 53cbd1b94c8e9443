#include "frontends/cli/arguments.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>

#include <CLI/CLI.hpp>

#include "core/base/error.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

Error usageError(const std::string& name, std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  // "The following…" begins a sentence there, and is a part of one here; option names keep their case.
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) != 0 && std::islower(static_cast<unsigned char>(text[1])) != 0)
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return Error("usage", Code::invalid, name + ": " + text, "see `" + name + " --help`");
}

}  // namespace

struct Arguments::State {
  State(std::string programName, const std::string& summary) : app(summary, programName), name(std::move(programName)) {}
  CLI::App app;
  std::string name;
  std::optional<std::string> root;
  bool json = false;  // only declared here, for help and parsing; Invocation::json is what counts
};

Arguments::Arguments(std::string name, std::string summary, std::string examples)
    : state_(std::make_unique<State>(std::move(name), summary)) {
  auto& app = state_->app;
  app.set_help_flag("-h,--help", "print this help");
  app.footer("Examples\n" + std::move(examples));
  app.allow_windows_style_options(false);
  app.get_formatter()->column_width(34);
  flag("--json", state_->json, "print exactly one JSON document on standard output");
  option("--root", state_->root, "DIR", "use the private instance in DIR (also: RAUHA_ROOT)");
}

Arguments::~Arguments() = default;

void Arguments::flag(const std::string& names, bool& value, const std::string& help) { state_->app.add_flag(names, value, help); }

void Arguments::option(const std::string& names, std::optional<std::string>& value, const std::string& placeholder,
                       const std::string& help) {
  state_->app
      .add_option_function<std::string>(
          names, [&value](const std::string& text) { value = text; }, help)
      ->type_name(placeholder)
      ->expected(1);
}

void Arguments::repeated(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
                         const std::string& help) {
  // One value per occurrence: an option must never swallow the word behind its value.
  state_->app.add_option(names, values, help)->type_name(placeholder)->type_size(1)->expected(1)->allow_extra_args(false)->take_all();
}

void Arguments::positional(const std::string& name, std::optional<std::string>& value, const std::string& help, bool required) {
  auto* option = state_->app.add_option_function<std::string>(
      name, [&value](const std::string& text) { value = text; }, help);
  option->type_name("")->expected(1);
  if (required) option->required();
}

bool Arguments::parse(const Invocation& invocation) {
  auto words = invocation.options;
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    state_->app.parse(words);
  } catch (const CLI::CallForHelp&) {
    writeFully(STDOUT_FILENO, state_->app.help(), "write to standard output");
    return false;
  } catch (const CLI::Error& e) {
    throw usageError(state_->name, e.what());
  }
  if (!state_->root) state_->root = invocation.root;
  return true;
}

const std::optional<std::string>& Arguments::root() const { return state_->root; }

}  // namespace rauha::cli
