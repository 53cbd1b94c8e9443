#include "frontends/cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "core/base/remedy.h"
#include "core/base/utf8.h"

namespace rauha::cli {
namespace {

constexpr size_t kLeastShown = 12;  // of a table's last column, however narrow the terminal

constexpr std::string_view escapeOf(Colour colour) {
  switch (colour) {
    case Colour::red:
      return "\x1b[31m";
    case Colour::green:
      return "\x1b[32m";
    case Colour::yellow:
      return "\x1b[33m";
    case Colour::dim:
      return "\x1b[2m";
    case Colour::bold:
      return "\x1b[1m";
    case Colour::none:
      break;
  }
  return "";
}

// Code points, not bytes: good enough for names, paths and numbers.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void appendEscaped(std::string& out, unsigned char c) {
  char escaped[5];
  snprintf(escaped, sizeof escaped, "\\x%02x", c);
  out += escaped;
}

// Characters that make a terminal show text in another order than it is: a name, or a line of a diff, would read as something else.
// Null: it is none.
const char* reordering(std::string_view three) noexcept {
  static constexpr struct {
    std::string_view bytes;
    const char* escaped;
    // NOLINTBEGIN(misc-misleading-bidirectional): these are they
  } kAll[] = {{"\xE2\x80\xAA", "\\u202a"}, {"\xE2\x80\xAB", "\\u202b"}, {"\xE2\x80\xAC", "\\u202c"},
              {"\xE2\x80\xAD", "\\u202d"}, {"\xE2\x80\xAE", "\\u202e"}, {"\xE2\x81\xA6", "\\u2066"},
              {"\xE2\x81\xA7", "\\u2067"}, {"\xE2\x81\xA8", "\\u2068"}, {"\xE2\x81\xA9", "\\u2069"}};
  // NOLINTEND(misc-misleading-bidirectional)
  for (const auto& one : kAll)
    if (three == one.bytes) return one.escaped;
  return nullptr;
}

// At a code point, with an ellipsis for the rest.
std::string cut(const std::string& text, size_t most) {
  if (width(text) <= most) return text;
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && ++seen == most) break;
  return text.substr(0, end) + "…";
}

}  // namespace

void writeFully(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      // Somebody gave us a non-blocking descriptor; the document is written whole nevertheless.
      pollfd p{fd, POLLOUT, 0};
      if (poll(&p, 1, -1) < 0 && errno != EINTR) throwErrno("task", what);
    } else if (n < 0 && errno == EPIPE && fd == STDOUT_FILENO) {
      throw OutputClosed("task", Code::io, std::string(what) + ": nobody reads it any more");
    } else if (n < 0 && errno != EINTR) {
      throwErrno("task", what);
    }
  }
}

std::string printable(std::string_view text) {
  const std::string utf8 = toUtf8(text);
  std::string out;
  out.reserve(utf8.size());
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    const auto next = i + 1 < utf8.size() ? static_cast<unsigned char>(utf8[i + 1]) : 0;
    if (c == '\n' || c == '\t' || c == '\r') {
      out += ' ';
    } else if (c < 0x20 || c == 0x7f) {
      appendEscaped(out, c);
    } else if (c == 0xc2 && next >= 0x80 && next <= 0x9f) {  // U+0080..U+009F: eight-bit control characters
      appendEscaped(out, static_cast<unsigned char>(next));
      ++i;
    } else if (const char* escaped = reordering(std::string_view(utf8).substr(i, 3))) {
      out += escaped;
      i += 2;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

Style::Style(int fd) : coloured_(false) {
  const char* noColour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  if (noColour != nullptr && *noColour != '\0') return;
  if (terminal == nullptr || std::string_view(terminal) == "dumb") return;
  coloured_ = isatty(fd) == 1;
}

std::string Style::paint(Colour colour, std::string_view text) const {
  if (!coloured_ || colour == Colour::none) return std::string(text);
  return std::string(escapeOf(colour)) + std::string(text) + "\x1b[0m";
}

std::string Table::text(size_t columns) const {
  std::vector<size_t> widths;
  std::vector<std::vector<std::string>> cells;
  for (const auto& row : rows_) {
    auto& line = cells.emplace_back();
    for (const auto& cell : row) line.push_back(cell.empty() ? "-" : printable(cell));
    if (widths.size() < line.size()) widths.resize(line.size());
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  size_t before = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) before += widths[i] + 2;
  const size_t last = columns == 0 ? SIZE_MAX : std::max(kLeastShown, columns > before ? columns - before : 0);
  std::string out;
  for (const auto& line : cells) {
    for (size_t i = 0; i < line.size(); ++i) {
      out += i + 1 < widths.size() ? line[i] : cut(line[i], last);
      if (i + 1 < line.size()) out.append(widths[i] - width(line[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string errorLine(std::string_view text, const Style& style) {
  constexpr std::string_view kName = "rauha";
  // "rauha sandbox: no image" has said who speaks.
  const bool named = text.starts_with(kName) && text.size() > kName.size() && (text[kName.size()] == ' ' || text[kName.size()] == ':');
  const size_t end = named ? text.find(':') : std::string_view::npos;
  if (end == std::string_view::npos) return style.paint(Colour::red, "rauha:") + " " + printable(text) + "\n";
  return style.paint(Colour::red, printable(text.substr(0, end + 1))) + printable(text.substr(end + 1)) + "\n";
}

void printError(const Error& error) noexcept {
  try {
    const Style style(STDERR_FILENO);
    std::string text = errorLine(error.text(), style);
    text += style.paint(Colour::dim, "  try: ") + printable(remedyOf(error)) + "\n";
    writeFully(STDERR_FILENO, text, "write to standard error");
  } catch (...) {
    // Nobody listens on standard error; the exit status still tells.
  }
}

void printWarning(std::string_view text) noexcept {
  try {
    const Style style(STDERR_FILENO);
    writeFully(STDERR_FILENO, style.paint(Colour::yellow, "rauha: warning:") + " " + printable(text) + "\n", "write to standard error");
  } catch (...) {
    // As above.
  }
}

std::string formatDuration(uint64_t milliseconds) {
  char out[48];
  if (milliseconds < 1000) {
    snprintf(out, sizeof out, "%llu ms", static_cast<unsigned long long>(milliseconds));
  } else if (milliseconds < 60'000) {
    snprintf(out, sizeof out, "%.2f s", static_cast<double>(milliseconds) / 1000.0);
  } else {
    const unsigned long long seconds = milliseconds / 1000;
    snprintf(out, sizeof out, "%llu m %02llu s", seconds / 60, seconds % 60);
  }
  return out;
}

}  // namespace rauha::cli
