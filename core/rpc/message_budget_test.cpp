#include "core/rpc/message_budget.h"

#include <gtest/gtest.h>

namespace rauha::rpc {
namespace {

TEST(MessageBudgetTest, OneUserLeavesRoomForAnother) {
  MessageBudget budget(MessageBounds{.freeBytes = 10, .totalBytes = 300, .perUserBytes = 200});
  const auto first = budget.take(0, 150);
  ASSERT_TRUE(first);
  EXPECT_FALSE(budget.take(0, 51));
  EXPECT_TRUE(budget.take(0, 50));
  const auto other = budget.take(7, 150);
  EXPECT_TRUE(other);
  EXPECT_FALSE(budget.take(8, 11)) << "the total is used up";
  EXPECT_EQ(budget.held(), 300u);
}

TEST(MessageBudgetTest, SmallMessagesAreFreeAlsoWhenNothingIsLeft) {
  MessageBudget budget(MessageBounds{.freeBytes = 10, .totalBytes = 20, .perUserBytes = 20});
  const auto all = budget.take(0, 20);
  EXPECT_TRUE(budget.take(0, 10));
  EXPECT_FALSE(budget.take(0, 11));
  EXPECT_EQ(budget.held(), 20u);
}

TEST(MessageBudgetTest, AShareIsGivenBackOnce) {
  MessageBudget budget(MessageBounds{.freeBytes = 0, .totalBytes = 20, .perUserBytes = 20});
  {
    auto share = budget.take(3, 20);
    ASSERT_TRUE(share);
    const MessageBudget::Share moved = std::move(*share);
    EXPECT_EQ(budget.held(), 20u);
  }
  EXPECT_EQ(budget.held(), 0u);
  EXPECT_TRUE(budget.take(3, 20));
}

TEST(MessageBudgetTest, MoreThanEverThereIsNeverFits) {
  MessageBudget budget(MessageBounds{.freeBytes = 0, .totalBytes = 20, .perUserBytes = 30});
  EXPECT_FALSE(budget.take(3, 21));
  EXPECT_FALSE(budget.take(3, SIZE_MAX));
}

}  // namespace
}  // namespace rauha::rpc
