#include "core/zone/posture.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/error.h"

namespace rauha {
namespace {

using plugin::Layer;
using plugin::LayerState;

constexpr std::array<const char*, 10> kNames = {"user_namespace", "seccomp",     "landlock",  "capabilities", "cgroup_cpu",
                                                "cgroup_memory",  "cgroup_pids", "cgroup_io", "network",      "enforcer"};

std::string text(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

Layer& layerOf(Posture& posture, std::string_view name) {
  return *std::find_if(posture.layers.begin(), posture.layers.end(), [&](const Layer& l) { return l.name == name; });
}

bool ofProcess(std::string_view name) { return name == "seccomp" || name == "landlock" || name == "capabilities"; }

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> out;
  for (const auto t : list) out.push_back(text(t));
  return out;
}

// The way back of writePosture. A layer's reason has become a part of its detail there.
Posture readPosture(schema::Posture::Reader in) {
  Posture out;
  for (const auto layer : in.getLayers()) {
    const std::string name = text(layer.getName());
    const auto state = layer.getWeaker() ? (layer.getArmed() ? LayerState::partial : LayerState::missing)
                                         : (layer.getArmed() ? LayerState::full : LayerState::missing);
    if (ofProcess(name) && (layer.getArmed() || layer.getWeaker())) out.processKnown = true;
    out.layers.push_back({name, state, text(layer.getDetail()), "", ""});
  }
  out.cgroupLayout = text(in.getCgroupLayout());
  out.network = text(in.getNetwork());
  out.enforcer = text(in.getEnforcer());
  out.userNamespace = text(in.getUserNamespace());
  out.seccomp = text(in.getSeccomp());
  out.landlockAbi = in.getLandlockAbi();
  out.capabilities = texts(in.getCapabilities());
  out.backend = text(in.getBackend());
  out.degraded = texts(in.getDegraded());
  out.kernel = text(in.getKernel());
  out.unsafePlugins = texts(in.getUnsafePlugins());
  return out;
}

}  // namespace

Posture boundaryPosture(const std::vector<Layer>& backendLayers, schema::Policy::Reader policy, uint32_t idBase, uint32_t idCount,
                        const std::string& backend) {
  Posture posture;
  posture.backend = backend;
  for (const char* name : kNames) {
    const auto it = std::find_if(backendLayers.begin(), backendLayers.end(), [&](const Layer& l) { return l.name == name; });
    if (it != backendLayers.end())
      posture.layers.push_back(*it);
    else
      posture.layers.push_back(
          {name, LayerState::missing, "", ofProcess(name) ? "nothing runs in the zone yet" : "the backend did not arm it", ""});
  }
  auto& enforcer = layerOf(posture, "enforcer");
  enforcer = {"enforcer", LayerState::missing, "none", "no enforcer plugin is configured", kNoEnforcerRemedy};
  for (const auto& layer : backendLayers)
    if (layer.name.rfind("cgroup_", 0) == 0 && posture.cgroupLayout.empty())
      posture.cgroupLayout = layer.detail.find("hybrid") != std::string::npos ? "hybrid" : "v2";
  switch (policy.getNetwork().getMode()) {
    case schema::NetworkMode::ISOLATED:
      posture.network = "isolated";
      break;
    case schema::NetworkMode::BRIDGED:
      posture.network = "bridged";
      break;
    case schema::NetworkMode::HOST:
      posture.network = "host";
      break;
  }
  posture.userNamespace = idCount == 0 ? "host" : "private " + std::to_string(idBase) + "+" + std::to_string(idCount);
  utsname name{};
  if (uname(&name) == 0) posture.kernel = name.release;
  return posture;
}

void addProcessLayers(Posture& posture, schema::Layers::Reader layers) {
  posture.processKnown = true;
  auto& seccomp = layerOf(posture, "seccomp");
  posture.seccomp = layers.getSeccomp() ? "filter of " + std::to_string(layers.getSeccompRules()) + " instructions" : "none";
  // The agent knows that a filter was loaded, the backend how much that filter is: the weaker of both counts.
  if (!layers.getSeccomp())
    seccomp = {"seccomp", LayerState::missing, posture.seccomp, "no filter was loaded", ""};
  else if (seccomp.state == LayerState::partial)
    seccomp.detail = posture.seccomp;
  else
    seccomp = {"seccomp", LayerState::full, posture.seccomp, "", ""};
  posture.landlockAbi = layers.getLandlockAbi();
  auto& landlock = layerOf(posture, "landlock");
  const bool armed = posture.landlockAbi > 0, byPolicy = posture.userNamespace == "host";
  const char* why = byPolicy ? "privileged zones do without it" : "the kernel has no Landlock, or it is switched off";
  const char* remedy = byPolicy ? "set the policy's user_namespace to \"private\"" : "boot with lsm=…,landlock (kernel 5.13 or later)";
  // Before ABI 5 Landlock does not see device ioctls; what it handles it handles in full.
  const bool whole = posture.landlockAbi >= 5;
  landlock = {"landlock",
              whole   ? LayerState::full
              : armed ? LayerState::partial
                      : LayerState::missing,
              armed ? "ABI " + std::to_string(posture.landlockAbi) : "none",
              whole   ? ""
              : armed ? "this kernel's Landlock does not cover device ioctls"
                      : why,
              whole   ? ""
              : armed ? "Linux 6.10 or later"
                      : remedy};
  for (const auto capability : layers.getCapabilities()) posture.capabilities.push_back(text(capability));
  auto& capabilities = layerOf(posture, "capabilities");
  capabilities = {"capabilities", layers.getNoNewPrivs() ? LayerState::full : LayerState::partial,
                  "bounding set of " + std::to_string(posture.capabilities.size()) + (layers.getNoNewPrivs() ? ", no new privileges" : ""),
                  layers.getNoNewPrivs() ? "" : "no_new_privs is not set", ""};
  for (const auto note : layers.getNotes()) posture.notes.push_back(text(note));
}

void checkWaivers(const std::vector<std::string>& waived) {
  for (const auto& name : waived)
    if (std::none_of(kNames.begin(), kNames.end(), [&](const char* n) { return name == n; }))
      throw Error(
          "usage", Code::invalid, "--allow-degraded " + name + ": no such layer",
          "layers: user_namespace, seccomp, landlock, capabilities, cgroup_cpu, cgroup_memory, cgroup_pids, cgroup_io, network, enforcer",
          name);
}

void checkRequired(const Posture& posture, schema::Policy::Reader policy, const std::vector<std::string>& waived, bool onlyBoundary) {
  for (const auto required : policy.getRequire()) {
    const std::string name = text(required);
    if (onlyBoundary && ofProcess(name)) continue;
    const auto it = std::find_if(posture.layers.begin(), posture.layers.end(), [&](const Layer& l) { return l.name == name; });
    if (it != posture.layers.end() && it->state == LayerState::full) continue;
    // An older Landlock is armed as a whole and shown as weaker; requiring the layer does not require the newest kernel. The wide filter of
    // a privileged zone is that type's own choice.
    const bool partial = it != posture.layers.end() && it->state == LayerState::partial;
    if (partial && (name == "landlock" || (name == "seccomp" && policy.getType() == schema::ZoneType::PRIVILEGED))) continue;
    if (std::find(waived.begin(), waived.end(), name) != waived.end()) continue;
    const std::string why = it == posture.layers.end() || it->reason.empty() ? "it is not armed" : it->reason;
    throw Error("policy", Code::unsupported,
                "policy '" + text(policy.getName()) + "' requires the layer '" + name + "', which cannot be armed in full here: " + why,
                "remove \"" + name + "\" from `require`, or run with --allow-degraded " + name +
                    (it != posture.layers.end() && !it->remedy.empty() ? "; " + it->remedy : ""),
                name);
  }
}

bool refusesRequiredLayer(const Error& error, schema::Policy::Reader policy) {
  if (error.code() != Code::unsupported) return false;
  for (const auto layer : policy.getRequire())
    if (text(layer) == error.object()) return true;
  return false;
}

void writePosture(schema::Posture::Builder out, const Posture& posture) {
  auto layers = out.initLayers(static_cast<unsigned>(posture.layers.size()));
  for (unsigned i = 0; i < layers.size(); ++i) {
    const auto& layer = posture.layers[i];
    layers[i].setName(layer.name);
    if (ofProcess(layer.name) && !posture.processKnown) {  // neither armed nor weaker: what the backend announced is a plan
      layers[i].setDetail("nothing runs in the zone yet");
      continue;
    }
    layers[i].setArmed(layer.state != LayerState::missing);
    layers[i].setDetail(layer.reason.empty()   ? layer.detail
                        : layer.detail.empty() ? layer.reason
                                               : layer.detail + " (" + layer.reason + ")");
    layers[i].setWeaker(layer.state != LayerState::full);
  }
  out.setCgroupLayout(posture.cgroupLayout);
  out.setNetwork(posture.network);
  out.setEnforcer(posture.enforcer);
  out.setUserNamespace(posture.userNamespace);
  out.setSeccomp(posture.seccomp);
  out.setLandlockAbi(posture.landlockAbi);
  out.setBackend(posture.backend);
  out.setKernel(posture.kernel);
  const auto fill = [](capnp::List<capnp::Text>::Builder list, const std::vector<std::string>& from) {
    for (unsigned i = 0; i < list.size(); ++i) list.set(i, from[i]);
  };
  fill(out.initCapabilities(static_cast<unsigned>(posture.capabilities.size())), posture.capabilities);
  if (!posture.unsafePlugins.empty())
    fill(out.initUnsafePlugins(static_cast<unsigned>(posture.unsafePlugins.size())), posture.unsafePlugins);
  fill(out.initDegraded(static_cast<unsigned>(posture.degraded.size())), posture.degraded);
  auto plugins = out.initPlugins(static_cast<unsigned>(posture.plugins.size()));
  for (unsigned i = 0; i < plugins.size(); ++i) {
    const auto& from = posture.plugins[i];
    plugins[i].setName(from.name);
    plugins[i].setVersion(from.version);
    plugins[i].setKind(from.kind);
    plugins[i].setIsolation(from.isolation);
    if (!from.path.empty()) plugins[i].setPath(from.path);
  }
}

std::string packPosture(const Posture& posture) {
  capnp::MallocMessageBuilder message;
  writePosture(message.initRoot<schema::Posture>(), posture);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

std::optional<Posture> unpackPosture(const std::string& bytes) {
  if (bytes.empty()) return std::nullopt;
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.data(), words.size() * sizeof(capnp::word));
  try {
    capnp::FlatArrayMessageReader message(words);
    auto posture = readPosture(message.getRoot<schema::Posture>());
    const bool whole = std::equal(posture.layers.begin(), posture.layers.end(), kNames.begin(), kNames.end(),
                                  [](const Layer& layer, const char* name) { return layer.name == name; });
    return whole ? std::optional(std::move(posture)) : std::nullopt;
  } catch (const kj::Exception&) {
    return std::nullopt;
  }
}

}  // namespace rauha
