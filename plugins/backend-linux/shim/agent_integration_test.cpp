// The agent and the shim with a real kernel: processes, output, exits. Needs root.
#include <gtest/gtest.h>

#include "plugins/backend-linux/shim/testing/zone_harness.h"

namespace rauha::testing {
namespace {

class AgentTest : public ::testing::Test {
 protected:
  std::unique_ptr<kj::AsyncIoContext> holder_ = std::make_unique<kj::AsyncIoContext>(kj::setupAsyncIo());
  kj::AsyncIoContext& io_ = *holder_;
};

Run sh(const std::string& script) {
  Run run;
  run.argv = {"sh", "-c", script};
  return run;
}

std::string say(const Ran& r) {
  return (r.error ? r.error->errorClass() + ": " + r.error->text() : std::string()) + " out=" + r.out + " err=" + r.err +
         " exit=" + std::to_string(r.exited) + " signal=" + std::to_string(r.signaled);
}

TEST_F(AgentTest, RunsAndReportsOutputAndCode) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("echo hello; echo bad >&2; exit 7"));
  EXPECT_EQ(r.out, "hello\n") << say(r);
  EXPECT_EQ(r.err, "bad\n");
  EXPECT_EQ(r.exited, 7);
  EXPECT_TRUE(r.seccomp);
  EXPECT_TRUE(r.noNewPrivs);
  for (const auto& [name, ns] : r.stages) printf("  %s %.0f us\n", name.c_str(), static_cast<double>(ns) / 1000);
  printf("  create in all %.0f us\n", static_cast<double>(r.totalNs) / 1000);
}

}  // namespace
}  // namespace rauha::testing
