// One case: a private directory, a child process, a time limit, and afterwards nothing left of it.
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "driver.h"
#include "elf_file.h"

namespace rauha::conformance {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kCleanLimit{20};

uint64_t hashOf(std::string_view text) {  // FNV-1a
  uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}

Result judged(const Case& which, Context& context) {
  try {
    which.body(context);
    context.finish();
    return {Verdict::passed, {}, 0};
  } catch (const Failed& e) {
    return {Verdict::failed, e.what(), 0};
  } catch (const Skipped& e) {
    return {Verdict::skipped, e.what(), 0};
  } catch (const std::exception& e) {
    return {Verdict::failed, std::string("the case itself could not go on: ") + e.what(), 0};
  }
}

struct Shared {  // with the child, through a mapping
  Progress progress;
  int verdict;  // -1: none yet
  char seen[8192];
};

class SharedPage final {
 public:
  SharedPage() : at_(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (at_ == MAP_FAILED) throw std::runtime_error(std::string("mmap: ") + std::strerror(errno));
    get()->verdict = -1;
  }
  ~SharedPage() { ::munmap(at_, sizeof(Shared)); }
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  Shared* get() const noexcept { return static_cast<Shared*>(at_); }

 private:
  void* at_;
};

class CaseDirectory final {
 public:
  CaseDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "rauha-check-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("make directory " + path_ + ": " + std::strerror(errno));
  }
  ~CaseDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  CaseDirectory(const CaseDirectory&) = delete;
  CaseDirectory& operator=(const CaseDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }
  // "rauha-check-Ab12Cd": unique on this machine as long as the directory is there.
  std::string instance() const { return std::filesystem::path(path_).filename().string(); }

 private:
  std::string path_;
};

// Waits for the child until `limit`, then kills it and what it started in its group. False: it had to be killed.
bool await(pid_t pid, std::chrono::milliseconds limit, int& status) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const auto until = Clock::now() + limit;
  bool ended = false;
  while (!ended) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd fd{pidfd, POLLIN, 0};
    if (left <= 0) break;
    ended = ::poll(&fd, 1, static_cast<int>(std::min<int64_t>(left, 60'000))) == 1;
  }
  ::kill(-pid, SIGKILL);
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ::close(pidfd);
  return ended;
}

// A child with default signals, in a group of its own, that dies with us.
pid_t forkChild(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (pid > 0) return pid;
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(3);
  body();
  std::fflush(nullptr);
  ::_exit(0);
}

std::string endOf(int status) {
  if (WIFSIGNALED(status))
    return "the plugin ended the process with SIG" +
           std::string(::sigabbrev_np(WTERMSIG(status)) == nullptr ? std::to_string(WTERMSIG(status)) : ::sigabbrev_np(WTERMSIG(status)));
  return "the plugin ended the process with exit code " + std::to_string(WEXITSTATUS(status));
}

// What a case that was cut short may have left: reconcile knows how to find it.
void cleanUp(const Options& options, Kind kind, const CaseDirectory& directory) {
  SharedPage page;
  const pid_t pid = forkChild([&] {
    try {
      Context context(options, kind, 0, directory.path(), directory.instance(), &page.get()->progress);
      Session session(context);
      testing::FakeCall call(session.host);
      session.driver->reconcile(session, call, {}, nullptr);
    } catch (const std::exception&) {  // it had its chance
    }
  });
  int status = 0;
  await(pid, kCleanLimit, status);
}

Result runChild(const Case& which, const Options& options, Kind kind) {
  const CaseDirectory directory;
  const SharedPage page;
  Shared* shared = page.get();
  const pid_t pid = forkChild([&] {
    Context context(options, kind, options.seed ^ hashOf(which.name), directory.path(), directory.instance(), &shared->progress);
    const Result result = judged(which, context);
    std::snprintf(shared->seen, sizeof shared->seen, "%s", result.seen.c_str());
    shared->verdict = static_cast<int>(result.verdict);
  });
  int status = 0;
  const bool ended = await(pid, options.limit, status);
  const std::string when = shared->progress.step[0] == '\0' ? "" : ", while: " + std::string(shared->progress.step);
  Result result;
  if (!ended) {
    result = {Verdict::failed, "no end after " + std::to_string(options.limit.count()) + " ms" + when, 0};
  } else if (shared->verdict < 0) {
    result = {Verdict::failed, endOf(status) + when, 0};
  } else {
    result = {static_cast<Verdict>(shared->verdict), shared->seen, 0};
    if (result.verdict == Verdict::passed && status != 0) result = {Verdict::failed, endOf(status) + " after the case was over", 0};
  }
  if (result.verdict == Verdict::failed) cleanUp(options, kind, directory);
  if (kind == Kind::enforcer) removeKitGroups(directory.instance());
  return result;
}

Result runHere(const Case& which, const Options& options, Kind kind) {
  const CaseDirectory directory;
  Progress progress{};
  Context context(options, kind, options.seed ^ hashOf(which.name), directory.path(), directory.instance(), &progress);
  return judged(which, context);
}

}  // namespace

const char* nameOf(Kind kind) noexcept {
  switch (kind) {
    case Kind::backend:
      return "backend";
    case Kind::image:
      return "image";
    case Kind::enforcer:
      return "enforcer";
    case Kind::net:
      return "net";
  }
  return "?";
}

Kind kindOf(const Options& options) {
  if (options.kind) return *options.kind;
  constexpr Kind kAll[] = {Kind::backend, Kind::image, Kind::enforcer, Kind::net};
  if (options.entry != nullptr) {
    const rauha_plugin* plugin = options.entry();
    for (const Kind kind : kAll)
      for (const char* const* id = plugin == nullptr ? nullptr : plugin->provides; id != nullptr && *id != nullptr; ++id)
        if (std::string_view(*id) == driverOf(kind)->interface()) return kind;
    throw std::runtime_error("the linked plugin provides no interface that this kit knows");
  }
  const ElfFacts facts = readElf(options.plugin);
  if (facts.notes.empty())
    throw std::runtime_error(options.plugin + " is no plugin: it has no note (RAUHA_PLUGIN_NOTE); to check it all the same, give --kind");
  const std::string kind(facts.notes[0].kind, ::strnlen(facts.notes[0].kind, sizeof facts.notes[0].kind));
  for (const Kind k : kAll)
    if (kind == nameOf(k)) return k;
  throw std::runtime_error(options.plugin + " is of kind \"" + kind + "\", and this kit knows backend, image, enforcer and net");
}

Result run(const Case& which, const Options& options) {
  const auto begin = Clock::now();
  const Kind kind = kindOf(options);
  Result result = options.inProcess ? runHere(which, options, kind) : runChild(which, options, kind);
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return result;
}

}  // namespace rauha::conformance
