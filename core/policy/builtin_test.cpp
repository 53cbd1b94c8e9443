// The files of policies/, the defaults of the types and docs/policy.md say the same.
#include <gtest/gtest.h>

#include <capnp/message.h>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/policy/policy.h"

namespace rauha::policy {
namespace {

std::string text(schema::Policy::Reader policy) { return kj::str(policy).cStr(); }

TEST(Builtin, AllParseUnderTheirOwnName) {
  EXPECT_EQ(builtinPolicyNames(), (std::vector<std::string_view>{"task", "standard", "strict", "privileged"}));
  for (const auto name : builtinPolicyNames()) {
    const Policy policy = builtinPolicy(name);
    EXPECT_EQ(policy.name(), name);
    EXPECT_FALSE(policy.get().hasSource());
    EXPECT_EQ(policy.toml(), builtinPolicyToml(name));
    EXPECT_EQ(policy.toml(), readFile(RAUHA_SOURCE_DIR "/policies/" + std::string(name) + ".toml"));
    EXPECT_EQ(policy.warnings().empty(), name != "privileged");
  }
}

// It is read once and handed out as copies: what one caller does with its own is nothing to the next.
TEST(Builtin, EachCallerHasItsOwnCopy) {
  const auto first = builtinPolicy("task");
  {
    auto second = builtinPolicy("task");
    EXPECT_NE(text(first.get()).size(), 0u);
    EXPECT_EQ(text(second.get()), text(first.get()));
    EXPECT_NE(&*second.get().getName().begin(), &*first.get().getName().begin());
    const auto taken = std::move(second);
  }
  const auto third = builtinPolicy("task");
  const auto fresh = parsePolicy(builtinPolicyToml("task"), "");
  EXPECT_EQ(text(third.get()), text(fresh.get()));
  EXPECT_EQ(third.digest(), fresh.digest());
  EXPECT_EQ(third.warnings(), fresh.warnings());
  EXPECT_EQ(third.toml(), fresh.toml());
}

TEST(Builtin, UnknownNameGetsASuggestion) {
  try {
    builtinPolicy("strickt");
    FAIL() << "found";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::notFound);
    EXPECT_EQ(e.text(), "no built-in policy 'strickt'");
    EXPECT_EQ(e.hint(), "did you mean 'strict'?");
  }
}

// What a policy of the type says when it says nothing is what the file spells out.
TEST(Builtin, FilesSpellOutTheDefaults) {
  for (const std::string name : {"task", "standard", "strict"}) {
    const Policy file = builtinPolicy(name);
    const Policy bare = parsePolicy("name = \"" + name + "\"\ntype = \"" + name + "\"\n", "");
    capnp::MallocMessageBuilder a, b;
    a.setRoot(file.get());
    b.setRoot(bare.get());
    for (auto* m : {&a, &b}) m->getRoot<schema::Policy>().setDigest("");
    EXPECT_TRUE(a.getRoot<schema::Policy>().toString().flatten() == b.getRoot<schema::Policy>().toString().flatten()) << name;
  }
}

TEST(Builtin, TheDefaultOfSandboxIsTight) {
  const auto policy = builtinPolicy("task");
  const auto p = policy.get();
  EXPECT_EQ(p.getNetwork().getMode(), schema::NetworkMode::ISOLATED);
  EXPECT_EQ(p.getUserNamespace(), schema::UserNamespace::PRIVATE);
  EXPECT_NE(p.getResources().getMemoryBytes(), 0u);
  EXPECT_NE(p.getResources().getPids(), 0u);
  EXPECT_NE(p.getResources().getTimeoutMs(), 0u);
  EXPECT_EQ(p.getDevices().size(), 0u);
}

// Each ```toml block of the documentation is a policy, or a part of one that goes below name and type.
TEST(Builtin, ExamplesOfTheDocumentationParse) {
  const std::string doc = readFile(RAUHA_SOURCE_DIR "/docs/policy.md");
  size_t count = 0;
  for (size_t at = 0; (at = doc.find("```toml\n", at)) != std::string::npos; ++count) {
    at += 8;
    std::string toml = doc.substr(at, doc.find("```", at) - at);
    if (toml.find("name = ") != 0) toml = "name = \"example\"\ntype = \"task\"\n" + toml;
    try {
      parsePolicy(toml, "docs/policy.md");
    } catch (const Error& e) {
      ADD_FAILURE() << e.text() << " (" << e.hint() << ") in\n" << toml;
    }
  }
  EXPECT_GE(count, 4u);
}

}  // namespace
}  // namespace rauha::policy
