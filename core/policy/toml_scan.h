#pragma once
// A look over TOML text before toml++ parses it: refuses what TOML forbids anyway but is cheap to refuse early (bytes that are not UTF-8,
// control characters), and what is legal but only an attack needs (thousands of dots, which toml++ 3.3 turns into tables of that depth and
// then destroys by recursion).

#include <string_view>

namespace rauha::policy {

// Throws TomlFailure.
void scanToml(std::string_view text);

}  // namespace rauha::policy
