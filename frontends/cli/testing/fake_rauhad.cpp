// A daemon for the tests of the CLI: serves schema::Rauha on the instance's socket with canned answers. What a sandbox task does is told by
// its command ("exit 3", "hang", "die", …), so that every path of the client can be driven from outside. Not installed.
#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <schemas/client.capnp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/coro.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/schema_error.h"
#include "frontends/cli/testing/fake_changes.h"

namespace rauha {
namespace {

std::string str(capnp::Text::Reader text) { return std::string(text.begin(), text.size()); }

// Everything that a test wants to know afterwards: one line a call, in <runtime>/calls.
class Journal final {
 public:
  explicit Journal(std::string path) : path_(std::move(path)) {}
  void note(const std::string& line) const { std::ofstream(path_, std::ios::app) << line << '\n' << std::flush; }

 private:
  std::string path_;
};

struct TaskState final : public kj::Refcounted {
  explicit TaskState(const Journal& j) : journal(j), ended(kj::newPromiseAndFulfiller<void>()) {}
  const Journal& journal;
  std::vector<std::string> argv;
  std::string out, err, input;
  schema::TaskStatus status = schema::TaskStatus::SUCCEEDED;
  int exitCode = 0, signal = 0;
  bool repositoryWritable = false, keepZone = false;
  std::string zoneName, errorClass, policy;
  schema::ErrorCode errorCode = schema::ErrorCode::NONE;
  kj::PromiseFulfillerPair<void> ended;
  kj::PromiseFulfillerPair<void> inputEnded = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> work = kj::READY_NOW;

  void cancel(int number) {
    journal.note("cancel " + std::to_string(number));
    if (argv.front() == "stubborn" && number != 9) return;
    if (argv.front() == "deaf") return;
    status = schema::TaskStatus::CANCELLED;
    signal = number;
    ended.fulfiller->fulfill();
  }
};

class HandleServer final : public schema::TaskHandle::Server {
 public:
  explicit HandleServer(kj::Own<TaskState> state) : state_(kj::mv(state)) {}
  ~HandleServer() noexcept(false) { state_->journal.note("handle dropped"); }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();  // else a waiting client that is lost keeps its handle, and the task
    return waitTask(kj::addRef(*state_), context);
  }
  kj::Promise<void> cancel(CancelContext context) override {
    state_->cancel(context.getParams().getSignal());
    return kj::READY_NOW;
  }
  kj::Promise<void> resize(ResizeContext context) override {
    state_->journal.note("resize " + std::to_string(context.getParams().getRows()) + "x" +
                         std::to_string(context.getParams().getColumns()));
    return kj::READY_NOW;
  }

 private:
  static Task<void> waitTask(kj::Own<TaskState> state, WaitContext context) {
    co_await kj::mv(state->ended.promise);
    auto result = context.getResults().initResult();
    result.setTaskId("task_00000000000000000000");
    result.setZoneId("zone_00000000000000000000");
    result.setZoneName(state->zoneName);
    result.setZoneKept(state->keepZone);
    auto command = result.initCommand(static_cast<kj::uint>(state->argv.size()));
    for (size_t i = 0; i < state->argv.size(); ++i) command.set(static_cast<kj::uint>(i), state->argv[i]);
    result.setStatus(state->status);
    if (state->status == schema::TaskStatus::SUCCEEDED || state->status == schema::TaskStatus::FAILED)
      result.initExitCode().setValue(state->exitCode);
    if (state->signal != 0) result.initSignal().setValue(state->signal);
    result.setDurationMs(7);
    result.setStartedAt("2026-01-31T12:00:00.000Z");
    result.setFinishedAt("2026-01-31T12:00:00.007Z");
    result.setStdout(state->out);
    result.setStderr(state->err);
    result.setPolicy(state->policy);
    if (state->status == schema::TaskStatus::RUNTIME_ERROR) {
      auto error = result.initError();
      error.setClass(state->errorClass);
      error.setCode(state->errorCode);
      error.setText("it cannot be run");
      error.setHint("write\x1b[31m it right");
    }
    auto layers = result.initPosture().initLayers(2);
    layers[0].setName("seccomp");
    layers[0].setArmed(true);
    layers[1].setName("landlock");
    layers[1].setDetail("not in this kernel");
    layers[1].setWeaker(true);
    auto events = result.initEvents(1);
    events[0].setName("policy.refused");
    events[0].setMessage("the network is isolated");
    auto attribute = events[0].initAttributes(1)[0];
    attribute.setKey("allowing_line");
    attribute.setValue("network.mode = \"host\"");
  }
  kj::Own<TaskState> state_;
};

class InputServer final : public schema::ByteSink::Server {
 public:
  explicit InputServer(kj::Own<TaskState> state) : state_(kj::mv(state)) {}
  kj::Promise<void> write(WriteContext context) override {
    const auto chunk = context.getParams().getChunk();
    state_->input.append(reinterpret_cast<const char*>(chunk.begin()), chunk.size());
    return kj::READY_NOW;
  }
  kj::Promise<void> end(EndContext) override {
    state_->journal.note("input " + std::to_string(state_->input.size()));
    state_->inputEnded.fulfiller->fulfill();
    return kj::READY_NOW;
  }

 private:
  kj::Own<TaskState> state_;
};

class FakeRauha final : public schema::Rauha::Server {
 public:
  FakeRauha(kj::Timer& timer, const Journal& journal, kj::PromiseFulfiller<void>& leave, std::string root)
      : timer_(timer), journal_(journal), leave_(leave), root_(std::move(root)) {}

  kj::Promise<void> hello(HelloContext context) override {
    fillServer(context.getResults().initServer());
    return kj::READY_NOW;
  }

  kj::Promise<void> sandbox(SandboxContext context) override {
    const auto params = context.getParams();
    const auto request = params.getRequest();
    auto state = kj::refcounted<TaskState>(journal_);
    for (const auto word : request.getArgv()) state->argv.push_back(str(word));
    note(request);
    state->keepZone = request.getKeepZone();
    state->zoneName = request.hasName() ? str(request.getName()) : "task-zone";
    state->policy = request.hasPolicySource() ? str(request.getPolicySource()) : "task";
    kj::Maybe<schema::ByteSink::Client> out, err;
    if (params.hasStdout()) out = params.getStdout();
    if (params.hasStderr()) err = params.getStderr();
    if (request.getStdin()) context.getResults().setStdin(kj::heap<InputServer>(kj::addRef(*state)));
    context.getResults().setTask(kj::heap<HandleServer>(kj::addRef(*state)));
    context.getResults().setTaskId(kFakeTask);
    context.getResults().setZoneId("zone_00000000000000000000");
    auto* raw = state.get();
    raw->work = play(kj::mv(state), kj::mv(out), kj::mv(err), str(request.getImage())).promise().eagerlyEvaluate([](kj::Exception&&) {});
    tasks_.add(kj::addRef(*raw));
    return kj::READY_NOW;
  }

  kj::Promise<void> createZone(CreateZoneContext context) override {
    const auto params = context.getParams();
    if (params.getName() == "taken") {
      writeOutcome(context.getResults().initOutcome(), Error("zone", Code::exists, "zone taken exists", "choose another name", "taken"));
      return kj::READY_NOW;
    }
    journal_.note("createZone " + str(params.getName()) + " policy=" + str(params.getPolicySource()) +
                  " toml=" + std::to_string(params.getPolicyToml().size()));
    context.getResults().initOutcome().setOk();
    fillZone(context.getResults().initZone(), str(params.getName()));
    return kj::READY_NOW;
  }
  kj::Promise<void> listZones(ListZonesContext context) override {
    context.getResults().initOutcome().setOk();
    auto zones = context.getResults().initZones(2);
    fillZone(zones[0], "frontend");
    fillZone(zones[1], "evil\x1b[2J\xff");
    return kj::READY_NOW;
  }
  kj::Promise<void> showZone(ShowZoneContext context) override {
    context.getResults().initOutcome().setOk();
    fillZone(context.getResults().initZone(), str(context.getParams().getName()));
    fillPolicy(context.getResults().initPolicy());
    return kj::READY_NOW;
  }
  kj::Promise<void> deleteZone(DeleteZoneContext context) override {
    journal_.note("deleteZone " + str(context.getParams().getName()) + (context.getParams().getForce() ? " force" : ""));
    context.getResults().initOutcome().setOk();
    return kj::READY_NOW;
  }
  kj::Promise<void> applyPolicy(ApplyPolicyContext context) override {
    writeOutcome(context.getResults().initOutcome(),
                 Error("policy", Code::conflict, "network.mode cannot change on a living zone", "make a new zone", "network.mode"));
    return kj::READY_NOW;
  }
  kj::Promise<void> validatePolicy(ValidatePolicyContext context) override {
    if (str(context.getParams().getPolicyToml()).find("bad") != std::string::npos) {
      writeOutcome(context.getResults().initOutcome(), Error("policy", Code::invalid, "x.toml:1: bad: unknown key", "remove it", "bad"));
      return kj::READY_NOW;
    }
    context.getResults().initOutcome().setOk();
    fillPolicy(context.getResults().initPolicy());
    context.getResults().initWarnings(1).set(0, "type privileged: zone root is host root");
    return kj::READY_NOW;
  }
  kj::Promise<void> listImages(ListImagesContext context) override {
    context.getResults().initOutcome().setOk();
    fillImage(context.getResults().initImages(1)[0], "busybox:1");
    return kj::READY_NOW;
  }
  kj::Promise<void> inspectImage(InspectImageContext context) override { return inspectNow(context); }
  kj::Promise<void> removeImage(RemoveImageContext context) override {
    writeOutcome(context.getResults().initOutcome(),
                 Error("image", Code::notFound, "no image '" + str(context.getParams().getReference()) + "'", "see `rauha image list`"));
    return kj::READY_NOW;
  }
  kj::Promise<void> importImage(ImportImageContext context) override {
    context.getResults().initOutcome().setOk();
    fillImage(context.getResults().initImage(), str(context.getParams().getName()));
    return kj::READY_NOW;
  }
  kj::Promise<void> listPlugins(ListPluginsContext context) override {
    auto plugins = context.getResults().initPlugins(2);
    plugins[0].setName("backend-linux");
    plugins[0].setLoaded(true);
    plugins[1].setName("other");
    plugins[1].setPath("/x/other.so");
    plugins[1].setRefusal("it is writable by others");
    return kj::READY_NOW;
  }
  kj::Promise<void> doctor(DoctorContext context) override {
    auto report = context.getResults().initReport();
    report.setKernel("6.1.0");
    report.setCgroupLayout("v2");
    fillServer(report.initServer());
    auto checks = report.initChecks(2);
    checks[0].setName("seccomp");
    checks[0].setDetail("BPF filters");
    checks[1].setName("landlock");
    checks[1].setStatus(broken_ ? schema::CheckStatus::MISSING : schema::CheckStatus::WEAKER);
    checks[1].setReason("not in this kernel");
    checks[1].setRemedy("boot with lsm=landlock");
    return kj::READY_NOW;
  }
  kj::Promise<void> events(EventsContext context) override;
  kj::Promise<void> shutdown(ShutdownContext context) override {
    context.getResults().initOutcome().setOk();
    leave_.fulfill();
    return kj::READY_NOW;
  }
  kj::Promise<void> listTasks(ListTasksContext context) override {
    journal_.note("listTasks limit=" + std::to_string(context.getParams().getLimit()));
    context.getResults().initOutcome().setOk();
    fillSummary(context.getResults().initTasks(1)[0], root_);
    return kj::READY_NOW;
  }
  kj::Promise<void> showTask(ShowTaskContext context) override {
    if (refused(context.getParams().getTaskId(), context.getResults().initOutcome())) return kj::READY_NOW;
    auto result = context.getResults().initResult();
    result.setTaskId(kFakeTask);
    result.setStdout("out");
    return kj::READY_NOW;
  }
  kj::Promise<void> deleteTask(DeleteTaskContext context) override {
    if (!refused(context.getParams().getTaskId(), context.getResults().initOutcome())) context.getResults().setTaskId(kFakeTask);
    journal_.note("deleteTask " + str(context.getParams().getTaskId()));
    return kj::READY_NOW;
  }
  kj::Promise<void> pruneTasks(PruneTasksContext context) override {
    const auto params = context.getParams();
    journal_.note("pruneTasks age=" + std::to_string(params.getOlderThanMs()) + " bytes=" + std::to_string(params.getMaxBytes()) +
                  (params.getDryRun() ? " dry" : ""));
    context.getResults().initOutcome().setOk();
    fillSummary(context.getResults().initTasks(1)[0], root_);
    context.getResults().setFreedBytes(4 << 20);
    return kj::READY_NOW;
  }
  kj::Promise<void> openChanges(OpenChangesContext context) override {
    if (refused(context.getParams().getTaskId(), context.getResults().initOutcome())) return kj::READY_NOW;
    context.getResults().setTaskId(kFakeTask);
    context.getResults().setChanges(fakeChanges(root_));
    return kj::READY_NOW;
  }
  void breakMachine() { broken_ = true; }

 private:
  // Does it know the task?
  static bool refused(capnp::Text::Reader task, schema::Outcome::Builder outcome) {
    outcome.setOk();
    if (task == "last" || str(task).rfind("task_0", 0) == 0) return false;
    writeOutcome(outcome, Error("task", Code::notFound, "no task '" + str(task) + "'", "see `rauha task list`", str(task)));
    return true;
  }

  void note(schema::SandboxRequest::Reader request) const {
    std::string line = "sandbox image=" + str(request.getImage()) + " timeout=" + std::to_string(request.getTimeoutMs()) +
                       " stdin=" + (request.getStdin() ? "1" : "0");
    for (const auto entry : request.getEnv()) line += " env:" + str(entry);
    if (request.hasPolicyToml()) line += " policy=" + str(request.getPolicySource()) + ":" + std::to_string(request.getPolicyToml().size());
    if (request.getTerminal()) line += " tty=" + std::to_string(request.getRows()) + "x" + std::to_string(request.getColumns());
    if (request.hasUser()) line += " user=" + str(request.getUser());
    for (const auto layer : request.getAllowDegraded()) line += " degraded:" + str(layer);
    if (request.hasRepo()) line += " repo=" + std::to_string(static_cast<int>(request.getRepoMode())) + ":" + str(request.getRepoPath());
    if (request.hasFrom()) line += " from=" + str(request.getFrom());
    journal_.note(line);
  }

  static Task<void> send(schema::ByteSink::Client sink, std::string text) {
    for (size_t at = 0; at < text.size(); at += 65536) {
      auto call = sink.writeRequest();
      const size_t n = std::min<size_t>(65536, text.size() - at);
      call.setChunk(kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()) + at, n));
      co_await call.send();
    }
    auto ended = co_await sink.endRequest().send();
  }

  // What a command of the fake language does.
  static void perform(TaskState& state) {
    const auto& argv = state.argv;
    auto number = [&](size_t i) { return argv.size() > i ? std::stoi(argv[i]) : 0; };
    if (argv[0] == "exit") {
      state.exitCode = number(1);
      state.status = state.exitCode == 0 ? schema::TaskStatus::SUCCEEDED : schema::TaskStatus::FAILED;
    } else if (argv[0] == "echo") {
      for (size_t i = 1; i < argv.size(); ++i) state.out += (i > 1 ? " " : "") + argv[i];
      state.out += "\n";
      state.err = "to stderr\n";
    } else if (argv[0] == "flood") {
      state.out.assign(static_cast<size_t>(number(1)), 'x');
    } else if (argv[0] == "killed") {
      state.status = schema::TaskStatus::KILLED;
      state.signal = number(1);
    } else if (argv[0] == "timeout") {
      state.status = schema::TaskStatus::TIMED_OUT;
    } else if (argv[0] == "oom") {
      state.status = schema::TaskStatus::OUT_OF_MEMORY;
    } else if (argv[0] == "error") {
      state.status = schema::TaskStatus::RUNTIME_ERROR;
      state.errorClass = argv.at(1);
      state.errorCode = static_cast<schema::ErrorCode>(number(2));
    }
  }

  Task<void> play(kj::Own<TaskState> state, kj::Maybe<schema::ByteSink::Client> out, kj::Maybe<schema::ByteSink::Client> err,
                  std::string image) {
    if (image == "image:missing") {
      state->status = schema::TaskStatus::RUNTIME_ERROR;
      state->errorClass = "image";
      state->errorCode = schema::ErrorCode::NOT_FOUND;
      state->ended.fulfiller->fulfill();
      co_return;
    }
    const std::string verb = state->argv[0];
    if (verb == "hang" || verb == "stubborn" || verb == "deaf") co_return;
    if (verb == "cat") {
      co_await kj::mv(state->inputEnded.promise);
      state->out = state->input;
    }
    if (verb == "die") {
      co_await timer_.afterDelay(50 * kj::MILLISECONDS);
      _exit(9);
    }
    perform(*state);
    std::string repeated = "x\n";
    KJ_IF_MAYBE (sink, out) {
      if (verb == "yes") {  // until nobody listens
        auto stream = kj::mv(*sink);
        for (;;) {
          auto call = stream.writeRequest();
          call.setChunk(kj::arrayPtr(reinterpret_cast<const kj::byte*>(repeated.data()), repeated.size()));
          co_await call.send();
          co_await timer_.afterDelay(1 * kj::MILLISECONDS);
        }
      }
      co_await send(kj::mv(*sink), state->out);
    }
    KJ_IF_MAYBE (sink, err) {
      co_await send(kj::mv(*sink), state->err);
    }
    state->ended.fulfiller->fulfill();
  }

  static void fillServer(schema::ServerInfo::Builder server) {
    server.setVersion("0.1.0");
    server.setInstance("rauha-fake");
    server.setPid(getpid());
    server.setRoot("/");
  }
  static void fillZone(schema::ZoneInfo::Builder zone, const std::string& name) {
    zone.setId("zone_00000000000000000000");
    zone.setName(name);
    zone.setState(schema::ZoneState::READY);
    zone.setPolicy("standard");
  }
  static void fillPolicy(schema::Policy::Builder policy) {
    policy.setName("task");
    policy.setDigest("sha256:0");
    policy.initResources().setMemoryBytes(1 << 30);
    policy.initRequire(2).set(0, "seccomp");
    policy.getRequire().set(1, "cgroup_memory");
    policy.initNetwork().setMode(schema::NetworkMode::ISOLATED);
  }
  static void fillImage(schema::ImageInfo::Builder image, const std::string& reference) {
    image.setReference(reference);
    image.setDigest("sha256:0123456789abcdef");
    image.setSizeBytes(4 << 20);
    image.initConfig().initCmd(1).set(0, "/bin/sh");
  }
  static Task<void> inspectNow(InspectImageContext context) {
    context.getResults().initOutcome().setOk();
    fillImage(context.getResults().initImage(), str(context.getParams().getReference()));
    if (!context.getParams().hasSource()) co_return;
    auto source = context.getParams().getSource();
    auto fd = co_await source.getFd();
    struct stat st {};
    KJ_IF_MAYBE (number, fd) {
      if (fstat(*number, &st) == 0) context.getResults().getImage().setSource(S_ISDIR(st.st_mode) ? "directory" : "file");
    }
  }

  kj::Timer& timer_;
  const Journal& journal_;
  kj::PromiseFulfiller<void>& leave_;
  const std::string root_;
  kj::Vector<kj::Own<TaskState>> tasks_;
  bool broken_ = false;
};

// Two batches, then nothing more.
class EventServer final : public schema::EventStream::Server {
 public:
  kj::Promise<void> next(NextContext context) override {
    if (++calls_ > 2) _exit(0);
    auto events = context.getResults().initEvents(1);
    events[0].setSequence(static_cast<uint64_t>(calls_));
    events[0].setName("zone.created");
    events[0].setMessage("zone \"frontend\" is ready");
    context.getResults().setDropped(calls_ == 2 ? 4 : 0);
    return kj::READY_NOW;
  }

 private:
  int calls_ = 0;
};

kj::Promise<void> FakeRauha::events(EventsContext context) {
  journal_.note("events " + str(context.getParams().getZoneId()));
  context.getResults().setStream(kj::heap<EventServer>());
  return kj::READY_NOW;
}

struct Peer {
  Peer(kj::Own<kj::AsyncIoStream> s, capnp::Capability::Client bootstrap)
      : stream(s.downcast<kj::AsyncCapabilityStream>()),
        network(*stream, 4, capnp::rpc::twoparty::Side::SERVER),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {}
  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

int listenAt(const std::string& directory) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int dir = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(dir) + "/rauhad.sock";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  unlink(path.c_str());
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 64) != 0)
    throwErrno("daemon", "bind " + directory);
  close(dir);
  return fd;
}

// What the test asked for: words in <root>/fake-mode.
struct Mode {
  bool errorLine = false, silentDeath = false, neverReady = false, broken = false;
  int refuse = 0;  // hang up on the first connections
};
Mode readMode(const std::string& root) {
  Mode mode;
  std::ifstream in(root + "/fake-mode");
  for (std::string word; in >> word;) {
    mode.errorLine |= word == "error-line";
    mode.silentDeath |= word == "silent-death";
    mode.neverReady |= word == "never-ready";
    mode.broken |= word == "broken";
    if (word == "refuse") in >> mode.refuse;
  }
  return mode;
}

// Coroutine: everything by reference outlives the loop, it belongs to main.
Task<void> serve(kj::ConnectionReceiver& receiver, kj::Timer& timer, const Journal& journal, kj::PromiseFulfiller<void>& leave,
                 kj::Vector<kj::Own<Peer>>& peers, const Mode& mode, const std::string& root) {
  for (int i = 0;; ++i) {
    auto stream = co_await receiver.accept();
    if (i < mode.refuse) continue;
    auto server = kj::heap<FakeRauha>(timer, journal, leave, root);
    if (mode.broken) server->breakMachine();
    peers.add(kj::heap<Peer>(kj::mv(stream), kj::mv(server)));
  }
}

std::string argument(int argc, char** argv, const std::string& name) {
  for (int i = 1; i + 1 < argc; ++i)
    if (argv[i] == name) return argv[i + 1];
  return {};
}

void describeOurselves(const Journal& journal) {
  char cwd[64] = "?";
  if (getcwd(cwd, sizeof cwd) == nullptr) throwErrno("daemon", "getcwd");
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  int descriptors = 0;
  for (int fd = 4; fd < 256; ++fd) descriptors += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  struct sigaction pipe {};
  sigaction(SIGPIPE, nullptr, &pipe);
  journal.note(std::string("start cwd=") + cwd + " session=" + (getsid(0) == getpid() ? "own" : "shared") + " blocked=" +
               (sigismember(&mask, SIGINT) == 1 ? "yes" : "no") + " sigpipe=" + (pipe.sa_handler == SIG_IGN ? "ignored" : "default") +
               " extra-fds=" + std::to_string(descriptors) + " env-home=" + (getenv("FAKE_SECRET") != nullptr ? "leaked" : "clean"));
}

int run(int argc, char** argv) {
  const std::string root = argument(argc, argv, "--root");
  const std::string ready = argument(argc, argv, "--ready-fd");
  const Mode mode = readMode(root);
  const std::string runtime = root + "/run";
  mkdir(runtime.c_str(), 0700);
  const Journal journal(runtime + "/calls");
  std::ofstream(runtime + "/fake-pid") << getpid();
  describeOurselves(journal);
  UniqueFd readyFd(ready.empty() ? -1 : std::stoi(ready));
  if (mode.silentDeath) {
    writeAll(STDERR_FILENO, "assertion failed: no luck\n", "stderr");
    return 3;
  }
  if (mode.errorLine) {
    writeAll(readyFd.get(), "state directory is on a read-only file system\n", "ready");
    return 1;
  }
  auto io = kj::setupAsyncIo();
  if (mode.neverReady) kj::NEVER_DONE.operator kj::Promise<void>().wait(io.waitScope);
  auto receiver = io.lowLevelProvider->wrapListenSocketFd(kj::AutoCloseFd(listenAt(runtime)));
  if (readyFd) writeAll(readyFd.get(), "ready\n", "ready");
  readyFd.reset();
  auto leave = kj::newPromiseAndFulfiller<void>();
  kj::Vector<kj::Own<Peer>> peers;
  auto loop = serve(*receiver, io.provider->getTimer(), journal, *leave.fulfiller, peers, mode, root).promise();
  // A test that dies must not leave its daemon behind.
  auto limit = io.provider->getTimer().afterDelay(120 * kj::SECONDS);
  loop.exclusiveJoin(kj::mv(leave.promise)).exclusiveJoin(kj::mv(limit)).wait(io.waitScope);
  io.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(io.waitScope);  // the answer to `shutdown` goes out
  unlink((runtime + "/rauhad.sock").c_str());
  _exit(0);
}

}  // namespace
}  // namespace rauha

int main(int argc, char** argv) { return rauha::run(argc, argv); }
