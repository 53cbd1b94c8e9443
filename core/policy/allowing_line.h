#pragma once
// The other half of every refusal: the policy line that would allow what was refused. For hints and results; a pure function of text.

#include <string>
#include <string_view>

namespace rauha::policy {

// feature: a key of the policy as docs/policy.md writes it ("network.mode", "capabilities", "syscalls.allow", "resources.memory",
//   "filesystem.scratch_size", "devices", "user_namespace", "require"), or a layer's name ("landlock": the layer could not be armed).
// value: what was asked for ("host", "net_raw", "4GiB"); empty: an ellipsis stands for it.
// "" for a feature that no policy line allows.
//   allowingLine("network.mode", "host")     network.mode = "host" in a policy of type = "privileged"
//   allowingLine("capabilities", "net_raw")  capabilities = ["net_raw"]
//   allowingLine("syscalls.allow", "ptrace") syscalls.allow = ["ptrace"]
//   allowingLine("resources.memory")         resources.memory = "…"
//   allowingLine("landlock")                 a `require` without "landlock"
std::string allowingLine(std::string_view feature, std::string_view value = {});

}  // namespace rauha::policy
