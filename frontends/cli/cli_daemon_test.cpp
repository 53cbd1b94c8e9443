// The daemon on demand: started once, cleanly, with an answer for every way in which that fails.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "core/base/error.h"
#include "frontends/cli/testing/program.h"

namespace rauha::cli::testing {
namespace {

class DaemonStart : public CliTest {
 protected:
  size_t starts() const {
    size_t count = 0;
    const std::string text = calls();
    for (size_t at = text.find("start "); at != std::string::npos; at = text.find("start ", at + 1)) ++count;
    return count;
  }
  nlohmann::json error(const std::vector<std::string>& words, int status) const {
    const auto finished = run(words);
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    return finished.json()["error"];
  }
};

TEST_F(DaemonStart, isCleanOfItsStarter) {
  auto s = spec({"sandbox", "--json", "--image", "host", "--", "exit", "0"});
  s.environment = {"FAKE_SECRET=1"};
  EXPECT_EQ(run(s).status, 0);
  EXPECT_NE(calls().find("start cwd=/ session=own blocked=no sigpipe=default extra-fds=0 env-home=clean\n"), std::string::npos) << calls();
}

TEST_F(DaemonStart, happensOnceForManyAtATime) {
  std::vector<std::unique_ptr<Program>> programs;
  programs.reserve(8);
  for (int i = 0; i < 8; ++i)
    programs.push_back(
        std::make_unique<Program>(program_, spec({"sandbox", "--json", "--image", "host", "--", "exit", std::to_string(i)})));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(programs[static_cast<size_t>(i)]->finish().status, i);
  EXPECT_EQ(starts(), 1u) << calls();
}

TEST_F(DaemonStart, errorLineOfTheDaemonIsTold) {
  mode("error-line");
  const auto told = error({"zone", "list", "--json"}, 1);
  EXPECT_EQ(told.value("class", ""), "daemon");
  EXPECT_NE(told.value("text", "").find("state directory is on a read-only file system"), std::string::npos) << told.dump();
}

TEST_F(DaemonStart, silentDeathIsToldWithItsLastLine) {
  mode("silent-death");
  const auto told = error({"zone", "list", "--json"}, 1);
  EXPECT_NE(told.value("text", "").find("status 3"), std::string::npos) << told.dump();
  EXPECT_NE(told.value("text", "").find("no luck"), std::string::npos) << told.dump();
}

TEST_F(DaemonStart, programThatIsMissing) {
  std::filesystem::remove(path("bin/rauhad"));
  const auto told = error({"zone", "list", "--json"}, 1);
  EXPECT_NE(told.value("text", "").find("bin/rauhad"), std::string::npos) << told.dump();
  const auto finished = run({"sandbox", "--json", "--image", "host", "--", "true"});
  EXPECT_EQ(finished.status, 125);
  EXPECT_EQ(finished.json().value("status", ""), "runtime_error");
}

TEST_F(DaemonStart, connectionThatWasNotLookedAtIsMadeAgain) {
  mode("refuse 2");
  EXPECT_EQ(run({"sandbox", "--json", "--image", "host", "--", "exit", "4"}).status, 4);
  EXPECT_EQ(run({"zone", "list"}).status, 0);
}

TEST_F(DaemonStart, daemonThatClosesEveryConnection) {
  mode("refuse 1000");
  const auto finished = run({"sandbox", "--json", "--image", "host", "--", "exit", "4"});
  EXPECT_EQ(finished.status, 125);
  EXPECT_EQ(finished.json()["error"]["class"], "daemon");
  error({"zone", "list", "--json"}, 1);
  mode("");
  const std::string pid = readFile(root_ + "/run/fake-pid");
  ASSERT_EQ(kill(std::stoi(pid), SIGKILL), 0);
}

TEST_F(DaemonStart, staleSocketOfADeadDaemon) {
  ASSERT_EQ(run({"zone", "list"}).status, 0);
  const int pid = run({"daemon", "status", "--json"}).json()["server"]["pid"];
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_EQ(run({"zone", "list"}).status, 0);
  EXPECT_EQ(starts(), 2u);
}

TEST_F(DaemonStart, stopWaitsUntilItIsGone) {
  ASSERT_EQ(run({"zone", "list"}).status, 0);
  const int pid = run({"daemon", "status", "--json"}).json()["server"]["pid"];
  const auto stopped = run({"daemon", "stop"});
  EXPECT_EQ(stopped.status, 0) << stopped.err;
  EXPECT_EQ(stopped.out, "the daemon has stopped\n");
  // Gone, or dead and not reaped by whoever adopted it.
  std::string state = "Z";
  try {
    const std::string stat = readFile("/proc/" + std::to_string(pid) + "/stat");
    state = stat.substr(stat.rfind(')') + 2, 1);
  } catch (const Error&) {
  }
  EXPECT_TRUE(state == "Z" || state == "X") << state;
}

TEST_F(DaemonStart, statusNeverStartsOne) {
  const auto finished = run({"daemon", "status", "--json"});
  EXPECT_EQ(finished.status, 1);
  EXPECT_EQ(finished.json()["running"], false);
  EXPECT_EQ(run({"version", "--json"}).json()["server"], nullptr);
  EXPECT_EQ(run({"daemon", "stop", "--json"}).json()["stopped"], false);
  EXPECT_EQ(calls(), "");
  ASSERT_EQ(run({"zone", "list"}).status, 0);
  EXPECT_EQ(run({"daemon", "status"}).status, 0);
}

TEST_F(DaemonStart, longRootPath) {
  root_ += "/" + std::string(120, 'd');
  EXPECT_EQ(run({"zone", "list"}).status, 0);
  EXPECT_TRUE(daemonNoted("start"));
}

TEST_F(DaemonStart, rootThatOthersMayWrite) {
  ASSERT_EQ(mkdir((root_ + "/run").c_str(), 0777), 0);
  ASSERT_EQ(chmod((root_ + "/run").c_str(), 0777), 0);
  EXPECT_NE(error({"zone", "list", "--json"}, 1).value("text", "").find("writable by group or others"), std::string::npos);
}

TEST_F(DaemonStart, environmentNamesTheRoot) {
  StartSpec s;
  s.words = {"zone", "list"};
  s.environment = {"RAUHA_ROOT=" + root_};
  EXPECT_EQ(run(s).status, 0);
  EXPECT_EQ(starts(), 1u);
}

}  // namespace
}  // namespace rauha::cli::testing
