#pragma once
// TOML text as a plain tree with line numbers: what the policy reader walks. The only door to toml++, which is heavy and trusts its input
// more than we do (it follows dotted keys to any depth), so everything from outside is looked over before it gets there.
//
// Values only; pure functions, any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::policy {

struct TomlNode {
  enum class Kind { text, integer, real, boolean, time, array, table };
  Kind kind = Kind::table;
  std::string key;    // of a table's member
  uint32_t line = 0;  // 1-based; of a table's member: of its key; of a header's table: of the header
  std::string text;
  int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::vector<TomlNode> children;  // items of an array, members of a table
};

struct TomlFailure {
  uint32_t line = 0;   // 0: of no line
  std::string reason;  // one line, lower case
  std::string hint;
};

// Tables and arrays within one another; a policy needs four.
inline constexpr size_t kMaxTomlDepth = 8;
// Dots outside strings and comments: of dotted keys, headers and fractions.
inline constexpr size_t kMaxTomlDots = 1000;

// Throws TomlFailure (not an Error: the caller knows the source's name and the class).
TomlNode parseToml(std::string_view text, size_t maxBytes);

// "string", "integer", … with an article: "a string".
std::string_view kindName(TomlNode::Kind kind) noexcept;

// Foreign text for a message: UTF-8, printable, at most 80 bytes and an ellipsis.
std::string shown(std::string_view foreign);

}  // namespace rauha::policy
