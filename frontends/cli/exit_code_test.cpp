#include "frontends/cli/exit_code.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <csignal>

namespace rauha::cli {
namespace {

class ExitCode : public ::testing::Test {
 protected:
  ~ExitCode() noexcept override {}  // a message builder's may throw, a fixture's may not
  int of(schema::TaskStatus status, int clientSignal = 0) {
    result.setStatus(status);
    return exitCodeOf(result.asReader(), clientSignal);
  }
  capnp::MallocMessageBuilder message;
  schema::TaskResult::Builder result = message.initRoot<schema::TaskResult>();
};

TEST_F(ExitCode, isTheTasksOwn) {
  EXPECT_EQ(of(schema::TaskStatus::SUCCEEDED), 0);
  result.initExitCode().setValue(42);
  EXPECT_EQ(of(schema::TaskStatus::FAILED), 42);
}

TEST_F(ExitCode, failureNeverLooksLikeSuccess) {
  EXPECT_EQ(of(schema::TaskStatus::FAILED), 1);
  result.initExitCode().setValue(256);
  EXPECT_EQ(of(schema::TaskStatus::FAILED), 1);
}

TEST_F(ExitCode, endsWithoutACode) {
  EXPECT_EQ(of(schema::TaskStatus::TIMED_OUT), 124);
  EXPECT_EQ(of(schema::TaskStatus::OUT_OF_MEMORY), 137);
  EXPECT_EQ(of(schema::TaskStatus::KILLED), 128 + SIGKILL);
  result.initSignal().setValue(SIGSEGV);
  EXPECT_EQ(of(schema::TaskStatus::KILLED), 128 + SIGSEGV);
  EXPECT_EQ(of(schema::TaskStatus::CANCELLED), 130);
  EXPECT_EQ(of(schema::TaskStatus::CANCELLED, SIGTERM), 143);
  EXPECT_EQ(of(static_cast<schema::TaskStatus>(99)), 125);
}

TEST_F(ExitCode, ofErrors) {
  auto error = result.initError();
  error.setClass("command");
  error.setCode(schema::ErrorCode::NOT_FOUND);
  EXPECT_EQ(of(schema::TaskStatus::RUNTIME_ERROR), 127);
  error.setCode(schema::ErrorCode::DENIED);
  EXPECT_EQ(of(schema::TaskStatus::RUNTIME_ERROR), 126);
  error.setClass("image");
  error.setCode(schema::ErrorCode::NOT_FOUND);
  EXPECT_EQ(of(schema::TaskStatus::RUNTIME_ERROR), 125);
}

}  // namespace
}  // namespace rauha::cli
