#pragma once
// Identifiers: "task_", "zone_" and so on, followed by 20 characters of [0-9a-v] (100 random bits). They are unique for ever, sort by
// nothing, and are safe in paths, cgroup names and SQL. Names are what people choose.

#include <string>
#include <string_view>

namespace rauha {

// prefix without the underscore: newId("task"). Uses getrandom(2).
std::string newId(std::string_view prefix);
bool isId(std::string_view prefix, std::string_view text) noexcept;
// A zone name: 1 to 63 of [a-z0-9._-], starting with a letter or digit.
bool isName(std::string_view text) noexcept;

}  // namespace rauha
