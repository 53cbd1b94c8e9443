#pragma once
// For tests: an index of git, written here a second time, the simple way.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rauha::testing {

inline std::string number(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}

struct Entry {
  std::string name;
  char object = 'o';
  uint32_t mode = 0100644;
  uint16_t flags = 0;   // beside the name's length
  uint16_t more = 0;    // not 0: an extended one
  uint32_t looked = 1;  // what git remembers of the file
};

struct Index {
  uint32_t version = 2;
  size_t idBytes = 20;
  std::vector<Entry> entries;
  std::vector<std::pair<std::string, std::string>> extensions;

  std::string bytes() const {
    std::string out = "DIRC" + number(version, 4) + number(entries.size(), 4), last;
    for (const auto& e : entries) {
      std::string one;
      for (int i = 0; i < 6; ++i) one += number(e.looked, 4);
      one += number(e.mode, 4);
      for (int i = 0; i < 3; ++i) one += number(e.looked, 4);
      one += std::string(idBytes, e.object);
      one += number(e.flags | (e.more != 0 ? 0x4000u : 0u) | e.name.size(), 2);
      if (e.more != 0) one += number(e.more, 2);
      if (version == 4) {
        size_t same = 0;
        while (same < last.size() && same < e.name.size() && last[same] == e.name[same]) ++same;
        one += static_cast<char>(last.size() - same);
        one += e.name.substr(same) + '\0';
        last = e.name;
      } else {
        one += e.name;
        do {
          one += '\0';
        } while (one.size() % 8 != 0);
      }
      out += one;
    }
    for (const auto& [name, content] : extensions) out += name + number(content.size(), 4) + content;
    return out + std::string(idBytes, 'c');
  }
};

}  // namespace rauha::testing
