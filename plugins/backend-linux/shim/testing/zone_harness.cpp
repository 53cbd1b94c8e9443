#include "plugins/backend-linux/shim/testing/zone_harness.h"

#include <capnp/serialize.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/kj_error.h"
#include "core/base/schema_error.h"
#include "plugins/backend-linux/seccomp_profile.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::testing {
namespace {

// The compiled default filter takes 10 ms to make: once per set of inputs.
const std::string& cachedFilter(const ZoneOptions& o) {
  static std::map<std::string, std::string> cache;
  std::string key = std::to_string(o.userNamespace);
  for (auto c : o.capabilities) key += "," + std::to_string(c);
  for (const auto& a : o.allow) key += "+" + a;
  auto& program = cache[key];
  if (program.empty()) program = backend::compileFilter({o.capabilities, {}, o.allow, !o.userNamespace});
  return program;
}

class DescriptorServer final : public schema::Descriptor::Server {
 public:
  explicit DescriptorServer(UniqueFd fd) : fd_(std::move(fd)) {}
  kj::Maybe<int> getFd() override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

void writeProcess(schema::ProcessSpec::Builder out, const Job& job) {
  auto argv = out.initArgv(static_cast<unsigned>(job.argv.size()));
  for (unsigned i = 0; i < job.argv.size(); ++i) argv.set(i, job.argv[i]);
  auto env = out.initEnv(static_cast<unsigned>(job.env.size()));
  for (unsigned i = 0; i < job.env.size(); ++i) env.set(i, job.env[i]);
  out.setWorkdir(job.workdir);
  out.setWorkdirRequired(job.workdirRequired);
  if (!job.user.empty()) out.setUser(job.user);
  out.setTerminal(job.terminal);
  out.setRows(job.terminal ? 40 : 0);
  out.setColumns(job.terminal ? 120 : 0);
  out.setStdin(job.stdinOpen || !job.input.empty());
}

bool readable(int fd, int timeoutMs) {
  struct pollfd p = {fd, POLLIN, 0};
  return ::poll(&p, 1, timeoutMs) == 1;
}

uint32_t freshIdBase() {
  static uint32_t next = 0;
  // Far from the ranges that a running instance hands out, and different for each zone of this program.
  return 0x60000000u + (static_cast<uint32_t>(::getpid()) % 1000) * 1310720u % 0x0f000000u + 65536u * (next++ % 16);
}

}  // namespace

kj::Promise<void> Sink::write(WriteContext context) {
  const auto chunk = context.getParams().getChunk();
  EXPECT_LE(chunk.size(), 65536u);
  into_.append(reinterpret_cast<const char*>(chunk.begin()), chunk.size());
  return kj::READY_NOW;
}

kj::Promise<void> Sink::end(EndContext) {
  if (ended_ != nullptr) *ended_ = true;
  return kj::READY_NOW;
}

TestZone::TestZone(kj::AsyncIoContext& io, const ZoneOptions& options) : io_(io), id_(newId("zone")) {
  char name[] = "/tmp/rauha-agent-test-XXXXXX";
  directory_ = ::mkdtemp(name);
  hostIdBase_ = options.userNamespace ? freshIdBase() : 0;
  makeGroups(options);
  int agent[2], outcome[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent) != 0 || ::pipe2(outcome, O_CLOEXEC) != 0)
    throwErrno("daemon", "socketpair");
  UniqueFd mine(agent[0]), its(agent[1]), answer(outcome[0]), answerEnd(outcome[1]);
  startShim(boundary(options).get(), its.get(), answerEnd.get(), options.failStep);
  its.reset();
  answerEnd.reset();
  try {
    capnp::StreamFdMessageReader message(answer.get());
    throwOnError(message.getRoot<schema::Outcome>());
  } catch (...) {
    end();
    throw;
  }
  connect(std::move(mine));
}

void TestZone::makeGroups(const ZoneOptions& options) {
  const std::string instance = "rauha-test-" + std::to_string(::getpid());
  auto hierarchies = cgroup::detect();
  tree_ = std::make_unique<cgroup::GroupTree>(hierarchies, cgroup::Placement{instance, ""}, instance);
  std::vector<Layer> layers;
  cgroup::Limits limits;
  limits.memoryBytes = options.memoryBytes;
  limits.pids = options.pids;
  members_ = tree_->create(id_, limits, std::nullopt, layers);
  groups_ = std::make_unique<cgroup::ZoneGroups>(members_);
}

UniqueFd TestZone::boundary(const ZoneOptions& options) {
  capnp::MallocMessageBuilder message;
  auto b = message.initRoot<schema::Boundary>();
  b.setZoneId(id_);
  b.setHostname("box");
  b.setEphemeral(options.ephemeral);
  b.setUserNamespace(options.userNamespace);
  b.setHostIdBase(hostIdBase_);
  b.setNetworkMode(options.hostNetwork ? schema::NetworkMode::HOST : schema::NetworkMode::ISOLATED);
  auto groups = b.initCgroups(static_cast<unsigned>(members_.size()));
  for (unsigned i = 0; i < members_.size(); ++i) groups[i].setController(members_[i].controller), groups[i].setPath(members_[i].path);
  const auto data = [](const std::string& bytes) { return kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()); };
  b.setSeccompProgram(data(cachedFilter(options)));
  if (options.noSuid) b.setSeccompNoSuid(data(backend::compileNoSuidFilter()));
  auto capabilities = b.initCapabilities(static_cast<unsigned>(options.capabilities.size()));
  for (unsigned i = 0; i < options.capabilities.size(); ++i) capabilities.set(i, options.capabilities[i]);
  b.setOpenFiles(options.openFiles);
  b.setLandlock(options.landlock);
  if (options.listen) b.setSocketPath(socketPath());
  b.setAgentVersion("test");
  b.setMemoryBytes(options.memoryBytes);
  b.setInstance("rauha-test");
  UniqueFd memfd(::memfd_create("boundary", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  capnp::writeMessageToFd(memfd.get(), message);
  ::lseek(memfd.get(), 0, SEEK_SET);
  return memfd;
}

void TestZone::startShim(int boundaryFd, int agent, int outcome, int failStep) {
  const char* program = failStep > 0 ? RAUHA_SHIM "-faulty" : RAUHA_SHIM;
  sys::Child child = sys::clone3({}, "start the shim");
  if (child.pid == 0) {
    // Out of the way of 3, 4 and 5 first.
    const int a = ::fcntl(boundaryFd, F_DUPFD, 100), b = ::fcntl(agent, F_DUPFD, 100), c = ::fcntl(outcome, F_DUPFD, 100);
    ::dup2(a, 3), ::dup2(b, 4), ::dup2(c, 5);
    ::close(a), ::close(b), ::close(c);
    ::setenv("RAUHA_SECRET_OF_THE_DAEMON", "1", 1);
    if (failStep > 0) ::setenv("RAUHA_FAIL_STEP", std::to_string(failStep).c_str(), 1);
    ::execl(program, "rauha-shim", id_.c_str(), "rauha-test", static_cast<char*>(nullptr));
    ::_exit(126);
  }
  shim_ = child.pid;
  shimPidfd_ = std::move(child.pidfd);
}

void TestZone::connect(UniqueFd fd) {
  stream_ = io_.lowLevelProvider->wrapUnixSocketFd(
      fd.release(), kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP | kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  client_ = kj::heap<capnp::TwoPartyClient>(*stream_, 8);
  agent_ = client_->bootstrap().castAs<schema::Agent>();
}

std::string TestZone::socketPath() const { return directory_ + "/agent.sock"; }

void TestZone::disconnect() {
  agent_ = nullptr;
  client_ = nullptr;
  stream_ = nullptr;
}

void TestZone::reconnect() {
  disconnect();
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socketPath().c_str(), sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0)
    throwErrno("daemon", "connect " + socketPath());
  connect(std::move(fd));
}

bool TestZone::shimEnds(int timeoutMs) { return readable(shimPidfd_.get(), timeoutMs); }

bool TestZone::zoneEmpties(int timeoutMs) {
  const int64_t deadline = monotonicNs() + int64_t{timeoutMs} * 1000000;
  while (!groups_->empty()) {
    if (monotonicNs() > deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

TestZone::~TestZone() {
  disconnect();
  end();
}

void TestZone::end() {
  // An ephemeral zone ends by itself; any other one, and one whose shim is stuck, is ended here.
  if (!shimEnds(50)) sys::pidfdSendSignal(shimPidfd_.get(), SIGTERM);
  if (!shimEnds(5000)) {
    ADD_FAILURE() << "the shim did not end";
    sys::pidfdSendSignal(shimPidfd_.get(), SIGKILL);
  }
  siginfo_t info;
  ::waitid(P_PIDFD, static_cast<id_t>(shimPidfd_.get()), &info, WEXITED);
  EXPECT_TRUE(zoneEmpties(5000)) << "processes are left in " << id_;
  try {
    tree_->kill(id_);
    tree_->remove(id_, monotonicNs() + 5000000000);
    tree_->removeBase();
  } catch (const Error& e) {
    ADD_FAILURE() << e.text();
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void TestZone::writeRoot(schema::RootfsPlan::Builder out, const Job& job) {
  if (job.emptyRoot) {
    out.setEmpty();
  } else {
    const auto paths = job.layers.empty() ? std::vector<std::string>{busyboxLayer()} : job.layers;
    auto layers = out.initOverlay(static_cast<unsigned>(paths.size()));
    for (unsigned i = 0; i < paths.size(); ++i) layers[i].setPath(paths[i]), layers[i].setMapping(job.layerMapping);
  }
  out.setReadOnlyRoot(job.readOnlyRoot);
  out.setScratch(job.diskScratch ? schema::ScratchKind::DISK : schema::ScratchKind::MEMORY);
  out.setScratchBytes(job.scratchBytes);
  out.setScratchDirectory(job.scratchDirectory.empty() ? directory_ : job.scratchDirectory);
  out.setTmpBytes(job.tmpBytes);
  auto mounts = out.initMounts(static_cast<unsigned>(job.mounts.size()));
  for (unsigned i = 0; i < job.mounts.size(); ++i) job.mounts[i](mounts[i]);
  auto masked = out.initMasked(static_cast<unsigned>(job.masked.size()));
  for (unsigned i = 0; i < job.masked.size(); ++i) masked.set(i, job.masked[i]);
  auto readOnly = out.initReadOnly(static_cast<unsigned>(job.readOnly.size()));
  for (unsigned i = 0; i < job.readOnly.size(); ++i) readOnly.set(i, job.readOnly[i]);
  auto devices = out.initDevices(static_cast<unsigned>(job.devices.size()));
  for (unsigned i = 0; i < job.devices.size(); ++i) devices[i].setPath(job.devices[i].first), devices[i].setAccess(job.devices[i].second);
}

namespace {
void attachSinks(TestZone& zone, Live& live) {
  auto attach = live.process.attachRequest();
  attach.setStdout(kj::heap<Sink>(*live.out));
  attach.setStderr(kj::heap<Sink>(*live.err));
  zone.await<void>(attach.send().ignoreResult());
}
}  // namespace

Live TestZone::create(const Job& job, bool attach) {
  Live live;
  const int64_t begin = monotonicNs();
  auto request = agent_.createRequest();
  auto spec = request.initSpec();
  lastContainer_ = "c" + std::to_string(containers_++);
  spec.setId(lastContainer_);
  writeRoot(spec.initRootfs(), job);
  writeProcess(spec.initProcess(), job);
  auto descriptors = spec.initDescriptors(static_cast<unsigned>(job.descriptors.size()));
  for (unsigned i = 0; i < job.descriptors.size(); ++i) descriptors.set(i, kj::heap<DescriptorServer>(duplicate(job.descriptors[i])));
  auto response = await(request.send().then([](auto&& r) { return kj::mv(r); }));
  live.ran.totalNs = static_cast<uint64_t>(monotonicNs() - begin);
  if (response.getOutcome().isError()) {
    live.error = readError(response.getOutcome().getError());
    return live;
  }
  live.process = response.getProcess();
  live.pid = response.getPid();
  const auto layers = response.getLayers();
  for (auto n : layers.getNotes()) live.ran.notes.emplace_back(n.cStr());
  for (auto n : layers.getCapabilities()) live.ran.capabilities.emplace_back(n.cStr());
  live.ran.landlockAbi = layers.getLandlockAbi();
  live.ran.seccomp = layers.getSeccomp();
  live.ran.noNewPrivs = layers.getNoNewPrivs();
  for (auto s : response.getStages()) live.ran.stages.emplace_back(s.getName().cStr(), s.getNs());
  if (attach) attachSinks(*this, live);
  return live;
}

Live TestZone::exec(const Job& job) {
  Live live;
  auto request = agent_.execRequest();
  request.setContainerId(lastContainer_);
  writeProcess(request.initSpec(), job);
  auto response = await(request.send().then([](auto&& r) { return kj::mv(r); }));
  if (response.getOutcome().isError()) {
    live.error = readError(response.getOutcome().getError());
    return live;
  }
  live.process = response.getProcess();
  live.pid = response.getPid();
  attachSinks(*this, live);
  return live;
}

UniqueFd TestZone::writableLayer(const std::string& target) {
  auto request = agent_.writableLayerRequest();
  request.setContainerId(lastContainer_);
  request.setTarget(target);
  auto response = await(request.send().then([](auto&& r) { return kj::mv(r); }));
  if (response.getOutcome().isError()) throw readError(response.getOutcome().getError());
  auto layer = response.getLayer();
  return duplicate(KJ_ASSERT_NONNULL(await(layer.getFd())));
}

std::optional<Error> TestZone::start(Live& live) {
  auto response = await(live.process.startRequest().send().then([](auto&& r) { return kj::mv(r); }));
  if (response.getOutcome().isError()) live.error = readError(response.getOutcome().getError());
  return live.error;
}

Ran TestZone::wait(Live& live, const std::string& input, bool feed) {
  kj::Promise<void> feeding = kj::READY_NOW;
  if (feed) {
    auto sink = await(live.process.stdinRequest().send().then([](auto&& r) { return r.getSink(); }));
    for (size_t at = 0; at < input.size(); at += 65536) {
      auto write = sink.writeRequest();
      const auto part = input.substr(at, 65536);
      write.setChunk(kj::arrayPtr(reinterpret_cast<const kj::byte*>(part.data()), part.size()));
      feeding = feeding.then([w = kj::mv(write)]() mutable { return w.send(); });
    }
    feeding = feeding.then([sink]() mutable { return sink.endRequest().send().ignoreResult(); }).eagerlyEvaluate([](kj::Exception&& e) {
      ADD_FAILURE() << "feeding: " << e.getDescription().cStr();
    });
  }
  auto response = await(live.process.waitRequest().send().then([](auto&& r) { return kj::mv(r); }));
  const auto exit = response.getExit();
  if (exit.isExited())
    live.ran.exited = exit.getExited();
  else
    live.ran.signaled = exit.getSignaled();
  live.ran.outOfMemory = exit.getOutOfMemory();
  EXPECT_GE(exit.getFinishedNs(), exit.getStartedNs());
  live.ran.out = *live.out;
  live.ran.err = *live.err;
  return live.ran;
}

Ran TestZone::run(const Job& job) {
  Live live = create(job);
  if (!live.error) start(live);
  if (live.error) {
    live.ran.error = live.error;
    return live.ran;
  }
  return wait(live, job.input, job.stdinOpen || !job.input.empty());
}

TempTree::TempTree(const std::string& base) : path_(base + "/rauha-agent-tree-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) throwErrno("daemon", "make " + path_);
  ::chmod(path_.c_str(), 0755);
}
TempTree::~TempTree() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
void TempTree::write(const std::string& name, const std::string& content, mode_t mode) const {
  std::filesystem::create_directories(std::filesystem::path(path_ + "/" + name).parent_path());
  std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  ::chmod((path_ + "/" + name).c_str(), mode);
}
void TempTree::directory(const std::string& name, mode_t mode) const {
  std::filesystem::create_directories(path_ + "/" + name);
  ::chmod((path_ + "/" + name).c_str(), mode);
}
void TempTree::link(const std::string& name, const std::string& text) const { std::filesystem::create_symlink(text, path_ + "/" + name); }

const std::string& busyboxLayer() {
  static const std::unique_ptr<TempTree> tree = [] {
    auto t = std::make_unique<TempTree>();
    for (const char* d : {"bin", "etc", "root", "usr/bin", "tmp"}) t->directory(d);
    std::filesystem::copy_file("/bin/busybox", *t / "bin/busybox");
    for (const char* applet :
         {"sh",    "cat",   "echo",     "ls",     "id",   "true",   "false", "sleep", "kill",  "ps",       "mount", "umount",
          "mkdir", "touch", "rm",       "stat",   "head", "wc",     "dd",    "grep",  "mknod", "hostname", "ip",    "env",
          "pwd",   "chmod", "readlink", "tty",    "stty", "find",   "nc",    "seq",   "yes",   "unshare",  "chown", "ln",
          "mv",    "cp",    "tail",     "setsid", "test", "printf", "sync",  "df",    "sort"})
      t->link(std::string("bin/") + applet, "busybox");
    t->write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n");
    t->write("etc/group", "root:x:0:\nalice:x:1000:\ndocker:x:998:alice\nwheel:x:10:alice,root\n");
    return t;
  }();
  return tree->path();
}

}  // namespace rauha::testing
