#pragma once
// The conformance cases as GoogleTest tests, one per case: for authors who test with GoogleTest. Link rauha_sdk_conformance and GTest.
//
//   static const bool conformance = rauha::conformance::registerTests({.plugin = MY_PLUGIN_FILE, .config = "key = 1\n"});
//
// Tests are called Conformance.load_exports and so on. A case that needs more rights than there are is skipped with its reason.

#include <gtest/gtest.h>

#include <algorithm>

#include "conformance.hpp"

namespace rauha::conformance {

class CaseTest : public ::testing::Test {
 public:
  CaseTest(const Case& which, const Options& options) : which_(which), options_(options) {}
  void TestBody() override {
    const Result result = run(which_, options_);
    if (result.verdict == Verdict::skipped) GTEST_SKIP() << result.seen;
    if (result.verdict == Verdict::failed)
      FAIL() << which_.rule << " (" << which_.where << ")\n" << result.seen << "\nseed " << options_.seed;
  }

 private:
  const Case which_;
  const Options options_;
};

// Before RUN_ALL_TESTS(): registers the cases of the plugin's kind. Gives true, for a static initializer. Throws std::runtime_error when
// the plugin's kind cannot be told.
inline bool registerTests(const Options& options, const char* suite = "Conformance") {
  for (const Case& c : casesOf(kindOf(options))) {
    std::string name = c.name;
    std::replace(name.begin(), name.end(), '.', '_');
    ::testing::RegisterTest(suite, name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [c, options]() -> ::testing::Test* { return new CaseTest(c, options); });
  }
  return true;
}

}  // namespace rauha::conformance
