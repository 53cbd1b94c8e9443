#include "core/plugin/remote/host_process.h"

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/async-unix.h>
#include <kj/io.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/schema_error.h"
#include "core/plugin/remote/passed_source.h"
#include "core/plugin/remote/spawn_host.h"
#include "core/rpc/connection.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxReports = 64 << 10;
// A process that crashes closes its socket some time before its end is to be seen.
constexpr auto kSettle = 2 * kj::SECONDS;

// An answer with 32 MiB of text (the sink's limit) and what stands around it.
rpc::Limits limits() {
  rpc::Limits out;
  out.messageWords = 5u << 20;
  out.nesting = 32;
  out.flowWords = 64 * 1024;
  // What a plugin says in one go, log lines, events and progress, is cut off by the limits of these, which count it; not by ending its
  // process.
  out.kept = 16 * 1024;
  out.descriptorsPerMessage = 1;  // 0 would also stop ours from being sent; what comes is closed
  return out;
}

capnp::ReaderOptions readerOptions(const rpc::Limits& l) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = l.messageWords;
  options.nestingLimit = static_cast<int>(l.nesting);
  return options;
}

std::string describeEnd(int status) {
  if (WIFSIGNALED(status)) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    return "ended by " + (name == nullptr ? "signal " + std::to_string(WTERMSIG(status)) : "SIG" + std::string(name));
  }
  return "exited with status " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

std::string readToEnd(int fd) {
  std::string out;
  char buffer[4096];
  fcntl(fd, F_SETFL, O_NONBLOCK);  // every writer is dead; never wait all the same
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || out.size() > kMaxReports) return out;
    out.append(buffer, static_cast<size_t>(n));
  }
}

schema::PluginHost::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message(8);
  auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(vat).castAs<schema::PluginHost>();
}

}  // namespace

struct HostProcess::State {
  State(kj::AsyncIoContext& context, SpawnedHost spawned)
      : io(context),
        process(std::move(spawned)),
        stream(io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(process.socket.release()))),
        polite(*stream, io.provider->getTimer(), limits(), budget, 0),
        network(polite, limits().descriptorsPerMessage, capnp::rpc::twoparty::Side::CLIENT, readerOptions(limits())),
        rpc(capnp::makeRpcClient(network)),
        host(nullptr),
        pidfd(io.unixEventPort, process.pidfd.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ),
        end(nullptr) {
    polite.watch(network);
    rpc.setFlowLimit(limits().flowWords);
    host = bootstrap(rpc);
    dead = pidfd.whenBecomesReadable().fork();
    end = kj::Promise<void>(watch()).fork();
  }

  Task<void> watch() {
    auto lost = network.onDisconnect().exclusiveJoin(polite.onGivenUp());
    auto first = lost.exclusiveJoin(dead.addBranch());
    try {
      co_await kj::mv(first);
    } catch (...) {  // a broken connection is a lost one
    }
    auto settled = dead.addBranch().exclusiveJoin(io.provider->getTimer().afterDelay(kSettle));
    co_await kj::mv(settled);
    if (!reaped()) {
      sendKill("broke off its connection, and was killed");
      co_await dead.addBranch();
    }
    finish();
  }

  void sendKill(std::string why) noexcept {
    if (killReason.empty()) killReason = std::move(why);
    syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
  }

  bool reaped() noexcept {
    if (gone) return true;
    siginfo_t info{};
    if (waitid(P_PIDFD, static_cast<id_t>(process.pidfd.get()), &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return false;
    gone = true;
    status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
    return true;
  }

  void finish() {
    reaped();
    ended = true;
    readReports();
    if (!killReason.empty())
      how = killReason;
    else
      how = describeEnd(status);
  }

  // Written by our own code, but read as if it were not: the process is dead and its pipe may hold anything.
  void readReports() noexcept {
    try {
      const std::string bytes = readToEnd(process.reports.get());
      kj::ArrayInputStream in(kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
      while (in.tryGetReadBuffer().size() > 0) {
        capnp::InputStreamMessageReader message(in);
        const auto report = message.getRoot<schema::HostReport>();
        if (report.isRefused()) refusal = readError(report.getRefused());
        if (report.isEnded()) status = report.getEnded();
      }
    } catch (...) {  // what was read must do
    }
  }

  kj::AsyncIoContext& io;
  SpawnedHost process;
  kj::Own<kj::AsyncCapabilityStream> stream;
  // Its own: what a plugin sends never keeps clients from being heard. Room for one message of the largest size.
  rpc::MessageBudget budget{rpc::MessageBounds{16u << 10, 48u << 20, 48u << 20}};
  rpc::PoliteStream polite;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  schema::PluginHost::Client host;
  kj::UnixEventPort::FdObserver pidfd;
  std::string how, killReason;
  std::optional<Error> refusal;
  int status = 0;
  bool gone = false, ended = false;
  kj::ForkedPromise<void> dead = nullptr;
  kj::ForkedPromise<void> end;
};

HostProcess::HostProcess(kj::AsyncIoContext& io, const HostStart& start) {
  const UniqueFd file = passablePlugin(start.file);
  SpawnedHost spawned = spawnHost(start.program, start.plugin, start.instance, file.get());
  capnp::MallocMessageBuilder message;
  auto setup = message.initRoot<schema::HostSetup>();
  setup.setPlugin(start.plugin);
  setup.setPath(start.path);
  setup.setInstance(start.instance);
  start.setup(setup);
  try {
    capnp::writeMessageToFd(spawned.socket.get(), message);
  } catch (const kj::Exception&) {
    // It is dead already; watch() finds out how.
  }
  state_ = std::make_unique<State>(io, std::move(spawned));
}

HostProcess::~HostProcess() noexcept(false) {
  if (!state_->gone) {
    state_->sendKill("was stopped");
    siginfo_t info{};
    while (waitid(P_PIDFD, static_cast<id_t>(state_->process.pidfd.get()), &info, WEXITED) != 0 && errno == EINTR) {
    }
  }
}

schema::PluginHost::Client& HostProcess::host() noexcept { return state_->host; }
pid_t HostProcess::pid() const noexcept { return state_->process.pid; }
kj::Promise<void> HostProcess::onEnd() { return state_->end.addBranch(); }
bool HostProcess::ended() const noexcept { return state_->ended; }
const std::string& HostProcess::how() const noexcept { return state_->how; }
const std::optional<Error>& HostProcess::refusal() const noexcept { return state_->refusal; }
void HostProcess::kill(std::string why) noexcept { state_->sendKill(std::move(why)); }

}  // namespace rauha::plugin
