// Live streams of `rauha sandbox`: output, input, terminal, the summary.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "frontends/cli/testing/program.h"

namespace rauha::cli::testing {
namespace {

class SandboxStreams : public CliTest {
 protected:
  static std::vector<std::string> words(std::vector<std::string> command) {
    std::vector<std::string> out{"sandbox", "--image", "host", "--"};
    out.insert(out.end(), command.begin(), command.end());
    return out;
  }
};

TEST_F(SandboxStreams, outputIsOursAndTheSummaryIsOnStandardError) {
  const auto finished = run(words({"echo", "hello"}));
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out, "hello\n");
  EXPECT_EQ(finished.err.rfind("to stderr\n", 0), 0u) << finished.err;
  EXPECT_NE(finished.err.find("rauha: succeeded in 7 ms, zone task-zone\n"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("rauha: weaker than the best: landlock (not in this kernel)\n"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("policy line that allows it: network.mode = \"host\"\n"), std::string::npos) << finished.err;
  EXPECT_EQ(finished.err.find('\x1b'), std::string::npos) << "no colours but on a terminal";
}

TEST_F(SandboxStreams, hostileTextDoesNotReachTheTerminal) {
  const auto finished = run(words({"error", "backend", "5"}));
  EXPECT_EQ(finished.status, 125);
  EXPECT_NE(finished.err.find("write\\x1b[31m it right"), std::string::npos) << finished.err;
}

TEST_F(SandboxStreams, usageErrorsWithoutJson) {
  const auto finished = run({"sandbox", "--bogus"});
  EXPECT_EQ(finished.status, 125);
  EXPECT_EQ(finished.out, "");
  EXPECT_NE(finished.err.find("--bogus"), std::string::npos);
  EXPECT_NE(finished.err.find("try: "), std::string::npos);
}

TEST_F(SandboxStreams, largeOutputArrivesWhole) {
  const auto finished = run(words({"flood", "20000000"}));
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out.size(), 20'000'000u);
}

TEST_F(SandboxStreams, inputIsForwardedToItsEnd) {
  std::string input(3'000'000, 'i');
  for (size_t i = 0; i < input.size(); i += 1000) input[i] = static_cast<char>(i / 1000);
  const auto finished = runWithInput(words({"cat"}), input);
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out, input);
}

TEST_F(SandboxStreams, inputFromAFile) {
  auto s = spec(words({"cat"}));
  const UniqueFd fd(open(file("input", "from a file\n").c_str(), O_RDONLY | O_CLOEXEC));
  s.standardInput = fd.get();
  EXPECT_EQ(run(s).out, "from a file\n");
}

TEST_F(SandboxStreams, noInputNoStream) {
  EXPECT_EQ(run(words({"exit", "0"})).status, 0);
  EXPECT_TRUE(daemonNoted("stdin=0"));
  auto s = spec(words({"exit", "0"}));
  s.closeInput = true;
  EXPECT_EQ(run(s).status, 0);
  EXPECT_EQ(calls().find("stdin=1"), std::string::npos);
}

TEST_F(SandboxStreams, openInputDoesNotKeepUsAfterTheTask) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  auto s = spec(words({"exit", "3"}));
  s.standardInput = readEnd.get();
  EXPECT_EQ(run(s).status, 3);
  EXPECT_TRUE(daemonNoted("stdin=1"));
}

TEST_F(SandboxStreams, ourDescriptorsStayBlocking) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  auto s = spec(words({"echo", "x"}));
  s.standardOutput = writeEnd.get();
  EXPECT_EQ(run(s).status, 0);
  EXPECT_EQ(fcntl(writeEnd.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(SandboxStreams, readerThatLeavesCancelsTheTask) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  auto s = spec(words({"yes"}));
  s.standardOutput = writeEnd.get();
  Program program(program_, s);
  writeEnd.reset();
  char chunk[16];
  ASSERT_GT(read(readEnd.get(), chunk, sizeof chunk), 0);
  readEnd.reset();
  EXPECT_EQ(program.finish().status, 141);
  EXPECT_TRUE(daemonNoted("cancel 15"));
}

class Terminal {
 public:
  Terminal() {
    winsize size{33, 101, 0, 0};
    int m = -1, s = -1;
    if (openpty(&m, &s, nullptr, nullptr, &size) != 0) ADD_FAILURE() << "openpty";
    master = UniqueFd(m);
    slave = UniqueFd(s);
    fcntl(m, F_SETFD, FD_CLOEXEC);
    fcntl(s, F_SETFD, FD_CLOEXEC);
  }
  bool raw() const {
    termios mode{};
    return tcgetattr(slave.get(), &mode) == 0 && (mode.c_lflag & (ICANON | ECHO)) == 0;
  }
  UniqueFd master, slave;
};

TEST_F(SandboxStreams, terminalIsRawWhileTheTaskRunsAndRestoredAfter) {
  Terminal terminal;
  auto s = spec({"sandbox", "-t", "--image", "host", "--", "hang"});
  s.standardInput = terminal.slave.get();
  s.newSession = true;
  Program program(program_, s);
  ASSERT_TRUE(daemonNoted("tty=33x101"));
  for (int i = 0; i < 1000 && !terminal.raw(); ++i) poll(nullptr, 0, 2);
  EXPECT_TRUE(terminal.raw());
  const winsize size{50, 120, 0, 0};
  ASSERT_EQ(ioctl(terminal.master.get(), TIOCSWINSZ, &size), 0);
  EXPECT_TRUE(daemonNoted("resize 50x120"));
  program.signal(SIGTERM);
  EXPECT_EQ(program.finish().status, 143);
  EXPECT_FALSE(terminal.raw());
}

TEST_F(SandboxStreams, terminalIsRestoredWhenTheProgramCrashes) {
  Terminal terminal;
  auto s = spec({"sandbox", "-t", "--image", "host", "--", "hang"});
  s.standardInput = terminal.slave.get();
  s.newSession = true;
  Program program(program_, s);
  ASSERT_TRUE(daemonNoted("tty=33x101"));
  for (int i = 0; i < 1000 && !terminal.raw(); ++i) poll(nullptr, 0, 2);
  ASSERT_TRUE(terminal.raw());
  program.signal(SIGSEGV);
  EXPECT_EQ(program.finish().status, 128 + SIGSEGV);
  EXPECT_FALSE(terminal.raw());
}

TEST_F(SandboxStreams, hangUpOfTheTerminalCancels) {
  Terminal terminal;
  auto s = spec({"sandbox", "-t", "--image", "host", "--", "hang"});
  s.standardInput = terminal.slave.get();
  s.newSession = true;
  Program program(program_, s);
  ASSERT_TRUE(daemonNoted("tty=33x101"));
  terminal.slave.reset();
  terminal.master.reset();
  EXPECT_EQ(program.finish().status, 129);
  EXPECT_TRUE(daemonNoted("cancel 1"));
}

TEST_F(SandboxStreams, terminalNeedsOne) {
  const auto finished = run({"sandbox", "-t", "--image", "host", "--", "hang"});
  EXPECT_EQ(finished.status, 125);
  EXPECT_NE(finished.err.find("no terminal"), std::string::npos) << finished.err;
}

}  // namespace
}  // namespace rauha::cli::testing
