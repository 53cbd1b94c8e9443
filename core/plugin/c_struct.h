#pragma once
// The size rules of the plugin ABI, host side: everything that a plugin fills is read through these functions and nothing else.
//
// A struct that lies about its size cannot be caught in general (the plugin shares our memory); what can be seen to be wrong is refused
// with Error internal, class "plugin", and a text without the plugin's name, which the caller of the plugin adds.

#include <rauha/plugin.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::plugin {

// No struct of this ABI comes near it; a larger struct_size is garbage, and reading so far could leave the plugin's memory.
inline constexpr size_t kMaxStruct = 4096;

namespace detail {
template <typename T>
T readPrefix(const void* from, size_t minimum, std::string_view what) {
  if (from == nullptr) throw Error("plugin", Code::internal, std::string(what) + " is null");
  uint32_t size = 0;
  std::memcpy(&size, from, sizeof size);
  if (size < minimum || size > kMaxStruct)
    throw Error("plugin", Code::internal,
                std::string(what) + " says that it has " + std::to_string(size) + " bytes, expected " + std::to_string(minimum) + " to " +
                    std::to_string(kMaxStruct));
  T out{};
  std::memcpy(static_cast<void*>(&out), from, size < sizeof(T) ? size : sizeof(T));
  return out;
}
}  // namespace detail

// A struct that says something: what we do not know must be zero, or it would be dropped in silence. minimum: its size in ABI 1.0.
template <typename T>
T readStruct(const T* from, size_t minimum, std::string_view what) {
  T out = detail::readPrefix<T>(from, minimum, what);
  const size_t known = std::min<size_t>(sizeof(T), out.struct_size);
  const std::string_view unknown(reinterpret_cast<const char*>(from) + known, out.struct_size - known);
  if (unknown.find_first_not_of('\0') != std::string_view::npos)
    throw Error("plugin", Code::unsupported,
                std::string(what) + " has " + std::to_string(out.struct_size) + " bytes and uses those beyond the " +
                    std::to_string(sizeof(T)) + " that this daemon (ABI 1." + std::to_string(RAUHA_ABI_MINOR) + ") knows",
                "use a daemon as new as the plugin");
  return out;
}

// A table of functions, or a struct that only adds facts: more than we know is fine.
template <typename T>
T readTable(const void* from, size_t minimum, std::string_view what) {
  return detail::readPrefix<T>(from, minimum, what);
}

inline rauha_str toStr(std::string_view s) noexcept { return s.empty() ? rauha_str{nullptr, 0} : rauha_str{s.data(), s.size()}; }

// Text for people: cut at `limit` bytes, made UTF-8, one line, no control characters (of eight bits either: terminals obey them). Never
// throws for what the text is.
inline std::string cleanText(rauha_str s, size_t limit) {
  if (s.ptr == nullptr) return {};
  std::string out = toUtf8({s.ptr, s.len < limit ? s.len : limit});
  for (size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    if (c < 0x20 || c == 0x7f) out[i] = ' ';
    if (c == 0xc2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xa0) out[i] = out[i + 1] = ' ';
  }
  if (s.len > limit) out += " [cut]";
  return out;
}

// Text that means something (a path, a digest): whole or not at all. Throws Error when it is longer than `limit`, has NUL bytes, or is a
// null pointer with a length.
inline std::string exactText(rauha_str s, size_t limit, std::string_view what) {
  if (s.len == 0) return {};
  if (s.ptr == nullptr)
    throw Error("plugin", Code::internal, std::string(what) + " is a null pointer with a length of " + std::to_string(s.len));
  if (s.len > limit)
    throw Error("plugin", Code::limit, std::string(what) + " has " + std::to_string(s.len) + " bytes, at most " + std::to_string(limit));
  std::string out(s.ptr, s.len);
  if (out.find('\0') != std::string::npos) throw Error("plugin", Code::internal, std::string(what) + " has NUL bytes");
  return out;
}

}  // namespace rauha::plugin
