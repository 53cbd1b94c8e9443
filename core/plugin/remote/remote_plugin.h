#pragma once
// A plugin in a process of its own, as the daemon holds it: starts the process, keeps it running, and asks it.
//
// It is a PluginInstance like a plugin that was loaded into the daemon: its "instance" is this object, its table (remote_images.h) sends
// each call over, and what comes back goes through the same adapter and the same checks. Owner: the Registry's slot and the adapter.
// Thread: ask() blocks a worker; the process and its connection live on an event loop and a thread of this object's own.
//
// When the process ends, calls that run fail with how it ended; the next call starts it again, first telling it (reconcile) which leases
// still live. Starts are spaced out, and after several ends within a while refused.

#include <capnp/message.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/plugin/host_services.h"
#include "core/plugin/loaded_plugin.h"
#include "core/plugin/loader.h"
#include "core/plugin/remote/isolation.h"

namespace rauha::plugin {

// How patient the daemon is. Tests are less so.
struct RemotePatience {
  int64_t startNs = 30'000'000'000;    // from the start of the process to a loaded plugin
  int64_t overrunNs = 5'000'000'000;   // after its deadline a call has this long to return; then the process is killed
  int64_t cancelNs = 30'000'000'000;   // after it was cancelled
  int64_t firstDelayNs = 100'000'000;  // before the second start; doubled for each further end within the window
  int64_t windowNs = 600'000'000'000;  // ends that lie further back are forgotten
  size_t maxEnds = 5;                  // within the window; then calls are refused
};

enum class ImageMethod { resolve, release, list, inspect, remove, importImage, reconcile, prune, exportImage, verify };
const char* methodName(ImageMethod method) noexcept;

struct QuestionRecord {
  uint32_t tag = 0, flags = 0;
  uint64_t number = 0;
  std::string text;
};

// One call, copied from the C structs.
struct ImageQuestion {
  ImageMethod method = ImageMethod::list;
  std::string text;  // reference, or the lease of release
  std::string lease, name;
  std::vector<std::string> leases;  // reconcile
  std::vector<QuestionRecord> records;
  uint32_t uid = 0, gid = 0;
  int source = -1;  // borrowed; passable (passed_source.h)
  int target = -1;  // borrowed, of exportImage; the same
};

struct ImageReply {
  std::unique_ptr<capnp::MallocMessageBuilder>
      message;  // root: schema::PluginImageAnswer with outcome ok; null: nothing came or was needed
};

class RemotePlugin final : public PluginInstance {
 public:
  // Starts the process and has it load the plugin. Throws Error "plugin": every layer of the confinement that cannot be armed, whatever the
  // plugin's own loading refuses.
  RemotePlugin(InspectedPlugin inspected, const PluginConfig& config, const std::string& toml, const ProcessIsolation& isolation,
               HostCallbacks callbacks, const RemotePatience& patience = {});
  // Fails what runs, ends the process.
  ~RemotePlugin() override;

  const std::string& name() const noexcept override { return note_.name; }
  HostServices& host() noexcept override { return host_; }
  rauha_instance* instance() noexcept override { return reinterpret_cast<rauha_instance*>(this); }
  const void* table(const char* id) override;
  void describe(PluginRecord& record) const override;

  const std::vector<std::string>& provides() const noexcept { return provides_; }
  const std::string& license() const noexcept { return license_; }
  // For the checks of answers.
  const std::string& store() const noexcept { return store_; }
  const std::vector<std::string>& visible() const noexcept { return visible_; }

  // Blocks until the process has answered or is gone. call: for progress, cancelling and deadline; its texts are the caller's to set.
  // Throws Error with what the plugin said, or how the process ended.
  ImageReply ask(rauha_call* call, const ImageQuestion& question);

 private:
  class Loop;
  friend class Loop;
  void runLoop() noexcept;

  const Note note_;
  const TrustedFile file_;
  const std::string toml_, program_, store_;
  const std::string instanceName_, stateDir_, runtimeDir_, libexecDir_;
  const ProcessIsolation isolation_;
  const std::vector<std::string> visible_;
  const RemotePatience patience_;
  HostServices host_;
  std::vector<std::string> provides_;
  std::string license_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  size_t running_ = 0;  // calls of ask()
  bool stopping_ = false;
  pid_t pid_ = 0;  // 0: not running
  uint32_t starts_ = 0;
  std::string lastEnd_;
  std::vector<std::string> layers_;
  Loop* loop_ = nullptr;  // the thread's, while it runs
  std::thread thread_;
};

}  // namespace rauha::plugin
