#include "core/plugin/registry.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <set>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/plugin/adapters.h"
#include "core/plugin/image_router.h"
#include "core/plugin/loaded_plugin.h"
#include "core/plugin/loader.h"
#include "core/plugin/remote/remote_plugin.h"
#include "core/plugin/service_tables.h"

namespace rauha::plugin {
namespace {

constexpr std::string_view kSuffix = ".so";
constexpr int64_t kAskNs = 2'000'000'000;
constexpr size_t kMaxFiles = 256;  // listed per directory

// Names of the plugin files of a directory, without the suffix, sorted.
std::vector<std::string> filesIn(const TrustedFile& directory) {
  std::vector<std::string> out;
  const int fd = openat(directory.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);  // the checked descriptor is O_PATH
  if (fd < 0) throwErrno("plugin", "read directory " + directory.path);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd), closedir);
  if (stream == nullptr) {
    const UniqueFd closing(fd);
    throwErrno("plugin", "read directory " + directory.path);
  }
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name.size() > kSuffix.size() && name.substr(name.size() - kSuffix.size()) == kSuffix && out.size() < kMaxFiles)
      out.emplace_back(name.substr(0, name.size() - kSuffix.size()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

void fillFromNote(PluginRecord& record, const Note& note) {
  record.name = note.name;
  record.version = note.version;
  record.kind = note.kind;
  record.abi = std::to_string(note.abiMajor) + "." + std::to_string(note.abiMinor);
  record.buildId = note.buildId;
}

// With or without "sha256:", as people paste it.
std::optional<std::string> pinOf(const EnabledPlugin& enabled) {
  if (!enabled.sha256) return std::nullopt;
  const std::string pin = enabled.sha256->find(':') == std::string::npos ? "sha256:" + *enabled.sha256 : *enabled.sha256;
  if (!isSha256(pin))
    throw Error("plugin", Code::invalid,
                "the pin of plugin " + enabled.name + " is not a sha256 of 64 lower-case hex digits: " + *enabled.sha256, {}, enabled.name);
  return pin;
}

std::vector<std::string> describe(const EnforcerCapabilities& capabilities) {
  std::vector<std::string> out{std::string(enforcerStateName(capabilities.state))};
  if (capabilities.auditOnly) out.emplace_back("audit only");
  if (capabilities.byCgroup) out.emplace_back("by control group");
  for (uint32_t i = 0; i < 64; ++i)
    if ((capabilities.operations >> i & 1) != 0) out.push_back(operationName(i));
  return out;
}

void refuse(PluginRecord& record, const Error& e) {
  record.loaded = false;
  record.refusal = e.text();
  record.hint = e.hint();
}

}  // namespace

struct Registry::State {
  struct Slot {
    PluginRecord record;
    std::shared_ptr<PluginInstance> plugin;
    std::unique_ptr<Backend> backend;
    std::unique_ptr<ImageSource> images;
    std::unique_ptr<Enforcer> enforcer;
    std::vector<std::string> schemes;  // as enabled
  };

  State(const PluginConfig& c, HostCallbacks callbacks) : config(c), host(std::move(callbacks)) {
    rules.insecureDirectories = c.insecureDirectories.has_value();
  }

  void listDirectories() {
    for (const auto& directory : config.directories) {
      try {
        for (auto& name : filesIn(openTrustedDirectory(directory, rules)))
          files.emplace_back(directory + "/" + name + std::string(kSuffix), name);
      } catch (const Error& e) {
        directoryErrors.push_back(e);
        host.log(LogLevel::warning, "plugins", e.text());
      }
    }
  }

  // The first directory that has the file wins.
  std::string pathOf(const std::string& name) const {
    if (!isPluginName(name))
      throw Error("plugin", Code::invalid, "\"" + name + "\" is not a plugin's name: [a-z0-9-], at most 31", {}, name);
    for (const auto& [path, stem] : files)
      if (stem == name) return path;
    // A directory that was refused is the likelier reason than a missing file.
    if (!directoryErrors.empty()) throw Error(directoryErrors.front());
    std::string where;
    for (const auto& d : config.directories) where += (where.empty() ? "" : ", ") + d;
    throw Error("plugin", Code::notFound,
                "plugin " + name + " is enabled, but there is no " + name + ".so in " +
                    (where.empty() ? "any directory: none is configured" : where),
                "install it, or take it out of the configuration", name);
  }

  void loadEnabled(const EnabledPlugin& enabled) {
    Slot slot;
    slot.record.name = enabled.name;
    slot.schemes = enabled.schemes;
    try {
      loadInto(slot, enabled);
      slot.record.loaded = true;
      host.log(LogLevel::info, "plugins",
               slot.record.name + " " + slot.record.version + " loaded, ABI " + slot.record.abi + ", " + slot.record.path + ", build id " +
                   (slot.record.buildId.empty() ? "none" : slot.record.buildId));
      for (const auto& weakness : slot.record.weaknesses)
        host.log(LogLevel::warning, "plugins", slot.record.name + " accepted although " + weakness);
    } catch (const Error& e) {
      slot.backend.reset();
      slot.images.reset();
      slot.enforcer.reset();
      slot.plugin.reset();
      refuse(slot.record, e);
      host.log(LogLevel::error, "plugins", slot.record.name + " refused: " + e.text());
    }
    slots.push_back(std::move(slot));
  }

  void loadInto(Slot& slot, const EnabledPlugin& enabled) {
    slot.record.path = pathOf(enabled.name);
    slot.record.pinned = enabled.sha256.has_value();
    slot.record.isolation = enabled.isolation ? "process" : "none";
    InspectedPlugin inspected = inspectPlugin(slot.record.path, rules, pinOf(enabled));
    fillFromNote(slot.record, inspected.note);
    slot.record.weaknesses = inspected.file.weaknesses;
    if (enabled.isolation) return startInto(slot, enabled, std::move(inspected));
    OpenedPlugin opened = openPlugin(std::move(inspected), offeredServices(host));
    slot.record.interfaces = opened.provides;
    slot.record.license = opened.license;
    const std::string kind = opened.note.kind;
    if (kind != "backend" && kind != "image" && kind != "enforcer")
      throw Error("plugin", Code::unsupported, slot.record.path + " is of kind " + kind + ", which this daemon does not use yet",
                  "take it out of the configuration");
    slot.plugin = std::make_shared<LoadedPlugin>(std::move(opened), config, enabled.toml, host);
    if (kind == "backend") slot.backend = adaptBackend(slot.plugin);
    if (kind == "image") slot.images = adaptImages(slot.plugin);
    if (kind == "enforcer") slot.enforcer = adaptEnforcer(slot.plugin);
    if (kind != "image" && !slot.schemes.empty())
      throw Error("plugin", Code::invalid, slot.record.path + " is of kind " + kind + " and cannot answer for image schemes",
                  "take it out of plugins.images");
  }

  // In a process of its own: none of its code runs here.
  void startInto(Slot& slot, const EnabledPlugin& enabled, InspectedPlugin inspected) {
    if (inspected.note.kind != "image")
      throw Error(
          "plugin", Code::unsupported,
          slot.record.path + " is of kind " + inspected.note.kind + ", which cannot run in a process of its own: only image plugins can",
          "take isolation out of [plugin." + enabled.name + "] in rauha.toml", enabled.name);
    auto plugin = std::make_shared<RemotePlugin>(std::move(inspected), config, enabled.toml, *enabled.isolation, host);
    slot.record.interfaces = plugin->provides();
    slot.record.license = plugin->license();
    slot.plugin = plugin;
    slot.images = adaptImages(plugin);
  }

  // What lies in the directories and is not enabled: shown by its note, never opened as code.
  void listTheRest() {
    std::set<std::string> used;
    for (const auto& slot : slots) used.insert(slot.record.path);
    for (const auto& [path, stem] : files) {
      if (used.count(path) > 0) continue;
      Slot slot;
      slot.record.name = stem;
      slot.record.path = path;
      try {
        const InspectedPlugin inspected = inspectPlugin(path, rules, std::nullopt);
        fillFromNote(slot.record, inspected.note);
        slot.record.weaknesses = inspected.file.weaknesses;
        slot.record.refusal = reasonNotUsed(stem);
      } catch (const Error& e) {
        refuse(slot.record, e);
      }
      slots.push_back(std::move(slot));
    }
  }

  std::string reasonNotUsed(const std::string& name) const {
    for (const auto& slot : slots)
      if (slot.record.name == name && !slot.record.path.empty()) return "not used: " + slot.record.path + " comes first";
    return "not enabled in the configuration";
  }

  template <typename T>
  T& only(const char* kind, std::unique_ptr<T> Slot::*member) const {
    T* found = nullptr;
    std::string reasons, hint;
    for (const auto& slot : slots) {
      if (!slot.schemes.empty()) continue;  // stands beside the one
      if (T* here = (slot.*member).get()) {
        if (found != nullptr)
          throw Error("plugin", Code::conflict,
                      std::string("two ") + kind + " plugins are enabled: " + found->name() + " and " + here->name(), "enable one of them");
        found = here;
      } else if (!slot.record.refusal.empty() && (slot.record.kind == kind || slot.record.kind.empty()) && enabled(slot.record.name)) {
        reasons += "; " + slot.record.refusal;
        if (hint.empty()) hint = slot.record.hint;
      }
    }
    if (found != nullptr) return *found;
    throw Error("plugin", Code::notFound, std::string("no ") + kind + " plugin is loaded" + reasons,
                hint.empty() ? remedyFor(kind, !reasons.empty()) : hint);
  }

  // Without it no daemon runs that could be asked for more.
  static std::string remedyFor(const std::string& kind, bool refused) {
    const std::string line = kind == "image" ? "images" : kind;
    return (refused ? "put right what is said of it, or name another plugin" : "name one") + std::string(" in the line ") + line +
           " = … of [plugins] in rauha.toml";
  }

  // Only when there is somebody beside the one without schemes.
  void route() {
    std::vector<ImageRoute> routes;
    for (const auto& slot : slots)
      if (!slot.schemes.empty() || slot.images != nullptr)
        routes.push_back({slot.record.name, slot.schemes, slot.images.get(), slot.record.refusal, slot.record.hint});
    const auto rest = std::count_if(routes.begin(), routes.end(), [](const ImageRoute& r) { return r.schemes.empty(); });
    if (routes.size() > 1 && rest == 1) {
      routed = routeImages(std::move(routes),
                           [this](const std::string& plugin, const std::string& text) { host.log(LogLevel::warning, plugin, text); });
    }
  }

  bool enabled(const std::string& name) const {
    return std::any_of(config.enabled.begin(), config.enabled.end(), [&](const EnabledPlugin& e) { return e.name == name; });
  }

  const PluginConfig config;
  const HostCallbacks host;
  TrustRules rules;
  std::vector<std::pair<std::string, std::string>> files;  // path, name by the file
  std::vector<Error> directoryErrors;
  std::vector<Slot> slots;
  std::unique_ptr<ImageSource> routed;  // over the slots' sources
};

Registry::Registry(std::unique_ptr<State> state) : state_(std::move(state)) {}
Registry::~Registry() = default;

std::unique_ptr<Registry> Registry::load(const PluginConfig& config, HostCallbacks callbacks) {
  if (!callbacks.log) callbacks.log = [](LogLevel, std::string_view, std::string_view) {};
  auto state = std::make_unique<State>(config, std::move(callbacks));
  state->listDirectories();
  for (const auto& enabled : config.enabled) state->loadEnabled(enabled);
  state->listTheRest();
  state->route();
  return std::unique_ptr<Registry>(new Registry(std::move(state)));
}

Backend& Registry::backend() const { return state_->only("backend", &State::Slot::backend); }
Enforcer& Registry::enforcer() const { return state_->only("enforcer", &State::Slot::enforcer); }
ImageSource& Registry::images() const { return state_->routed ? *state_->routed : state_->only("image", &State::Slot::images); }

std::vector<PluginRecord> Registry::records() const {
  std::vector<PluginRecord> out;
  for (const auto& slot : state_->slots) {
    out.push_back(slot.record);
    if (!slot.plugin) continue;
    out.back().health = slot.plugin->host().health();
    slot.plugin->describe(out.back());
  }
  return out;
}

std::vector<std::string> Registry::capabilities(const std::string& name) const {
  std::vector<std::string> out;
  for (const auto& slot : state_->slots) {
    if (slot.record.name != name || !slot.plugin) continue;
    CallOptions options;
    options.deadlineNs = monotonicNs() + kAskNs;
    try {
      if (slot.backend)
        for (const auto& layer : slot.backend->probe(options))
          if (layer.state != LayerState::missing) out.push_back(layer.name + (layer.state == LayerState::partial ? " (partly)" : ""));
      if (slot.images) out = slot.schemes;
      if (slot.enforcer) out = describe(slot.enforcer->capabilities(options));
    } catch (const Error& e) {
      out = {"unknown: " + e.text()};
    }
  }
  return out;
}

std::vector<StuckCall> Registry::checkCalls() const {
  std::vector<StuckCall> out;
  for (const auto& slot : state_->slots)
    if (slot.plugin)
      for (auto& call : slot.plugin->host().checkCalls()) out.push_back(std::move(call));
  return out;
}

void Registry::abandoned(const StuckCall& call) const {
  for (const auto& slot : state_->slots)
    if (slot.plugin && slot.plugin->name() == call.plugin) slot.plugin->host().calls().abandoned(call.number);
}

}  // namespace rauha::plugin
