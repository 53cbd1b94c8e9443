# Writes OUTPUT, a C++ file with the text of every policy in POLICIES (a list joined by '|'). Run by CMake at build time.
string(REPLACE "|" ";" files "${POLICIES}")
set(entries "")
set(names "")
foreach(file IN LISTS files)
  get_filename_component(name "${file}" NAME_WE)
  file(READ "${file}" text)
  string(APPEND entries "    {\"${name}\", R\"rauha_policy(${text})rauha_policy\"},\n")
  if(names STREQUAL "")
    set(names "${name}")
  else()
    string(APPEND names ", ${name}")
  endif()
endforeach()
file(WRITE "${OUTPUT}" "// Made from policies/*.toml.
#include \"frontends/cli/builtin_policies.h\"

namespace rauha::cli {
namespace {
struct Entry {
  std::string_view name, toml;
};
constexpr Entry kPolicies[] = {
${entries}    {\"\", \"\"},
};
}  // namespace

std::optional<std::string_view> builtinPolicy(std::string_view name) noexcept {
  for (const auto& entry : kPolicies)
    if (!entry.name.empty() && entry.name == name) return entry.toml;
  return std::nullopt;
}

std::string builtinPolicyNames() { return \"${names}\"; }

}  // namespace rauha::cli
")
