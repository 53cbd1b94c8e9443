#include "core/base/coro.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <stdexcept>

namespace rauha {
namespace {

Task<int> add(int a, kj::Promise<int> b) {
  const int v = co_await kj::mv(b);
  co_return a + v;
}

Task<void> fails() {
  co_await kj::Promise<void>(kj::READY_NOW);
  throw std::runtime_error("as planned");
}

struct Note {
  bool* flag;
  ~Note() { *flag = true; }
};

Task<void> waitsForEver(bool* destroyed) {
  Note note{destroyed};
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

TEST(Coro, ReturnsValues) {
  auto io = kj::setupAsyncIo();
  EXPECT_EQ(add(1, kj::Promise<int>(2)).promise().wait(io.waitScope), 3);
  EXPECT_EQ(add(1, add(2, kj::Promise<int>(3))).promise().wait(io.waitScope), 6);
}

TEST(Coro, ExceptionsArrive) {
  auto io = kj::setupAsyncIo();
  EXPECT_ANY_THROW(fails().promise().wait(io.waitScope));
}

Task<void> failsWithError() {
  co_await kj::Promise<void>(kj::READY_NOW);
  throw Error("image", Code::corrupt, "layer x does not verify", "pull again", "x");
}
Task<void> passesOn() { co_await failsWithError(); }

TEST(Coro, ErrorsArriveWhole) {
  auto io = kj::setupAsyncIo();
  try {
    passesOn().promise().wait(io.waitScope);
    FAIL();
  } catch (...) {
    const Error e = currentError();
    EXPECT_EQ(e.errorClass(), "image");
    EXPECT_EQ(e.code(), Code::corrupt);
    EXPECT_EQ(e.text(), "layer x does not verify");
    EXPECT_EQ(e.hint(), "pull again");
    EXPECT_EQ(e.object(), "x");
  }
}

TEST(Coro, DroppingCancelsAndDestroys) {
  auto io = kj::setupAsyncIo();
  bool destroyed = false;
  { kj::Promise<void> p = waitsForEver(&destroyed); }
  EXPECT_TRUE(destroyed);
}

}  // namespace
}  // namespace rauha
