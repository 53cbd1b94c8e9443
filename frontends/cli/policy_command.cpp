// `rauha policy show|apply|validate`
#include "core/base/schema_error.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/builtin_policies.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/inputs.h"
#include "frontends/cli/output.h"
#include "frontends/cli/policy_text.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

auto validateCall(Client& client, const PolicyText& text) {
  auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.validatePolicyRequest();
    request.setPolicyToml(text.toml);
    request.setPolicySource(text.source);
    return request.send();
  });
  throwOnError(response.getOutcome());
  return response;
}

int showZonePolicy(const Invocation& invocation, const InstancePaths& paths, const std::string& zone) {
  Client client(paths);
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.showZoneRequest();
    request.setName(zone);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(toJson(response.getPolicy())), kOk;
  printText(policyFile(response.getPolicy()));
  return kOk;
}

int show(const Invocation& invocation) {
  Arguments arguments(
      "rauha policy show",
      "Show a policy, a built-in one, a file, or what a zone runs under, as a policy file with every key and its value.",
      "  rauha policy show task\n  rauha policy show ./my-policy.toml --json\n  rauha policy show strict --toml\n  rauha policy show --zone frontend\n");
  std::optional<std::string> policy, zone;
  bool toml = false;
  arguments.positional("POLICY", policy, "a policy file, or task (default), standard, strict, privileged", false);
  arguments.option("--zone", zone, "NAME", "the policy of this zone instead");
  arguments.flag("--toml", toml, "the text itself, as a start for a policy of your own (needs no daemon)");
  if (!arguments.parse(invocation)) return kOk;
  if (zone && (policy || toml))
    throw Error("usage", Code::invalid, "rauha policy show: --zone stands alone", "leave the policy and --toml out");
  if (zone) return showZonePolicy(invocation, instancePaths(arguments.root()), *zone);
  const PolicyText text = readPolicy(policy.value_or("task"));
  if (toml) return invocation.json ? printDocument(document("toml", jsonString(text.toml))) : printText(text.toml), kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = validateCall(client, text);
  if (invocation.json) return printDocument(toJson(response.getPolicy())), kOk;
  printText(policyFile(response.getPolicy()));
  return kOk;
}

int validateNow(const Invocation& invocation, const std::string& policy, const InstancePaths& paths) {
  const PolicyText text = readPolicy(policy);
  Client client(paths);
  const auto response = validateCall(client, text);
  if (invocation.json)
    return printDocument("{\"valid\":true,\"warnings\":" + toJson(response.getWarnings()) + ",\"policy\":" + toJson(response.getPolicy()) +
                         "}"),
           kOk;
  for (const auto warning : response.getWarnings()) printWarning(str(warning));
  printText("policy " + printable(str(response.getPolicy().getName())) + " is valid (" + printable(str(response.getPolicy().getDigest())) +
            ")\n");
  return kOk;
}

int validate(const Invocation& invocation) {
  Arguments arguments("rauha policy validate", "Check a policy file: every key, unit and name.",
                      "  rauha policy validate ./my-policy.toml\n");
  std::optional<std::string> policy;
  arguments.positional("POLICY", policy, "a policy file or a built-in policy's name", true);
  if (!arguments.parse(invocation)) return kOk;
  try {
    return validateNow(invocation, *policy, instancePaths(arguments.root()));
  } catch (const Error& e) {
    // The answer to the question, not a failure to answer it.
    if (!invocation.json || e.errorClass() != "policy") throw;
    printDocument("{\"valid\":false," + errorDocument(e).substr(1));
    return kFailure;
  }
}

int apply(const Invocation& invocation) {
  Arguments arguments("rauha policy apply", "Change what can change on a living zone (its resources); everything else is refused by name.",
                      "  rauha policy apply --zone frontend ./more-memory.toml\n");
  std::optional<std::string> policy, zone;
  arguments.positional("POLICY", policy, "a policy file or a built-in policy's name", true);
  arguments.option("--zone", zone, "NAME", "name or id of the zone (needed)");
  if (!arguments.parse(invocation)) return kOk;
  if (!zone || zone->empty())
    throw Error("usage", Code::invalid, "rauha policy apply: no zone named", "add --zone NAME; `rauha zone list` shows them", "--zone");
  const PolicyText text = readPolicy(*policy);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.applyPolicyRequest();
    request.setZone(*zone);
    request.setPolicyToml(text.toml);
    request.setPolicySource(text.source);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(toJson(response.getZone())), kOk;
  printText("zone " + printable(*zone) + " runs under policy " + printable(str(response.getZone().getPolicy())) + " (" +
            printable(str(response.getZone().getPolicyDigest())) + ")\n");
  return kOk;
}

constexpr Subcommand kSubcommands[] = {{"show", "show every value of a policy", show},
                                       {"validate", "check a policy file", validate},
                                       {"apply", "change the limits of a living zone", apply}};

}  // namespace

int policyCommand(const Invocation& invocation) { return dispatch("policy", kSubcommands, std::size(kSubcommands), invocation); }

}  // namespace rauha::cli
