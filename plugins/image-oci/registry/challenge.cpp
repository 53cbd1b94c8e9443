#include "plugins/image-oci/registry/challenge.h"

#include <charconv>
#include <ctime>

namespace rauha::oci {
namespace {

constexpr size_t kChallengesMax = 8;
constexpr size_t kValueMax = 4096;

bool isToken(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Reader final {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  void blanks() noexcept {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool end() const noexcept { return at_ >= text_.size(); }
  bool take(char c) noexcept {
    if (end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string lowerToken() {
    std::string out;
    for (; at_ < text_.size() && isToken(text_[at_]); ++at_) {
      const char c = text_[at_];
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
  }
  // A token or a quoted string. False: neither.
  bool value(std::string& out) {
    if (!take('"')) {
      for (; at_ < text_.size() && isToken(text_[at_]); ++at_) out += text_[at_];
      return !out.empty();
    }
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == '"') return ++at_, true;
      if (c == '\\' && ++at_ < text_.size()) c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20 || out.size() >= kValueMax) return false;
      out += c;
    }
    return false;
  }
  size_t at() const noexcept { return at_; }
  void back(size_t at) noexcept { at_ = at; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

void put(Challenge& c, const std::string& key, std::string value) {
  if (key == "realm") c.realm = std::move(value);
  if (key == "service") c.service = std::move(value);
  if (key == "scope") c.scope = std::move(value);
  if (key == "error") c.error = std::move(value);
}

// The parameters of one challenge; leaves the reader at the next scheme. False: malformed.
bool parameters(Reader& in, Challenge& out) {
  for (;;) {
    in.blanks();
    while (in.take(',')) in.blanks();
    const size_t before = in.at();
    const std::string key = in.lowerToken();
    if (key.empty()) return in.end();
    in.blanks();
    if (!in.take('=')) {  // a scheme
      in.back(before);
      return true;
    }
    in.blanks();
    std::string value;
    if (!in.value(value)) return false;
    put(out, key, std::move(value));
  }
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<Challenge> parseChallenges(std::string_view header) {
  std::vector<Challenge> out;
  Reader in(header);
  while (out.size() < kChallengesMax) {
    in.blanks();
    while (in.take(',')) in.blanks();
    Challenge c;
    c.scheme = in.lowerToken();
    if (c.scheme.empty()) break;
    const bool good = parameters(in, c);
    if (good) out.push_back(std::move(c));
    if (!good || in.end()) break;
  }
  return out;
}

std::optional<uint64_t> parseRetryAfter(std::string_view header, int64_t nowRealNs) {
  const std::string text(trimmed(header));
  if (const auto seconds = number(text)) return *seconds > 1'000'000 ? 1'000'000'000 : *seconds * 1000;
  struct tm at {};
  const char* end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &at);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const int64_t wait = static_cast<int64_t>(timegm(&at)) - nowRealNs / 1'000'000'000;
  return wait <= 0 ? 0 : static_cast<uint64_t>(wait > 1'000'000 ? 1'000'000 : wait) * 1000;
}

std::optional<ContentRange> parseContentRange(std::string_view header) {
  std::string_view text = trimmed(header);
  constexpr std::string_view kUnit = "bytes ";
  if (text.substr(0, kUnit.size()) != kUnit) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const size_t dash = text.find('-'), slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return std::nullopt;
  const auto first = number(text.substr(0, dash)), last = number(text.substr(dash + 1, slash - dash - 1)),
             size = number(text.substr(slash + 1));
  if (!first || !last || !size || *last < *first || *last >= *size) return std::nullopt;
  return ContentRange{*first, *size};
}

}  // namespace rauha::oci
