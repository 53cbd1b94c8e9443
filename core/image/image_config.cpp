#include "core/image/image_config.h"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::image {
namespace {
using nlohmann::json;
constexpr size_t kMaxItems = 4096;

class Reader {
 public:
  Reader(const json& root, std::string_view reference) : root_(root), reference_(reference) {}
  std::string text(const json& object, const char* key) const {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return {};
    if (!it->is_string()) refuse(key, "must be a string");
    return checked(*it, key);
  }
  std::vector<std::string> list(const json& object, const char* key) const {
    std::vector<std::string> out;
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return out;
    if (!it->is_array()) refuse(key, "must be an array of strings");
    if (it->size() > kMaxItems) refuse(key, "has more than " + std::to_string(kMaxItems) + " entries");
    for (const auto& item : *it) {
      if (!item.is_string()) refuse(key, "must be an array of strings");
      out.push_back(checked(item, key));
    }
    return out;
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
    throw Error("image", Code::corrupt, "image " + std::string(reference_) + ": configuration: " + key + " " + why, "rebuild the image",
                std::string(reference_));
  }
  // Nothing acts on it: what is odd is left out.
  std::vector<HistoryEntry> history() const {
    std::vector<HistoryEntry> out;
    const auto it = root_.find("history");
    if (it == root_.end() || !it->is_array() || it->size() > kMaxItems) return out;
    const auto word = [](const json& object, const char* key) {
      const auto found = object.find(key);
      return found != object.end() && found->is_string() ? toUtf8(found->get<std::string>()) : std::string();
    };
    for (const auto& step : *it) {
      if (!step.is_object()) return {};
      const auto empty = step.find("empty_layer");
      out.push_back({word(step, "created"), word(step, "created_by"), word(step, "author"), word(step, "comment"),
                     empty != step.end() && empty->is_boolean() && empty->get<bool>()});
    }
    return out;
  }
  const json& root() const { return root_; }

 private:
  std::string checked(const json& value, const char* key) const {
    std::string s = value.get<std::string>();
    if (s.find('\0') != std::string::npos) refuse(key, "holds a NUL byte");
    return s;
  }
  const json& root_;
  std::string_view reference_;
};

}  // namespace

Config parseConfig(std::string_view text, std::string_view reference) {
  Config out;
  if (text.empty()) return out;
  const json root = json::parse(text, nullptr, false);
  if (root.is_discarded() || !root.is_object())
    throw Error("image", Code::corrupt, "image " + std::string(reference) + ": configuration is not a JSON object", "rebuild the image",
                std::string(reference));
  const Reader reader(root, reference);
  out.architecture = reader.text(root, "architecture");
  out.os = reader.text(root, "os");
  out.variant = reader.text(root, "variant");
  out.createdAt = reader.text(root, "created");
  out.history = reader.history();
  const auto it = root.find("config");
  if (it == root.end() || it->is_null()) return out;
  if (!it->is_object()) reader.refuse("config", "must be an object");
  out.entrypoint = reader.list(*it, "Entrypoint");
  out.cmd = reader.list(*it, "Cmd");
  out.env = reader.list(*it, "Env");
  out.workdir = reader.text(*it, "WorkingDir");
  out.user = reader.text(*it, "User");
  out.stopSignal = reader.text(*it, "StopSignal");
  if (const auto v = it->find("Volumes"); v != it->end() && v->is_object() && v->size() <= kMaxItems)
    for (const auto& [path, unused] : v->items()) out.volumes.push_back(path);
  if (const auto l = it->find("Labels"); l != it->end() && l->is_object() && l->size() <= kMaxItems)
    for (const auto& [key, value] : l->items())
      if (value.is_string()) out.labels.emplace_back(key, value.get<std::string>());
  return out;
}

namespace {

// The steps that are not empty made the layers, in order; when the numbers differ, nobody knows which made which.
void writeHistory(schema::ImageInfo::Builder out, const Config& config, const std::vector<plugin::ImageLayer>& layers) {
  const auto made =
      static_cast<size_t>(std::count_if(config.history.begin(), config.history.end(), [](const HistoryEntry& h) { return !h.emptyLayer; }));
  auto list = out.initHistory(static_cast<unsigned>(config.history.size()));
  size_t next = 0;
  for (unsigned i = 0; i < list.size(); ++i) {
    const HistoryEntry& from = config.history[i];
    auto to = list[i];
    if (!from.createdAt.empty()) to.setCreatedAt(from.createdAt);
    if (!from.createdBy.empty()) to.setCreatedBy(from.createdBy);
    if (!from.author.empty()) to.setAuthor(from.author);
    if (!from.comment.empty()) to.setComment(from.comment);
    to.setEmptyLayer(from.emptyLayer);
    if (from.emptyLayer || made != layers.size()) continue;
    to.setDiffId(layers[next].diffId);
    to.setSizeBytes(layers[next].size);
    ++next;
  }
}

}  // namespace

std::vector<std::string> ownCommand(const Config& config) {
  std::vector<std::string> out = config.entrypoint;
  out.insert(out.end(), config.cmd.begin(), config.cmd.end());
  return out;
}

std::optional<int> signalNumber(std::string_view name) {
  const auto number = [](std::string_view text) -> std::optional<int> {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const auto known = [](std::optional<int> signal) { return signal && *signal > 0 && *signal <= SIGRTMAX ? signal : std::nullopt; };
  if (const auto plain = number(name)) return known(plain);
  if (name.substr(0, 3) == "SIG") name.remove_prefix(3);
  for (int signal = 1; signal < SIGRTMIN; ++signal)
    if (const char* abbreviation = sigabbrev_np(signal); abbreviation != nullptr && name == abbreviation) return signal;
  for (const auto& [prefix, base, sign] : {std::tuple("RTMIN", SIGRTMIN, 1), std::tuple("RTMAX", SIGRTMAX, -1)}) {
    if (name.substr(0, 5) != prefix) continue;
    const std::string_view rest = name.substr(5);
    if (rest.empty()) return base;
    if (rest[0] != (sign > 0 ? '+' : '-')) return std::nullopt;
    const auto offset = number(rest.substr(1));
    if (!offset || *offset < 0 || *offset > SIGRTMAX - SIGRTMIN) return std::nullopt;
    return base + sign * *offset;
  }
  return std::nullopt;
}

void writeInfo(schema::ImageInfo::Builder out, const plugin::ResolvedImage& image, bool history) {
  out.setReference(image.info.reference);
  if (!image.info.digest.empty()) out.setDigest(image.info.digest);
  out.setSizeBytes(image.info.size);
  if (image.info.createdNs != 0) out.setCreatedAt(rfc3339(image.info.createdNs));
  out.setSource(image.info.source);
  auto layers = out.initLayers(static_cast<unsigned>(image.layers.size()));
  for (unsigned i = 0; i < layers.size(); ++i) {
    const auto& layer = image.layers[i];
    layers[i].setDigest(layer.digest);
    layers[i].setDiffId(layer.diffId);
    layers[i].setMediaType(layer.mediaType);
    layers[i].setSizeBytes(layer.size);
  }
  const Config config = parseConfig(image.info.configJson, image.info.reference);
  if (!config.os.empty() && !config.architecture.empty())
    out.setPlatform(toUtf8(config.os + "/" + config.architecture + (config.variant.empty() ? "" : "/" + config.variant)));
  if (!config.createdAt.empty()) out.setBuiltAt(toUtf8(config.createdAt));
  if (history) writeHistory(out, config, image.layers);
  auto c = out.initConfig();
  const auto fill = [](capnp::List<capnp::Text>::Builder list, const std::vector<std::string>& from) {
    for (unsigned i = 0; i < list.size(); ++i) list.set(i, toUtf8(from[i]));
  };
  const auto count = [](const auto& v) { return static_cast<unsigned>(v.size()); };
  if (!config.entrypoint.empty()) fill(c.initEntrypoint(count(config.entrypoint)), config.entrypoint);
  if (!config.cmd.empty()) fill(c.initCmd(count(config.cmd)), config.cmd);
  fill(c.initEnv(count(config.env)), config.env);
  if (!config.workdir.empty()) c.setWorkdir(toUtf8(config.workdir));
  if (!config.user.empty()) c.setUser(toUtf8(config.user));
  if (!config.stopSignal.empty()) c.setStopSignal(toUtf8(config.stopSignal));
  if (!config.volumes.empty()) fill(c.initVolumes(count(config.volumes)), config.volumes);
  if (!config.architecture.empty()) c.setArchitecture(toUtf8(config.architecture));
  if (!config.os.empty()) c.setOs(toUtf8(config.os));
  if (!config.variant.empty()) c.setVariant(toUtf8(config.variant));
  if (!config.labels.empty()) {
    auto labels = c.initLabels(count(config.labels));
    for (unsigned i = 0; i < labels.size(); ++i) {
      labels[i].setKey(toUtf8(config.labels[i].first));
      labels[i].setValue(toUtf8(config.labels[i].second));
    }
  }
}

}  // namespace rauha::image
