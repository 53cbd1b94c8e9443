#include "core/policy/policy_reader.h"

#include <algorithm>
#include <array>

#include "core/base/ids.h"
#include "core/base/never_calls.h"
#include "core/policy/contradictions.h"
#include "core/policy/defaults.h"
#include "core/policy/known_names.h"
#include "core/policy/unavailable.h"
#include "core/policy/value_checks.h"

namespace rauha::policy {
namespace {

constexpr uint64_t kKiB = 1ULL << 10;
constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kPiB = 1ULL << 50;
constexpr uint64_t kMaxOutputBytes = 4 * kMiB;
constexpr uint64_t kMinuteMs = 60'000;

capnp::Text::Reader asText(std::string_view text) { return capnp::Text::Reader(text.data(), text.size()); }

template <typename Init>
void writeTexts(const std::vector<Entry>& entries, Init init) {
  auto list = init(static_cast<uint32_t>(entries.size()));
  for (uint32_t i = 0; i < entries.size(); ++i) list.set(i, asText(entries[i].text));
}

class Reader final {
 public:
  Reader(schema::Policy::Builder out, Problems& problems) : out_(out), problems_(problems) {}

  void read(Section root) {
    readHead(root);
    if (auto s = root.section("filesystem")) readFilesystem(*s);
    if (auto s = root.section("network")) readNetwork(*s);
    if (auto s = root.section("resources")) readResources(*s);
    if (auto s = root.section("syscalls")) readSyscalls(*s);
    if (auto s = root.section("images")) readImages(*s);
    readDevices(root);
    if (!root.has("require") && out_.getType() != schema::ZoneType::STRICT) dropSwitchedOff();
    root.finish();
    // Only of values that all hold: a wrong value contradicts nothing yet.
    if (problems_.empty()) noteContradictions(root, out_.asReader());
  }

  std::vector<Notice> notices(Section root) const {
    if (!problems_.empty()) return {};
    return unavailable(root, out_.asReader());
  }

 private:
  void readHead(Section& root) {
    static constexpr std::array<std::string_view, 4> types = {"task", "standard", "strict", "privileged"};
    static constexpr std::array<std::string_view, 2> userNamespaces = {"private", "host"};
    const auto type = root.choice("type", types);
    if (!root.has("type")) root.missing("type", "write type = \"task\" (or standard, strict, privileged)");
    writeDefaults(static_cast<schema::ZoneType>(type.value_or(0)), out_);

    if (const auto name = root.text("name")) {
      if (isName(*name))
        out_.setName(*name);
      else
        root.problem("name", "'" + shown(*name) + "' is not a name", "1 to 63 of a-z, 0-9, '.', '_', '-', starting with a letter or digit");
    } else if (!root.has("name")) {
      root.missing("name", "write name = \"…\" on the first line");
    }
    if (const auto kind = root.choice("user_namespace", userNamespaces)) out_.setUserNamespace(static_cast<schema::UserNamespace>(*kind));
    if (const auto layers = root.texts("require")) {
      for (const auto& layer : *layers) checkKnown(layer, layerNames(), "layer");
      writeTexts(*layers, [&](uint32_t n) { return out_.initRequire(n); });
    }
    if (const auto names = root.texts("capabilities")) {
      for (const auto& name : *names) checkCapability(name);
      writeTexts(*names, [&](uint32_t n) { return out_.initCapabilities(n); });
    }
  }

  // A layer that only the type's default requires gives way to a limit that the policy lifts in so many words.
  void dropSwitchedOff() {
    std::vector<Entry> kept;
    for (const auto layer : out_.asReader().getRequire())
      if (switchedOff(out_.asReader(), {layer.begin(), layer.size()}).empty()) kept.push_back({layer, "", 0});
    writeTexts(kept, [&](uint32_t n) { return out_.initRequire(n); });
  }

  void checkKnown(const Entry& entry, std::span<const std::string_view> known, std::string_view what) {
    if (std::find(known.begin(), known.end(), entry.text) != known.end()) return;
    problems_.add(entry.line, entry.key, "unknown " + std::string(what) + " '" + shown(entry.text) + "'", didYouMean(entry.text, known));
  }

  void checkCapability(const Entry& entry) {
    if (isCapability(entry.text)) return;
    std::string plain = entry.text.substr(0, 64);
    std::transform(plain.begin(), plain.end(), plain.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (plain.starts_with("cap_")) plain.erase(0, 4);
    const std::string reason = "unknown capability '" + shown(entry.text) + "'";
    const auto near = isCapability(plain) ? std::string_view(plain) : nearest(plain, capabilityNames());
    problems_.add(entry.line, entry.key, reason,
                  near.empty() ? "names are lower case and without 'cap_': \"net_raw\"" : "did you mean '" + std::string(near) + "'?");
  }

  void readFilesystem(Section& in) {
    static constexpr std::array<std::string_view, 2> kinds = {"memory", "disk"};
    auto out = out_.getFilesystem();
    if (const auto v = in.boolean("read_only_root")) out.setReadOnlyRoot(*v);
    if (const auto v = in.choice("scratch", kinds)) out.setScratch(static_cast<schema::ScratchKind>(*v));
    if (const auto v = in.bytes("scratch_size", kMiB, kPiB, false)) out.setScratchBytes(*v);
    if (const auto v = in.bytes("tmp_size", kMiB, kPiB, false)) out.setTmpBytes(*v);
    if (const auto v = in.texts("masked")) {
      checkPaths(*v);
      writeTexts(*v, [&](uint32_t n) { return out.initMasked(n); });
    }
    if (const auto v = in.texts("read_only")) {
      checkPaths(*v);
      writeTexts(*v, [&](uint32_t n) { return out.initReadOnly(n); });
    }
    in.finish();
  }

  void checkPaths(const std::vector<Entry>& paths) {
    for (const auto& path : paths)
      if (auto reason = badPath(path.text); !reason.empty())
        problems_.add(path.line, path.key, "'" + shown(path.text) + "' " + reason, "write an absolute path in its shortest form");
  }

  void readNetwork(Section& in) {
    static constexpr std::array<std::string_view, 3> modes = {"isolated", "bridged", "host"};
    auto out = out_.getNetwork();
    if (const auto v = in.choice("mode", modes)) out.setMode(static_cast<schema::NetworkMode>(*v));
    auto egress = in.tables("egress");
    auto egressOut = out.initEgress(static_cast<uint32_t>(egress.size()));
    for (uint32_t i = 0; i < egress.size(); ++i) readEgress(egress[i], egressOut[i]);
    auto ingress = in.tables("ingress");
    auto ingressOut = out.initIngress(static_cast<uint32_t>(ingress.size()));
    for (uint32_t i = 0; i < ingress.size(); ++i) readIngress(ingress[i], ingressOut[i]);
    if (const auto zones = in.texts("zones")) {
      for (const auto& zone : *zones)
        if (!isName(zone.text)) problems_.add(zone.line, zone.key, "'" + shown(zone.text) + "' is not a zone's name", "");
      writeTexts(*zones, [&](uint32_t n) { return out.initZones(n); });
    }
    in.finish();
  }

  void readEgress(Section& in, schema::EgressRule::Builder out) {
    static constexpr std::array<std::string_view, 3> protocols = {"any", "tcp", "udp"};
    if (const auto v = checkedCidr(in, "cidr")) out.setCidr(*v);
    if (!in.has("cidr")) in.missing("cidr", "write cidr = \"203.0.113.0/24\"");
    const auto ports = in.ports("ports").value_or(std::vector<uint16_t>{});
    auto list = out.initPorts(static_cast<uint32_t>(ports.size()));
    for (uint32_t i = 0; i < ports.size(); ++i) list.set(i, ports[i]);
    out.setProtocol(asText(protocols[in.choice("protocol", protocols).value_or(0)]));
    in.finish();
  }

  void readIngress(Section& in, schema::IngressRule::Builder out) {
    static constexpr std::array<std::string_view, 2> protocols = {"tcp", "udp"};
    if (const auto v = in.integer("port", 1, 65535)) out.setPort(static_cast<uint16_t>(*v));
    if (!in.has("port")) in.missing("port", "write port = 8080");
    out.setProtocol(asText(protocols[in.choice("protocol", protocols).value_or(0)]));
    if (const auto v = checkedCidr(in, "from")) out.setFrom(*v);
    in.finish();
  }

  std::optional<std::string> checkedCidr(Section& in, std::string_view key) {
    auto value = in.text(key);
    if (!value) return std::nullopt;
    const auto reason = badCidr(*value);
    if (reason.empty()) return value;
    in.problem(key, "'" + shown(*value) + "' " + reason, "write a network as \"10.0.0.0/8\" or \"2001:db8::/32\"");
    return std::nullopt;
  }

  void readResources(Section& in) {
    auto out = out_.getResources();
    if (const auto v = in.cores("cpu")) out.setCpuMillis(*v);
    if (const auto v = in.integer("cpu_weight", 1, 10000)) out.setCpuWeight(static_cast<uint32_t>(*v));
    if (const auto v = in.bytes("memory", 4 * kMiB, kPiB, true)) out.setMemoryBytes(*v);
    if (const auto v = in.integerOrZero("pids", 2, 4'194'304)) out.setPids(static_cast<uint32_t>(*v));
    if (const auto v = in.integer("open_files", 16, 1'048'576)) out.setOpenFiles(static_cast<uint32_t>(*v));
    if (const auto v = in.integer("io_weight", 1, 10000)) out.setIoWeight(static_cast<uint32_t>(*v));
    if (const auto v = in.bytes("io_read", 4 * kKiB, kPiB, true, true)) out.setIoReadBps(*v);
    if (const auto v = in.bytes("io_write", 4 * kKiB, kPiB, true, true)) out.setIoWriteBps(*v);
    if (const auto v = in.duration("timeout", 366 * 24 * 60 * kMinuteMs)) out.setTimeoutMs(*v);
    if (const auto v = in.duration("stop_grace", 60 * kMinuteMs)) out.setStopGraceMs(*v);
    if (const auto v = in.bytes("output", kKiB, kMaxOutputBytes, false)) out.setOutputBytes(*v);
    if (const auto v = in.bytes("core", kKiB, kPiB, true)) out.setCoreBytes(*v);
    in.finish();
  }

  void readSyscalls(Section& in) {
    auto out = out_.getSyscalls();
    std::vector<Entry> deny = in.texts("deny").value_or(std::vector<Entry>{});
    std::vector<Entry> allow = in.texts("allow").value_or(std::vector<Entry>{});
    for (const auto* names : {&deny, &allow})
      for (const auto& name : *names) checkSyscall(name);
    for (const auto& name : allow) checkAllowed(name);
    std::sort(deny.begin(), deny.end(), [](const auto& a, const auto& b) { return a.text < b.text; });
    for (const auto& name : allow)
      if (std::binary_search(deny.begin(), deny.end(), name, [](const auto& a, const auto& b) { return a.text < b.text; }))
        problems_.add(name.line, name.key, "'" + shown(name.text) + "' is also in syscalls.deny", "deny wins: remove it from one of them");
    writeTexts(deny, [&](uint32_t n) { return out.initDeny(n); });
    writeTexts(allow, [&](uint32_t n) { return out.initAllow(n); });
    in.finish();
  }

  // A zone whose root is the host's may be given any call.
  void checkAllowed(const Entry& entry) {
    if (out_.getUserNamespace() == schema::UserNamespace::HOST) return;
    std::vector<std::string_view> capabilities;
    for (const auto name : out_.asReader().getCapabilities()) capabilities.emplace_back(name.begin(), name.size());
    const NeverCalls* group = neverAllowed(entry.text, capabilities);
    if (group == nullptr) return;
    const std::string hint = group->capability.empty() ? "remove it; only a privileged zone can be given it"
                                                       : "remove it, or add capabilities = [\"" + std::string(group->capability) + "\"]";
    problems_.add(entry.line, entry.key, "'" + shown(entry.text) + "' is never admitted: " + std::string(group->why), hint);
  }

  void readImages(Section& in) {
    auto out = out_.getImages();
    if (const auto v = in.boolean("require_digest")) out.setRequireDigest(*v);
    if (const auto v = in.texts("registries")) {
      for (const auto& registry : *v)
        if (auto reason = badRegistry(registry.text); !reason.empty())
          problems_.add(registry.line, registry.key, "'" + shown(registry.text) + "' " + reason,
                        "write a registry as \"docker.io\" or \"registry.example:5000\", or a kind of source: \"host\", \"oci\"");
      writeTexts(*v, [&](uint32_t n) { return out.initRegistries(n); });
    }
    in.finish();
  }

  void checkSyscall(const Entry& entry) {
    if (isSyscall(entry.text)) return;
    const auto near = nearest(entry.text, syscallNames());
    problems_.add(entry.line, entry.key, "unknown system call '" + shown(entry.text) + "'",
                  near.empty() ? "names are those of syscalls(2), lower case: \"ptrace\", \"io_uring_setup\""
                               : "did you mean '" + std::string(near) + "'?");
  }

  void readDevices(Section& root) {
    auto devices = root.tables("devices");
    auto out = out_.initDevices(static_cast<uint32_t>(devices.size()));
    std::vector<std::string> seen;
    for (uint32_t i = 0; i < devices.size(); ++i) {
      auto& in = devices[i];
      if (const auto path = in.text("path")) {
        if (auto reason = badDevicePath(*path); !reason.empty())
          in.problem("path", "'" + shown(*path) + "' " + reason, "write a device's path as \"/dev/fuse\"");
        else if (std::find(seen.begin(), seen.end(), *path) != seen.end())
          in.problem("path", "'" + shown(*path) + "' is there twice", "remove one of them");
        seen.push_back(*path);
        out[i].setPath(*path);
      } else if (!in.has("path")) {
        in.missing("path", "write path = \"/dev/…\"");
      }
      if (const auto access = in.text("access")) {
        if (auto reason = badDeviceAccess(*access); !reason.empty())
          in.problem("access", "'" + shown(*access) + "' " + reason, "write letters of \"rwm\": read, write, mknod");
        out[i].setAccess(*access);
      } else if (!in.has("access")) {
        in.missing("access", "write access = \"rw\"");
      }
      in.finish();
    }
  }

  schema::Policy::Builder out_;
  Problems& problems_;
};

}  // namespace

std::vector<Notice> readPolicy(const TomlNode& document, schema::Policy::Builder out, Problems& problems) {
  Reader reader(out, problems);
  reader.read(Section(document, "", problems));
  return reader.notices(Section(document, "", problems));
}

}  // namespace rauha::policy
