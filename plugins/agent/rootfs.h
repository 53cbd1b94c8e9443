#pragma once
// Turns a RootPlan into the root of a mount namespace. Two halves:
//   prepareRoot  in the agent, in the host's mount namespace: takes detached copies of every layer and bind (a descriptor of another mount
//                namespace cannot be copied inside the container's), and makes the disk scratch.
//   RootBuilder  in the container process: host credentials, its own private copy of the mount table, inside the zone's pid, net, ipc and
//   uts
//                namespaces, nothing foreign running. Builds, then pivots. Afterwards the caller enters the user namespace together with a
//                new mount namespace, which locks every mount made here.
// The image is hostile: see root_dir.h. Errors: class "zone", "image" or "repository", naming the object.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "plugins/agent/plan.h"
#include "plugins/agent/root_dir.h"
#include "plugins/agent/tree_copy.h"
#include "plugins/agent/user.h"
#include "plugins/agent/zone.h"

namespace rauha::agent {

struct PreparedDevice {
  std::string path;
  uint64_t number = 0;  // dev_t
  bool read = false, write = false;
};

struct PreparedRoot {
  std::vector<UniqueFd> layers;               // detached mounts, as plan.layers
  std::vector<UniqueFd> binds;                // as plan.mounts; empty for what is no bind or is left out
  std::vector<bool> isDirectory;              // as binds
  std::vector<std::vector<UniqueFd>> lowers;  // detached mounts, as plan.mounts[].lower
  std::vector<PreparedDevice> devices;
  std::string scratchDevice;  // "/dev/loopN"; empty: memory
  UniqueFd scratchLoop;       // keeps the loop device until it is mounted
};

// descriptors: what the plan's indexes mean; borrowed.
PreparedRoot prepareRoot(const RootPlan& plan, const std::vector<UniqueFd>& descriptors);

class RootBuilder final {
 public:
  // copying: told of a tree that has to be copied.
  RootBuilder(const Zone& zone, const RootPlan& plan, const ProcessPlan& process, PreparedRoot prepared, CopyReport copying);
  // Returns with the working directory and root being the new root, the old one gone. Records stages.
  void build();
  const User& user() const noexcept { return user_; }
  const std::vector<std::pair<std::string, uint64_t>>& stages() const noexcept { return stages_; }
  // For Landlock. An empty descriptor when there is none; abi as armed.
  UniqueFd makeLandlockRuleset(int& abi) const;
  // The writable layers of the plan's overlay mounts, in the plan's order.
  const std::vector<UniqueFd>& writableLayers() const noexcept { return writableLayers_; }
  // What a reader of the result should know.
  const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  void makeStaging();
  void attachDiskScratch();
  void mountOverlay();
  std::string attachLayers();
  // In rootfs_overlay.cpp.
  void mountLayered(const MountPlan& m, size_t index);
  void attachBase(const MountPlan& m, size_t index, const std::string& name);
  void copyBase(const MountPlan& m, int source, const std::string& name);
  std::string attachLowers(const MountPlan& m, size_t index, const std::string& prefix);
  UniqueFd stagingDirectory(const std::string& name, mode_t mode) const;
  void mountKernel();
  void mountDev();
  void makeDevNodes(const UniqueFd& dev);
  void applyPlanMounts();
  void applyBind(const MountPlan& m, size_t index);
  void mountTmp();
  void makeWorkdir();
  void maskPaths();
  void mask(const std::string& path);
  void makeReadOnly(const std::string& path);
  void hideBootId();
  void sealRoot();
  void resolveUserOnce();
  int ownerUserns(const Source& source);
  void stage(const char* name);
  UniqueFd tmpfs(uint64_t bytes, const char* mode, uint32_t uid, uint32_t gid, unsigned attributes, const std::string& what) const;
  void attach(UniqueFd mount, const UniqueFd& target, const std::string& what, bool writable);
  void refuseRoot(const UniqueFd& target, const std::string& what) const;

  const Zone& zone_;
  const RootPlan& plan_;
  const ProcessPlan& process_;
  PreparedRoot prepared_;
  const CopyReport copying_;
  UniqueFd staging_;
  std::string scratch_;  // where writable layers go, relative to the staging area: "" or "s/"
  std::unique_ptr<RootDir> root_;
  UniqueFd rootMount_, dev_, emptyDirectory_, null_;
  bool userKnown_ = false, tmpPlanned_ = false;
  User user_;
  std::vector<UniqueFd> writable_;  // attached mounts that stay writable
  std::vector<UniqueFd> overlays_;  // tops of the plan's overlay mounts
  std::vector<UniqueFd> writableLayers_;
  std::vector<std::string> notes_;
  std::vector<std::pair<std::pair<uint32_t, uint32_t>, UniqueFd>> ownerUserns_;
  std::vector<std::pair<std::string, uint64_t>> stages_;
  int64_t last_ = 0;
};

}  // namespace rauha::agent
