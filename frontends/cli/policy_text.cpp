#include "frontends/cli/policy_text.h"

#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include "core/base/units.h"
#include "core/base/utf8.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

std::string str(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

// A basic string of TOML: what it may not hold as it is becomes an escape.
std::string quoted(capnp::Text::Reader text) {
  std::string out = "\"";
  for (const char c : toUtf8(str(text))) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(byte));
      out += escape;
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string listOf(capnp::List<capnp::Text>::Reader texts) {
  std::string out;
  for (const auto text : texts) out += (out.empty() ? "" : ", ") + quoted(text);
  return "[" + out + "]";
}

// Exact, unlike formatBytes, which rounds for people.
std::string size(uint64_t bytes, const char* suffix = "") {
  constexpr std::array<std::pair<const char*, unsigned>, 4> units = {{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}};
  if (bytes == 0) return "\"0\"";
  for (const auto& [name, shift] : units)
    if (bytes % (1ULL << shift) == 0) return "\"" + std::to_string(bytes >> shift) + name + suffix + "\"";
  return "\"" + std::to_string(bytes) + "B" + suffix + "\"";
}

std::string duration(uint64_t milliseconds) { return milliseconds == 0 ? "\"0\"" : "\"" + formatDurationMs(milliseconds) + "\""; }

std::string cores(uint32_t millis) {
  char out[32];
  if (millis % 1000 == 0)
    snprintf(out, sizeof out, "%u", millis / 1000);
  else
    snprintf(out, sizeof out, "%u.%03u", millis / 1000, millis % 1000);
  return out;
}

const char* typeName(schema::ZoneType type) {
  switch (type) {
    case schema::ZoneType::TASK:
      return "task";
    case schema::ZoneType::STANDARD:
      return "standard";
    case schema::ZoneType::STRICT:
      return "strict";
    case schema::ZoneType::PRIVILEGED:
      return "privileged";
  }
  return "unknown";
}

const char* modeName(schema::NetworkMode mode) {
  switch (mode) {
    case schema::NetworkMode::ISOLATED:
      return "isolated";
    case schema::NetworkMode::BRIDGED:
      return "bridged";
    case schema::NetworkMode::HOST:
      return "host";
  }
  return "unknown";
}

std::string filesystem(schema::Filesystem::Reader in) {
  std::string out = "\n[filesystem]\n";
  out += std::string("read_only_root = ") + (in.getReadOnlyRoot() ? "true" : "false") + "\n";
  out += std::string("scratch = ") + (in.getScratch() == schema::ScratchKind::DISK ? "\"disk\"" : "\"memory\"") + "\n";
  out += "scratch_size = " + size(in.getScratchBytes()) + "\n";
  out += "tmp_size = " + size(in.getTmpBytes()) + "\n";
  out += "masked = " + listOf(in.getMasked()) + "\n";
  return out + "read_only = " + listOf(in.getReadOnly()) + "\n";
}

std::string egress(schema::EgressRule::Reader rule) {
  std::string ports;
  for (const auto port : rule.getPorts()) ports += (ports.empty() ? "" : ", ") + std::to_string(port);
  return "{cidr = " + quoted(rule.getCidr()) + (ports.empty() ? "" : ", ports = [" + ports + "]") +
         ", protocol = " + quoted(rule.getProtocol()) + "}";
}

std::string ingress(schema::IngressRule::Reader rule) {
  return "{port = " + std::to_string(rule.getPort()) + ", protocol = " + quoted(rule.getProtocol()) +
         (rule.hasFrom() ? ", from = " + quoted(rule.getFrom()) : "") + "}";
}

// Rules and zones are keys of bridged networks only.
std::string network(schema::Network::Reader in) {
  std::string out = std::string("\n[network]\nmode = \"") + modeName(in.getMode()) + "\"\n";
  if (in.getMode() != schema::NetworkMode::BRIDGED) return out;
  std::string rules;
  for (const auto rule : in.getEgress()) rules += (rules.empty() ? "" : ", ") + egress(rule);
  out += "egress = [" + rules + "]\n";
  rules.clear();
  for (const auto rule : in.getIngress()) rules += (rules.empty() ? "" : ", ") + ingress(rule);
  return out + "ingress = [" + rules + "]\nzones = " + listOf(in.getZones()) + "\n";
}

std::string resources(schema::Resources::Reader in) {
  std::string out = "\n[resources]\n";
  const auto add = [&](const char* key, const std::string& value) { out += std::string(key) + " = " + value + "\n"; };
  add("cpu", cores(in.getCpuMillis()));
  add("cpu_weight", std::to_string(in.getCpuWeight()));
  add("memory", size(in.getMemoryBytes()));
  add("pids", std::to_string(in.getPids()));
  add("open_files", std::to_string(in.getOpenFiles()));
  add("io_weight", std::to_string(in.getIoWeight()));
  add("io_read", size(in.getIoReadBps(), "/s"));
  add("io_write", size(in.getIoWriteBps(), "/s"));
  add("timeout", duration(in.getTimeoutMs()));
  add("stop_grace", duration(in.getStopGraceMs()));
  add("output", size(in.getOutputBytes()));
  add("core", size(in.getCoreBytes()));
  return out;
}

}  // namespace

std::string policyFile(schema::Policy::Reader policy) {
  std::string out = "# policy " + printable(str(policy.getName())) + " (" + printable(str(policy.getDigest())) + ") as it is understood\n";
  out += "name = " + quoted(policy.getName()) + "\n";
  out += std::string("type = \"") + typeName(policy.getType()) + "\"\n";
  out += "require = " + listOf(policy.getRequire()) + "\n";
  out += "capabilities = " + listOf(policy.getCapabilities()) + "\n";
  out += std::string("user_namespace = ") + (policy.getUserNamespace() == schema::UserNamespace::HOST ? "\"host\"" : "\"private\"") + "\n";
  out += filesystem(policy.getFilesystem()) + network(policy.getNetwork()) + resources(policy.getResources());
  out += "\n[syscalls]\ndeny = " + listOf(policy.getSyscalls().getDeny()) + "\nallow = " + listOf(policy.getSyscalls().getAllow()) + "\n";
  for (const auto device : policy.getDevices())
    out += "\n[[devices]]\npath = " + quoted(device.getPath()) + "\naccess = " + quoted(device.getAccess()) + "\n";
  return out;
}

}  // namespace rauha::cli
