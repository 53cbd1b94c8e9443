#include "core/base/ids.h"

#include <sys/random.h>

#include <algorithm>

#include "core/base/error.h"

namespace rauha {
namespace {
constexpr std::string_view kAlphabet = "0123456789abcdefghijklmnopqrstuv";
constexpr size_t kLength = 20;
bool isNameChar(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'; }
}  // namespace

std::string newId(std::string_view prefix) {
  unsigned char random[kLength];
  if (getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) throwErrno("daemon", "getrandom");
  std::string id(prefix);
  id += '_';
  for (unsigned char r : random) id += kAlphabet[r & 31];
  return id;
}

bool isId(std::string_view prefix, std::string_view text) noexcept {
  if (text.size() != prefix.size() + 1 + kLength || text.substr(0, prefix.size()) != prefix || text[prefix.size()] != '_') return false;
  const auto body = text.substr(prefix.size() + 1);
  return std::all_of(body.begin(), body.end(), [](char c) { return kAlphabet.find(c) != std::string_view::npos; });
}

bool isName(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 63 && text[0] != '.' && text[0] != '_' && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), isNameChar);
}

}  // namespace rauha
