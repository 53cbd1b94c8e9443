// names.h and docs/events.md name the same events.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/base/fd.h"
#include "core/evidence/event.h"

namespace rauha::evidence {
namespace {

// What stands between `before` and `after`, wherever a line has both. No std::regex: g++ 12 warns about it under sanitizers.
std::set<std::string> all(const std::string& text, const std::string& before, const std::string& after) {
  std::set<std::string> out;
  for (size_t at = 0; (at = text.find(before, at)) != std::string::npos;) {
    at += before.size();
    out.insert(text.substr(at, text.find(after, at) - at));
  }
  return out;
}

TEST(EventNames, HeaderAndDocumentationAgree) {
  std::string code = readFile(RAUHA_SOURCE_DIR "/core/evidence/names.h");
  std::erase_if(code, [](char c) { return c == ' ' || c == '\n'; });
  std::set<std::string> header;
  for (const auto& declaration : all(code, "string_viewk", ";"))
    header.insert(declaration.substr(declaration.find('"') + 1, declaration.rfind('"') - declaration.find('"') - 1));
  std::set<std::string> document;
  for (const auto& row : all(readFile(RAUHA_SOURCE_DIR "/docs/events.md"), "\n| `", "` |")) document.insert(row);
  EXPECT_GE(header.size(), 25u);
  EXPECT_EQ(header, document);
  for (const auto& name : header) EXPECT_TRUE(isEventName(name)) << name;
}

}  // namespace
}  // namespace rauha::evidence
