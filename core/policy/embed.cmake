# cmake -DOUT=<file.cpp> -DDIR=<policies> "-DNAMES=task standard" -P embed.cmake: TOML files as one C++ source.
separate_arguments(NAMES)
set(entries "")
foreach(name ${NAMES})
  file(READ ${DIR}/${name}.toml text)
  string(APPEND entries "    {\"${name}\", R\"rauha-toml(${text})rauha-toml\"},\n")
endforeach()
file(WRITE ${OUT} "// Made from policies/*.toml by embed.cmake.
#include \"core/policy/builtin_texts.h\"

namespace rauha::policy {
namespace {
constexpr BuiltinText kTexts[] = {
${entries}};
}  // namespace

std::span<const BuiltinText> builtinTexts() noexcept { return kTexts; }

}  // namespace rauha::policy
")
