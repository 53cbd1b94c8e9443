// A client that stays: one connection to a running daemon, many sandbox calls on it, one after the other. Prints the microseconds of each
// call, from before it is sent until its result is there, a line each.
//
//   rpc_runs ROOT IMAGE COUNT COMMAND…
#include <kj/async-io.h>

#include <cstdio>
#include <cstdlib>

#include "core/base/clock.h"
#include "frontends/cli/connection.h"
#include "frontends/cli/instance_paths.h"

namespace {

using namespace rauha;

void fill(schema::SandboxRequest::Builder request, const char* image, char** words, int count) {
  request.setImage(image);
  auto argv = request.initArgv(static_cast<kj::uint>(count));
  for (int i = 0; i < count; ++i) argv.set(static_cast<kj::uint>(i), words[i]);
}

int runAll(const char* root, const char* image, long count, char** words, int wordCount) {
  auto io = kj::setupAsyncIo();
  const auto paths = cli::instancePaths(std::string(root));
  auto socket = cli::tryConnect(paths);
  if (!socket) throw Error("bench", Code::notFound, "no daemon at " + paths.socketPath());
  cli::Connection connection(io, std::move(socket));
  for (long i = 0; i < count; ++i) {
    const int64_t begun = monotonicNs();
    auto call = connection.rauha().sandboxRequest();
    fill(call.initRequest(), image, words, wordCount);
    auto task = call.send().getTask();
    const auto response = task.waitRequest().send().wait(io.waitScope);
    const int64_t spent = monotonicNs() - begun;
    if (response.getResult().getStatus() != schema::TaskStatus::SUCCEEDED) throw Error("bench", Code::internal, "a task did not succeed");
    printf("%lld\n", static_cast<long long>(spent / 1000));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 4 ? strtol(argv[3], nullptr, 10) : 0;
  if (count < 1) {
    fputs("usage: rpc_runs ROOT IMAGE COUNT COMMAND...\n", stderr);
    return 2;
  }
  try {
    return runAll(argv[1], argv[2], count, argv + 4, argc - 4);
  } catch (const std::exception& e) {
    fprintf(stderr, "rpc_runs: %s\n", e.what());
  } catch (const kj::Exception& e) {
    fprintf(stderr, "rpc_runs: %s\n", e.getDescription().cStr());
  }
  return 1;
}
