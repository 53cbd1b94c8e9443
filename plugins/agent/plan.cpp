#include "plugins/agent/plan.h"

#include <algorithm>

#include "core/base/error.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";

[[noreturn]] void refuse(const std::string& text) { throw Error(kClass, Code::invalid, text); }

void wantAbsolute(const std::string& path, const char* what) {
  if (path.empty() || path[0] != '/' || path.size() > 4095 || path.find('\0') != std::string::npos)
    refuse(std::string(what) + " \"" + path + "\" is not an absolute path");
}

void checkSource(const Source& s, const char* what, size_t descriptorCount) {
  if (s.descriptor < 0)
    wantAbsolute(s.path, what);
  else if (static_cast<size_t>(s.descriptor) >= descriptorCount)
    refuse(std::string(what) + " names descriptor " + std::to_string(s.descriptor) + ", only " + std::to_string(descriptorCount) + " came");
}

void checkMount(const MountPlan& m, size_t descriptorCount) {
  wantAbsolute(m.target, "mount target");
  if (m.target.find_first_not_of('/') == std::string::npos) refuse("a mount on / is not possible");
  if (m.overlay) {
    if (m.kind != MountPlan::Kind::bind || m.readOnly || m.optional)
      refuse("the overlay on " + m.target + " needs a source and to be writable");
    if (m.lower.size() > kMaxOverlayLayers)
      refuse("the overlay on " + m.target + " has more than " + std::to_string(kMaxOverlayLayers) + " layers");
    for (const auto& l : m.lower) checkSource(l, "layer", descriptorCount);
  }
  switch (m.kind) {
    case MountPlan::Kind::bind:
      checkSource(m.source, "bind source", descriptorCount);
      break;
    case MountPlan::Kind::tmpfs:
      if (m.bytes == 0) refuse("tmpfs on " + m.target + " has no size");
      break;
    case MountPlan::Kind::symlink:
      if (m.content.empty() || m.content.size() > 4095 || m.content.find('\0') != std::string::npos)
        refuse("symbolic link " + m.target + " has no usable text");
      break;
    case MountPlan::Kind::file:
    case MountPlan::Kind::directory:
      break;
  }
}

void checkText(const std::string& text, const char* what) {
  if (text.find('\0') != std::string::npos) refuse(std::string(what) + " contains a NUL byte");
}

}  // namespace

bool RootPlan::writesHostTree() const {
  for (const auto& m : mounts)
    if (m.kind == MountPlan::Kind::bind && !m.readOnly && !m.overlay) return true;
  return false;
}

bool RootPlan::needsScratch() const {
  if (overlay && !readOnlyRoot) return true;
  return std::any_of(mounts.begin(), mounts.end(), [](const MountPlan& m) { return m.overlay; });
}

void validate(const RootPlan& plan, size_t descriptorCount) {
  if (plan.overlay && plan.layers.empty()) refuse("an overlay root needs at least one layer");
  if (plan.layers.size() > kMaxLayers)
    throw Error(kClass, Code::limit,
                "the root has " + std::to_string(plan.layers.size()) + " layers, at most " + std::to_string(kMaxLayers) + " can be mounted",
                "flatten the image");
  if (plan.mounts.size() > kMaxMounts) throw Error(kClass, Code::limit, "the root has more than " + std::to_string(kMaxMounts) + " mounts");
  for (const auto& l : plan.layers) checkSource(l, "layer", descriptorCount);
  for (const auto& m : plan.mounts) checkMount(m, descriptorCount);
  if (std::count_if(plan.mounts.begin(), plan.mounts.end(), [](const MountPlan& m) { return m.overlay; }) >
      static_cast<long>(kMaxOverlayMounts))
    refuse("the root has more than " + std::to_string(kMaxOverlayMounts) + " overlay mounts");
  for (const auto& p : plan.masked) wantAbsolute(p, "masked path");
  for (const auto& p : plan.readOnly) wantAbsolute(p, "read-only path");
  for (const auto& d : plan.devices) {
    wantAbsolute(d.path, "device");
    if (d.path.rfind("/dev/", 0) != 0 || d.path.find("/../") != std::string::npos) refuse("device " + d.path + " is not below /dev");
  }
  if (plan.scratchBytes == 0) refuse("scratch has no size");
  if (plan.tmpBytes == 0) refuse("/tmp has no size");
  if (plan.scratch == Scratch::disk) wantAbsolute(plan.scratchDirectory, "scratch directory");
}

void validate(const ProcessPlan& plan) {
  if (plan.argv.empty() || plan.argv[0].empty()) throw Error("command", Code::invalid, "the command is empty");
  for (const auto& a : plan.argv) checkText(a, "an argument");
  for (const auto& e : plan.env) checkText(e, "an environment variable");
  wantAbsolute(plan.workdir, "working directory");
  checkText(plan.user, "the user");
}

}  // namespace rauha::agent
