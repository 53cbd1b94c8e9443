#pragma once
// The plugin's note, read from the file before any of its code runs (RAUHA_PLUGIN_NOTE in sdk/include/rauha/plugin.h).
//
// Pure functions over bytes; the file is hostile until the note was read. Every offset and count is checked against the file's real
// bytes, and the work is bounded whatever the headers say. Notes are found through PT_NOTE, the segments that are really mapped: section
// headers are only for tools, and may be stripped or lie.

#include <cstddef>
#include <cstdint>
#include <string>

namespace rauha::plugin {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // All of [offset, offset + size), or false when the file does not have it or cannot be read.
  virtual bool read(uint64_t offset, void* to, size_t size) const = 0;
};

// A file; the descriptor is borrowed.
class FileBytes final : public ByteSource {
 public:
  explicit FileBytes(int fd) : fd_(fd) {}
  bool read(uint64_t offset, void* to, size_t size) const override;

 private:
  int fd_;
};

class MemoryBytes final : public ByteSource {
 public:
  MemoryBytes(const void* data, size_t size) : data_(data), size_(size) {}
  bool read(uint64_t offset, void* to, size_t size) const override;

 private:
  const void* data_;
  size_t size_;
};

struct Note {
  uint16_t abiMajor = 0;
  uint16_t abiMinor = 0;
  std::string kind;     // [a-z]+, at most 11
  std::string name;     // isPluginName
  std::string version;  // printable ASCII, at most 15
  std::string buildId;  // hex of the GNU build id; empty: none
};

// [a-z0-9-], 1 to 31, not starting with "-": safe as a file name.
bool isPluginName(const std::string& text) noexcept;

// Throws Error of class "plugin", code invalid, or unsupported for another ABI major; the text does not name the file.
Note readNote(const ByteSource& file);

}  // namespace rauha::plugin
