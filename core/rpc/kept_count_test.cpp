#include "core/rpc/kept_count.h"

#include <capnp/rpc.capnp.h>
#include <gtest/gtest.h>

namespace rauha::rpc {
namespace {

using capnp::rpc::Message;

class KeptCountTest : public ::testing::Test {
 protected:
  template <typename Fill>
  void receive(Fill fill) {
    capnp::MallocMessageBuilder builder;
    fill(builder.initRoot<Message>());
    capnp::SegmentArrayMessageReader reader(builder.getSegmentsForOutput());
    count_.received(reader);
  }
  template <typename Fill>
  void send(Fill fill) {
    capnp::MallocMessageBuilder builder;
    fill(builder.initRoot<Message>());
    count_.sent(builder.getSegmentsForOutput());
  }
  void call(uint32_t id) {
    receive([&](Message::Builder m) { m.initCall().setQuestionId(id); });
  }
  void finish(uint32_t id, bool release) {
    receive([&](Message::Builder m) {
      auto f = m.initFinish();
      f.setQuestionId(id);
      f.setReleaseResultCaps(release);
    });
  }
  void answer(uint32_t id, unsigned capabilities) {
    send([&](Message::Builder m) {
      auto r = m.initReturn();
      r.setAnswerId(id);
      auto table = r.initResults().initCapTable(capabilities + 1);
      for (unsigned i = 0; i < capabilities; ++i) table[i].setSenderHosted(i);
      table[capabilities].setReceiverHosted(3);  // the peer's own coming back
    });
  }
  void release(uint32_t count) {
    receive([&](Message::Builder m) { m.initRelease().setReferenceCount(count); });
  }
  KeptCount count_;
};

// As capnp's own client does: it finishes with releaseResultCaps false once it has the answer, and releases later.
TEST_F(KeptCountTest, AnOrdinaryClientKeepsNothing) {
  for (uint32_t i = 0; i < 10'000; ++i) {
    call(7);
    answer(7, i % 3);
    finish(7, false);
    if (i % 3 > 0) release(i % 3);
    ASSERT_EQ(count_.total(), 0u);
  }
}

TEST_F(KeptCountTest, AnswersAndCapabilitiesAreCounted) {
  for (uint32_t i = 0; i < 100; ++i) {
    call(i);
    answer(i, 2);
  }
  EXPECT_EQ(count_.total(), 300u);
  for (uint32_t i = 0; i < 50; ++i) finish(i, true);
  EXPECT_EQ(count_.total(), 150u);
  for (uint32_t i = 50; i < 100; ++i) finish(i, false);
  EXPECT_EQ(count_.total(), 100u);
  release(100);
  EXPECT_EQ(count_.total(), 0u);
}

TEST_F(KeptCountTest, ACancelledCallLeavesNothing) {
  for (int i = 0; i < 100; ++i) {
    call(1);
    finish(1, true);  // before the answer
    answer(1, 4);
  }
  EXPECT_EQ(count_.total(), 0u);
}

TEST_F(KeptCountTest, WhatOurCallsBringIsGivenBackByTheirAnswers) {
  const auto ours = [&](uint32_t id) {
    send([&](Message::Builder m) {
      auto c = m.initCall();
      c.setQuestionId(id);
      c.initParams().initCapTable(1)[0].setSenderHosted(1);
    });
  };
  for (uint32_t id = 0; id < 10; ++id) ours(id);
  EXPECT_EQ(count_.total(), 10u);
  for (uint32_t id = 0; id < 10; ++id)
    receive([&](Message::Builder m) { m.initReturn().setAnswerId(id); });  // releaseParamCaps is the default
  EXPECT_EQ(count_.total(), 0u);
}

TEST_F(KeptCountTest, GivingBackTooMuchIsNoCredit) {
  release(1'000'000);
  finish(1, true);
  for (uint32_t i = 0; i < 10; ++i) call(i);
  EXPECT_EQ(count_.total(), 10u);
}

}  // namespace
}  // namespace rauha::rpc
