// `rauha sandbox --json` prints exactly one document, and ends with the right status, on every path.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "frontends/cli/testing/program.h"

namespace rauha::cli::testing {
namespace {

using Words = std::vector<std::string>;

Words sandbox(Words options, Words command) {
  Words words{"sandbox", "--json", "--image", "host"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back("--");
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

class SandboxJson : public CliTest {
 protected:
  // The document's promise: these fields are there, whatever happened.
  nlohmann::json checked(const Finished& finished, int status, const std::string& taskStatus) const {
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    auto document = finished.json();
    for (const char* key : {"schema_version",     "task_id",    "zone_id",       "command",      "status",         "exit_code",
                            "duration_ms",        "started_at", "finished_at",   "stdout",       "stderr",         "events",
                            "enforcement_events", "notes",      "stdout_stats",  "stderr_stats", "event_counters", "image",
                            "image_digest",       "policy",     "policy_digest", "zone_name",    "repo_mode"})
      EXPECT_TRUE(document.contains(key)) << key;
    EXPECT_EQ(document.value("status", ""), taskStatus) << document.dump();
    EXPECT_EQ(document.contains("error"), taskStatus == "runtime_error") << document.dump();
    return document;
  }
  void expectRefused(const Words& words, const std::string& errorClass, const std::string& text) const {
    const auto document = checked(run(words), 125, "runtime_error");
    EXPECT_EQ(document["error"].value("class", ""), errorClass) << document.dump();
    EXPECT_NE(document["error"].value("text", "").find(text), std::string::npos) << document.dump();
    EXPECT_FALSE(document["error"].value("hint", "").empty()) << document.dump();
    EXPECT_TRUE(document["exit_code"].is_null());
  }
};

TEST_F(SandboxJson, everyEndHasItsStatus) {
  EXPECT_EQ(checked(run(sandbox({}, {"exit", "0"})), 0, "succeeded")["exit_code"], 0);
  EXPECT_EQ(checked(run(sandbox({}, {"exit", "7"})), 7, "failed")["exit_code"], 7);
  EXPECT_EQ(checked(run(sandbox({}, {"killed", "11"})), 139, "killed")["signal"], 11);
  checked(run(sandbox({}, {"timeout"})), 124, "timed_out");
  checked(run(sandbox({}, {"oom"})), 137, "out_of_memory");
  checked(run(sandbox({}, {"error", "command", "2"})), 127, "runtime_error");
  checked(run(sandbox({}, {"error", "command", "5"})), 126, "runtime_error");
  checked(run(sandbox({}, {"error", "backend", "5"})), 125, "runtime_error");
}

TEST_F(SandboxJson, outputIsInTheDocumentAndNowhereElse) {
  const auto finished = run(sandbox({}, {"echo", "a b", "c"}));
  const auto document = checked(finished, 0, "succeeded");
  EXPECT_EQ(document["stdout"], "a b c\n");
  EXPECT_EQ(document["stderr"], "to stderr\n");
  EXPECT_EQ(finished.err, "");
}

TEST_F(SandboxJson, wrongOptions) {
  expectRefused({"sandbox", "--json"}, "usage", "no image");
  expectRefused({"sandbox", "--json", "--image", "host", "--"}, "usage", "no command after --");
  expectRefused({"sandbox", "--json", "--", "true"}, "usage", "no image");
  expectRefused(sandbox({"--bogus"}, {"true"}), "usage", "--bogus");
  expectRefused(sandbox({"--timeout"}, {"true"}), "usage", "--timeout");
  expectRefused(sandbox({"--timeout", "soon"}, {"true"}), "usage", "soon");
  expectRefused(sandbox({"--timeout", "30"}, {"true"}), "usage", "30");
  expectRefused(sandbox({"--env", "NOVALUE"}, {"true"}), "usage", "NOVALUE");
  expectRefused(sandbox({"--name", "Not A Name"}, {"true"}), "usage", "Not A Name");
  expectRefused(sandbox({"--workdir", "relative"}, {"true"}), "usage", "relative");
  expectRefused(sandbox({"-t"}, {"true"}), "usage", "--tty");
  expectRefused(sandbox({"--name", "a", "--name", "b"}, {"true"}), "usage", "--name");
  expectRefused({"sandbox", "--image", "host", "ls", "--json"}, "usage", "ls");
  expectRefused({"--json", "sandbox", "--image", "host", "--bogus", "--", "true"}, "usage", "--bogus");
  EXPECT_EQ(calls(), "") << "a wrong command line needs no daemon";
}

TEST_F(SandboxJson, jsonBehindTheDashesBelongsToTheTask) {
  const auto finished = run({"sandbox", "--image", "host", "--", "echo", "--json"});
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out, "--json\n");
}

TEST_F(SandboxJson, bytesThatAreNotUtf8) {
  checked(run(sandbox({}, {"echo", "\xff\xfe\x80"})), 0, "succeeded");
  const auto document = checked(run({"sandbox", "--json", "--bo\xffgus", "--", "a\xc3\x28"}), 125, "runtime_error");
  EXPECT_EQ(document["command"][0], "a\xef\xbf\xbd(");
  checked(run(sandbox({"--policy", "/no/such/\xff"}, {"true"})), 125, "runtime_error");
}

TEST_F(SandboxJson, repository) {
  const std::string repo = path("repo");
  std::filesystem::create_directory(repo);
  checked(run(sandbox({"--repo-path", repo}, {"exit", "0"})), 0, "succeeded");
  EXPECT_TRUE(daemonNoted(" repo=3:" + repo)) << "overlay is the default";
  expectRefused(sandbox({"--repo", repo, "--repo-mode", "writable"}, {"true"}), "repository", "writable");
  expectRefused(sandbox({"--repo-mode", "ro"}, {"true"}), "usage", "--repo-path");
  expectRefused(sandbox({"--repo", path("none"), "--repo-mode", "ro"}, {"true"}), "repository", "No such file");
  expectRefused(sandbox({"--repo", file("plain", ""), "--repo-mode", "ro"}, {"true"}), "repository", "not a directory");
  checked(run(sandbox({"--repo", repo, "--repo-mode", "rw"}, {"exit", "0"})), 0, "succeeded");
}

TEST_F(SandboxJson, policy) {
  expectRefused(sandbox({"--policy", path("none.toml")}, {"true"}), "policy", "none.toml");
  expectRefused(sandbox({"--policy", "nosuch"}, {"true"}), "policy", "nosuch");
  expectRefused(sandbox({"--policy", directory_}, {"true"}), "policy", "directory");
  expectRefused(sandbox({"--policy", "/dev/zero"}, {"true"}), "policy", "not a regular file");
  expectRefused(sandbox({"--policy", file("big.toml", std::string((1 << 20) + 1, '#'))}, {"true"}), "policy", "1048577");
  checked(run(sandbox({"--policy", file("mine.toml", "name = 'x'\n")}, {"exit", "0"})), 0, "succeeded");
  EXPECT_TRUE(daemonNoted("mine.toml:11"));
  // A built-in policy travels as its text, so that its name means the same to every daemon.
  EXPECT_EQ(checked(run(sandbox({"--policy", "strict"}, {"exit", "0"})), 0, "succeeded")["policy"], "strict");
  EXPECT_TRUE(daemonNoted("policy=strict:"));
  EXPECT_EQ(calls().find("policy=strict:0"), std::string::npos);
}

TEST_F(SandboxJson, images) {
  const std::string layout = path("layout");
  std::filesystem::create_directory(layout);
  auto words = [](const std::string& image) { return Words{"sandbox", "--json", "--image", image, "--", "exit", "0"}; };
  checked(run(words("oci:" + layout + ":v1")), 0, "succeeded");
  checked(run(words("oci:" + layout)), 0, "succeeded");
  checked(run(words("dir:" + layout)), 0, "succeeded");
  checked(run(words("image:missing")), 125, "runtime_error");
  expectRefused(words("oci:" + path("none") + ":v1"), "image", "No such file");
  expectRefused(words("oci-archive:" + layout), "image", "directory");
  expectRefused(words("dir:"), "image", "no path");
  expectRefused(words("docker-archive:" + path("none.tar")), "image", "No such file");
}

TEST_F(SandboxJson, requestCarriesTheOptions) {
  run(sandbox({"--env", "A=1", "--env", "B=two words", "--timeout", "30s", "--user", "1000:1000", "--allow-degraded", "landlock",
               "--keep-zone", "--name", "mine"},
              {"exit", "0"}));
  EXPECT_TRUE(daemonNoted("timeout=30000 stdin=0 env:A=1 env:B=two words user=1000:1000 degraded:landlock")) << calls();
}

TEST_F(SandboxJson, whatIsNotKnownIsNull) {
  const auto wrong = checked(run({"sandbox", "--json", "--image", "host", "--bogus", "--", "true"}), 125, "runtime_error");
  for (const char* key : {"task_id", "zone_id", "zone_name", "image", "image_digest", "policy", "policy_digest"})
    EXPECT_TRUE(wrong[key].is_null()) << key;
  EXPECT_EQ(wrong["notes"], nlohmann::json::array());
  EXPECT_EQ(wrong["stdout_stats"]["bytes"], 0);
  const auto refused = checked(run(sandbox({"--repo", path("none"), "--repo-mode", "ro", "--name", "z"}, {"true"})), 125, "runtime_error");
  EXPECT_EQ(refused["repo_mode"], "ro");
  EXPECT_EQ(refused["zone_name"], "z");
  EXPECT_EQ(refused["image"], "host");
  EXPECT_TRUE(refused["task_id"].is_null());
}

TEST_F(SandboxJson, requestThatIsTooLarge) {
  expectRefused(sandbox({}, {"echo", std::string(100'000, 'x'), std::string(100'000, 'x'), std::string(100'000, 'x'),
                             std::string(100'000, 'x'), std::string(100'000, 'x'), std::string(100'000, 'x'), std::string(100'000, 'x'),
                             std::string(100'000, 'x'), std::string(100'000, 'x'), std::string(100'000, 'x'), std::string(100'000, 'x')}),
                "usage", "bytes, more than");
}

TEST_F(SandboxJson, daemonDiesInTheMiddle) {
  const auto document = checked(run(sandbox({}, {"die"})), 125, "runtime_error");
  EXPECT_EQ(document["error"]["class"], "daemon");
  EXPECT_NE(document["error"].value("text", "").find("went away"), std::string::npos) << document.dump();
  EXPECT_NE(document["error"].value("hint", "").find(root_ + "/state/rauhad.log"), std::string::npos) << document.dump();
  EXPECT_EQ(document["task_id"].get<std::string>().substr(0, 5), "task_") << "the daemon had said it";
  EXPECT_EQ(document["zone_id"], "zone_00000000000000000000");
  EXPECT_EQ(document["image"], "host");
  EXPECT_EQ(document["policy"], "task");
  // A successor was started, to clean up.
  EXPECT_EQ(run({"daemon", "status"}).status, 0);
}

TEST_F(SandboxJson, signalsCancel) {
  for (const auto& [number, status] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}, std::pair{SIGHUP, 129}, std::pair{SIGQUIT, 131}}) {
    Program program(program_, spec(sandbox({"--name", "s" + std::to_string(number)}, {"hang"})));
    ASSERT_TRUE(daemonNoted("sandbox"));
    program.signal(number);
    checked(program.finish(), status, "cancelled");
    EXPECT_TRUE(daemonNoted("cancel " + std::to_string(number)));
    ASSERT_EQ(truncate((root_ + "/run/calls").c_str(), 0), 0);
  }
}

TEST_F(SandboxJson, secondInterruptKillsThirdGivesUp) {
  {
    Program program(program_, spec(sandbox({}, {"stubborn"})));
    ASSERT_TRUE(daemonNoted("sandbox"));
    program.signal(SIGINT);
    ASSERT_TRUE(daemonNoted("cancel 2"));
    program.signal(SIGINT);
    checked(program.finish(), 130, "cancelled");
    EXPECT_TRUE(daemonNoted("cancel 9"));
  }
  Program program(program_, spec(sandbox({"--user", "deaf"}, {"deaf"})));
  ASSERT_TRUE(daemonNoted("user=deaf"));
  ASSERT_EQ(truncate((root_ + "/run/calls").c_str(), 0), 0);
  for (const char* noted : {"cancel 15", "cancel 9"}) {
    program.signal(SIGTERM);
    ASSERT_TRUE(daemonNoted(noted));
  }
  program.signal(SIGTERM);
  checked(program.finish(), 143, "cancelled");
  EXPECT_TRUE(daemonNoted("handle dropped"));
}

// A stopped daemon takes nothing: whoever wants to leave can.
TEST_F(SandboxJson, aSilentDaemonIsNotWaitedFor) {
  using Clock = std::chrono::steady_clock;
  for (const bool twice : {true, false}) {
    Program program(program_, spec(sandbox({"--user", twice ? "twice" : "once"}, {"hang"})));
    ASSERT_TRUE(daemonNoted(twice ? "user=twice" : "user=once"));
    const pid_t daemon = std::stoi(readFile(root_ + "/run/fake-pid"));
    ASSERT_EQ(kill(daemon, SIGSTOP), 0);
    const auto begin = Clock::now();
    program.signal(SIGTERM);
    if (twice) {
      usleep(200'000);  // two signals at once would be one
      program.signal(SIGTERM);
    }
    const auto document = checked(program.finish(), 143, "cancelled");
    const auto took = Clock::now() - begin;
    EXPECT_EQ(kill(daemon, SIGCONT), 0);
    EXPECT_NE(document["notes"].dump().find("the daemon is silent"), std::string::npos) << document.dump();
    if (!twice) {
      EXPECT_GE(took, std::chrono::milliseconds(4500)) << "it is given its time";
    }
  }
}

TEST_F(SandboxJson, interruptWhileTheDaemonStarts) {
  mode("never-ready");
  Program program(program_, spec(sandbox({}, {"exit", "0"})));
  ASSERT_TRUE(daemonNoted("start"));
  program.signal(SIGINT);
  checked(program.finish(), 130, "cancelled");
  // The daemon that never gets ready is ours to end.
  mode("");
  const std::string pid = readFile(root_ + "/run/fake-pid");
  ASSERT_EQ(kill(std::stoi(pid), SIGKILL), 0);
}

TEST_F(SandboxJson, standardOutputThatTakesNothing) {
  auto full = spec(sandbox({}, {"exit", "0"}));
  const UniqueFd device(open("/dev/full", O_WRONLY | O_CLOEXEC));
  full.standardOutput = device.get();
  const auto finished = run(full);
  EXPECT_EQ(finished.status, 125);
  EXPECT_NE(finished.err.find("could not be printed"), std::string::npos) << finished.err;

  auto closed = spec(sandbox({}, {"exit", "0"}));
  closed.closeOutput = true;
  EXPECT_EQ(run(closed).status, 125);
  EXPECT_EQ(calls().find("sandbox image=host timeout=0 stdin=0\nsandbox"), std::string::npos)
      << "a task whose result nobody can read is not run";
}

TEST_F(SandboxJson, readerOfTheDocumentLeaves) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  auto s = spec(sandbox({}, {"hang"}));
  s.standardOutput = writeEnd.get();
  Program program(program_, s);
  writeEnd.reset();
  ASSERT_TRUE(daemonNoted("sandbox"));
  readEnd.reset();
  EXPECT_EQ(program.finish().status, 141);
  EXPECT_TRUE(daemonNoted("cancel 15"));
}

}  // namespace
}  // namespace rauha::cli::testing
