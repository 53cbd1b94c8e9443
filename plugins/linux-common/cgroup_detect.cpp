#include "plugins/linux-common/cgroup_detect.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "core/base/error.h"

namespace rauha::cgroup {
namespace {

constexpr std::array<std::string_view, 13> kV1Controllers = {"cpu",  "cpuacct", "cpuset",     "memory",   "devices", "freezer", "blkio",
                                                             "pids", "net_cls", "perf_event", "net_prio", "hugetlb", "rdma"};

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       std::all_of(text.begin() + static_cast<long>(i) + 1, text.begin() + static_cast<long>(i) + 4,
                                   [](char c) { return c >= '0' && c <= '7'; });
    if (octal) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct MountLine {
  std::string root, point, type, superOptions;
};

// "id parent major:minor root point options [optional…] - type source superoptions"
std::optional<MountLine> parseLine(const std::string& line) {
  const size_t dash = line.find(" - ");
  if (dash == std::string::npos) return std::nullopt;
  std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
  std::string id, parent, device, source;
  MountLine out;
  if (!(before >> id >> parent >> device >> out.root >> out.point)) return std::nullopt;
  if (!(after >> out.type >> source >> out.superOptions)) return std::nullopt;
  out.root = unescape(out.root);
  out.point = unescape(out.point);
  return out;
}

// Later lines cover earlier ones, but never a whole tree by a part of it.
void choose(std::string& point, bool& whole, const MountLine& line) {
  const bool lineWhole = line.root == "/";
  if (!point.empty() && whole && !lineWhole) return;
  point = line.point;
  whole = lineWhole;
}

struct Found {
  std::string point;
  bool whole = false;
};

}  // namespace

bool listContains(std::string_view list, std::string_view word) {
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find_first_of(" \t\n", at), list.size());
    if (list.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

Hierarchies parseMountinfo(std::string_view mountinfo) {
  Found v2;
  std::array<Found, kV1Controllers.size()> v1;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string text; std::getline(lines, text);) {
    const auto line = parseLine(text);
    if (!line) continue;
    if (line->type == "cgroup2") choose(v2.point, v2.whole, *line);
    if (line->type != "cgroup") continue;
    std::istringstream options(line->superOptions);
    for (std::string option; std::getline(options, option, ',');)
      for (size_t i = 0; i < kV1Controllers.size(); ++i)
        if (option == kV1Controllers[i]) choose(v1[i].point, v1[i].whole, *line);
  }
  Hierarchies out;
  out.v2Root = v2.point;
  for (size_t i = 0; i < kV1Controllers.size(); ++i)
    if (!v1[i].point.empty()) out.v1.emplace_back(kV1Controllers[i], v1[i].point);
  out.layout = out.v1.empty() ? Layout::v2 : Layout::hybrid;
  return out;
}

std::string parseV2Path(std::string_view procCgroup) {
  std::istringstream lines{std::string(procCgroup)};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

Hierarchies detect() {
  Hierarchies out = parseMountinfo(readFile("/proc/self/mountinfo", 16 << 20));
  if (out.v2Root.empty()) return out;
  std::istringstream words(readFile(out.v2Root + "/cgroup.controllers"));
  for (std::string word; words >> word;) out.v2Controllers.push_back(word);
  return out;
}

}  // namespace rauha::cgroup
