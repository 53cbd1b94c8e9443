#pragma once
// DANGEROUS. With this token the loader accepts plugins of any owner, below directories that others may write to: whoever owns or can
// replace such a file runs code as the daemon. For developing in a checkout that belongs to another user or lies below /tmp. A file that
// is itself writable by group or others is refused all the same. Every place that was accepted only because of the token is named in
// PluginRecord::weaknesses and belongs in the posture.

namespace rauha::plugin {
struct InsecurePluginDirectories {
  explicit InsecurePluginDirectories() = default;
};
}  // namespace rauha::plugin
