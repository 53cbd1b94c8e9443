// `rauha doctor`, `rauha plugin list`: what this machine and this instance can do.
#include <unistd.h>

#include "core/base/schema_error.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

struct Mark {
  const char* text;
  Colour colour;
};
Mark markOf(schema::CheckStatus status) {
  switch (status) {
    case schema::CheckStatus::OK:
      return {"ok     ", Colour::green};
    case schema::CheckStatus::WEAKER:
      return {"weaker ", Colour::yellow};
    case schema::CheckStatus::MISSING:
      return {"MISSING", Colour::red};
  }
  return {"unknown", Colour::red};
}

std::string checkLines(schema::Check::Reader check, const Style& style, size_t width) {
  const Mark mark = markOf(check.getStatus());
  const std::string name = printable(str(check.getName()));
  const std::string indent(9 + width + 2, ' ');
  std::string out = style.paint(mark.colour, mark.text) + "  " + name + std::string(width - std::min(width, name.size()) + 2, ' ') +
                    printable(str(check.getDetail())) + "\n";
  if (check.hasReason()) out += indent + printable(str(check.getReason())) + "\n";
  if (check.hasRemedy()) out += indent + style.paint(Colour::dim, "try: ") + printable(str(check.getRemedy())) + "\n";
  return out;
}

// Also a status of a later version is not a pass.
bool isMissing(schema::Check::Reader check) {
  return check.getStatus() != schema::CheckStatus::OK && check.getStatus() != schema::CheckStatus::WEAKER;
}

std::string doctorText(schema::DoctorReport::Reader report) {
  const Style style(STDOUT_FILENO);
  const auto server = report.getServer();
  std::string out = style.paint(Colour::bold, "kernel ") + printable(str(report.getKernel())) + ", control groups " +
                    printable(str(report.getCgroupLayout())) + ", rauhad " + printable(str(server.getVersion())) + ", instance " +
                    printable(str(server.getInstance())) + "\n";
  size_t width = 0, missing = 0, weaker = 0;
  for (const auto check : report.getChecks()) width = std::max<size_t>(width, check.getName().size());
  for (const auto check : report.getChecks()) {
    out += checkLines(check, style, width);
    missing += isMissing(check) ? 1 : 0;
    weaker += check.getStatus() == schema::CheckStatus::WEAKER ? 1 : 0;
  }
  return out + std::to_string(report.getChecks().size()) + " checks, " + std::to_string(missing) + " missing, " + std::to_string(weaker) +
         " weaker than the best\n";
}

// What an operator should know of a loaded plugin besides that it works, a line each.
std::string troublesOf(schema::PluginInfo::Reader plugin) {
  std::string out;
  const std::string name = printable(str(plugin.getName()));
  for (const auto place : plugin.getUnsafePlaces()) out += name + ": accepted although " + printable(str(place)) + "\n";
  const auto health = plugin.getHealth();
  const auto add = [&](uint64_t count, const std::string& what, const std::string& last) {
    if (count > 0) out += name + ": " + std::to_string(count) + " " + what + (last.empty() ? "" : ", the last: " + last) + "\n";
  };
  add(health.getOverruns(), "calls overran their deadline", printable(str(health.getLastOverrun())));
  add(health.getAbandoned(), "calls were given up, of which " + std::to_string(health.getStuck()) + " have not returned", "");
  add(health.getViolations(), "breaches of the plugin contract", printable(str(health.getLastViolation())));
  add(health.getEventsDropped(), "events were dropped", "");
  return out;
}

int pluginList(const Invocation& invocation) {
  Arguments arguments("rauha plugin list", "List the plugins: what is loaded, what it can do, and why one was refused.",
                      "  rauha plugin list\n  rauha plugin list --json\n");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([](schema::Rauha::Client& rauha) { return rauha.listPluginsRequest().send(); });
  if (invocation.json) return printDocument(document("plugins", toJson(response.getPlugins()))), kOk;
  auto words = [](capnp::List<capnp::Text>::Reader list) {
    std::string out;
    for (const auto word : list) out += (out.empty() ? "" : ",") + str(word);
    return out;
  };
  // "none", "process 4711", "process, ended by SIGSEGV", "process 4712, 1 restart".
  auto isolation = [](schema::PluginInfo::Reader plugin) {
    std::string out = str(plugin.getIsolation());
    if (plugin.getPid() != 0) out += " " + std::to_string(plugin.getPid());
    if (plugin.getPid() == 0 && plugin.hasLastEnd()) out += ", " + printable(str(plugin.getLastEnd()));
    if (const auto n = plugin.getRestarts(); n > 0) out += ", " + std::to_string(n) + (n == 1 ? " restart" : " restarts");
    return out;
  };
  Table table({"NAME", "VERSION", "KIND", "STATE", "ISOLATION", "INTERFACES", "CAPABILITIES", "PATH"});
  std::string refusals, troubles;
  for (const auto plugin : response.getPlugins()) {
    table.add({str(plugin.getName()), str(plugin.getVersion()), str(plugin.getKind()), plugin.getLoaded() ? "loaded" : "not in use",
               isolation(plugin), words(plugin.getInterfaces()), words(plugin.getCapabilities()), str(plugin.getPath())});
    troubles += troublesOf(plugin);
    if (plugin.hasRefusal()) refusals += printable(str(plugin.getPath())) + ": " + printable(str(plugin.getRefusal())) + "\n";
  }
  printText(table.text() + refusals + troubles);
  return kOk;
}

constexpr Subcommand kPluginSubcommands[] = {{"list", "list the plugins", pluginList}};

}  // namespace

int doctorCommand(const Invocation& invocation) {
  Arguments arguments("rauha doctor",
                      "What this machine can enforce, what not, why, and what to do about it. Exit status 1 when something is missing.",
                      "  rauha doctor\n  rauha doctor --json\n");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([](schema::Rauha::Client& rauha) { return rauha.doctorRequest().send(); });
  const auto report = response.getReport();
  bool missing = false;
  for (const auto check : report.getChecks()) missing = missing || isMissing(check);
  if (invocation.json) {
    printDocument(toJson(report));
  } else {
    printText(doctorText(report));
    warnAboutVersion(report.getServer());
  }
  return missing ? kFailure : kOk;
}

int pluginCommand(const Invocation& invocation) {
  return dispatch("plugin", kPluginSubcommands, std::size(kPluginSubcommands), invocation);
}

}  // namespace rauha::cli
