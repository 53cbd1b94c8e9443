#include "core/zone/agent_client_fuzz_target.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/kj_error.h"
#include "core/base/schema_error.h"
#include "core/base/utf8.h"
#include "core/zone/agent_client.h"
#include "tests/fuzz/any_server.h"

namespace rauha {
namespace {

using fuzz::must;

// An exception of the RPC system, or one that carries an Error of the peer's making: either becomes an Error that can be shown.
void refused(const kj::Exception& e) {
  const Error error = fromKj(e, "zone");
  must(!error.errorClass().empty());
}

class Calls final {
 public:
  explicit Calls(schema::Agent::Client agent) : agent_(kj::mv(agent)) {}

  // Everything at once and in order, the process's calls through the promise of the process, as pipelining does.
  void run() {
    auto hello = agent_.helloRequest();
    hello.setVersion("fuzz");
    look(hello.send());
    auto create = agent_.createRequest();
    create.initSpec().setId("task_fuzz");
    auto created = create.send();
    auto process = created.getProcess();
    look(kj::mv(created));
    auto attach = process.attachRequest();
    attach.setStdout(fuzz::anyServer<schema::ByteSink>());
    attach.setStderr(fuzz::anyServer<schema::ByteSink>());
    look(attach.send());
    look(process.startRequest().send());
    look(process.stdinRequest().send());
    look(process.waitRequest().send());
    look(agent_.usageRequest().send());
    auto layer = agent_.writableLayerRequest();
    layer.setContainerId("task_fuzz");
    layer.setTarget("/workspace");
    look(layer.send());
    auto exit = agent_.exitRequest();
    exit.setContainerId("task_fuzz");
    look(exit.send());
    look(agent_.killAllRequest().send());
  }
  size_t answered() const noexcept { return answered_; }
  kj::Promise<void> over() { return kj::joinPromises(pending_.releaseAsArray()); }

 private:
  template <typename Results>
  void look(capnp::RemotePromise<Results>&& promise) {
    pending_.add(
        promise.then([this](capnp::Response<Results>&& response) { return read<Results>(response); }).catch_([](kj::Exception&& e) {
          refused(e);
        }));
  }
  template <typename Results>
  kj::Promise<void> read(typename Results::Reader response) {
    ++answered_;
    auto walk = kj::heap<fuzz::Walk>();
    must(walk->structure(capnp::toDynamic(response)) > 0);
    if constexpr (requires { response.getOutcome(); }) {
      const auto outcome = response.getOutcome();
      if (outcome.isError()) {
        const Error error = readError(outcome.getError());
        must(static_cast<int>(error.code()) >= 0);
        must(!toKj(error).getDescription().startsWith("\n"));
      }
    }
    auto done = walk->callBack();
    return done.attach(kj::mv(walk));
  }

  schema::Agent::Client agent_;
  kj::Vector<kj::Promise<void>> pending_;
  size_t answered_ = 0;
};

}  // namespace

bool fuzzAgentClient(std::string_view bytes) {
  fuzz::quiet();
  static kj::AsyncIoContext io = kj::setupAsyncIo();  // one for the process: making it costs more than an input
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) throwErrno("test", "socketpair");
  UniqueFd agent(ends[1]);
  // What does not fit into the socket is not sent: nobody reads here.
  while (!bytes.empty()) {
    const ssize_t n = ::send(agent.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  ::shutdown(agent.get(), SHUT_WR);
  AgentClient client(*io.lowLevelProvider, UniqueFd(ends[0]));
  Calls calls(client.agent());
  calls.run();
  bool over = false;
  auto end = calls.over().then([&] { over = true; }).eagerlyEvaluate(nullptr);
  // The agent's last byte is there already. Only what waits for its capabilities' answers may still be out, until it is gone altogether.
  for (int i = 0; i < 100 && !over; ++i) io.waitScope.poll();
  agent.reset();
  auto limit = io.provider->getTimer().afterDelay(5 * kj::SECONDS).then([] { must(false); }).eagerlyEvaluate(nullptr);
  end.wait(io.waitScope);
  must(over);
  return calls.answered() > 0;
}

}  // namespace rauha
