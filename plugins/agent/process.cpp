#include "plugins/agent/process.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {
constexpr std::string_view kClass = "zone";
using Observer = kj::UnixEventPort::FdObserver;
}  // namespace

Process::Process(Loop loop, Spawned spawned, bool terminal, bool stdinOpen)
    : loop_(loop),
      spawned_(std::move(spawned)),
      terminal_(terminal),
      stdinOpen_(stdinOpen),
      controlEvents_(loop.port, spawned_.control.get(), Observer::OBSERVE_READ),
      deathEvents_(loop.port, spawned_.pidfd.get(), Observer::OBSERVE_READ),
      reaped_(nullptr) {
  if (spawned_.stdout) out_ = std::make_unique<OutputPump>(loop_, std::move(spawned_.stdout));
  if (spawned_.stderr) err_ = std::make_unique<OutputPump>(loop_, std::move(spawned_.stderr));
  reaped_ = reap().promise().fork();
}

Task<void> Process::reap() {
  siginfo_t info = {};
  while (true) {
    info.si_pid = 0;
    const int r = ::waitid(P_PIDFD, static_cast<id_t>(spawned_.pidfd.get()), &info, WEXITED | WNOHANG);
    if (r != 0 && errno != EINTR) throwErrno(kClass, "wait for process " + std::to_string(spawned_.pid));
    if (r == 0 && info.si_pid != 0) break;
    if (r == 0) co_await deathEvents_.whenBecomesReadable();
  }
  alive_ = false;
  ended_.signaled = info.si_code != CLD_EXITED;
  ended_.number = info.si_status;
  ended_.finishedNs = realNs();
}

Task<std::string> Process::nextReport() {
  while (true) {
    auto received = receive(spawned_.control.get());
    if (!received) {
      co_await controlEvents_.whenBecomesReadable();
      continue;
    }
    const auto copying = started_ ? std::nullopt : decodeCopying(received->text);
    if (copying) {
      if (copying_) copying_(*copying);
      continue;
    }
    if (received->descriptors.empty()) co_return std::move(received->text);
    const char tag = received->text.empty() ? '\0' : received->text[0];
    if (tag == kTagTerminal) takeTerminal(std::move(received->descriptors[0]));
    if (tag == kTagRuleset) ruleset_ = std::move(received->descriptors[0]);
    if (tag == kTagWritableLayer) writableLayers_.push_back(std::move(received->descriptors[0]));
  }
}

void Process::takeTerminal(UniqueFd master) {
  out_ = std::make_unique<OutputPump>(loop_, duplicate(master.get()));
  master_ = std::move(master);
}

Task<Ready> Process::ready() {
  std::string text = co_await nextReport();
  if (text.empty()) {
    co_await reaped();
    const std::string how = ended_.signaled ? "signal " : "status ";
    throw Error(kClass, Code::io, "the zone's process ended with " + how + std::to_string(ended_.number) + " before it was set up",
                "the zone may be out of memory or processes; look at its limits");
  }
  Ready ready = decodeReport(text);
  // Pipes belong to the task's user, so that it can open /dev/stdout again by name.
  for (OutputPump* pump : {out_.get(), err_.get()})
    if (pump != nullptr && !terminal_) pump->giveTo(ready.hostUid, ready.hostGid);
  if (spawned_.stdinWrite && ::fchown(spawned_.stdinWrite.get(), ready.hostUid, ready.hostGid) != 0)
    throwErrno(kClass, "give standard input to the task's user");
  co_return ready;
}

Task<void> Process::start() {
  if (started_) throw Error(kClass, Code::conflict, "the process was started already");
  started_ = true;
  ended_.startedNs = realNs();
  if (::send(spawned_.control.get(), "g", 1, MSG_NOSIGNAL) != 1)
    throw Error(kClass, Code::conflict, "the process ended before it was started");
  const std::string text = co_await nextReport();
  if (!text.empty()) decodeReport(text);  // throws what it carries
}

kj::Promise<void> Process::drained() {
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(2);
  promises.add(out_ ? out_->drain() : kj::READY_NOW);
  promises.add(err_ ? err_->drain() : kj::READY_NOW);
  return kj::joinPromises(promises.finish());
}

void Process::signal(int number) {
  if (number < 1 || number >= NSIG) throw Error(kClass, Code::invalid, "there is no signal " + std::to_string(number));
  if (alive_) sys::pidfdSendSignal(spawned_.pidfd.get(), number);
}

void Process::resize(uint16_t rows, uint16_t columns) {
  if (!master_) return;
  struct winsize size = {};
  size.ws_row = rows;
  size.ws_col = columns;
  if (::ioctl(master_.get(), TIOCSWINSZ, &size) != 0) throwErrno(kClass, "size a terminal");
}

schema::ByteSink::Client Process::takeStdin() {
  if (terminal_ && stdinOpen_ && master_) {
    stdinOpen_ = false;
    return kj::heap<InputSink>(loop_, duplicate(master_.get()), true);
  }
  if (!stdinOpen_ || !spawned_.stdinWrite)
    throw Error(kClass, Code::conflict, "the process has no standard input that could be written",
                "it was asked for without one, or somebody writes to it already");
  stdinOpen_ = false;
  return kj::heap<InputSink>(loop_, std::move(spawned_.stdinWrite), false);
}

void Process::attach(kj::Maybe<schema::ByteSink::Client> out, kj::Maybe<schema::ByteSink::Client> err) {
  KJ_IF_MAYBE (sink, out)
    if (out_) out_->attach(kj::mv(*sink));
  KJ_IF_MAYBE (sink, err)
    if (err_) err_->attach(kj::mv(*sink));
}

}  // namespace rauha::agent
