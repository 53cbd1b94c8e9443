#include "core/plugin/remote/remote_plugin.h"

#include <rauha/image.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <future>

#include "core/plugin/remote/remote_images.h"
#include "core/plugin/remote/remote_loop.h"

namespace rauha::plugin {
namespace {

std::vector<std::string> visibleOf(const ProcessIsolation& isolation) {
  std::vector<std::string> out = hostFiles();
  out.insert(out.end(), isolation.read.begin(), isolation.read.end());
  return out;
}

}  // namespace

const char* methodName(ImageMethod method) noexcept {
  switch (method) {
    case ImageMethod::resolve:
      return "resolve";
    case ImageMethod::release:
      return "release";
    case ImageMethod::list:
      return "list";
    case ImageMethod::inspect:
      return "inspect";
    case ImageMethod::remove:
      return "remove";
    case ImageMethod::importImage:
      return "import_image";
    case ImageMethod::reconcile:
      return "reconcile";
    case ImageMethod::prune:
      return "prune";
    case ImageMethod::exportImage:
      return "export_image";
    case ImageMethod::verify:
      return "verify";
  }
  return "?";
}

RemotePlugin::RemotePlugin(InspectedPlugin inspected, const PluginConfig& config, const std::string& toml,
                           const ProcessIsolation& isolation, HostCallbacks callbacks, const RemotePatience& patience)
    : note_(inspected.note),
      file_(std::move(inspected.file)),
      toml_(toml),
      program_(config.libexecDir + "/rauha-plugin-host"),
      store_(config.stateDir + "/plugins/" + note_.name),
      instanceName_(config.instance),
      stateDir_(config.stateDir),
      runtimeDir_(config.runtimeDir),
      libexecDir_(config.libexecDir),
      isolation_(isolation),
      visible_(visibleOf(isolation)),
      patience_(patience),
      host_(note_.name, config, std::move(callbacks)) {
  makePluginDirectory(config.stateDir, note_.name);
  {
    std::unique_lock lock(mutex_);
    thread_ = std::thread([this] { runLoop(); });
    changed_.wait(lock, [this] { return loop_ != nullptr || stopping_; });
  }
  try {
    if (loop_ == nullptr) throw Error("plugin", Code::io, "no event loop for the process of plugin " + note_.name + ": " + lastEnd_);
    loop_->executor->executeSync([this] { return loop_->ensureRunning().promise(); });
  } catch (...) {
    const Error error = currentError("plugin");
    if (loop_ != nullptr) loop_->executor->executeSync([this] { loop_->stop(); });
    thread_.join();
    throw error;
  }
}

RemotePlugin::~RemotePlugin() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  loop_->executor->executeSync([this] { loop_->stop(); });
  thread_.join();  // the loop's end fails every call that runs
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return running_ == 0; });
}

void RemotePlugin::runLoop() noexcept {
  try {
    Loop loop(*this);
    {
      std::lock_guard lock(mutex_);
      loop_ = &loop;
    }
    changed_.notify_all();
    loop.runUntilStopped();
  } catch (...) {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    lastEnd_ = currentError("plugin").text();
    changed_.notify_all();
  }
}

const void* RemotePlugin::table(const char* id) {
  if (std::strcmp(id, RAUHA_IMAGE_V1) == 0) return remoteImagesTable();
  throw Error("plugin", Code::unsupported, std::string("has no ") + id + " in a process of its own");
}

void RemotePlugin::describe(PluginRecord& record) const {
  std::lock_guard lock(mutex_);
  record.isolation = "process";
  record.pid = pid_;
  record.restarts = starts_ > 0 ? starts_ - 1 : 0;
  record.confinement = layers_;
  record.lastEnd = lastEnd_;
}

ImageReply RemotePlugin::ask(rauha_call* call, const ImageQuestion& question) {
  kj::Own<const kj::Executor> executor;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) throw Error("plugin", Code::busy, "plugin " + note_.name + " is being stopped");
    ++running_;
    executor = loop_->executor->addRef();
  }
  const Defer done([this] {
    std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  });
  try {
    return executor->executeSync([&] { return loop_->ask(call, question).promise(); });
  } catch (...) {
    throw currentError("plugin");
  }
}

}  // namespace rauha::plugin
