#pragma once
// Who a process runs as: "name", "uid", "uid:gid", "name:group" against the zone's own /etc/passwd and /etc/group, which are hostile text.
// Ids are the zone's. Rules are those people know from images: a number without an entry has group 0; an explicit group means no
// supplementary groups; "" is root without supplementary groups. Errors: class "command", notFound for unknown names.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::agent {

struct User {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // supplementary, at most kMaxGroups
};

inline constexpr size_t kMaxGroups = 256;
inline constexpr size_t kMaxAccountFile = 1 << 20;

// maxId: ids above it cannot exist in the zone (65535 with a user namespace).
User resolveUser(std::string_view spec, std::string_view passwd, std::string_view group, uint32_t maxId);

// Reads the two files beneath rootFd (no magic links, regular files of at most kMaxAccountFile bytes; missing ones are empty) as needed.
User resolveUserBeneath(int rootFd, std::string_view spec, uint32_t maxId);

}  // namespace rauha::agent
