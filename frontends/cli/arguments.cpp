#include "frontends/cli/arguments.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>

#include <CLI/CLI.hpp>

#include "core/base/error.h"
#include "core/base/near_name.h"
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

// What was declared, by every name of it.
struct Declared {
  std::string first;        // "--repo-path" of "--repo-path,--repo"
  std::string placeholder;  // "" for a flag
  bool repeated = false;
};

struct Declarations {
  std::map<std::string, Declared, std::less<>> options;
  std::vector<std::string> positionals;
  size_t required = 0;     // of the positionals, the first ones
  bool endlessly = false;  // any number of further ones

  void add(const std::string& names, const std::string& placeholder, bool repeated) {
    const std::string first = names.substr(0, names.find(','));
    for (size_t at = 0; at < names.size();) {
      const size_t end = std::min(names.find(',', at), names.size());
      options[names.substr(at, end - at)] = {first, placeholder, repeated};
      at = end + 1;
    }
  }
};

// Looks over the words before the parser does, because its errors are about its own notions ("At Most 1 required but received 2").
class WordCheck final {
 public:
  WordCheck(const std::string& name, const Declarations& declared) : name_(name), declared_(declared) {}

  void check(const std::vector<std::string>& words) {
    for (size_t at = 0; at < words.size(); ++at) {
      const std::string& word = words[at];
      if (word.starts_with("--"))
        at += longOption(word, at + 1 < words.size() ? &words[at + 1] : nullptr);
      else if (word.size() > 1 && word[0] == '-')
        shortOptions(word);
      else
        positional(word);
    }
    if (found_ < declared_.required) missing(declared_.positionals[found_]);
  }

 private:
  [[noreturn]] void refuse(const std::string& text, const std::string& remedy, const std::string& object) const {
    throw Error("usage", Code::invalid, name_ + ": " + text, (remedy.empty() ? "" : remedy + "; ") + "see `" + name_ + " --help`", object);
  }

  [[noreturn]] void unknown(const std::string& option) const {
    std::vector<std::string_view> known;
    for (const auto& [option_, declared] : declared_.options) known.push_back(option_);
    const auto near = nearest(option, known);
    refuse("unknown option '" + option + "'", near.empty() ? "" : "did you mean '" + std::string(near) + "'?", option);
  }

  [[noreturn]] void missing(const std::string& what) const { refuse(what + " is missing", "write " + name_ + " " + what, what); }

  // How many words the option takes besides its own.
  size_t longOption(const std::string& word, const std::string* next) {
    const size_t equals = word.find('=');
    const std::string option = word.substr(0, equals);
    const auto found = declared_.options.find(option);
    if (found == declared_.options.end()) unknown(option);
    const auto& [first, placeholder, repeated] = found->second;
    const bool inWord = equals != std::string::npos;
    if (placeholder.empty()) {
      if (inWord) refuse(option + " takes no value, found '" + word.substr(equals + 1) + "'", "write " + option + " alone", option);
      return 0;
    }
    const std::string usage = "write " + option + " " + placeholder;
    if (inWord ? equals + 1 == word.size() : next == nullptr) refuse(option + " needs a value, found none", usage, option);
    if (!inWord && declared_.options.find(*next) != declared_.options.end())
      refuse(option + " needs a value, found the option '" + *next + "'", usage, option);
    const std::string value = inWord ? word.substr(equals + 1) : *next;
    if (!repeated && !values_.emplace(first, value).second)
      refuse(option + " is given twice: '" + values_[first] + "' and '" + value + "'", "give it once", option);
    return inWord ? 0 : 1;
  }

  // Only flags have short names.
  void shortOptions(const std::string& word) const {
    for (const char letter : word.substr(1))
      if (const std::string option{'-', letter}; declared_.options.find(option) == declared_.options.end()) unknown(option);
  }

  void positional(const std::string& word) {
    if (found_++ < declared_.positionals.size() || declared_.endlessly) return;
    std::string takes =
        declared_.positionals.empty() ? "it takes options only" : "it takes " + std::to_string(declared_.positionals.size());
    if (name_ == "rauha sandbox") takes = "a command stands behind two dashes: -- " + word;
    refuse("unexpected argument '" + word + "'", takes, word);
  }

  const std::string& name_;
  const Declarations& declared_;
  std::map<std::string, std::string> values_;  // by the first name
  size_t found_ = 0;                           // positionals
};

bool asksForHelp(const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), "--help") != words.end() || std::find(words.begin(), words.end(), "-h") != words.end();
}

}  // namespace

struct Arguments::State {
  State(std::string programName, const std::string& summary) : app(summary, programName), name(std::move(programName)) {}
  CLI::App app;
  std::string name;
  Declarations declared;
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

void Arguments::flag(const std::string& names, bool& value, const std::string& help) {
  state_->declared.add(names, "", true);
  state_->app.add_flag(names, value, help);
}

void Arguments::option(const std::string& names, std::optional<std::string>& value, const std::string& placeholder,
                       const std::string& help) {
  state_->declared.add(names, placeholder, false);
  state_->app
      .add_option_function<std::string>(
          names, [&value](const std::string& text) { value = text; }, help)
      ->type_name(placeholder)
      ->expected(1);
}

void Arguments::repeated(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
                         const std::string& help) {
  state_->declared.add(names, placeholder, true);
  // One value per occurrence: an option must never swallow the word behind its value.
  state_->app.add_option(names, values, help)->type_name(placeholder)->type_size(1)->expected(1)->allow_extra_args(false)->take_all();
}

void Arguments::positional(const std::string& name, std::optional<std::string>& value, const std::string& help, bool required) {
  state_->declared.positionals.push_back(name);
  if (required) state_->declared.required = state_->declared.positionals.size();
  auto* option = state_->app.add_option_function<std::string>(
      name, [&value](const std::string& text) { value = text; }, help);
  option->type_name("")->expected(1);
  if (required) option->required();
}

void Arguments::positionals(const std::string& name, std::vector<std::string>& values, const std::string& help) {
  state_->declared.endlessly = true;
  state_->app.add_option(name, values, help)->type_name("")->expected(0, -1);
}

bool Arguments::parse(const Invocation& invocation) {
  auto words = invocation.options;
  if (!asksForHelp(words)) WordCheck(state_->name, state_->declared).check(words);
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
