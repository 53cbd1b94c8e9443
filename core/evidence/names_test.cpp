// names.h and docs/events.md name the same events.
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

#include "core/base/fd.h"
#include "core/evidence/event.h"

namespace rauha::evidence {
namespace {

std::set<std::string> all(const std::string& text, const std::regex& pattern) {
  std::set<std::string> out;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it) out.insert((*it)[1]);
  return out;
}

TEST(EventNames, HeaderAndDocumentationAgree) {
  const auto header = all(readFile(RAUHA_SOURCE_DIR "/core/evidence/names.h"), std::regex("string_view k\\w+ =\\s+\"([^\"]+)\""));
  const auto document = all(readFile(RAUHA_SOURCE_DIR "/docs/events.md"), std::regex("\n\\| `([a-z_]+\\.[a-z_.]+)` \\|"));
  EXPECT_GE(header.size(), 25u);
  EXPECT_EQ(header, document);
  for (const auto& name : header) EXPECT_TRUE(isEventName(name)) << name;
}

}  // namespace
}  // namespace rauha::evidence
