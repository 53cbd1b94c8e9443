#pragma once
// Image + policy + request -> the ContainerSpec that the agent executes. A pure function of values: nothing is looked up or opened here.

#include <schemas/container.capnp.h>
#include <schemas/policy.capnp.h>
#include <schemas/task.capnp.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/image/image_config.h"
#include "core/plugin/image_source.h"

namespace rauha::image {

enum class RepositoryMode { readOnly, writable, overlay };

struct Repository {
  UniqueFd directory;
  RepositoryMode mode = RepositoryMode::readOnly;
  std::vector<UniqueFd> lower;  // overlay: layers that earlier tasks left, lowest first; their owners are the zone's ids
  uint32_t uid = 0;             // host ids that become the zone's run user
  uint32_t gid = 0;
};

struct ContainerRequest {
  std::string id;
  std::string scratchDirectory;
  std::string hostname;
  std::vector<std::string> argv;
  std::vector<std::string> env;  // on top of the image's
  std::string workdir;           // empty: /workspace with a repository, else the image's
  std::string user;              // empty: the image's
  bool terminal = false;
  uint16_t rows = 0, columns = 0;
  bool stdin = false;
  std::optional<Repository> repository;
  uint32_t callerUid = 0, callerGid = 0;
};

// Where a zone sees the repository.
inline constexpr const char* kWorkspace = "/workspace";

// Fills `out`; the descriptors that it names by index come back in order, to be handed over with it.
std::vector<UniqueFd> buildContainerSpec(schema::ContainerSpec::Builder out, plugin::ResolvedImage& image, const Config& config,
                                         schema::Policy::Reader policy, ContainerRequest& request);

// The image's variables, then the request's; the last of a name wins. PATH and HOME have defaults. Throws Error "usage" for "K" without
// "=".
std::vector<std::string> mergeEnvironment(const std::vector<std::string>& image, const std::vector<std::string>& request, bool terminal);

}  // namespace rauha::image
