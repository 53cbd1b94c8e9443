#include "frontends/cli/testing/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/error.h"

namespace rauha::cli::testing {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

void place(const std::string& from, const std::string& to) {
  std::error_code linked;
  fs::create_hard_link(from, to, linked);  // quick; not possible from another file system
  if (linked) fs::copy_file(from, to);
}

// In the child, before exec.
void wire(const StartSpec& spec, int out, int err) {
  const int in = spec.standardInput >= 0 ? spec.standardInput : open("/dev/null", O_RDONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  if (spec.newSession) {
    setsid();
    ioctl(0, TIOCSCTTY, 0);
  }
  if (spec.closeInput) close(0);
  if (spec.closeOutput) close(1);
  for (const auto& entry : spec.environment) putenv(const_cast<char*>(entry.c_str()));
}

}  // namespace

nlohmann::json Finished::json() const {
  try {
    auto parsed = nlohmann::json::parse(out);  // strict: also refuses a second document and bytes that are not UTF-8
    return parsed;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "standard output is not one JSON document: " << e.what() << "\n" << out << "\nstandard error: " << err;
    return {};
  }
}

Program::Program(const std::string& path, const StartSpec& spec) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) throwErrno("task", "pipe");
  out_ = UniqueFd(out[0]);
  err_ = UniqueFd(err[0]);
  const UniqueFd outWrite(out[1]), errWrite(err[1]);
  std::vector<std::string> words{path};
  words.insert(words.end(), spec.words.begin(), spec.words.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throwErrno("task", "fork");
  if (pid_ == 0) {
    wire(spec, spec.standardOutput >= 0 ? spec.standardOutput : outWrite.get(), errWrite.get());
    execv(path.c_str(), argv.data());
    _exit(126);
  }
}

Program::~Program() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Program::signal(int number) const { ASSERT_EQ(kill(pid_, number), 0); }

bool Program::pump(int timeoutMs) {
  pollfd fds[2] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
  poll(fds, 2, timeoutMs);
  char chunk[65536];
  for (auto [entry, fd, text] : {std::tuple{&fds[0], &out_, &so_.out}, std::tuple{&fds[1], &err_, &so_.err}}) {
    if (entry->revents == 0 || !*fd) continue;
    const ssize_t n = read(fd->get(), chunk, sizeof chunk);
    if (n <= 0)
      fd->reset();
    else
      text->append(chunk, static_cast<size_t>(n));
  }
  return out_ || err_;
}

bool Program::outputHas(const std::string& text) {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (so_.out.find(text) == std::string::npos)
    if (!pump(50) || Clock::now() > deadline) return so_.out.find(text) != std::string::npos;
  return true;
}

Finished Program::finish(std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  while (pump(50)) {
    if (Clock::now() < deadline) continue;
    ADD_FAILURE() << "the program does not end; it printed: " << so_.out << so_.err;
    kill(pid_, SIGKILL);
    break;
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  so_.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return so_;
}

CliTest::CliTest() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // daemons come to us when their starter ends, so that we can wait for them
  std::string name = (fs::temp_directory_path() / "rauha-cli-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throwErrno("task", "mkdtemp");
  directory_ = name;
  fs::create_directory(path("bin"));
  place(RAUHA_CLI, path("bin/rauha"));
  place(RAUHA_FAKE_DAEMON, path("bin/rauhad"));
  program_ = path("bin/rauha");
  root_ = path("root");
  fs::create_directory(root_);
  fs::permissions(root_, fs::perms::owner_all);
}

CliTest::~CliTest() {
  Program(program_, {{"daemon", "stop", "--root", root_}}).finish();
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  int reaped = 0;
  while ((reaped = waitpid(-1, nullptr, WNOHANG)) >= 0) {
    if (reaped == 0 && Clock::now() > deadline) {
      ADD_FAILURE() << "a daemon does not end";
      break;
    }
    if (reaped == 0) poll(nullptr, 0, 2);
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

StartSpec CliTest::spec(std::vector<std::string> words) const {
  StartSpec out;
  out.words = {"--root", root_};
  out.words.insert(out.words.end(), words.begin(), words.end());
  return out;
}

Finished CliTest::run(std::vector<std::string> words) const { return run(spec(std::move(words))); }
Finished CliTest::run(const StartSpec& s) const { return Program(program_, s).finish(); }

Finished CliTest::runWithInput(std::vector<std::string> words, const std::string& input) const {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throwErrno("task", "pipe");
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  auto s = spec(std::move(words));
  s.standardInput = readEnd.get();
  Program program(program_, s);
  readEnd.reset();
  writeAll(writeEnd.get(), input, "pipe");
  writeEnd.reset();
  return program.finish();
}

std::string CliTest::calls() const {
  std::ifstream in(root_ + "/run/calls");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool CliTest::daemonNoted(const std::string& text) const {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (calls().find(text) == std::string::npos) {
    if (Clock::now() > deadline) return false;
    poll(nullptr, 0, 2);  // the journal is a file; it has no event
  }
  return true;
}

void CliTest::mode(const std::string& words) const { file("root/fake-mode", words); }

std::string CliTest::file(const std::string& name, const std::string& content) const {
  std::ofstream(path(name)) << content;
  return path(name);
}

}  // namespace rauha::cli::testing
