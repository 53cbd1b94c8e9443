// `rauha sandbox`: exactly one result, whatever happens on the way to it.

#include <fcntl.h>
#include <unistd.h>

#include <capnp/message.h>

#include <csignal>
#include <cstdlib>
#include <memory>

#include "core/base/clock.h"
#include "core/base/kj_error.h"
#include "core/base/schema_error.h"
#include "core/base/utf8.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/builtin_policies.h"
#include "frontends/cli/change_reader.h"
#include "frontends/cli/changes/tree.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/daemon_start.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/last_task.h"
#include "frontends/cli/output.h"
#include "frontends/cli/registry_credentials.h"
#include "frontends/cli/remote_changes.h"
#include "frontends/cli/sandbox_options.h"
#include "frontends/cli/sandbox_run.h"
#include "frontends/cli/summary.h"
#include "frontends/cli/terminal.h"

namespace rauha::cli {
namespace {

constexpr int kAttempts = 3;                           // a daemon that was leaving when we came has a successor
constexpr std::chrono::milliseconds kReviveMs{5'000};  // so that it cleans up what its predecessor left; best effort

// The document for everything that the daemon did not write one for.
class LocalResult final {
 public:
  // options: null when the command line was not understood.
  LocalResult(const Invocation& invocation, const SandboxOptions* options, int64_t startedNs)
      : result_(message_.initRoot<schema::TaskResult>()) {
    const int64_t now = realNs();
    const auto& words = invocation.command;
    auto command = result_.initCommand(static_cast<kj::uint>(words.size()));
    for (size_t i = 0; i < words.size(); ++i) command.set(static_cast<kj::uint>(i), capnp::Text::Reader(words[i].c_str(), words[i].size()));
    result_.setStartedAt(rfc3339(startedNs));
    result_.setFinishedAt(rfc3339(now));
    result_.setDurationMs(now > startedNs ? static_cast<uint64_t>((now - startedNs) / 1'000'000) : 0);
    result_.initStdoutStats();
    result_.initStderrStats();
    result_.initEventCounters();
    if (options != nullptr) describe(*options);
  }
  // What the daemon had said before it was lost.
  void setIds(const std::string& taskId, const std::string& zoneId) {
    if (!taskId.empty()) result_.setTaskId(taskId);
    if (zoneId.empty()) return;
    result_.setZoneId(zoneId);
    if (!result_.hasZoneName()) result_.setZoneName(zoneId);
  }
  schema::TaskResult::Reader failed(const Error& error) {
    result_.setStatus(schema::TaskStatus::RUNTIME_ERROR);
    writeError(result_.initError(), error);
    return result_.asReader();
  }
  schema::TaskResult::Reader cancelled(const char* note = nullptr) {
    result_.setStatus(schema::TaskStatus::CANCELLED);
    if (note != nullptr) result_.initNotes(1).set(0, note);
    return result_.asReader();
  }

 private:
  void describe(const SandboxOptions& options) {
    result_.setImage(toUtf8(options.image));
    if (options.name) result_.setZoneName(*options.name);
    result_.setRepoMode(schemaOf(options.repoMode));
    // A file's policy has its name inside, for the daemon to read.
    const std::string policy = options.policy.value_or("task");
    if (builtinPolicy(policy)) result_.setPolicy(policy);
  }
  capnp::MallocMessageBuilder message_;
  schema::TaskResult::Builder result_;
};

// Prints the one document, or the summary; returns the exit status. Standard output that cannot take it is itself an error of ours.
int report(schema::TaskResult::Reader result, bool json, int clientSignal, const std::string& root = {}) {
  const int status = exitCodeOf(result, clientSignal);
  if (!json) {
    try {
      const Style style(STDERR_FILENO);
      writeFully(STDERR_FILENO, summaryOf(result, style, root), "write to standard error");
    } catch (const Error&) {
      // Nobody listens; the exit status still tells.
    }
    return status;
  }
  if (clientSignal == SIGPIPE) return status;  // nobody is there to read it
  try {
    writeFully(STDOUT_FILENO, toJson(result, isatty(STDOUT_FILENO) == 1) + "\n", "write to standard output");
    return status;
  } catch (const Error& error) {
    printError(Error("task", error.code(), "the result could not be printed: " + error.text(),
                     "the task itself ended; read its exit code with a working standard output"));
    return kNotRun;
  }
}

// Descriptors 0 to 2 that we were not given: a file opened later must not become our standard output.
struct Missing {
  bool standardInput, standardOutput;
};
Missing fillStandardDescriptors() {
  auto closed = [](int fd) { return fcntl(fd, F_GETFD) < 0 && errno == EBADF; };
  const Missing missing{closed(STDIN_FILENO), closed(STDOUT_FILENO)};
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (!closed(fd)) continue;
    UniqueFd null(open("/dev/null", O_RDWR));  // lands on fd: the lowest free number
    if (!null || null.get() != fd) throwErrno("task", "open /dev/null");
    null.release();
  }
  return missing;
}

// Change sets name their tree by its path, so that diff and apply find it from wherever they are called.
std::string absolutePath(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> absolute(realpath(path.c_str(), nullptr), free);
  return absolute ? std::string(absolute.get()) : path;
}

// The task that this one goes on from, and its tree. The daemon compares the tree once more with the one that the task saw.
void openPredecessor(const SandboxOptions& options, SandboxInputs& inputs) {
  Client client(instancePaths(options.root));
  const RemoteChanges changes(client, *options.from);
  tellLast(client, changes, *options.from, options.repoPath, options.json);
  const BaseTree base = readBase(changes.info().getBase());
  inputs.from = changes.taskId();
  const std::string& path = options.repoPath ? *options.repoPath : base.path;
  inputs.repository = openRepository(path, false);
  inputs.repositoryPath = absolutePath(path);
  try {
    Tree(path).mustBe(base);
  } catch (const Error& e) {
    // `diff` and `apply` have another way to name a tree.
    throw Error(
        e.errorClass(), e.code(), e.text(),
        options.repoPath ? "leave --repo-path out: the tree that the task saw is used" : "was it moved? name it with --repo-path DIR",
        e.object());
  }
}

void warnOfGitOutside(const SandboxOptions& options, const SandboxInputs& inputs) {
  const std::string outside = options.json ? std::string() : gitDirectoryOutside(inputs.repository.get(), inputs.repositoryPath);
  if (!outside.empty())
    printWarning("the git directory of " + inputs.repositoryPath + " is " + outside +
                 ", outside of what the task sees: git does not work there");
}

void openRepositories(const SandboxOptions& options, SandboxInputs& inputs) {
  if (options.from) return openPredecessor(options, inputs);
  if (!options.repoPath) return;
  inputs.repository = openRepository(*options.repoPath, options.repoMode == RepoMode::rw);
  inputs.repositoryPath = absolutePath(*options.repoPath);
}

// A helper may take its time or ask the user: it is run only when the image is not stored.
std::string credentialsFor(const SandboxOptions& options) {
  const CredentialPlan plan = planCredentials(options.image);
  if (plan.helper.empty()) return plan.json;
  if (options.pull == "missing") {
    Client client(instancePaths(options.root));
    const auto stored = client.call([&](schema::Rauha::Client& rauha) {
      auto request = rauha.inspectImageRequest();
      request.setReference(options.image);
      return request.send();
    });
    if (stored.getOutcome().isOk()) return {};
  }
  return fetchCredentials(plan);
}

SandboxInputs openInputs(const SandboxOptions& options, bool standardInputMissing) {
  SandboxInputs inputs;
  openRepositories(options, inputs);
  if (inputs.repository) warnOfGitOutside(options, inputs);
  inputs.image = openImageSource(options.image);
  if (!inputs.image && options.pull != "never") inputs.credentials = credentialsFor(options);
  if (options.policy) inputs.policy = readPolicy(*options.policy);
  inputs.stdinStream = !options.noStdin && !standardInputMissing && streamKind(STDIN_FILENO) != StreamKind::null &&
                       streamKind(STDIN_FILENO) != StreamKind::closed;
  if (options.terminal && isatty(STDIN_FILENO) != 1)
    throw Error("usage", Code::invalid, "rauha sandbox: --tty, but standard input is no terminal",
                "leave --tty out, or run it from a terminal", "--tty");
  return inputs;
}

// The daemon is gone in the middle of a task: its successor cleans up what was left. Nobody waits long for that.
void reviveDaemon(const InstancePaths& paths) noexcept {
  try {
    connectOrStart(paths, {kReviveMs, nullptr});
  } catch (...) {
    // The user has been told that the daemon is gone; the next command will say why it does not start.
  }
}

struct Session {
  const Invocation& invocation;
  const SandboxOptions& options;
  const InstancePaths paths;
  Signals& signals;
  int64_t startedNs;

  int giveUp(bool silent) const {
    LocalResult local(invocation, &options, startedNs);
    const char* note =
        silent ? "cancelled, the daemon is silent: it did not take the cancel, the task ends when it goes on; see `rauha daemon status`"
               : nullptr;
    return report(local.cancelled(note), options.json, signals.ending());
  }

  // One connection's worth. Nothing: the daemon left before it looked at our request, try again.
  std::optional<int> attempt(kj::AsyncIoContext& io, const SandboxInputs& inputs) const {
    Connection connection(io, connectOrStart(paths, {StartOptions{}.patience, &signals}));
    SandboxRun run(io, connection, options, inputs, signals);
    std::optional<Error> lost;
    kj::Maybe<SandboxRun::Result> result;
    try {
      const auto raw = options.terminal ? std::make_unique<RawTerminal>(STDIN_FILENO) : nullptr;
      result = run.run();
    } catch (const kj::Exception& e) {
      if (!isLost(e)) throw translate(e, paths);
      if (!run.accepted() && !connection.answered()) return std::nullopt;
      lost = translate(e, paths);
    }
    if (lost) {
      LocalResult local(invocation, &options, startedNs);
      local.setIds(run.taskId(), run.zoneId());
      const Error error("daemon", Code::io, "the daemon went away while the task ran: " + lost->text(), lost->hint(), lost->object());
      const int status = report(local.failed(error), options.json, 0);
      reviveDaemon(paths);
      return status;
    }
    KJ_IF_MAYBE (response, result) return report(response->getResult(), options.json, signals.ending(), paths.root);
    return giveUp(run.silent());
  }

  int execute(const SandboxInputs& inputs) const {
    auto io = kj::setupAsyncIo();
    for (int i = 0; i < kAttempts; ++i)
      if (const auto status = attempt(io, inputs)) return *status;
    throw Error("daemon", Code::io, "the daemon at " + paths.socketPath() + " closes every connection", "look at " + paths.logPath(),
                paths.socketPath());
  }
};

int fail(const Invocation& invocation, const SandboxOptions* options, int64_t startedNs, const Error& error, int clientSignal) {
  LocalResult local(invocation, options, startedNs);
  if (error.code() == Code::cancelled && clientSignal != 0) return report(local.cancelled(), invocation.json, clientSignal);
  return report(local.failed(error), invocation.json, clientSignal);
}

int checkedSandbox(const Invocation& invocation, std::optional<SandboxOptions>& options, const Missing& missing, Signals& signals,
                   int64_t startedNs) {
  options = parseSandboxOptions(invocation);
  if (!options) return kOk;
  if (missing.standardOutput) throw Error("usage", Code::invalid, "standard output is closed", "give it a file, a pipe or /dev/null");
  const SandboxInputs inputs = openInputs(*options, missing.standardInput);
  const Session session{invocation, *options, instancePaths(options->root), signals, startedNs};
  return session.execute(inputs);
}

}  // namespace

int sandboxCommand(const Invocation& invocation) {
  const int64_t startedNs = realNs();
  std::unique_ptr<Signals> signals;
  std::optional<SandboxOptions> options;
  try {
    const Missing missing = fillStandardDescriptors();  // before anything else opens a descriptor
    signals = std::make_unique<Signals>();
    return checkedSandbox(invocation, options, missing, *signals, startedNs);
  } catch (...) {
    return fail(invocation, options ? &*options : nullptr, startedNs, currentError("task"), signals ? signals->ending() : 0);
  }
}

}  // namespace rauha::cli
