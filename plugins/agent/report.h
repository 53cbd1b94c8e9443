#pragma once
// What a process of the zone tells the agent before it execs, over a SOCK_SEQPACKET pair: "ready" (everything is armed, blocked now) or an
// error. After `start` the socket closes on exec, or carries one more error. The sender is our own code, not yet the zone's; still the
// reader checks every length, for the bytes pass through a process that has entered the zone.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::agent {

// Evidence of what was armed on one process.
struct Armed {
  bool userNamespace = false, seccomp = false, noNewPrivs = false;
  uint32_t seccompRules = 0, landlockAbi = 0;
  uint64_t capabilities = 0;  // bounding set, read back
  std::vector<std::string> notes;
};

struct Ready {
  Armed armed;
  uint32_t hostUid = 0, hostGid = 0;  // who the process is, as host ids: its pipes are given to it
  std::vector<std::pair<std::string, uint64_t>> stages;
};

inline constexpr size_t kMaxReport = 32 * 1024;

// Before "ready": how far the copy of a repository is. Sent without waiting (but the last one): what does not fit into the socket is lost.
struct Copying {
  uint64_t files = 0, bytes = 0;
  bool done = false;
};
void sendCopying(int socket, const Copying& copying) noexcept;
// Empty: the message is of another kind. Throws Code::internal when it is malformed.
std::optional<Copying> decodeCopying(std::string_view message);

std::string encodeReady(const Ready& ready);
std::string encodeError(const Error& error);
// One message; throws the Error that it carries, or Code::internal for anything malformed.
Ready decodeReport(std::string_view message);

// Sends descriptors (at most 4) beside one byte `tag`.
void sendDescriptors(int socket, char tag, const std::vector<int>& descriptors);

// One received message with its descriptors. nullopt: would block. An empty text: the peer is gone.
struct Received {
  std::string text;
  std::vector<UniqueFd> descriptors;
};
std::optional<Received> receive(int socket);

}  // namespace rauha::agent
