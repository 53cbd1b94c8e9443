#include "frontends/cli/client.h"

#include <string>

#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

std::string majorMinor(const std::string& version) {
  const size_t first = version.find('.');
  return first == std::string::npos ? version : version.substr(0, version.find('.', first + 1));
}

}  // namespace

Client::Client(const InstancePaths& paths, Start start) : paths_(paths), start_(start), io_(kj::setupAsyncIo()) { connect(); }

void Client::connect() {
  connection_.reset();
  UniqueFd socket = start_ == Start::onDemand ? connectOrStart(paths_, {}) : tryConnect(paths_);
  if (!socket)
    throw Error("daemon", Code::notFound, "no daemon answers at " + paths_.socketPath(), "any other command starts it",
                paths_.socketPath());
  connection_ = std::make_unique<Connection>(io_, std::move(socket));
}

void warnAboutVersion(schema::ServerInfo::Reader server) {
  const std::string theirs(server.getVersion().begin(), server.getVersion().size());
  if (majorMinor(theirs) == majorMinor(programVersion())) return;
  printWarning("the daemon is version " + theirs + " and this program " + programVersion() + "; restart it with `rauha daemon stop`");
}

const char* programVersion() noexcept { return RAUHA_VERSION; }

}  // namespace rauha::cli
