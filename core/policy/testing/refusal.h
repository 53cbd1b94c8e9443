#pragma once
// For tests: what parsePolicy says about a text that it must refuse.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/policy/policy.h"

namespace rauha::policy::testing {

struct Refusal {
  std::string text, hint;
};

inline Refusal refusal(std::string_view toml, std::string_view source = "x.toml") {
  try {
    parsePolicy(toml, source);
  } catch (const Error& e) {
    EXPECT_EQ(e.errorClass(), "policy");
    EXPECT_EQ(e.code(), Code::invalid);
    return {e.text(), e.hint()};
  }
  ADD_FAILURE() << "accepted: " << toml.substr(0, 200);
  return {};
}

}  // namespace rauha::policy::testing
