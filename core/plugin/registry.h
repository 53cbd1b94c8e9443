#pragma once
// The plugins of one daemon: found, checked, loaded, and told what they are for. What was refused is kept with its reason.
//
// Owner: main(), built once, before clients are served; everything handed out lives as long as the Registry. Nothing is ever unloaded
// from the process: an upgrade is a restart. Thread: load() blocks; afterwards all members are const and may be used from any thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/plugin/backend.h"
#include "core/plugin/call_watch.h"
#include "core/plugin/dangerous/insecure_plugin_directories.h"
#include "core/plugin/enforcer.h"
#include "core/plugin/image_source.h"
#include "core/plugin/remote/isolation.h"
#include "core/plugin/state_keeper.h"

namespace rauha::plugin {

struct EnabledPlugin {
  std::string name;                           // "backend-linux": the file is <directory>/<name>.so
  std::string toml;                           // text of the plugin's own section; the plugin parses it
  std::optional<std::string> sha256;          // of the file, when the operator pins it; 64 hex digits, "sha256:" before them or not
  std::vector<std::string> schemes;           // an image plugin that answers for these alone: "snapshot" of "snapshot:/srv/tree"
  std::optional<ProcessIsolation> isolation;  // run it in a process of its own
};

struct PluginConfig {
  std::vector<std::string> directories;  // absolute, searched in order; no symbolic links on the way
  std::vector<EnabledPlugin> enabled;
  std::optional<InsecurePluginDirectories> insecureDirectories;
  // What plugins are told of the instance (rauha_environment). The plugin's own state is below <stateDir>/plugins/<name>, made here.
  std::string instance;
  std::string stateDir;
  std::string runtimeDir;
  std::string libexecDir;
  CallLimits limits;
};

// An event of a plugin's, copied, cut to its limits and made valid UTF-8.
struct PluginEvent {
  std::string plugin;
  uint32_t severity = 1;  // 0 debug, 1 info, 2 notice, 3 warning, 4 error
  std::string name;       // "area.what"
  std::string zoneId;     // empty: not about a zone
  std::string message;
  std::vector<std::pair<std::string, std::string>> attributes;
};

// What the host gives to plugins. Called on any thread, also at once; must neither block nor throw.
struct HostCallbacks {
  std::function<bool(PluginEvent&&)> event;  // false: the queue is full, the event is dropped (and counted in PluginRecord)
  std::function<void(LogLevel, std::string_view plugin, std::string_view text)> log;
  std::function<bool()> onLoopThread;
  StateKeeper* state = nullptr;                       // outlives the plugins; null: there is no rauha.state/1
  bool spawn = true;                                  // false: there is no rauha.spawn/1
  std::function<void(const std::string&)> violation;  // null: a breach of the contract is logged; else whoever is told does that
};

// One file, as `rauha plugin list` shows it.
struct PluginRecord {
  std::string name;
  std::string version;
  std::string path;
  std::string kind;                     // "backend", "image", "enforcer", "net"
  std::vector<std::string> interfaces;  // "rauha.backend/1"
  std::string abi;                      // "1.0"
  std::string buildId;                  // hex; empty: none
  std::string license;
  bool loaded = false;
  std::string refusal;                  // empty when loaded
  std::string hint;                     // what to do about the refusal
  bool pinned = false;                  // the configuration names its sha256
  std::vector<std::string> weaknesses;  // of its place (trusted_file.h): "/tmp is writable by others (mode 1777)"
  PluginHealth health;
  std::string isolation = "none";        // or "process"
  int32_t pid = 0;                       // of its process; 0: none runs
  uint32_t restarts = 0;                 // of its process, since the daemon began
  std::vector<std::string> confinement;  // of its process, as it was armed: one line each
  std::string lastEnd;                   // how its process ended last: "ended by SIGSEGV"; empty: never
};

class Registry final {
 public:
  // Loads what the configuration enables. A plugin that is refused does not fail the load: its record says why, and backend() or images()
  // say it again when they lack it.
  static std::unique_ptr<Registry> load(const PluginConfig& config, HostCallbacks callbacks);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Throw Error of class "plugin" when none is loaded (with each reason), or when the configuration enables two. Image plugins with
  // schemes stand beside the one without, and images() is then all of them.
  Backend& backend() const;
  ImageSource& images() const;
  Enforcer& enforcer() const;
  // Enabled plugins in the configuration's order, then every other file of the directories.
  std::vector<PluginRecord> records() const;
  // What a loaded plugin can do on this machine, in words; blocks, as it asks the plugin. Empty for others.
  std::vector<std::string> capabilities(const std::string& name) const;
  // Warns of calls that are late, and gives those that are stuck (call_watch.h); abandoned() says that the call's worker was given up.
  std::vector<StuckCall> checkCalls() const;
  void abandoned(const StuckCall& call) const;

 private:
  struct State;
  explicit Registry(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rauha::plugin
