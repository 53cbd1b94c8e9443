#pragma once
// What people and programs see: whole writes, text that cannot steer a terminal, colours only where they are wanted, tables.
//
// Everything that comes from a task, an image or a daemon is hostile text: it goes through printable() before it reaches a terminal.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace rauha::cli {

// Nobody reads standard output any more (`rauha task list | head`): no failure of the command, which ends quietly.
class OutputClosed final : public Error {
 public:
  using Error::Error;
};

// Writes everything, also to a non-blocking descriptor. Throws osError of class "task" ("write to standard output: …");
// OutputClosed for a closed pipe as standard output.
void writeFully(int fd, std::string_view bytes, std::string_view what);

// UTF-8 without control characters: what is not text becomes U+FFFD, a control character its \xNN form, and one
// that changes the direction of text its \uNNNN form; a line break a blank.
std::string printable(std::string_view text);

enum class Colour { none, red, green, yellow, dim, bold };

// Knows whether a descriptor wants colours (a terminal, NO_COLOR unset, TERM not "dumb").
class Style final {
 public:
  explicit Style(int fd);
  std::string paint(Colour colour, std::string_view text) const;

 private:
  bool coloured_;
};

// Columns are as wide as their widest cell; the last one is not padded. Cells are made printable.
class Table final {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // columns: of the terminal; the last column is cut so that a row fits, and keeps some characters in any case. 0: nothing is cut.
  std::string text(size_t columns = 0) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "rauha: <text>\n"; a text that begins with the command ("rauha sandbox: …") is left as it is.
std::string errorLine(std::string_view text, const Style& style);
// "rauha: <text>" and the hint on a line of its own, on standard error. Never throws.
void printError(const Error& error) noexcept;
// "rauha: warning: <text>"
void printWarning(std::string_view text) noexcept;

// "1.84 s", "12 ms", "2 m 03 s"
std::string formatDuration(uint64_t milliseconds);

}  // namespace rauha::cli
