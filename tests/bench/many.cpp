// Runs a command many times, some at once, and prints one JSON document: microseconds from the first start to the last end, and of each
// run.
//
//   many [--hide DIR] COUNT PARALLEL COMMAND…     "{}" in a word of the command becomes the run's number
//
// --hide: a mount that the commands shall not see, in a mount namespace of its own. Output of the commands goes nowhere. One that fails
// ends all.
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>

namespace {

long long nowUs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000LL + t.tv_nsec / 1000;
}

[[noreturn]] void failed(const std::string& what) {
  fprintf(stderr, "many: %s: %s\n", what.c_str(), strerror(errno));
  exit(1);
}

void hide(const char* directory) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || umount2(directory, 0) != 0)
    failed(std::string("hide ") + directory);
}

class Runs {
 public:
  Runs(std::vector<std::string> command, long count) : command_(std::move(command)), spent_(static_cast<size_t>(count)) {
    posix_spawn_file_actions_init(&quiet_);
    posix_spawn_file_actions_addopen(&quiet_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&quiet_, 1, "/dev/null", O_WRONLY, 0);
  }
  ~Runs() { posix_spawn_file_actions_destroy(&quiet_); }
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  void start() {
    std::vector<std::string> words = command_;
    for (auto& word : words)
      if (const size_t at = word.find("{}"); at != std::string::npos) word.replace(at, 2, std::to_string(started_));
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    const long long begun = nowUs();
    if ((errno = posix_spawn(&pid, argv[0], &quiet_, nullptr, argv.data(), environ)) != 0) failed("start " + words[0]);
    running_[pid] = {started_++, begun};
  }
  void endOne() {
    int status = 0;
    const pid_t pid = wait(&status);
    const auto it = running_.find(pid);
    if (it == running_.end()) failed("wait");
    spent_[it->second.first] = nowUs() - it->second.second;
    running_.erase(it);
    if (status == 0) return;
    fprintf(stderr, "many: %s ended with status %d\n", command_[0].c_str(),
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    while (!running_.empty() && wait(nullptr) > 0) {
    }
    exit(1);
  }
  void all(size_t parallel) {
    while (started_ < spent_.size() || !running_.empty()) {
      while (started_ < spent_.size() && running_.size() < parallel) start();
      endOne();
    }
  }
  const std::vector<long long>& spent() const { return spent_; }

 private:
  std::vector<std::string> command_;
  std::vector<long long> spent_;
  std::map<pid_t, std::pair<size_t, long long>> running_;
  size_t started_ = 0;
  posix_spawn_file_actions_t quiet_{};
};

}  // namespace

int main(int argc, char** argv) {
  int first = 1;
  if (argc > 3 && strcmp(argv[1], "--hide") == 0) {
    hide(argv[2]);
    first = 3;
  }
  const long count = argc > first + 2 ? strtol(argv[first], nullptr, 10) : 0;
  const long parallel = count > 0 ? strtol(argv[first + 1], nullptr, 10) : 0;
  if (count < 1 || parallel < 1) {
    fputs("usage: many [--hide DIR] COUNT PARALLEL COMMAND...\n", stderr);
    return 2;
  }
  Runs runs({argv + first + 2, argv + argc}, count);
  const long long begun = nowUs();
  runs.all(static_cast<size_t>(parallel));
  printf("{\"all_us\": %lld, \"runs_us\": [", nowUs() - begun);
  for (size_t i = 0; i < runs.spent().size(); ++i) printf("%s%lld", i == 0 ? "" : ", ", runs.spent()[i]);
  printf("]}\n");
  return 0;
}
