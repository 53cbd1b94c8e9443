#include "plugins/backend-linux/shim_process.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <sstream>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/schema_error.h"

namespace rauha::backend {
namespace {

constexpr size_t kOutcomeBytes = 64 << 10;
constexpr int64_t kGraceNs = 1'000'000'000;
constexpr int kFirstFree = 6;  // descriptors 0-5 are the shim's
constexpr std::string_view kProgramName = "rauha-shim";

int millisecondsUntil(int64_t deadlineNs) {
  const int64_t left = deadlineNs - monotonicNs();
  return left <= 0 ? 0 : static_cast<int>(std::min<int64_t>((left + 999'999) / 1'000'000, 3'600'000));
}

// posix_spawn's actions run in order: with every source above the targets, none is overwritten before it was copied.
UniqueFd above(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 16));
  if (!copy) throwErrno("backend", "duplicate descriptor " + std::to_string(fd));
  return copy;
}

struct FileActions {
  posix_spawn_file_actions_t raw;
  FileActions() { check(::posix_spawn_file_actions_init(&raw)); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&raw); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  static void check(int error) {
    if (error != 0) throw osError("backend", "prepare the start of the shim", error);
  }
  void copy(int from, int to) { check(::posix_spawn_file_actions_adddup2(&raw, from, to)); }
};

struct Attributes {
  posix_spawnattr_t raw;
  Attributes() {
    FileActions::check(::posix_spawnattr_init(&raw));
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::sigdelset(&all, SIGKILL);
    ::sigdelset(&all, SIGSTOP);
    ::posix_spawnattr_setsigmask(&raw, &none);
    ::posix_spawnattr_setsigdefault(&raw, &all);  // the daemon ignores SIGPIPE and blocks what its loop reads
    FileActions::check(::posix_spawnattr_setflags(&raw, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }
  ~Attributes() { ::posix_spawnattr_destroy(&raw); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
};

std::vector<capnp::word> toWords(const std::string& bytes) {
  std::vector<capnp::word> words(bytes.size() / sizeof(capnp::word));
  ::memcpy(static_cast<void*>(words.data()), bytes.data(), words.size() * sizeof(capnp::word));
  return words;
}

// A message says its own length: the end of the pipe may be long in coming when a child of the shim inherited it.
bool complete(const std::string& bytes) {
  const auto words = toWords(bytes);
  return !words.empty() && capnp::expectedSizeInWordsFromPrefix(kj::arrayPtr(words.data(), words.size())) <= words.size();
}

void readOutcome(const std::string& bytes) {
  const auto words = toWords(bytes);
  try {
    capnp::FlatArrayMessageReader message(kj::arrayPtr(words.data(), words.size()));
    throwOnError(message.getRoot<schema::Outcome>());
  } catch (const kj::Exception& e) {
    throw Error("backend", Code::internal, std::string("the shim's answer cannot be read: ") + e.getDescription().cStr(),
                "rauhad and rauha-shim must be of one build");
  }
}

std::optional<std::string> readProc(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  char buffer[4096];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n < 0) return std::nullopt;
  return std::string(buffer, static_cast<size_t>(n));
}

// argv of a shim, as startShim makes it: name, zone, instance.
std::optional<std::vector<std::string>> shimArguments(pid_t pid) {
  const auto text = readProc("/proc/" + std::to_string(pid) + "/cmdline");
  if (!text) return std::nullopt;
  std::vector<std::string> words;
  std::istringstream in(*text);
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  if (words.size() != 3 || words[0] != kProgramName) return std::nullopt;
  struct stat st {};
  // Anybody can call a program so; ours runs as we do.
  if (::stat(("/proc/" + std::to_string(pid)).c_str(), &st) != 0 || st.st_uid != ::geteuid()) return std::nullopt;
  return words;
}

}  // namespace

StartedShim startShim(const ShimStart& start) {
  int pair[2], ends[2], told[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throwErrno("backend", "socket pair for the shim of " + start.zoneId);
  StartedShim out;
  out.agent.reset(pair[0]);
  const UniqueFd theirSocket(pair[1]);
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, told) != 0) throwErrno("backend", "socket pair for the shim of " + start.zoneId);
  out.boundary.reset(told[0]);
  const UniqueFd theirBoundary(told[1]);
  if (::pipe2(ends, O_CLOEXEC) != 0) throwErrno("backend", "pipe for the shim of " + start.zoneId);
  out.outcome.reset(ends[0]);
  const UniqueFd theirPipe(ends[1]);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) throwErrno("backend", "open /dev/null");
  const auto program = start.program.open();
  const int sources[] = {null.get(),          null.get(),        start.diagnostics < 0 ? null.get() : start.diagnostics,
                         theirBoundary.get(), theirSocket.get(), theirPipe.get()};
  std::vector<UniqueFd> copies;
  FileActions actions;
  for (const int fd : sources) {
    copies.push_back(above(fd));
    actions.copy(copies.back().get(), static_cast<int>(copies.size()) - 1);
  }
  FileActions::check(::posix_spawn_file_actions_addclosefrom_np(&actions.raw, kFirstFree));
  FileActions::check(::posix_spawn_file_actions_addchdir_np(&actions.raw, "/"));
  const Attributes attributes;
  std::string name(kProgramName), zone = start.zoneId, instance = start.instance,
                                  path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char* argv[] = {name.data(), zone.data(), instance.data(), nullptr};
  char* envp[] = {path.data(), nullptr};
  pid_t pid = 0;
  // By our own list of descriptors, so that the shim need not inherit one more.
  const std::string throughMount =
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(program->directory.get()) + "/" + program->name;
  const int error = ::posix_spawn(&pid, throughMount.c_str(), &actions.raw, &attributes.raw, argv, envp);
  if (error != 0) throw osError("backend", "start " + start.program.path(), error, "rauha-shim belongs beside rauhad or in libexec/rauha");
  // Safe although the pid is a number: it is our own child, and stays a zombie until we wait for it.
  out.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!out.pidfd) {
    const int saved = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    throw osError("backend", "pidfd of the shim of " + start.zoneId, saved);
  }
  out.identity = {pid, startTicksOf(pid)};
  return out;
}

void awaitOutcome(const StartedShim& shim, const Patience& patience, const std::function<std::string()>& diagnostics) {
  std::string bytes;
  char buffer[4096];
  for (;;) {
    pollfd fds[] = {{shim.outcome.get(), POLLIN, 0}, {patience.cancelFd, POLLIN, 0}};
    const int ready = ::poll(fds, 2, millisecondsUntil(patience.deadlineNs));
    if (ready < 0 && errno != EINTR) throwErrno("backend", "wait for the shim");
    if (ready == 0)
      throw Error("backend", Code::deadline, "the boundary did not stand in time",
                  "the machine is very busy, or the shim hangs: see its log");
    if (ready > 0 && fds[1].revents != 0) throw Error("backend", Code::cancelled, "cancelled by the caller");
    if (ready < 0 || fds[0].revents == 0) continue;
    const ssize_t n = ::read(shim.outcome.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("backend", "read the shim's answer");
    if (n == 0) break;
    bytes.append(buffer, static_cast<size_t>(n));
    if (bytes.size() > kOutcomeBytes) throw Error("backend", Code::internal, "the shim's answer is longer than 64 KiB");
    if (complete(bytes)) break;
  }
  if (!bytes.empty()) return readOutcome(bytes);
  const std::string said = diagnostics();
  throw Error("backend", Code::internal, "the shim ended before the boundary stood" + (said.empty() ? std::string() : ": " + said),
              "this is a bug in rauha-shim, or it was killed");
}

uint64_t startTicksOf(pid_t pid) {
  const auto text = readProc("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return 0;
  // The second field is the name in parentheses and may hold anything: count from the last ")".
  const size_t end = text->rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream words(text->substr(end + 1));
  std::string word;
  for (int field = 3; field <= 22 && words >> word; ++field) {
  }
  uint64_t ticks = 0;
  std::from_chars(word.data(), word.data() + word.size(), ticks);
  return ticks;
}

UniqueFd openShim(const ShimIdentity& identity) {
  if (identity.pid <= 0) return {};
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, identity.pid, 0)));
  // The pidfd came first: if the start time fits now, the descriptor is of that process.
  if (!fd || startTicksOf(identity.pid) != identity.startTicks) return {};
  return fd;
}

std::vector<std::pair<std::string, ShimIdentity>> findShims(const std::string& instance) {
  std::vector<std::pair<std::string, ShimIdentity>> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc"), ::closedir);
  if (!dir) throwErrno("backend", "list /proc");
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto number = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (number.ec != std::errc() || number.ptr != name.data() + name.size()) continue;
    const uint64_t ticks = startTicksOf(pid);
    const auto words = shimArguments(pid);
    if (words && (*words)[2] == instance && ticks != 0 && startTicksOf(pid) == ticks) out.push_back({(*words)[1], {pid, ticks}});
  }
  return out;
}

std::optional<ShimIdentity> findShim(const std::string& instance, const std::string& zoneId) {
  for (const auto& [zone, identity] : findShims(instance))
    if (zone == zoneId) return identity;
  return std::nullopt;
}

void endShim(int pidfd, pid_t pid, int64_t deadlineNs) {
  syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0);
  pollfd p{pidfd, POLLIN, 0};
  if (::poll(&p, 1, millisecondsUntil(std::min(deadlineNs, monotonicNs() + kGraceNs))) <= 0) {
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
    if (::poll(&p, 1, millisecondsUntil(deadlineNs)) <= 0)
      throw Error("backend", Code::busy, "shim process " + std::to_string(pid) + " does not end",
                  "it waits in the kernel; destroy the zone again later");
  }
  siginfo_t info{};
  ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);  // ECHILD after a restart of the daemon: init reaped it
}

}  // namespace rauha::backend
