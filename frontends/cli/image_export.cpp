#include "frontends/cli/image_export.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <exception>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "frontends/cli/export_files.h"

namespace rauha::cli {
namespace {

constexpr size_t kBlock = 256u << 10;

bool isTag(std::string_view t) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  return !t.empty() && t.size() <= 128 && t[0] != '.' && t[0] != '-' && std::all_of(t.begin(), t.end(), good);
}

sigset_t ending() {
  sigset_t set;
  sigemptyset(&set);
  for (int n : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, n);
  return set;
}

}  // namespace

ExportTarget parseExportTarget(std::string_view text) {
  ExportTarget out;
  std::string_view rest;
  constexpr std::string_view kArchive = "oci-archive:", kLayout = "oci:";
  if (text.substr(0, kArchive.size()) == kArchive) {
    rest = text.substr(kArchive.size());
  } else if (text.substr(0, kLayout.size()) == kLayout) {
    out.kind = ExportTarget::Kind::layout;
    rest = text.substr(kLayout.size());
  } else {
    throw Error("usage", Code::invalid, "--to '" + std::string(text) + "' is neither oci-archive:FILE nor oci:DIR",
                "write --to oci-archive:image.tar", "--to");
  }
  const size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && rest.find('/', colon) == std::string_view::npos) {
    out.tag = rest.substr(colon + 1);
    if (!isTag(out.tag))
      throw Error("usage", Code::invalid, "--to: '" + out.tag + "' after the last ':' is no tag",
                  "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'", "--to");
    rest = rest.substr(0, colon);
  }
  while (rest.size() > 1 && rest.back() == '/') rest.remove_suffix(1);
  out.path = rest;
  const std::string_view name = rest.substr(rest.rfind('/') + 1);
  if (name.empty() || name == "." || name == "..")
    throw Error("usage", Code::invalid,
                "--to '" + std::string(text) + "' names no " + (out.kind == ExportTarget::Kind::archive ? "file" : "directory"),
                "name one that does not exist yet", "--to");
  return out;
}

struct ExportReceiver::State {
  std::unique_ptr<ExportSink> sink;
  UniqueFd local, remote, stop, signals;
  std::thread thread;
  std::atomic<bool> whole{false};
  std::atomic<uint64_t> bytes{0};
  std::exception_ptr failure;  // the thread's, until it is joined
  bool badBytes = false;       // failure is about what came; as the above
  sigset_t before{};

  void run() noexcept {
    try {
      receive();
    } catch (...) {
      failure = std::current_exception();
      local.reset();  // the sender hears of it
    }
  }

  // After bytes that cannot be right the rest is thrown away: the sender finds the same, and knows better what it is.
  void take(std::string_view block) {
    if (badBytes) return;
    try {
      sink->write(block);
    } catch (const Error& e) {
      if (e.code() != Code::corrupt) throw;
      failure = std::current_exception();
      badBytes = true;
    }
  }

  void receive() {
    std::vector<char> buffer(kBlock);
    for (bool stopping = false;;) {
      const ssize_t n = recv(local.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n > 0) {
        take({buffer.data(), static_cast<size_t>(n)});
        bytes += static_cast<uint64_t>(n);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) throwErrno("image", "receive the image from the daemon");
      if (n == 0 || stopping) return;
      std::array<pollfd, 3> fds = {pollfd{local.get(), POLLIN, 0}, pollfd{stop.get(), POLLIN, 0}, pollfd{signals.get(), POLLIN, 0}};
      while (poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
      }
      if (fds[2].revents != 0) dieOfSignal();
      stopping = fds[1].revents != 0;
      if (stopping && !whole) return;
    }
  }

  // As if the signal had come to a program that had nothing to clean up.
  void dieOfSignal() {
    signalfd_siginfo info{};
    if (read(signals.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return;
    sink.reset();
    const int number = static_cast<int>(info.ssi_signo);
    signal(number, SIG_DFL);
    const sigset_t set = ending();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    kill(getpid(), number);
    pause();
  }

  void join() {
    if (!thread.joinable()) return;
    const uint64_t one = 1;
    static_cast<void>(!write(stop.get(), &one, sizeof one));
    thread.join();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
};

ExportReceiver::ExportReceiver(std::unique_ptr<ExportSink> sink) : state_(std::make_unique<State>()) {
  state_->sink = std::move(sink);
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throwErrno("image", "make a socket pair");
  state_->local.reset(ends[0]);
  state_->remote.reset(ends[1]);
  state_->stop.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state_->stop) throwErrno("image", "make an event descriptor");
}

ExportReceiver::~ExportReceiver() { state_->join(); }

int ExportReceiver::remote() const noexcept { return state_->remote.get(); }
uint64_t ExportReceiver::bytes() const noexcept { return state_->bytes; }

void ExportReceiver::start() {
  const sigset_t set = ending();
  state_->signals.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!state_->signals) throwErrno("image", "make a signal descriptor");
  pthread_sigmask(SIG_BLOCK, &set, &state_->before);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

void ExportReceiver::finish() {
  state_->whole = true;
  state_->join();
  if (state_->failure != nullptr) std::rethrow_exception(state_->failure);
  state_->sink->publish();
}

void ExportReceiver::giveUp() {
  state_->join();
  if (state_->failure != nullptr && !state_->badBytes) std::rethrow_exception(state_->failure);
}

}  // namespace rauha::cli
