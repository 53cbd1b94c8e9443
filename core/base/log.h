#pragma once
// The daemon's log: one line a record, to standard error or to a file. The only place that knows spdlog.
//
// Owner: main(), which hands out references; there is no global logger. Thread: any. Text from outside may be passed as it is: control
// characters are made visible and what is not UTF-8 is replaced, so that no record can pretend to be two.
// Under systemd (standard error is the journal) a record carries the journal's "<6>" priority instead of time and level.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rauha {

enum class LogLevel { debug, info, warning, error };

// "debug", "info", "warning", "error"; nullopt otherwise.
std::optional<LogLevel> logLevelFromName(std::string_view name) noexcept;

class Log final {
 public:
  struct Options {
    LogLevel level = LogLevel::info;
    std::string file;  // absent: standard error. Appended to, made with mode 0640, never through a symbolic link.
  };
  // Throws Error of class "daemon" when the file cannot be opened.
  explicit Log(const Options& options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool enabled(LogLevel level) const noexcept;
  // area: who speaks, "zone", "rpc", a plugin's name. At most 4 KiB of text are kept.
  void write(LogLevel level, std::string_view area, std::string_view text) noexcept;
  void debug(std::string_view area, std::string_view text) noexcept { write(LogLevel::debug, area, text); }
  void info(std::string_view area, std::string_view text) noexcept { write(LogLevel::info, area, text); }
  void warning(std::string_view area, std::string_view text) noexcept { write(LogLevel::warning, area, text); }
  void error(std::string_view area, std::string_view text) noexcept { write(LogLevel::error, area, text); }
  // Opens the file anew (after a rotation). Without a file: nothing. Throws as the constructor; the old file then stays in use.
  void reopen();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rauha
