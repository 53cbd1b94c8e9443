#include "core/policy/toml_scan.h"

#include <cctype>
#include <cstdio>

#include "core/base/utf8.h"
#include "core/policy/toml_document.h"

namespace rauha::policy {
namespace {

// Follows TOML's four string forms and comments. Where the text is malformed this may lose track, but then toml++ stops at that very place
// and never sees what follows.
class Scanner final {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        skipComment();
      } else if (c == '"' || c == '\'') {
        skipString(c);
      } else {
        plain(c);
        ++at_;
      }
    }
  }

 private:
  void plain(char c) {
    if (c == '\n') ++line_;
    if (c == '.' && ++dots_ > kMaxTomlDots)
      throw TomlFailure{line_, "more than " + std::to_string(kMaxTomlDots) + " dots outside of strings", "write tables as [headers]"};
    if (c == '[' && depth_ == 0 && blankBefore()) checkHeader();
    if (c == '[' || c == '{') ++depth_;
    if ((c == ']' || c == '}') && depth_ > 0) --depth_;
  }
  bool blankBefore() const noexcept {
    size_t i = at_;
    while (i > 0 && (text_[i - 1] == ' ' || text_[i - 1] == '\t')) --i;
    return i == 0 || text_[i - 1] == '\n';
  }
  // toml++ asserts this instead of checking it.
  void checkHeader() const {
    size_t i = at_ + 1;
    if (i < text_.size() && text_[i] == '[') ++i;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    const char c = i < text_.size() ? text_[i] : '\n';
    const bool key = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '"' || c == '\'';
    if (!key) throw TomlFailure{line_, "not valid TOML: a table header without a key", "write [name] or [[name]]"};
  }
  void skipComment() {
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
  }
  bool tripled(char quote) const noexcept {
    return at_ + 2 < text_.size() && text_[at_] == quote && text_[at_ + 1] == quote && text_[at_ + 2] == quote;
  }
  void skipString(char quote) {
    const bool multiline = tripled(quote);
    at_ += multiline ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        if (!multiline) return;
        ++line_;
      }
      if (c == '\\' && quote == '"' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') {
        at_ += 2;
        continue;
      }
      if (c == quote && (!multiline || tripled(quote))) {
        at_ += multiline ? 3 : 1;
        // A multi-line string may end in one or two quotes of its own.
        for (int i = 0; multiline && i < 2 && at_ < text_.size() && text_[at_] == quote; ++i) ++at_;
        return;
      }
      ++at_;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t dots_ = 0;
  size_t depth_ = 0;  // of brackets and braces
  uint32_t line_ = 1;
};

void refuseControlCharacters(std::string_view text) {
  uint32_t line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') ++line;
    const bool allowed = c == '\n' || c == '\t' || (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n');
    if ((c < 0x20 && !allowed) || c == 0x7f) {
      char code[8];
      snprintf(code, sizeof code, "0x%02x", c);
      throw TomlFailure{line, std::string("control character ") + code, "remove it; in a string write it as an escape"};
    }
  }
}

uint32_t firstLineThatIsNotUtf8(std::string_view text) {
  uint32_t line = 1;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (!isUtf8(text.substr(0, end))) return line;
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
    ++line;
  }
  return line;
}

}  // namespace

void scanToml(std::string_view text) {
  if (!isUtf8(text)) throw TomlFailure{firstLineThatIsNotUtf8(text), "not UTF-8", "save the file as UTF-8"};
  refuseControlCharacters(text);
  Scanner(text).run();
}

}  // namespace rauha::policy
