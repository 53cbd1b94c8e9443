#pragma once
// Reads where this machine's control group trees are out of the kernel's own tables. Pure functions over text, so that layouts of other
// machines can be tested. Any thread.

#include <string>
#include <string_view>

#include "plugins/linux-common/cgroup.h"

namespace rauha::cgroup {

// The trees named by the text of a mountinfo file (proc(5)). A mount that covers another at the same place wins; mounts of a subtree are
// only used when the whole tree is not mounted. v2Controllers stays empty: it is a file's content, not a mount's.
Hierarchies parseMountinfo(std::string_view mountinfo);
// Path of a process in the v2 tree, from the text of its /proc/<pid>/cgroup ("0::/path"); "" when it is not in one.
std::string parseV2Path(std::string_view procCgroup);
// One word of a whitespace-separated list file (cgroup.controllers).
bool listContains(std::string_view list, std::string_view word);

}  // namespace rauha::cgroup
