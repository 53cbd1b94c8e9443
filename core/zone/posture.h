#pragma once
// What really protects a zone: the backend's layers (boundary) and the agent's (process), joined under the names that a policy's `require`
// uses, and compared with what is required. Pure functions of values.

#include <schemas/agent.capnp.h>
#include <schemas/policy.capnp.h>
#include <schemas/task.capnp.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/plugin/backend.h"

namespace rauha {

struct PluginInUse {
  std::string name, version, kind, isolation;
  std::string path;  // empty: in the directory of the installation
};

// What to do about a missing enforcer, for `doctor` and refusals: nothing that this machine could be given.
inline constexpr const char* kNoEnforcerRemedy =
    "nothing is wrong with this machine: this version comes without an enforcer; one of your own is set with plugins.enforcer in rauha.toml";

struct Posture {
  std::vector<plugin::Layer> layers;  // every name that `require` knows, once, in a fixed order
  std::string cgroupLayout;           // "v2", "hybrid" or "" when the backend did not say
  bool processKnown = false;          // a process was made: its layers say what was armed, not that nobody asked yet
  std::string network;
  std::string enforcer = "none";
  std::string userNamespace;
  std::string seccomp;
  uint32_t landlockAbi = 0;
  std::vector<std::string> capabilities;
  std::string backend;
  std::vector<std::string> degraded;
  std::string kernel;
  std::vector<std::string> notes;
  std::vector<std::string> unsafePlugins;  // where plugins come from that others than root control
  std::vector<PluginInUse> plugins;
};

// Of a zone that stands but runs nothing yet: the process layers are what the backend announced.
Posture boundaryPosture(const std::vector<plugin::Layer>& backendLayers, schema::Policy::Reader policy, uint32_t idBase, uint32_t idCount,
                        const std::string& backend);
// Adds what the agent armed on a process.
void addProcessLayers(Posture& posture, schema::Layers::Reader layers);
// Throws Error "policy" (unsupported) for the first required layer that is not armed in full and not waived. `onlyBoundary` leaves out what
// only a process can show (seccomp, landlock, capabilities).
void checkRequired(const Posture& posture, schema::Policy::Reader policy, const std::vector<std::string>& waived, bool onlyBoundary);
// Refuses waivers of layers that do not exist. Throws Error "usage".
void checkWaivers(const std::vector<std::string>& waived);
// Is this the refusal of a layer that the policy requires, by core or by the backend?
bool refusesRequiredLayer(const Error& error, schema::Policy::Reader policy);
void writePosture(schema::Posture::Builder out, const Posture& posture);

// What the store keeps of a kept zone's posture, so that a later daemon shows what was armed and not what it did not see being armed.
// unpackPosture: nothing when there are no bytes, or damaged ones.
std::string packPosture(const Posture& posture);
std::optional<Posture> unpackPosture(const std::string& bytes);

}  // namespace rauha
