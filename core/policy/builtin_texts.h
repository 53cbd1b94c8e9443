#pragma once
// The files of policies/, compiled in; the source is made by embed.cmake.

#include <span>
#include <string_view>

namespace rauha::policy {

struct BuiltinText {
  std::string_view name, toml;
};

std::span<const BuiltinText> builtinTexts() noexcept;

}  // namespace rauha::policy
