#include "frontends/cli/daemon_start.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "frontends/cli/connection.h"

namespace rauha::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReadyFd = 3;
constexpr off_t kLogLimit = 4 << 20;
constexpr size_t kReadyLimit = 4096;
constexpr int kLockRetryMs = 20;
constexpr int kDeathMs = 1000;
constexpr int kRounds = 5;  // a daemon that leaves while we come, again and again, is a daemon that does not work

struct Waiting {
  Clock::time_point deadline;
  Signals* signals;

  int leftMs() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    return left <= 0 ? 0 : static_cast<int>(std::min<long long>(left, INT_MAX));
  }
  // Waits for fd (-1: only for time to pass) or an ending signal, at most `limitMs`. True: fd has something.
  bool wait(int fd, int limitMs) const {
    pollfd fds[2] = {{fd, POLLIN, 0}, {signals != nullptr ? signals->fd() : -1, POLLIN, 0}};
    const int n = poll(fds, 2, std::min(limitMs, leftMs()));
    if (n < 0 && errno != EINTR) throwErrno("daemon", "wait for the daemon");
    if (signals != nullptr && signals->poll() != 0) throw Error("daemon", Code::cancelled, "cancelled while the daemon was being started");
    return n > 0 && fds[0].revents != 0;
  }
};

std::string programDirectory() {
  char buffer[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", buffer, sizeof buffer);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof buffer)) throwErrno("daemon", "readlink /proc/self/exe");
  const std::string program(buffer, static_cast<size_t>(n));
  return program.substr(0, program.rfind('/'));
}

void makeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) {
    // The caller's umask must not decide who reaches the daemon.
    if (chmod(path.c_str(), mode) != 0) throwErrno("daemon", "set the mode of " + path);
    return;
  }
  if (errno == ENOENT) {
    const std::string above = path.substr(0, path.rfind('/'));
    throw osError("daemon", "make directory " + path, ENOENT, "make the directory above it first: mkdir -p " + above);
  }
  if (errno != EEXIST) throwErrno("daemon", "make directory " + path);
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) throwErrno("daemon", "look at " + path);
  if (!S_ISDIR(st.st_mode))
    throw Error("daemon", Code::conflict, path + " is not a directory", "remove it, or choose another --root", path);
}

// A stranger who may write there could put a socket, a lock or a link in our way.
void checkOurs(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) throwErrno("daemon", "look at " + path);
  if (!S_ISDIR(st.st_mode))
    throw Error("daemon", Code::conflict, path + " is not a directory", "remove it, or choose another --root", path);
  if (st.st_uid != geteuid())
    throw Error("daemon", Code::denied, path + " belongs to uid " + std::to_string(st.st_uid) + ", not to uid " + std::to_string(geteuid()),
                "use the daemon of its owner, or choose another --root", path);
  if ((st.st_mode & 0022) != 0) throw Error("daemon", Code::denied, path + " is writable by group or others", "chmod go-w " + path, path);
}

UniqueFd openIn(const InstancePaths& paths, const char* name, int flags) {
  const std::string path = paths.runtimeDirectory + "/" + name;
  UniqueFd fd(open(path.c_str(), flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600));
  if (!fd) throwErrno("daemon", "open " + path);
  return fd;
}

void prepareRuntimeDirectory(const InstancePaths& paths) {
  if (!paths.isDefault()) makeDirectory(paths.root, 0700);
  makeDirectory(paths.runtimeDirectory, paths.isDefault() ? 0755 : 0700);
  checkOurs(paths.runtimeDirectory);
}

// The start lock, or a connection when somebody else's daemon came up while we waited for the lock.
struct LockOrSocket {
  UniqueFd lock, socket;
};
LockOrSocket lockOrConnect(const InstancePaths& paths, const Waiting& waiting) {
  LockOrSocket out;
  UniqueFd lock = openIn(paths, "start.lock", O_RDWR);
  for (;;) {
    const bool mine = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
    if (!mine && errno != EWOULDBLOCK && errno != EINTR) throwErrno("daemon", "lock " + paths.runtimeDirectory + "/start.lock");
    out.socket = tryConnect(paths);
    if (out.socket) return out;
    if (mine) {
      out.lock = std::move(lock);
      return out;
    }
    if (waiting.leftMs() == 0)
      throw Error("daemon", Code::deadline,
                  "another program is starting the daemon of " + paths.runtimeDirectory + " and does not get ready",
                  "look at " + paths.runtimeDirectory + "/rauhad.log", paths.runtimeDirectory);
    waiting.wait(-1, kLockRetryMs);
  }
}

class SpawnSettings final {
 public:
  SpawnSettings() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t actions{};
};

void setSignals(posix_spawnattr_t& attributes) {
  sigset_t all, none;
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

pid_t spawnDaemon(const InstancePaths& paths, int readyWriteEnd, int log) {
  const std::string program = programDirectory() + "/rauhad";
  if (access(program.c_str(), X_OK) != 0)
    throw Error("daemon", codeFromErrno(errno),
                "no daemon answers at " + paths.socketPath() + ", and " + program + " cannot be run: " + strerror(errno),
                "start rauhad by hand or by the service manager, or install it beside rauha", program);
  SpawnSettings settings;
  setSignals(settings.attributes);
  // 1 and 2 before 3: none of ours is below 3 here, so nothing is overwritten that is still needed.
  posix_spawn_file_actions_addopen(&settings.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&settings.actions, log, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&settings.actions, log, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&settings.actions, readyWriteEnd, kReadyFd);
  posix_spawn_file_actions_addclosefrom_np(&settings.actions, kReadyFd + 1);
  posix_spawn_file_actions_addchdir_np(&settings.actions, "/");
  std::vector<std::string> words{program, "--on-demand", "--ready-fd", std::to_string(kReadyFd)};
  if (!paths.isDefault()) words.insert(words.end(), {"--root", paths.root});
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<std::string, 2> environment{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"};
  std::array<char*, 3> envp{environment[0].data(), environment[1].data(), nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.c_str(), &settings.actions, &settings.attributes, argv.data(), envp.data());
  if (error != 0) throw osError("daemon", "start " + program, error);
  return pid;
}

// The last line that the daemon printed after `from`, for a death without a word on the ready descriptor.
std::string lastLogLine(const InstancePaths& paths, off_t from) {
  UniqueFd log(open((paths.runtimeDirectory + "/rauhad.log").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::string text(kReadyLimit, '\0');
  struct stat st {};
  if (!log || fstat(log.get(), &st) != 0) return {};
  const off_t start = std::max(from, st.st_size - static_cast<off_t>(kReadyLimit));
  const ssize_t n = pread(log.get(), text.data(), text.size(), start);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const size_t line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

std::string howItEnded(pid_t pid) {
  int status = 0;
  // It closes its descriptors a moment before it can be waited for.
  const UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{handle.get(), POLLIN, 0};
  poll(&ended, 1, kDeathMs);
  if (waitpid(pid, &status, WNOHANG) != pid) return "it closed its ready descriptor without a word";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status)) + " ended it";
  return "it exited with status " + std::to_string(WEXITSTATUS(status));
}

void awaitReady(const InstancePaths& paths, int readyReadEnd, pid_t pid, off_t logStart, const Waiting& waiting) {
  std::string line;
  while (line.find('\n') == std::string::npos && line.size() < kReadyLimit) {
    if (!waiting.wait(readyReadEnd, INT_MAX)) {
      if (waiting.leftMs() > 0) continue;
      kill(pid, SIGTERM);  // ours, and not reaped yet: the number is still its
      throw Error("daemon", Code::deadline, "the daemon did not get ready in time", "look at " + paths.runtimeDirectory + "/rauhad.log",
                  paths.runtimeDirectory);
    }
    char chunk[512];
    const ssize_t n = read(readyReadEnd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    line.append(chunk, static_cast<size_t>(n));
  }
  const bool whole = line.find('\n') != std::string::npos;
  line = line.substr(0, line.find('\n'));
  if (whole && line == "ready") return;
  if (line.empty()) {
    const std::string last = lastLogLine(paths, logStart);
    line = "the daemon ended before it was ready: " + howItEnded(pid) + (last.empty() ? "" : "; its last line: " + last);
  } else {
    constexpr std::string_view kTag = "error ";
    if (line.compare(0, kTag.size(), kTag) == 0) line.erase(0, kTag.size());
    line = "the daemon did not start: " + line;
  }
  throw Error("daemon", Code::io, line, "look at " + paths.runtimeDirectory + "/rauhad.log", paths.runtimeDirectory);
}

void startDaemon(const InstancePaths& paths, const Waiting& waiting) {
  UniqueFd log = openIn(paths, "rauhad.log", O_WRONLY | O_APPEND);
  struct stat st {};
  if (fstat(log.get(), &st) != 0) throwErrno("daemon", "look at the daemon's log");
  if (st.st_size > kLogLimit) {
    if (ftruncate(log.get(), 0) != 0) throwErrno("daemon", "shorten the daemon's log");
    st.st_size = 0;
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throwErrno("daemon", "make a pipe");
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  // dup2 of a number onto itself would keep close-on-exec.
  if (writeEnd.get() == kReadyFd) {
    writeEnd = UniqueFd(fcntl(kReadyFd, F_DUPFD_CLOEXEC, kReadyFd + 1));
    if (!writeEnd) throwErrno("daemon", "duplicate a pipe");
  }
  const pid_t pid = spawnDaemon(paths, writeEnd.get(), log.get());
  writeEnd.reset();
  awaitReady(paths, readEnd.get(), pid, st.st_size, waiting);
}

void refuseToStart(const InstancePaths& paths) {
  if (!paths.isDefault() || geteuid() == 0) return;
  throw Error("daemon", Code::denied, "no daemon answers at " + paths.socketPath() + ", and only root can start it",
              "sudo systemctl start rauhad, or run this command with sudo", paths.socketPath());
}

}  // namespace

UniqueFd connectOrStart(const InstancePaths& paths, const StartOptions& options) {
  UniqueFd socket = tryConnect(paths);
  if (socket) return socket;
  refuseToStart(paths);
  const Waiting waiting{Clock::now() + options.patience, options.signals};
  prepareRuntimeDirectory(paths);
  for (int round = 0; round < kRounds; ++round) {
    auto [lock, connected] = lockOrConnect(paths, waiting);
    if (connected) return std::move(connected);
    startDaemon(paths, waiting);
    socket = tryConnect(paths);
    if (socket) return socket;
  }
  throw Error("daemon", Code::io, "the daemon starts but does not stay: nobody listens at " + paths.socketPath(),
              "look at " + paths.logPath(), paths.socketPath());
}

}  // namespace rauha::cli
