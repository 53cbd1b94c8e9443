#pragma once
// Host ids for user namespaces: each zone gets 65536 ids of its own, host-wide, whatever instance of Rauha it belongs to.
//
// A range that is taken is a file in the registry directory (/run/rauha-ids), named by the range's first id, holding "instance zone\n". It
// is made with O_EXCL under an flock on <directory>/lock, so processes and instances never get the same one. Ranges that /etc/subuid or
// /etc/subgid promise to somebody are skipped. Any thread, any process.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::backend {

constexpr uint32_t kIdsPerZone = 65536;

struct IdRangeConfig {
  std::string directory = "/run/rauha-ids";
  uint32_t base = 0x70000000;  // a multiple of 65536
  uint32_t slots = 4095;
  std::vector<std::string> subidFiles = {"/etc/subuid", "/etc/subgid"};
  std::string idMapFile = "/proc/self/uid_map";  // ids outside of it cannot be given to a zone
};

struct IdClaim {
  std::string instance, zoneId;
  uint32_t base = 0;
};

class IdRanges final {
 public:
  explicit IdRanges(IdRangeConfig config) : config_(std::move(config)) {}
  // Takes the lowest free range and returns its first id. Code::limit when all are taken; Code::unsupported when none lies inside the ids
  // that this user namespace has.
  uint32_t allocate(const std::string& instance, const std::string& zoneId);
  // Gives back the zone's ranges; nothing to give back is a success.
  void release(const std::string& instance, const std::string& zoneId);
  // Gives back one range if it still is that zone's: without reading the others.
  void releaseAt(uint32_t base, const std::string& instance, const std::string& zoneId);
  // All claims of one instance. A file that cannot be read as a claim is nobody's and is left alone.
  std::vector<IdClaim> claims(const std::string& instance) const;
  // Could a range be taken at all? Empty: yes; else why not. Changes nothing.
  std::string obstacle() const;

 private:
  UniqueFd openDirectory(bool make) const;
  const IdRangeConfig config_;
};

}  // namespace rauha::backend
