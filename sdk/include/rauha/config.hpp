#pragma once
// The plugin's own section of rauha.toml, for plugins that need a few keys and no TOML library. Header-only.
//
//   rauha::sdk::Config config(text);                                  // as create() and the constructor get it
//   const uint64_t bytes = config.bytes("max_bytes", 1, 1ull << 40, 8ull << 30);
//   config.refuseUnknown();                                           // "line 12: unknown key 'max_byte'", and which keys there are
//
// Takes lines `key = value`, where a value is a string, a whole number, true, false, or a list of strings; comments; nothing else of TOML.
// The rest (tables, fractions, dates, multi-line strings) is refused with its line, never skipped. Line numbers are those of the operator's
// file: the daemon hands the section over with each key on the line where it stood. Throws rauha::sdk::Error INVALID. A value; any one
// thread.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plugin.hpp"

namespace rauha::sdk {

class Config {
 public:
  explicit Config(std::string_view text) : text_(text) {
    while (skipToContent()) entry();
  }

  // Each key that the plugin has is asked for once; what was never asked for is unknown. `fallback` is what the absent key means.
  std::string text(const std::string& key, std::string fallback = {}) {
    const Entry* e = find(key);
    if (e == nullptr) return fallback;
    if (const auto* s = std::get_if<std::string>(&e->value)) return *s;
    refuse(e->line, key + " must be a string");
  }
  bool flag(const std::string& key, bool fallback) {
    const Entry* e = find(key);
    if (e == nullptr) return fallback;
    if (const auto* b = std::get_if<bool>(&e->value)) return *b;
    refuse(e->line, key + " must be true or false");
  }
  int64_t number(const std::string& key, int64_t low, int64_t high, int64_t fallback) {
    const Entry* e = find(key);
    if (e == nullptr) return fallback;
    const auto* n = std::get_if<int64_t>(&e->value);
    if (n == nullptr || *n < low || *n > high)
      refuse(e->line, key + " must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return *n;
  }
  // A number of bytes: "64MiB" (KiB, MiB, GiB, TiB) or a whole number.
  uint64_t bytes(const std::string& key, uint64_t low, uint64_t high, uint64_t fallback) {
    const Entry* e = find(key);
    if (e == nullptr) return fallback;
    uint64_t out = 0;
    const auto* n = std::get_if<int64_t>(&e->value);
    const auto* s = std::get_if<std::string>(&e->value);
    const bool good = n != nullptr ? (out = static_cast<uint64_t>(*n), *n >= 0) : s != nullptr && size(*s, out);
    if (!good || out < low || out > high)
      refuse(e->line, key + " must be a size such as \"64MiB\", from " + std::to_string(low) + " to " + std::to_string(high) + " bytes");
    return out;
  }
  std::vector<std::string> list(const std::string& key) {
    const Entry* e = find(key);
    if (e == nullptr) return {};
    if (const auto* l = std::get_if<std::vector<std::string>>(&e->value)) return *l;
    refuse(e->line, key + " must be a list of strings");
  }

  // Last: everything that is there was asked for.
  void refuseUnknown() const {
    std::string known;
    for (const auto& key : asked_) known += (known.empty() ? "it knows " : ", ") + key;
    for (const auto& [key, e] : entries_)
      if (std::find(asked_.begin(), asked_.end(), key) == asked_.end())
        refuse(e.line, "unknown key '" + key + "'", known.empty() ? "this plugin has no keys" : known);
  }
  // For what a key's value means: "line 12: root must be absolute".
  [[noreturn]] void refuse(const std::string& key, const std::string& why, const std::string& hint = {}) const {
    const auto e = entries_.find(key);
    refuse(e == entries_.end() ? size_t{0} : e->second.line, why, hint);
  }

 private:
  using Value = std::variant<std::string, int64_t, bool, std::vector<std::string>>;
  struct Entry {
    size_t line = 0;
    Value value;
  };

  [[noreturn]] static void refuse(size_t line, const std::string& why, const std::string& hint = {}) {
    throw Error(RAUHA_E_INVALID, "configuration: " + (line == 0 ? std::string() : "line " + std::to_string(line) + ": ") + why, hint);
  }
  const Entry* find(const std::string& key) {
    asked_.push_back(key);
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }

  // --- reading
  bool atEnd() const noexcept { return at_ >= text_.size(); }
  char here() const noexcept { return atEnd() ? '\0' : text_[at_]; }
  void blanks() noexcept {
    while (here() == ' ' || here() == '\t') ++at_;
  }
  // Blanks, comments and ends of lines.
  bool skipToContent() noexcept {
    for (; !atEnd(); ++at_) {
      if (here() == '#')
        while (!atEnd() && here() != '\n') ++at_;
      if (here() == '\n') ++line_;
      if (!atEnd() && here() != '\n' && here() != ' ' && here() != '\t' && here() != '\r') return true;
    }
    return false;
  }
  void entry() {
    if (here() == '[') refuse(line_, "this plugin has no tables in its section");
    const size_t line = line_;
    const std::string key = here() == '"' || here() == '\'' ? string() : bareKey();
    blanks();
    if (here() != '=') refuse(line_, "expected '=' behind '" + key + "'");
    ++at_;
    blanks();
    if (!entries_.emplace(key, Entry{line, value()}).second) refuse(line, "'" + key + "' stands there twice");
    blanks();
    if (here() == '\r') ++at_;
    if (!atEnd() && here() != '\n' && here() != '#') refuse(line_, "unexpected text behind the value of '" + key + "'");
  }
  static bool keyChar(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  }
  std::string bareKey() {
    const size_t begin = at_;
    while (keyChar(here())) ++at_;
    if (at_ == begin) refuse(line_, "expected a key");
    return std::string(text_.substr(begin, at_ - begin));
  }
  Value value() {
    if (here() == '"' || here() == '\'') return string();
    if (here() == '[') return strings();
    const size_t begin = at_;
    while (keyChar(here()) || here() == '+' || here() == '.' || here() == ':') ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    if (word == "true" || word == "false") return word == "true";
    return integer(word);
  }
  int64_t integer(std::string word) const {
    const std::string shown = word.substr(0, 40);
    const auto bad = [&] { refuse(line_, "'" + shown + "' is no string in quotes, whole number, true, false or list of strings"); };
    const bool negative = word.starts_with('-');
    if (negative || word.starts_with('+')) word.erase(0, 1);
    unsigned base = 10;
    for (const auto& [prefix, b] : {std::pair{"0x", 16u}, std::pair{"0o", 8u}, std::pair{"0b", 2u}})
      if (word.starts_with(prefix)) word.erase(0, 2), base = b;
    if (word.empty() || word.front() == '_' || word.back() == '_') bad();
    uint64_t out = 0;
    for (const char c : word) {
      if (c == '_') continue;
      const unsigned digit = c >= '0' && c <= '9'   ? unsigned(c - '0')
                             : c >= 'a' && c <= 'f' ? unsigned(c - 'a') + 10
                             : c >= 'A' && c <= 'F' ? unsigned(c - 'A') + 10
                                                    : 99;
      if (digit >= base || out > (uint64_t{INT64_MAX} - digit) / base) bad();
      out = out * base + digit;
    }
    return negative ? -static_cast<int64_t>(out) : static_cast<int64_t>(out);
  }
  std::vector<std::string> strings() {
    std::vector<std::string> out;
    const size_t line = line_;
    ++at_;
    for (bool comma = true;;) {
      if (!skipToContent()) refuse(line, "the list has no end");
      if (here() == ']') return ++at_, out;
      if (here() == ',' && !comma) {
        ++at_, comma = true;
        continue;
      }
      if (!comma || (here() != '"' && here() != '\'')) refuse(line_, "a list consists of strings in quotes, with commas between them");
      out.push_back(string());
      comma = false;
    }
  }
  std::string string() {
    const char quote = here();
    if (text_.substr(at_, 3) == std::string(3, quote)) refuse(line_, "strings of several lines are not taken");
    std::string out;
    for (++at_; here() != quote || atEnd(); ++at_) {
      if (atEnd() || here() == '\n') refuse(line_, "the string has no end");
      if (here() == '\\' && quote == '"')
        out += escape();
      else
        out += here();
    }
    ++at_;
    return out;
  }
  // At the backslash; stops at the escape's last character.
  std::string escape() {
    static constexpr std::string_view kFrom = "btnfr\"\\", kTo = "\b\t\n\f\r\"\\";
    ++at_;
    if (const size_t known = kFrom.find(here()); !atEnd() && known != std::string_view::npos) return {kTo[known]};
    const size_t digits = here() == 'u' ? 4 : here() == 'U' ? 8 : 0;
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i) {
      ++at_;
      const char c = here();
      const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!hex) refuse(line_, "an escape in a string lacks digits");
      code = code * 16 + uint32_t(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (digits == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) refuse(line_, "unknown escape in a string");
    return utf8(code);
  }
  static std::string utf8(uint32_t code) {
    if (code < 0x80) return {char(code)};
    if (code < 0x800) return {char(0xc0 | code >> 6), char(0x80 | (code & 0x3f))};
    if (code < 0x10000) return {char(0xe0 | code >> 12), char(0x80 | (code >> 6 & 0x3f)), char(0x80 | (code & 0x3f))};
    return {char(0xf0 | code >> 18), char(0x80 | (code >> 12 & 0x3f)), char(0x80 | (code >> 6 & 0x3f)), char(0x80 | (code & 0x3f))};
  }
  static bool size(std::string_view text, uint64_t& out) noexcept {
    size_t at = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      if (out > (UINT64_MAX - 9) / 10) return false;
      out = out * 10 + uint64_t(text[at] - '0');
    }
    const std::string_view unit = text.substr(at);
    unsigned shift = unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : unit == "TiB" ? 40 : 99;
    if (unit.empty() || unit == "B") shift = 0;
    if (at == 0 || shift == 99 || out > UINT64_MAX >> shift) return false;
    out <<= shift;
    return true;
  }

  std::string_view text_;
  size_t at_ = 0, line_ = 1;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> asked_;
};

}  // namespace rauha::sdk
