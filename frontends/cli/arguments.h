#pragma once
// The command line of one command: declared once, parsed once, every mistake an Error of class "usage". The parser library stays behind it.
//
// Only what stands before "--" is parsed; what follows is the task's command and is never looked at. Options bind to the caller's
// variables, which must outlive parse().

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::cli {

// One call of `rauha`, split but not yet parsed.
struct Invocation {
  std::optional<std::string> root;   // --root before the command's name
  std::vector<std::string> options;  // of the command, up to "--"
  std::vector<std::string> command;  // after "--"; raw bytes
  bool dashes = false;               // was there a "--"?
  bool json = false;                 // --json anywhere before "--"; known even when the options do not parse
};

class Arguments final {
 public:
  // name: "rauha zone create"; examples: lines of the help text.
  Arguments(std::string name, std::string summary, std::string examples);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // names: "--image" or "-t,--tty"
  void flag(const std::string& names, bool& value, const std::string& help);
  void option(const std::string& names, std::optional<std::string>& value, const std::string& placeholder, const std::string& help);
  void repeated(const std::string& names, std::vector<std::string>& values, const std::string& placeholder, const std::string& help);
  void positional(const std::string& name, std::optional<std::string>& value, const std::string& help, bool required);
  // Everything that is left, none included; declared last.
  void positionals(const std::string& name, std::vector<std::string>& values, const std::string& help);

  // False: --help was asked for and has been printed; the command ends with 0. Also understands --json and --root.
  // Throws Error "usage".
  [[nodiscard]] bool parse(const Invocation& invocation);

  const std::optional<std::string>& root() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rauha::cli
