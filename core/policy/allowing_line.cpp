#include "core/policy/allowing_line.h"

#include <algorithm>
#include <array>

#include "core/policy/known_names.h"

namespace rauha::policy {
namespace {

enum class Shape { text, list, number, boolean, device };

struct Feature {
  std::string_view key;
  Shape shape;
};

constexpr std::array<Feature, 26> kFeatures = {{{"capabilities", Shape::list},
                                                {"syscalls.allow", Shape::list},
                                                {"devices", Shape::device},
                                                {"filesystem.read_only_root", Shape::boolean},
                                                {"filesystem.scratch", Shape::text},
                                                {"filesystem.scratch_size", Shape::text},
                                                {"filesystem.tmp_size", Shape::text},
                                                {"network.mode", Shape::text},
                                                {"network.egress", Shape::list},
                                                {"network.ingress", Shape::list},
                                                {"network.zones", Shape::list},
                                                {"resources.cpu", Shape::number},
                                                {"resources.cpu_weight", Shape::number},
                                                {"resources.memory", Shape::text},
                                                {"resources.pids", Shape::number},
                                                {"resources.open_files", Shape::number},
                                                {"resources.io_weight", Shape::number},
                                                {"resources.io_read", Shape::text},
                                                {"resources.io_write", Shape::text},
                                                {"resources.timeout", Shape::text},
                                                {"resources.stop_grace", Shape::text},
                                                {"resources.output", Shape::text},
                                                {"resources.core", Shape::text},
                                                {"images.require_digest", Shape::boolean},
                                                {"images.registries", Shape::list},
                                                {"user_namespace", Shape::text}}};

// As TOML writes it; what would break out of the quotes is left to the reader.
std::string quoted(std::string_view value) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
  });
  return "\"" + std::string(plain ? value : "…") + "\"";
}

bool isNumber(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

std::string withoutLayer(std::string_view layer) { return "a `require` without " + quoted(layer); }

}  // namespace

std::string allowingLine(std::string_view feature, std::string_view value) {
  if (feature == "require") return withoutLayer(value);
  const auto layers = layerNames();
  // "capabilities" is a layer and a key; who asks for a capability names it.
  if (std::find(layers.begin(), layers.end(), feature) != layers.end() && value.empty() && feature != "user_namespace")
    return withoutLayer(feature);
  const auto found = std::find_if(kFeatures.begin(), kFeatures.end(), [&](const Feature& f) { return f.key == feature; });
  if (found == kFeatures.end()) return {};
  std::string line(feature);
  switch (found->shape) {
    case Shape::text:
      line += " = " + quoted(value);
      break;
    case Shape::list:
      line += " = [" + quoted(value) + "]";
      break;
    case Shape::number:
      line += " = " + (isNumber(value) ? std::string(value) : "…");
      break;
    case Shape::boolean:
      line += " = " + std::string(value == "true" ? "true" : "false");
      break;
    case Shape::device:
      line += " = [{path = " + quoted(value) + ", access = \"rw\"}]";
      break;
  }
  const bool host = value == "host" && (feature == "network.mode" || feature == "user_namespace");
  return host ? line + " in a policy of type = \"privileged\"" : line;
}

}  // namespace rauha::policy
