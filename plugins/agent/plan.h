#pragma once
// What the agent is told to do, as plain values: read from the message once, checked once, before anything is forked. Nothing below this
// header needs Cap'n Proto. Class of all errors: "zone"; a plan that does not make sense is a bug of the sender (Code::invalid).

#include <cstdint>
#include <string>
#include <vector>

namespace rauha::agent {

enum class Mapping { none, zone, owner };

// Where a layer or a bind comes from: a path of the agent's side, or an index into the descriptors that came with the plan.
struct Source {
  std::string path;
  int descriptor = -1;
  Mapping mapping = Mapping::none;
  uint32_t hostUid = 0, hostGid = 0;  // mapping = owner
  // "/var/lib/x" or "descriptor 0": for error texts.
  std::string name() const { return descriptor >= 0 ? "descriptor " + std::to_string(descriptor) : path; }
};

struct MountPlan {
  enum class Kind { bind, tmpfs, symlink, file, directory };
  std::string target;  // absolute, in the zone
  Kind kind = Kind::bind;
  Source source;         // bind
  uint64_t bytes = 0;    // tmpfs
  std::string content;   // symlink: its text; file: its bytes
  uint16_t mode = 0755;  // directory
  bool readOnly = false, optional = false, exec = false;
  bool overlay = false;       // bind of a directory: the source stays as it is, writes go to a fresh layer on the scratch
  std::vector<Source> lower;  // overlay: read-only layers above the source, lowest first
};

struct DevicePlan {
  std::string path;  // below /dev, in the zone and on the agent's side
  bool read = false, write = false;
};

enum class Scratch { memory, disk };

struct RootPlan {
  bool overlay = false;        // false: a fresh tmpfs
  std::vector<Source> layers;  // lowest first
  bool readOnlyRoot = false;
  Scratch scratch = Scratch::memory;
  uint64_t scratchBytes = 0;
  std::string scratchDirectory;
  uint64_t tmpBytes = 0;
  std::vector<MountPlan> mounts;
  std::vector<std::string> masked, readOnly;
  std::vector<DevicePlan> devices;
  // A host tree can be written through this plan: set-user-ID bits must be refused.
  bool writesHostTree() const;
  // Something besides a fresh root's own tmpfs is written: layers of the zone's own need a place.
  bool needsScratch() const;
};

struct ProcessPlan {
  std::vector<std::string> argv, env;
  std::string workdir = "/";
  bool workdirRequired = false;
  std::string user;  // "": root of the zone
  bool terminal = false, stdinOpen = false;
  uint16_t rows = 0, columns = 0;
};

// More layers than this do not fit into the one page of options that mount(2) takes.
inline constexpr size_t kMaxLayers = 128;
inline constexpr size_t kMaxMounts = 512;
inline constexpr size_t kMaxOverlayMounts = 16;
inline constexpr size_t kMaxOverlayLayers = 16;  // of one mount, above its source

// Checks shapes and limits: absolute paths, no NUL, indexes below descriptorCount, sizes above 0. Throws.
void validate(const RootPlan& plan, size_t descriptorCount);
void validate(const ProcessPlan& plan);

}  // namespace rauha::agent
