#include "core/policy/toml_document.h"

// toml++ 3.3 asserts what hostile text can make untrue (a header "[[[[["), and with NDEBUG it tells the compiler to assume it. Here an
// assertion is an exception in every build: the text is refused.
namespace rauha::policy {
struct TomlAssertion {
  const char* expression;
};
[[noreturn]] void failTomlAssertion(const char* expression) { throw TomlAssertion{expression}; }
}  // namespace rauha::policy
#undef NDEBUG
#define TOML_ASSERT(expression) (static_cast<bool>(expression) ? void(0) : ::rauha::policy::failTomlAssertion(#expression))
// The variant without exceptions, although we use some: its parser has names of its own, so that the linker cannot take the code of
// another file that includes toml++ with plain assertions.
#define TOML_EXCEPTIONS 0
// Nesting kept far below what the stack bears.
#define TOML_MAX_NESTED_VALUES 32
#define TOML_UNRELEASED_FEATURES 0
#include <toml++/toml.h>

#include <cctype>

#include "core/base/units.h"
#include "core/base/utf8.h"
#include "core/policy/toml_scan.h"

namespace rauha::policy {
namespace {

uint32_t lineOf(const toml::source_region& region) noexcept { return static_cast<uint32_t>(region.begin.line); }

TomlNode convert(const toml::node& in, size_t depth);

void convertTable(const toml::table& in, TomlNode& out, size_t depth) {
  out.children.reserve(in.size());
  for (const auto& [key, value] : in) {
    TomlNode child = convert(value, depth + 1);
    child.key = std::string(key.str());
    // A header's table has no key of its own line when a dotted key made it; the key's region is right in both cases.
    if (lineOf(key.source()) != 0) child.line = lineOf(key.source());
    out.children.push_back(std::move(child));
  }
}

TomlNode convert(const toml::node& in, size_t depth) {
  TomlNode out;
  out.line = lineOf(in.source());
  if (depth > kMaxTomlDepth)
    throw TomlFailure{out.line, "nested deeper than " + std::to_string(kMaxTomlDepth) + " levels", "a policy needs four"};
  switch (in.type()) {
    case toml::node_type::string:
      out.kind = TomlNode::Kind::text;
      out.text = in.as_string()->get();
      break;
    case toml::node_type::integer:
      out.kind = TomlNode::Kind::integer;
      out.integer = in.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      out.kind = TomlNode::Kind::real;
      out.real = in.as_floating_point()->get();
      break;
    case toml::node_type::boolean:
      out.kind = TomlNode::Kind::boolean;
      out.boolean = in.as_boolean()->get();
      break;
    case toml::node_type::array:
      out.kind = TomlNode::Kind::array;
      out.children.reserve(in.as_array()->size());
      for (const auto& item : *in.as_array()) out.children.push_back(convert(item, depth + 1));
      break;
    case toml::node_type::table:
      out.kind = TomlNode::Kind::table;
      convertTable(*in.as_table(), out, depth);
      break;
    default:
      out.kind = TomlNode::Kind::time;
      break;
  }
  return out;
}

std::string lowerFirst(std::string text) {
  if (text.size() > 1 && !std::isupper(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

toml::parse_result parse(std::string_view text) {
  try {
    return toml::parse(text);
  } catch (const TomlAssertion& assertion) {
    throw TomlFailure{0, std::string("not valid TOML: ") + assertion.expression, "see https://toml.io/en/v1.0.0"};
  }
}

}  // namespace

TomlNode parseToml(std::string_view text, size_t maxBytes) {
  if (text.size() > maxBytes)
    throw TomlFailure{0, "is " + std::to_string(text.size()) + " bytes long, at most " + std::to_string(maxBytes) + " are read",
                      "is it the right file?"};
  scanToml(text);
  const toml::parse_result result = parse(text);
  if (!result) {
    const auto& error = result.error();
    throw TomlFailure{lineOf(error.source()), "not valid TOML: " + lowerFirst(shown(error.description())), "see https://toml.io/en/v1.0.0"};
  }
  return convert(result.table(), 0);
}

std::string_view kindName(TomlNode::Kind kind) noexcept {
  switch (kind) {
    case TomlNode::Kind::text:
      return "a string";
    case TomlNode::Kind::integer:
      return "an integer";
    case TomlNode::Kind::real:
      return "a fraction";
    case TomlNode::Kind::boolean:
      return "a boolean";
    case TomlNode::Kind::time:
      return "a date or time";
    case TomlNode::Kind::array:
      return "an array";
    case TomlNode::Kind::table:
      return "a table";
  }
  return "unknown";
}

std::string shown(std::string_view foreign) {
  constexpr size_t kMax = 80;
  const bool cut = foreign.size() > kMax;
  if (cut) {
    size_t end = kMax;
    while (end > 0 && (static_cast<unsigned char>(foreign[end]) & 0xC0) == 0x80) --end;
    foreign = foreign.substr(0, end);
  }
  std::string out = toUtf8(foreign);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return cut ? out + "…" : out;
}

}  // namespace rauha::policy
