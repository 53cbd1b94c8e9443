#include "core/zone/undo.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>

namespace rauha {
namespace {

TEST(Undo, RunsInReverseAndPastFailures) {
  auto io = kj::setupAsyncIo();
  std::string order;
  Undo undo;
  undo.push("a", [&]() -> kj::Promise<void> {
    order += 'a';
    return kj::READY_NOW;
  });
  undo.push("b", [&]() -> kj::Promise<void> {
    order += 'b';
    throw Error("backend", Code::io, "b stays");
  });
  undo.push("c", [&]() -> kj::Promise<void> {
    order += 'c';
    return toKj(Error("backend", Code::io, "c stays"));
  });
  const auto failures = undo.run().promise().wait(io.waitScope);
  EXPECT_EQ(order, "cba");
  EXPECT_EQ(failures, (std::vector<std::string>{"c: c stays", "b: b stays"}));
}

TEST(Undo, DismissedDoesNothing) {
  auto io = kj::setupAsyncIo();
  Undo undo;
  undo.push("a", []() -> kj::Promise<void> { throw Error("x", Code::io, "must not run"); });
  undo.dismiss();
  EXPECT_TRUE(undo.run().promise().wait(io.waitScope).empty());
}

}  // namespace
}  // namespace rauha
