#pragma once
// Which device nodes a control group's processes may use or make. v1 has a controller for it; on v2 the kernel asks a small program that is
// attached to the group and goes with it. For zones whose root is the host's: everywhere else the user namespace refuses device nodes.

#include <cstdint>
#include <string>
#include <vector>

namespace rauha::cgroup {

struct DeviceRule {
  char type = 'c';  // c or b
  int64_t major = 0;
  int64_t minor = -1;  // -1: every minor
  std::string access;  // letters of rwm
};

// "c 136:* rwm", as the v1 controller reads it.
std::string deviceRuleText(const DeviceRule& rule);
// Attaches a program to the v2 group that allows what a rule allows and refuses the rest. Throws rauha::Error of class "backend".
void attachDeviceFilter(int groupFd, const std::vector<DeviceRule>& rules);

}  // namespace rauha::cgroup
