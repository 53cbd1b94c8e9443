#pragma once
// One table of a policy being read: typed access by key, everything wrong noted with its line, every key that nobody asked for refused.
//
// Values that live during one parsePolicy call; the tree and the Problems must outlive them.

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/policy/toml_document.h"

namespace rauha::policy {

// What is wrong with a policy. Reading goes on after a problem, so that the first line's can be told, not the first found.
class Problems final {
 public:
  void add(uint32_t line, std::string key, std::string reason, std::string hint);
  bool empty() const noexcept { return problems_.empty(); }
  // Throws the Error of the lowest line, if there is any problem.
  void raise(std::string_view source) const;

 private:
  struct Problem {
    uint32_t line;
    std::string key, reason, hint;
  };
  std::vector<Problem> problems_;
};

struct Entry {
  std::string text;
  std::string key;  // "capabilities[2]"
  uint32_t line = 0;
};

class Section final {
 public:
  // path: "" for the document, else "resources" or "devices[0]".
  Section(const TomlNode& table, std::string path, Problems& problems) : table_(table), path_(std::move(path)), problems_(problems) {}

  // Absent keys are nullopt (or empty) without a problem; wrong ones too, with one.
  std::optional<Section> section(std::string_view key);
  std::vector<Section> tables(std::string_view key);
  std::optional<std::string> text(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<uint64_t> integer(std::string_view key, uint64_t low, uint64_t high);
  // As integer, and 0 (meaning "no limit").
  std::optional<uint64_t> integerOrZero(std::string_view key, uint64_t low, uint64_t high);
  // Index into `names`.
  std::optional<size_t> choice(std::string_view key, std::span<const std::string_view> names);
  // "2GiB"; zero: may it be "0"? rate: "10MiB/s".
  std::optional<uint64_t> bytes(std::string_view key, uint64_t low, uint64_t high, bool zero, bool rate = false);
  // "10m", milliseconds; "0" is allowed.
  std::optional<uint64_t> duration(std::string_view key, uint64_t highMs);
  // A number of cores in thousandths; 0 is allowed.
  std::optional<uint32_t> cores(std::string_view key);
  // An array of strings without duplicates.
  std::optional<std::vector<Entry>> texts(std::string_view key);
  std::optional<std::vector<uint16_t>> ports(std::string_view key);

  bool has(std::string_view key) const noexcept { return find(key) != nullptr; }
  // Of the key, or of the table when the key is absent.
  uint32_t line(std::string_view key) const noexcept;
  // "resources.memory".
  std::string name(std::string_view key) const;
  void problem(std::string_view key, std::string reason, std::string hint = {});
  void missing(std::string_view key, std::string hint);
  // Refuses the keys that were not asked for. Last.
  void finish();

 private:
  const TomlNode* find(std::string_view key) const noexcept;
  const TomlNode* take(std::string_view key);  // and remembers that the key is known
  const TomlNode* take(std::string_view key, TomlNode::Kind kind, std::string_view example);
  const TomlNode* array(std::string_view key, std::string_view example);

  const TomlNode& table_;
  std::string path_;
  Problems& problems_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace rauha::policy
