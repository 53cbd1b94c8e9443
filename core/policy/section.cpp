#include "core/policy/section.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/policy/known_names.h"
#include "core/policy/policy.h"

namespace rauha::policy {
namespace {

constexpr size_t kMaxUnknown = 64;

std::string quoted(std::string_view text) { return "'" + shown(text) + "'"; }

std::string list(std::span<const std::string_view> names) {
  std::string out;
  for (const auto name : names) out += (out.empty() ? "\"" : ", \"") + std::string(name) + "\"";
  return out;
}

}  // namespace

void Problems::add(uint32_t line, std::string key, std::string reason, std::string hint) {
  problems_.push_back({line, std::move(key), std::move(reason), std::move(hint)});
}

void Problems::raise(std::string_view source) const {
  if (problems_.empty()) return;
  const auto first = std::min_element(problems_.begin(), problems_.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  std::string text = source.empty() ? std::string("policy") : shown(source);
  if (first->line != 0) text += ":" + std::to_string(first->line);
  text += ": ";
  if (!first->key.empty()) text += first->key + ": ";
  text += first->reason;
  if (problems_.size() > 1) text += " (and " + std::to_string(problems_.size() - 1) + " more)";
  throw Error("policy", Code::invalid, std::move(text), first->hint, first->key);
}

const TomlNode* Section::find(std::string_view key) const noexcept {
  for (const auto& child : table_.children)
    if (child.key == key) return &child;
  return nullptr;
}

const TomlNode* Section::take(std::string_view key) {
  known_.emplace(key);
  return find(key);
}

const TomlNode* Section::take(std::string_view key, TomlNode::Kind kind, std::string_view example) {
  const TomlNode* node = take(key);
  if (node == nullptr || node->kind == kind) return node;
  problem(key, "must be " + std::string(kindName(kind)) + ", is " + std::string(kindName(node->kind)),
          example.empty() ? std::string() : "write " + std::string(key) + " = " + std::string(example));
  return nullptr;
}

const TomlNode* Section::array(std::string_view key, std::string_view example) {
  const TomlNode* node = take(key, TomlNode::Kind::array, example);
  if (node != nullptr && node->children.size() > kMaxPolicyEntries) {
    problem(key,
            "has " + std::to_string(node->children.size()) + " entries, at most " + std::to_string(kMaxPolicyEntries) + " are allowed");
    return nullptr;
  }
  return node;
}

uint32_t Section::line(std::string_view key) const noexcept {
  const TomlNode* node = find(key);
  return node != nullptr ? node->line : table_.line;
}

std::string Section::name(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }

void Section::problem(std::string_view key, std::string reason, std::string hint) {
  problems_.add(line(key), name(key), std::move(reason), std::move(hint));
}

void Section::missing(std::string_view key, std::string hint) { problems_.add(table_.line, name(key), "is missing", std::move(hint)); }

std::optional<Section> Section::section(std::string_view key) {
  const TomlNode* node = take(key);
  if (node == nullptr) return std::nullopt;
  if (node->kind != TomlNode::Kind::table) {
    problem(key, "must be a table, is " + std::string(kindName(node->kind)), "write [" + name(key) + "] and its keys below");
    return std::nullopt;
  }
  return Section(*node, name(key), problems_);
}

std::vector<Section> Section::tables(std::string_view key) {
  std::vector<Section> out;
  const TomlNode* node = array(key, "[{…}]");
  if (node == nullptr) return out;
  for (size_t i = 0; i < node->children.size(); ++i) {
    const auto& item = node->children[i];
    const std::string path = name(key) + "[" + std::to_string(i) + "]";
    if (item.kind == TomlNode::Kind::table)
      out.emplace_back(item, path, problems_);
    else
      problems_.add(item.line, path, "must be a table, is " + std::string(kindName(item.kind)), "write {key = value, …}");
  }
  return out;
}

std::optional<std::string> Section::text(std::string_view key) {
  const TomlNode* node = take(key, TomlNode::Kind::text, "\"…\"");
  return node == nullptr ? std::nullopt : std::optional(node->text);
}

std::optional<bool> Section::boolean(std::string_view key) {
  const TomlNode* node = take(key, TomlNode::Kind::boolean, "true");
  return node == nullptr ? std::nullopt : std::optional(node->boolean);
}

std::optional<uint64_t> Section::integer(std::string_view key, uint64_t low, uint64_t high) {
  const TomlNode* node = take(key, TomlNode::Kind::integer, std::to_string(low));
  if (node == nullptr) return std::nullopt;
  if (node->integer >= 0 && static_cast<uint64_t>(node->integer) >= low && static_cast<uint64_t>(node->integer) <= high)
    return static_cast<uint64_t>(node->integer);
  problem(key, std::to_string(node->integer) + " is out of range", "allowed: " + std::to_string(low) + " to " + std::to_string(high));
  return std::nullopt;
}

std::optional<uint64_t> Section::integerOrZero(std::string_view key, uint64_t low, uint64_t high) {
  const TomlNode* node = find(key);
  if (node != nullptr && node->kind == TomlNode::Kind::integer && node->integer == 0) return take(key), 0;
  return integer(key, low, high);
}

std::optional<size_t> Section::choice(std::string_view key, std::span<const std::string_view> names) {
  const TomlNode* node = take(key, TomlNode::Kind::text, "\"" + std::string(names[0]) + "\"");
  if (node == nullptr) return std::nullopt;
  const auto found = std::find(names.begin(), names.end(), node->text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  const auto near = nearest(node->text, names);
  problem(key, "unknown value " + quoted(node->text),
          near.empty() ? "allowed: " + list(names) : "did you mean '" + std::string(near) + "'? allowed: " + list(names));
  return std::nullopt;
}

std::optional<uint64_t> Section::bytes(std::string_view key, uint64_t low, uint64_t high, bool zero, bool rate) {
  const TomlNode* node = take(key);
  if (node == nullptr) return std::nullopt;
  const std::string unit = rate ? "/s" : "";
  const std::string example = "write a number with a unit: \"" + (rate ? std::string("100MiB") : "512MiB") + unit + "\"";
  if (node->kind == TomlNode::Kind::integer && node->integer == 0 && zero) return 0;
  if (node->kind != TomlNode::Kind::text) {
    const bool number = node->kind == TomlNode::Kind::integer || node->kind == TomlNode::Kind::real;
    problem(key, number ? "has no unit" : "must be a string, is " + std::string(kindName(node->kind)), example);
    return std::nullopt;
  }
  std::string_view text = node->text;
  const bool suffixed = rate && text.size() > 2 && text.substr(text.size() - 2) == "/s";
  if (suffixed) text.remove_suffix(2);
  const auto value = parseBytes(text);
  if (!value || (rate && !suffixed && *value != 0)) {
    problem(key, quoted(node->text) + (rate ? " is not a rate" : " is not a size"), example + "; units: B, KiB, MiB, GiB, TiB, KB, MB, GB");
    return std::nullopt;
  }
  if ((*value == 0 && zero) || (*value >= low && *value <= high)) return value;
  problem(key, quoted(node->text) + " is out of range",
          "allowed: " + std::string(zero ? "0 (no limit) or " : "") + formatBytes(low) + unit + " to " + formatBytes(high) + unit);
  return std::nullopt;
}

std::optional<uint64_t> Section::duration(std::string_view key, uint64_t highMs) {
  const TomlNode* node = take(key);
  if (node == nullptr) return std::nullopt;
  if (node->kind == TomlNode::Kind::integer && node->integer == 0) return 0;
  const std::string example = "write a number with a unit: \"30s\"; units: ms, s, m, h";
  if (node->kind != TomlNode::Kind::text) {
    const bool number = node->kind == TomlNode::Kind::integer || node->kind == TomlNode::Kind::real;
    problem(key, number ? "has no unit" : "must be a string, is " + std::string(kindName(node->kind)), example);
    return std::nullopt;
  }
  const auto value = parseDurationMs(node->text);
  if (!value) {
    problem(key, quoted(node->text) + " is not a duration", example);
  } else if (*value > highMs) {
    problem(key, quoted(node->text) + " is out of range", "allowed: 0 to " + std::to_string(highMs / 60000) + "m");
    return std::nullopt;
  }
  return value;
}

std::optional<uint32_t> Section::cores(std::string_view key) {
  const TomlNode* node = take(key);
  if (node == nullptr) return std::nullopt;
  const std::string example = "write a number of cores: " + std::string(key) + " = 1.5";
  if (node->kind != TomlNode::Kind::real && node->kind != TomlNode::Kind::integer) {
    problem(key, "must be a number, is " + std::string(kindName(node->kind)), example);
    return std::nullopt;
  }
  const double value = node->kind == TomlNode::Kind::real ? node->real : static_cast<double>(node->integer);
  // The kernel's shortest quota is 1 ms of 100 ms. The comparison is false for NaN.
  if (value == 0 || (value >= 0.01 && value <= 4096)) return static_cast<uint32_t>(std::lround(value * 1000));
  problem(key, "is out of range", "allowed: 0 (no limit) or 0.01 to 4096 cores");
  return std::nullopt;
}

std::optional<std::vector<Entry>> Section::texts(std::string_view key) {
  const TomlNode* node = array(key, "[\"…\"]");
  if (node == nullptr) return std::nullopt;
  std::vector<Entry> out;
  std::set<std::string_view> seen;
  for (size_t i = 0; i < node->children.size(); ++i) {
    const auto& item = node->children[i];
    Entry entry{item.text, name(key) + "[" + std::to_string(i) + "]", item.line};
    if (item.kind != TomlNode::Kind::text)
      problems_.add(entry.line, entry.key, "must be a string, is " + std::string(kindName(item.kind)), "");
    else if (!seen.insert(item.text).second)
      problems_.add(entry.line, entry.key, quoted(item.text) + " is there twice", "remove one of them");
    else
      out.push_back(std::move(entry));
  }
  return out;
}

std::optional<std::vector<uint16_t>> Section::ports(std::string_view key) {
  const TomlNode* node = array(key, "[443]");
  if (node == nullptr) return std::nullopt;
  std::vector<uint16_t> out;
  for (size_t i = 0; i < node->children.size(); ++i) {
    const auto& item = node->children[i];
    const std::string path = name(key) + "[" + std::to_string(i) + "]";
    if (item.kind != TomlNode::Kind::integer || item.integer < 1 || item.integer > 65535)
      problems_.add(item.line, path, "is not a port", "a port is an integer, 1 to 65535");
    else if (std::find(out.begin(), out.end(), static_cast<uint16_t>(item.integer)) != out.end())
      problems_.add(item.line, path, "port " + std::to_string(item.integer) + " is there twice", "remove one of them");
    else
      out.push_back(static_cast<uint16_t>(item.integer));
  }
  return out;
}

void Section::finish() {
  std::vector<std::string_view> unused;
  for (const auto& name : known_)
    if (find(name) == nullptr) unused.push_back(name);
  const std::vector<std::string_view> all(known_.begin(), known_.end());
  std::vector<const TomlNode*> unknown;
  for (const auto& child : table_.children)
    if (!known_.contains(child.key)) unknown.push_back(&child);
  std::sort(unknown.begin(), unknown.end(), [](const TomlNode* a, const TomlNode* b) { return a->line < b->line; });
  // Suggestions cost; who has more slips than this sees them one by one.
  if (unknown.size() > kMaxUnknown) unknown.resize(kMaxUnknown);
  for (const TomlNode* pointer : unknown) {
    const TomlNode& child = *pointer;
    // A key that is already set is hardly what was meant, unless all are.
    std::string hint;
    if (const auto near = nearest(child.key, unused); !near.empty())
      hint = "did you mean '" + std::string(near) + "'?";
    else
      hint = didYouMean(child.key, all);
    problems_.add(child.line, name(shown(child.key)), "unknown key", std::move(hint));
  }
}

}  // namespace rauha::policy
