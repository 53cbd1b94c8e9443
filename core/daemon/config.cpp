#include "core/daemon/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <sstream>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/protected_paths.h"
#include "core/base/units.h"
#include "core/plugin/image_router.h"

namespace rauha {
namespace {

constexpr uint64_t kMaxDurationMs = 7 * 24 * 3'600'000;  // so that nanoseconds never overflow

class Reader {
 public:
  Reader(const std::string& source, Config& config) : source_(source), config_(config) {}

  void read(const toml::table& root) {
    refuseUnknown(root, {"daemon", "plugins", "plugin", "changes"}, "");
    if (const auto* t = section(root, "daemon")) daemon(*t);
    if (const auto* t = section(root, "plugins")) plugins(*t);
    if (const auto* t = section(root, "changes")) changes(*t);
    if (const auto* t = section(root, "plugin"))
      for (const auto& [name, value] : *t) plugin(std::string(name.str()), value);
    imageSchemes(root);
  }

 private:
  [[noreturn]] void refuse(const toml::node& node, const std::string& key, const std::string& why, const std::string& hint = {}) const {
    throw Error("daemon", Code::invalid, source_ + ":" + std::to_string(node.source().begin.line) + ": " + key + ": " + why, hint, key);
  }
  const toml::table* section(const toml::table& root, const char* key) const {
    const auto* node = root.get(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) refuse(*node, key, "must be a table");
    return node->as_table();
  }
  void refuseUnknown(const toml::table& table, const std::set<std::string>& known, const std::string& prefix) const {
    for (const auto& [key, value] : table)
      if (!known.contains(std::string(key.str()))) {
        std::string list;
        for (const auto& k : known) list += (list.empty() ? "" : ", ") + k;
        refuse(value, prefix + std::string(key.str()), "unknown key", "known here: " + list);
      }
  }
  void text(const toml::table& t, const char* key, const std::string& prefix, std::string& out) const {
    const auto* node = t.get(key);
    if (node == nullptr) return;
    const auto value = node->value<std::string>();
    if (!node->is_string()) refuse(*node, prefix + key, "must be a string");
    out = *value;
  }
  void number(const toml::table& t, const char* key, const std::string& prefix, uint32_t low, uint32_t high, uint32_t& out) const {
    const auto* node = t.get(key);
    if (node == nullptr) return;
    const auto value = node->value<int64_t>();
    if (!node->is_integer() || *value < low || *value > high)
      refuse(*node, prefix + key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    out = static_cast<uint32_t>(*value);
  }
  void daemon(const toml::table& t) {
    refuseUnknown(t, {"socket_group", "idle_exit", "workers", "task_history", "prepared_zones", "prepared_idle"}, "daemon.");
    text(t, "socket_group", "daemon.", config_.socketGroup);
    number(t, "workers", "daemon.", 1, 64, config_.workers);
    number(t, "task_history", "daemon.", 1, 1'000'000, config_.taskHistory);
    duration(t, "idle_exit", "daemon.", config_.idleExitMs);
    number(t, "prepared_zones", "daemon.", 0, 64, config_.preparedZones);
    duration(t, "prepared_idle", "daemon.", config_.preparedIdleMs);
  }
  void duration(const toml::table& t, const char* key, const std::string& prefix, uint64_t& out) const {
    std::string value;
    text(t, key, prefix, value);
    if (value.empty()) return;
    const auto ms = parseDurationMs(value);
    if (!ms || *ms < 100 || *ms > kMaxDurationMs)
      refuse(*t.get(key), prefix + key, "'" + value + "' is not a duration from 100ms to 168h", "write for example \"60s\"");
    out = *ms;
  }
  // As parseDurationMs, and days.
  static std::optional<uint64_t> days(const std::string& text) {
    if (text.empty() || text.back() != 'd') return parseDurationMs(text);
    const auto hours = parseDurationMs(text.substr(0, text.size() - 1) + "h");
    return hours ? std::optional(*hours * 24) : std::nullopt;
  }
  void changes(const toml::table& t) {
    refuseUnknown(t, {"keep", "keep_bytes", "max_changes", "protected"}, "changes.");
    number(t, "max_changes", "changes.", 1, 10'000'000, config_.changes.maxChanges);
    std::string keep, bytes;
    text(t, "keep", "changes.", keep);
    text(t, "keep_bytes", "changes.", bytes);
    if (t.contains("keep")) {
      const auto ms = days(keep);
      if (!ms)
        refuse(*t.get("keep"), "changes.keep", "'" + keep + "' is not a duration", "write for example \"7d\", or \"0\" for no limit");
      config_.changes.keepMs = *ms;
    }
    if (t.contains("keep_bytes")) {
      const auto size = parseBytes(bytes);
      if (!size || *size == 0)
        refuse(*t.get("keep_bytes"), "changes.keep_bytes", "'" + bytes + "' is not a size", "write for example \"2GiB\"");
      config_.changes.keepBytes = *size;
    }
    if (const auto* node = t.get("protected")) {
      const std::string why = "must be a list of names and paths, such as [\"Makefile\", \"*.mk\", \"tools/build\"]";
      if (!node->is_array() || !node->as_array()->empty()) config_.changes.protectedPatterns = texts(*node, "changes.protected", why);
      for (const auto& pattern : config_.changes.protectedPatterns)
        if (!isProtectedPattern(pattern)) refuse(*node, "changes.protected", "'" + pattern + "' is no name or path inside a repository");
    }
  }
  void plugins(const toml::table& t) {
    refuseUnknown(t,
                  {"backend", "images", "enforcer", "network", "directories", "allow_unsafe_directories", "call_timeout", "overrun_after",
                   "abandon_after"},
                  "plugins.");
    duration(t, "call_timeout", "plugins.", config_.callTimeoutMs);
    duration(t, "overrun_after", "plugins.", config_.overrunAfterMs);
    duration(t, "abandon_after", "plugins.", config_.abandonAfterMs);
    if (config_.abandonAfterMs < config_.overrunAfterMs)
      refuse(t, "plugins.abandon_after", "must not be shorter than plugins.overrun_after");
    text(t, "backend", "plugins.", config_.backend);
    if (const auto* node = t.get("images")) config_.images = imagePlugins(*node);
    text(t, "enforcer", "plugins.", config_.enforcer);
    text(t, "network", "plugins.", config_.network);
    if (config_.network != "none")
      refuse(*t.get("network"), "plugins.network", "no network plugin can be loaded by this version; found '" + config_.network + "'",
             "write \"none\"");
    if (const auto* node = t.get("allow_unsafe_directories")) {
      if (!node->is_boolean()) refuse(*node, "plugins.allow_unsafe_directories", "must be true or false");
      config_.allowUnsafeDirectories = *node->value<bool>();
    }
    if (const auto* node = t.get("directories")) {
      if (!node->is_array()) refuse(*node, "plugins.directories", "must be an array of absolute paths");
      for (const auto& item : *node->as_array()) {
        const auto path = item.value<std::string>();
        if (!item.is_string() || path->empty() || path->front() != '/')
          refuse(item, "plugins.directories", "must be an array of absolute paths");
        config_.pluginDirectories.push_back(*path);
      }
    }
  }
  // A name, or a list of names.
  std::vector<std::string> imagePlugins(const toml::node& node) const {
    if (const auto one = node.value_exact<std::string>()) return {*one};
    const std::vector<std::string> out = texts(node, "plugins.images", "must be a plugin's name or a list of names");
    if (std::set<std::string>(out.begin(), out.end()).size() != out.size()) refuse(node, "plugins.images", "names a plugin twice");
    return out;
  }
  std::vector<std::string> texts(const toml::node& node, const std::string& key, const std::string& why) const {
    if (!node.is_array() || node.as_array()->empty()) refuse(node, key, why);
    std::vector<std::string> out;
    for (const auto& item : *node.as_array()) {
      const auto value = item.value_exact<std::string>();
      if (!value || value->empty()) refuse(item, key, why);
      out.push_back(*value);
    }
    return out;
  }
  std::vector<std::string> schemes(const toml::node& node, const std::string& key) const {
    const std::string why = "must be a list of the beginnings of references, such as [\"snapshot\"]";
    std::vector<std::string> out = texts(node, key, why);
    for (const auto& scheme : out)
      if (!plugin::isImageScheme(scheme)) refuse(node, key, "'" + scheme + "' is no scheme: [a-z][a-z0-9+.-], 2 to 32 characters");
    return out;
  }
  // A section as TOML text of its own in which each key stands on the line that it has here: a plugin that refuses one names its line.
  static std::string textOf(const toml::table& section, const std::set<std::string>& ours) {
    std::vector<std::pair<toml::key, const toml::node*>> entries;
    for (const auto& [key, value] : section)
      if (!ours.contains(std::string(key.str()))) entries.emplace_back(key, &value);
    // Tables last: what followed the header of one would belong to it.
    const auto place = [](const toml::node& n) {
      const bool header = (n.is_table() && !n.as_table()->is_inline()) || n.is_array_of_tables();
      return std::pair(header, n.source().begin.line);
    };
    std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) { return place(*a.second) < place(*b.second); });
    std::string out;
    for (const auto& [key, value] : entries) {
      const auto line = static_cast<size_t>(std::count(out.begin(), out.end(), '\n')) + 1;
      if (line < value->source().begin.line) out.append(value->source().begin.line - line, '\n');
      std::ostringstream printed;
      toml::table one;
      one.insert(key, *value);
      printed << one << '\n';
      out += printed.str();
    }
    return out;
  }
  // Each scheme has one plugin, and so has the rest.
  void imageSchemes(const toml::table& root) const {
    const toml::node* at = root["plugins"]["images"].node();
    const toml::node& where = at != nullptr ? *at : root;
    std::map<std::string, std::string> claimed;
    std::string rest;
    for (const auto& name : config_.images) {
      const auto section = config_.plugins.find(name);
      if (section == config_.plugins.end() || section->second.schemes.empty()) {
        if (!rest.empty())
          refuse(where, "plugins.images", rest + " and " + name + " have no schemes, and only one can answer for what nobody claims",
                 "write [plugin." + name + "] schemes = [\"…\"]");
        rest = name;
        continue;
      }
      for (const auto& scheme : section->second.schemes)
        if (const auto [other, fresh] = claimed.emplace(scheme, name); !fresh)
          refuse(*root["plugin"][name]["schemes"].node(), "plugin." + name + ".schemes",
                 "'" + scheme + "' is claimed by " + other->second + " already");
    }
    if (rest.empty())
      refuse(where, "plugins.images", "every plugin in it has schemes, and none answers for the rest",
             "add \"image-oci\" to plugins.images");
    for (const auto& [name, section] : config_.plugins)
      if (!section.schemes.empty() && std::find(config_.images.begin(), config_.images.end(), name) == config_.images.end())
        refuse(*root["plugin"][name]["schemes"].node(), "plugin." + name + ".schemes", "the plugin is not in plugins.images",
               "add \"" + name + "\" to plugins.images");
  }
  void plugin(const std::string& name, const toml::node& node) {
    if (!node.is_table()) refuse(node, "plugin." + name, "must be a table");
    const toml::table& section = *node.as_table();
    const std::string prefix = "plugin." + name + ".";
    PluginSection out;
    text(section, "sha256", prefix, out.sha256);
    if (!out.sha256.empty() && !isSha256("sha256:" + out.sha256))
      refuse(*section.get("sha256"), prefix + "sha256", "must be 64 lower-case hex digits");
    if (const auto* claimed = section.get("schemes")) out.schemes = schemes(*claimed, prefix + "schemes");
    isolation(section, prefix, out);
    out.toml = textOf(section, {"sha256", "schemes", "isolation", "process"});
    config_.plugins[name] = std::move(out);
  }

  void isolation(const toml::table& t, const std::string& prefix, PluginSection& out) const {
    std::string kind = "none";
    text(t, "isolation", prefix, kind);
    if (kind != "none" && kind != "process") refuse(*t.get("isolation"), prefix + "isolation", "must be \"none\" or \"process\"");
    if (kind == "process") out.isolation = plugin::defaultIsolation();
    if (const auto* process = section(t, "process")) {
      if (kind != "process") refuse(*t.get("process"), prefix + "process", "means nothing without isolation = \"process\"");
      processTable(*process, prefix + "process.", *out.isolation);
    }
  }
  void processTable(const toml::table& t, const std::string& prefix, plugin::ProcessIsolation& out) const {
    refuseUnknown(t, {"network", "capabilities", "read", "memory"}, prefix);
    if (const auto* node = t.get("network")) {
      if (!node->is_boolean()) refuse(*node, prefix + "network", "must be true or false");
      out.network = *node->value<bool>();
    }
    if (const auto* node = t.get("capabilities")) {
      out.capabilities = 0;
      for (const auto& [item, value] : strings(*node, prefix + "capabilities", "must be an array of names such as \"chown\"")) {
        try {
          out.capabilities |= 1ull << plugin::isolationCapability(value);
        } catch (const Error& e) {
          refuse(*item, prefix + "capabilities", e.text(), e.hint());
        }
      }
    }
    if (const auto* node = t.get("read"))
      for (const auto& [item, value] : strings(*node, prefix + "read", "must be an array of absolute paths")) {
        if (value.empty() || value.front() != '/' || value == "/" || value.back() == '/' ||
            (value + "/").find("/../") != std::string::npos || value.find("//") != std::string::npos)
          refuse(*item, prefix + "read", "'" + value + "' is not an absolute path below /", "write it without //, .. and a / at the end");
        out.read.push_back(value);
      }
    if (t.get("memory") == nullptr) return;
    std::string size;
    text(t, "memory", prefix, size);
    const auto bytes = parseBytes(size);
    if (!bytes || *bytes < (64u << 20)) refuse(*t.get("memory"), prefix + "memory", "'" + size + "' is not a size of at least 64MiB");
    out.memoryBytes = *bytes;
  }
  std::vector<std::pair<const toml::node*, std::string>> strings(const toml::node& node, const std::string& key, const char* why) const {
    std::vector<std::pair<const toml::node*, std::string>> out;
    if (!node.is_array()) refuse(node, key, why);
    for (const auto& item : *node.as_array()) {
      if (!item.is_string()) refuse(item, key, why);
      out.emplace_back(&item, *item.value<std::string>());
    }
    return out;
  }

  const std::string& source_;
  Config& config_;
};

}  // namespace

Config parseConfig(const std::string& text, const std::string& source) {
  Config config;
  try {
    Reader(source, config).read(toml::parse(text, source));
  } catch (const toml::parse_error& e) {
    throw Error("daemon", Code::invalid, source + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  return config;
}

Config loadConfig(const std::string& path, bool mustExist) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT && !mustExist) return {};
    throwErrno("daemon", "open configuration " + path);
  }
  // The configuration names code that will run as root: nobody else may be able to write it.
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) throwErrno("daemon", "stat " + path);
  if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 0022) != 0)
    throw Error("daemon", Code::denied, path + " must belong to root or to the daemon's user, and not be writable by group or others",
                "chown root " + path + " && chmod go-w " + path, path);
  return parseConfig(readAll(fd.get(), path), path);
}

}  // namespace rauha
