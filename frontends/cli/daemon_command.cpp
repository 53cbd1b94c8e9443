// `rauha daemon status|stop`, `rauha version`, `rauha events`: the daemon itself and what it tells.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "core/base/ids.h"
#include "core/base/schema_error.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr std::chrono::seconds kStopPatience{60};

// A running daemon's answer. The client comes first: a response must not outlive its event loop.
struct Hello {
  std::unique_ptr<Client> client;
  capnp::Response<schema::Rauha::HelloResults> response;
};

// Nothing: no daemon runs. Never starts one.
std::optional<Hello> hello(const InstancePaths& paths) {
  try {
    auto client = std::make_unique<Client>(paths, Client::Start::never);
    auto response = client->call([](schema::Rauha::Client& rauha) {
      auto request = rauha.helloRequest();
      request.setClientVersion(programVersion());
      return request.send();
    });
    return Hello{std::move(client), kj::mv(response)};
  } catch (const Error& e) {
    if (e.code() != Code::notFound) throw;
    return std::nullopt;
  }
}

int status(const Invocation& invocation) {
  Arguments arguments("rauha daemon status", "Tell whether the daemon runs; never starts it. Exit status 1 when it does not run.",
                      "  rauha daemon status\n");
  if (!arguments.parse(invocation)) return kOk;
  const InstancePaths paths = instancePaths(arguments.root());
  if (const auto answer = hello(paths)) {
    const auto server = answer->response.getServer();
    if (invocation.json) return printDocument("{\"running\":true,\"server\":" + toJson(server) + "}"), kOk;
    printText("rauhad " + printable(str(server.getVersion())) + " runs: pid " + std::to_string(server.getPid()) + ", instance " +
              printable(str(server.getInstance())) + ", root " + printable(str(server.getRoot())) + ", up " +
              formatDuration(server.getUptimeMs()) + ", " + std::to_string(server.getZones()) + " zones\n");
    warnAboutVersion(server);
    return kOk;
  }
  if (invocation.json) return printDocument("{\"running\":false}"), kFailure;
  printText("no daemon answers at " + printable(paths.socketPath()) + "; any other command starts it\n");
  return kFailure;
}

// The daemon's process, held before it is asked to go, so that its number cannot become another's. Nothing: it is not to be seen from here
// (another pid namespace); then nobody waits.
UniqueFd processOf(pid_t pid) {
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::string name;
  try {
    name = readFile("/proc/" + std::to_string(pid) + "/comm");
  } catch (const Error&) {
    return {};
  }
  return name == "rauhad\n" ? std::move(process) : UniqueFd();
}

// Tasks end and clean up first, with --force; the lock that the next daemon needs is free when the process is gone.
void awaitEnd(const UniqueFd& process, pid_t pid, const InstancePaths& paths) {
  if (!process) return;
  const auto deadline = std::chrono::steady_clock::now() + kStopPatience;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd ended{process.get(), POLLIN, 0};
    const int n = poll(&ended, 1, static_cast<int>(std::max<long long>(0, left)));
    if (n > 0) return;
    if (n < 0 && errno != EINTR) throwErrno("daemon", "wait for the daemon's end");
    if (n == 0 || left <= 0) break;
  }
  throw Error("daemon", Code::deadline, "the daemon (pid " + std::to_string(pid) + ") was told to stop and still cleans up",
              "wait for it; its log says what it does (" + paths.logPath() + ", or the journal)", paths.socketPath());
}

int stop(const Invocation& invocation) {
  Arguments arguments("rauha daemon stop",
                      "Stop the daemon (root only), and wait until it is gone. Zones that are not temporary stay as they are.",
                      "  rauha daemon stop\n  rauha daemon stop --force\n");
  bool force = false;
  arguments.flag("-f,--force", force, "also while tasks run; they are ended");
  if (!arguments.parse(invocation)) return kOk;
  const InstancePaths paths = instancePaths(arguments.root());
  // Nothing to stop is what was asked for.
  const auto answer = hello(paths);
  if (answer) {
    const pid_t pid = answer->response.getServer().getPid();
    const UniqueFd process = processOf(pid);
    const auto response = answer->client->call([&](schema::Rauha::Client& rauha) {
      auto request = rauha.shutdownRequest();
      request.setForce(force);
      return request.send();
    });
    throwOnError(response.getOutcome());
    awaitEnd(process, pid, paths);
  }
  if (invocation.json) return printDocument(std::string("{\"stopped\":") + (answer ? "true" : "false") + "}"), kOk;
  printText(answer ? "the daemon has stopped\n" : "no daemon runs\n");
  return kOk;
}

constexpr Subcommand kSubcommands[] = {{"status", "tell whether the daemon runs", status}, {"stop", "stop the daemon", stop}};

const char* severityName(schema::Severity severity) {
  switch (severity) {
    case schema::Severity::DEBUG:
      return "debug";
    case schema::Severity::INFO:
      return "info";
    case schema::Severity::NOTICE:
      return "notice";
    case schema::Severity::WARNING:
      return "warning";
    case schema::Severity::ERROR:
      return "error";
  }
  return "unknown";
}

std::string eventLine(schema::Event::Reader event, const Style& style) {
  const bool loud = event.getSeverity() == schema::Severity::WARNING || event.getSeverity() == schema::Severity::ERROR;
  std::string line = style.paint(Colour::dim, printable(str(event.getTime()))) + " " +
                     style.paint(loud ? Colour::yellow : Colour::none, severityName(event.getSeverity())) + " " +
                     style.paint(Colour::bold, printable(str(event.getName())));
  if (event.hasZoneId()) line += " " + printable(str(event.getZoneId()));
  return line + " " + printable(str(event.getMessage())) + "\n";
}

// The stream knows zones by id; people know them by name.
std::string zoneIdOf(Client& client, const std::string& zone) {
  if (isId("zone", zone)) return zone;
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.showZoneRequest();
    request.setName(zone);
    return request.send();
  });
  throwOnError(response.getOutcome());
  return str(response.getZone().getId());
}

void printEvents(schema::EventStream::NextResults::Reader batch, bool json, const Style& style) {
  for (const auto event : batch.getEvents()) printText(json ? toJson(event) + "\n" : eventLine(event, style));
  if (batch.getDropped() > 0) printWarning(std::to_string(batch.getDropped()) + " events were missed: this program reads too slowly");
}

}  // namespace

int daemonCommand(const Invocation& invocation) { return dispatch("daemon", kSubcommands, std::size(kSubcommands), invocation); }

int versionCommand(const Invocation& invocation) {
  Arguments arguments("rauha version", "Print the versions of this program and of the daemon, if one runs.", "  rauha version\n");
  if (!arguments.parse(invocation)) return kOk;
  if (const auto answer = hello(instancePaths(arguments.root()))) {
    const auto server = answer->response.getServer();
    if (invocation.json) return printDocument("{\"version\":" + jsonString(programVersion()) + ",\"server\":" + toJson(server) + "}"), kOk;
    printText(std::string("rauha ") + programVersion() + "\nrauhad " + printable(str(server.getVersion())) + "\n");
    warnAboutVersion(server);
    return kOk;
  }
  if (invocation.json) return printDocument("{\"version\":" + jsonString(programVersion()) + ",\"server\":null}"), kOk;
  printText(std::string("rauha ") + programVersion() + "\n");
  return kOk;
}

int eventsCommand(const Invocation& invocation) {
  Arguments arguments("rauha events", "Follow what happens, from now on, until interrupted. With --json: one object a line.",
                      "  rauha events\n  rauha events --zone frontend --json\n");
  std::optional<std::string> zone;
  arguments.option("--zone", zone, "NAME", "only events of this zone (name or id)");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  std::optional<std::string> zoneId;
  if (zone) zoneId = zoneIdOf(client, *zone);
  auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.eventsRequest();
    if (zoneId) request.setZoneId(*zoneId);
    return request.send();
  });
  const Style style(STDOUT_FILENO);
  auto stream = response.getStream();
  for (;;) printEvents(client.call([&](schema::Rauha::Client&) { return stream.nextRequest().send(); }), invocation.json, style);
}

}  // namespace rauha::cli
