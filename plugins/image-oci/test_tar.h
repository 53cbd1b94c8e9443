#pragma once
// A tar writer for tests that writes what it is told, also what no honest tool would write. Tests and fuzz seeds only.

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rauha::oci::test {

struct TarEntry {
  std::string name;
  char type = '0';  // '0' file, '1' hard link, '2' link, '3' '4' devices, '5' directory, '6' FIFO
  std::string content = {};
  std::string link = {};
  unsigned mode = 0644;
  uint64_t uid = 0, gid = 0;
  int64_t mtime = 1'000'000'000;
  std::map<std::string, std::string> pax = {};  // written as they are; "path" and "linkpath" are added for long names
  int64_t sizeField = -1;                       // instead of the content's size
};

class TarWriter {
 public:
  TarWriter& add(const TarEntry& e) {
    std::map<std::string, std::string> pax = e.pax;
    if (e.name.size() > 100) pax.emplace("path", e.name);
    if (e.link.size() > 100) pax.emplace("linkpath", e.link);
    if (e.uid > 07777777) pax.emplace("uid", std::to_string(e.uid));
    if (e.gid > 07777777) pax.emplace("gid", std::to_string(e.gid));
    if (!pax.empty()) {
      std::string records;
      for (const auto& [key, value] : pax) records += record(key, value);
      header("PaxHeader", 'x', records.size(), {}, 0644, 0, 0, 0);
      body(records);
    }
    header(e.name, e.type, e.sizeField >= 0 ? static_cast<uint64_t>(e.sizeField) : e.content.size(), e.link, e.mode,
           e.uid > 07777777 ? 0 : e.uid, e.gid > 07777777 ? 0 : e.gid, e.mtime);
    body(e.content);
    return *this;
  }
  TarWriter& raw(std::string_view bytes) {
    out_ += bytes;
    return *this;
  }
  std::string finish() const { return out_ + std::string(1024, '\0'); }
  const std::string& bytes() const { return out_; }

 private:
  static std::string record(const std::string& key, const std::string& value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }
  void body(std::string_view content) {
    out_ += content;
    out_.append((512 - content.size() % 512) % 512, '\0');
  }
  static void octal(char* field, size_t width, uint64_t value) {
    for (size_t i = width - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
  }
  void header(const std::string& name, char type, uint64_t size, const std::string& link, unsigned mode, uint64_t uid, uint64_t gid,
              int64_t mtime) {
    char h[512] = {};
    memcpy(h, name.data(), std::min<size_t>(name.size(), 100));
    octal(h + 100, 8, mode);
    octal(h + 108, 8, uid);
    octal(h + 116, 8, gid);
    octal(h + 124, 12, size);
    octal(h + 136, 12, static_cast<uint64_t>(mtime < 0 ? 0 : mtime));
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 157, link.data(), std::min<size_t>(link.size(), 100));
    memcpy(h + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (unsigned char c : h) sum += c;
    octal(h + 148, 7, sum);
    h[154] = 0;
    out_.append(h, sizeof h);
  }
  std::string out_;
};

inline std::string tarOf(const std::vector<TarEntry>& entries) {
  TarWriter writer;
  for (const TarEntry& e : entries) writer.add(e);
  return writer.finish();
}

// Compressed with libarchive's own filter: "gzip" or "zstd".
inline std::string packed(std::string_view bytes, const char* filter) {
  std::string out;
  archive* a = archive_write_new();
  archive_write_add_filter_by_name(a, filter);
  archive_write_set_format_raw(a);
  archive_write_set_bytes_per_block(a, 0);
  archive_write_open(
      a, &out, nullptr,
      [](archive*, void* to, const void* data, size_t size) -> la_ssize_t {
        static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
        return static_cast<la_ssize_t>(size);
      },
      nullptr);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_pathname(entry, "x");
  archive_write_header(a, entry);
  archive_write_data(a, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_close(a);
  archive_write_free(a);
  return out;
}

}  // namespace rauha::oci::test
