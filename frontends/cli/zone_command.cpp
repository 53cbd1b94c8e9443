// `rauha zone create|list|show|delete`
#include "core/base/ids.h"
#include "core/base/schema_error.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/inputs.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

const char* stateName(schema::ZoneState state) {
  switch (state) {
    case schema::ZoneState::CREATING:
      return "creating";
    case schema::ZoneState::READY:
      return "ready";
    case schema::ZoneState::DELETING:
      return "deleting";
    case schema::ZoneState::FAILED:
      return "failed";
  }
  return "unknown";
}

// `--name X` and plain `X` mean the same; one of them is needed.
// more: behind the usage, for names that exist already.
std::string nameOf(const char* command, const std::optional<std::string>& option, const std::optional<std::string>& positional,
                   const char* more = "; `rauha zone list` shows them") {
  if (option && positional && *option != *positional)
    throw Error("usage", Code::invalid, std::string(command) + ": two names, '" + *option + "' and '" + *positional + "'", "name one zone");
  const auto& name = option ? option : positional;
  if (!name || name->empty())
    throw Error("usage", Code::invalid, std::string(command) + ": no zone named", std::string(command) + " NAME" + more);
  return *name;
}

int create(const Invocation& invocation) {
  Arguments arguments(
      "rauha zone create",
      "Make a zone that stays until it is deleted, to look at: its posture, its limits, its control groups. This version has no command "
      "that runs something in it; each `rauha sandbox` makes a zone of its own.",
      "  rauha zone create --name frontend\n  rauha zone create --name frontend --policy policies/standard.toml\n");
  std::optional<std::string> option, positional, policy;
  arguments.option("--name", option, "NAME", "name of the zone: a-z, 0-9, '.', '_', '-'");
  arguments.option("--policy", policy, "POLICY", "a policy file, or task, standard (default), strict, privileged");
  arguments.positional("NAME", positional, "the same as --name", false);
  if (!arguments.parse(invocation)) return kOk;
  const std::string name = nameOf("rauha zone create", option, positional, "");
  if (!isName(name))
    throw Error("usage", Code::invalid, "rauha zone create: '" + name + "' is no zone name",
                "use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit", name);
  std::optional<PolicyText> text;
  if (policy) text = readPolicy(*policy);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.createZoneRequest();
    request.setName(name);
    if (text) {
      request.setPolicyToml(text->toml);
      request.setPolicySource(text->source);
    }
    return request.send();
  });
  throwOnError(response.getOutcome());
  const auto zone = response.getZone();
  if (invocation.json) return printDocument(toJson(zone)), kOk;
  printText("zone " + printable(str(zone.getName())) + " (" + printable(str(zone.getId())) + ") is " + stateName(zone.getState()) + "\n");
  return kOk;
}

int list(const Invocation& invocation) {
  Arguments arguments("rauha zone list", "List the zones of this instance.", "  rauha zone list\n  rauha zone list --json\n");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([](schema::Rauha::Client& rauha) { return rauha.listZonesRequest().send(); });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("zones", toJson(response.getZones()))), kOk;
  Table table({"NAME", "ID", "STATE", "POLICY", "TASK", "OWNER", "CREATED"});
  for (const auto zone : response.getZones())
    table.add({str(zone.getName()), str(zone.getId()), stateName(zone.getState()), str(zone.getPolicy()), str(zone.getTaskId()),
               std::to_string(zone.getOwnerUid()), str(zone.getCreatedAt())});
  printText(table.text());
  return kOk;
}

int show(const Invocation& invocation) {
  Arguments arguments("rauha zone show", "Show one zone: its state, what protects it, what it uses, its policy.",
                      "  rauha zone show frontend\n  rauha zone show --name frontend --json\n");
  std::optional<std::string> option, positional;
  arguments.option("--name", option, "NAME", "name or id of the zone");
  arguments.positional("NAME", positional, "the same as --name", false);
  if (!arguments.parse(invocation)) return kOk;
  const std::string name = nameOf("rauha zone show", option, positional);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.showZoneRequest();
    request.setName(name);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json)
    return printDocument("{\"zone\":" + toJson(response.getZone()) + ",\"effective_policy\":" + toJson(response.getPolicy()) + "}"), kOk;
  printText(fieldLines(response.getZone()) + "\n" + fieldLines(response.getPolicy()));
  return kOk;
}

int remove(const Invocation& invocation) {
  Arguments arguments("rauha zone delete", "Remove a zone. While processes run in it, only with --force, which ends them.",
                      "  rauha zone delete frontend\n  rauha zone delete --name frontend --force\n");
  std::optional<std::string> option, positional;
  bool force = false;
  arguments.option("--name", option, "NAME", "name or id of the zone");
  arguments.positional("NAME", positional, "the same as --name", false);
  arguments.flag("-f,--force", force, "also when processes run in it");
  if (!arguments.parse(invocation)) return kOk;
  const std::string name = nameOf("rauha zone delete", option, positional);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.deleteZoneRequest();
    request.setName(name);
    request.setForce(force);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("deleted", jsonString(name))), kOk;
  printText("zone " + printable(name) + " is deleted\n");
  return kOk;
}

constexpr Subcommand kSubcommands[] = {{"create", "make a zone that stays", create},
                                       {"list", "list the zones", list},
                                       {"show", "show one zone", show},
                                       {"delete", "remove a zone, with --force whatever runs in it too", remove}};

}  // namespace

int zoneCommand(const Invocation& invocation) { return dispatch("zone", kSubcommands, std::size(kSubcommands), invocation); }

}  // namespace rauha::cli
