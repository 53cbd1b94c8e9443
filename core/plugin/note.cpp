#include "core/plugin/note.h"

#include <elf.h>
#include <rauha/plugin.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxSegments = 128;        // real libraries have about a dozen
constexpr size_t kMaxNoteSegment = 65'536;  // ours is 84 bytes; .note.gnu.property and build ids are small too
constexpr size_t kNoteHead = 20;            // sizes, type and the padded name "Rauha"
constexpr size_t kNoteBody = sizeof(rauha_note) - kNoteHead;
constexpr size_t kMaxBuildId = 64;

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr unsigned kMachine = EM_RISCV;
#else
#error "add the ELF machine of this architecture"
#endif
constexpr unsigned kByteOrder = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

[[noreturn]] void refuse(const std::string& text) { throw Error("plugin", Code::invalid, text); }

Elf64_Ehdr readHeader(const ByteSource& file) {
  Elf64_Ehdr h{};
  if (!file.read(0, &h, sizeof h) || std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) refuse("is not an ELF file");
  if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != kByteOrder || h.e_machine != kMachine)
    refuse("is for another machine: ELF class " + std::to_string(h.e_ident[EI_CLASS]) + ", byte order " +
           std::to_string(h.e_ident[EI_DATA]) + ", machine " + std::to_string(h.e_machine) + "; this daemon has class " +
           std::to_string(ELFCLASS64) + ", byte order " + std::to_string(kByteOrder) + ", machine " + std::to_string(kMachine));
  if (h.e_type != ET_DYN) refuse("is not a shared object: ELF type " + std::to_string(h.e_type) + ", expected " + std::to_string(ET_DYN));
  if (h.e_phentsize != sizeof(Elf64_Phdr))
    refuse("has program headers of " + std::to_string(h.e_phentsize) + " bytes, expected " + std::to_string(sizeof(Elf64_Phdr)));
  if (h.e_phnum > kMaxSegments) refuse("has " + std::to_string(h.e_phnum) + " program headers, at most " + std::to_string(kMaxSegments));
  return h;
}

std::vector<Elf64_Phdr> readSegments(const ByteSource& file) {
  const Elf64_Ehdr h = readHeader(file);
  std::vector<Elf64_Phdr> out(h.e_phnum);
  if (!out.empty() && !file.read(h.e_phoff, out.data(), out.size() * sizeof(Elf64_Phdr))) refuse("ends before its program headers");
  return out;
}

// A fixed field: text, then only NUL up to the end, at least one.
std::string field(const char* bytes, size_t size, const char* what) {
  const auto* end = std::find(bytes, bytes + size, '\0');
  if (end == bytes + size || std::any_of(end, bytes + size, [](char c) { return c != '\0'; }))
    refuse(std::string("has a Rauha note whose ") + what + " is not text padded with NUL");
  if (std::any_of(bytes, end, [](char c) { return c < 0x21 || c > 0x7e; }) || end == bytes)
    refuse(std::string("has a Rauha note whose ") + what + " is empty or not printable");
  return std::string(bytes, end);
}

void parseRauhaNote(const unsigned char* body, size_t size, Note& out) {
  if (size < kNoteBody) refuse("has a Rauha note of " + std::to_string(size) + " bytes, expected " + std::to_string(kNoteBody));
  rauha_note raw{};
  std::memcpy(reinterpret_cast<unsigned char*>(&raw) + kNoteHead, body, kNoteBody);
  // Another major may mean other fields: nothing else is read then.
  if (raw.abi_major != RAUHA_ABI_MAJOR)
    throw Error("plugin", Code::unsupported,
                "is built for plugin ABI " + std::to_string(raw.abi_major) + "." + std::to_string(raw.abi_minor) + ", this daemon speaks " +
                    std::to_string(RAUHA_ABI_MAJOR) + "." + std::to_string(RAUHA_ABI_MINOR),
                "use a plugin built for this daemon's ABI");
  out.abiMajor = raw.abi_major;
  out.abiMinor = raw.abi_minor;
  out.kind = field(raw.kind, sizeof raw.kind, "kind");
  out.name = field(raw.plugin, sizeof raw.plugin, "name");
  out.version = field(raw.version, sizeof raw.version, "version");
  static constexpr std::array<std::string_view, 4> kinds{"backend", "image", "enforcer", "net"};
  if (std::find(kinds.begin(), kinds.end(), out.kind) == kinds.end())
    refuse("is of the unknown kind \"" + out.kind + "\", expected backend, image, enforcer or net");
  if (!isPluginName(out.name)) refuse("has a Rauha note whose name \"" + out.name + "\" is not [a-z0-9-]");
}

std::string hexOf(const unsigned char* bytes, size_t size) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < std::min(size, kMaxBuildId); ++i) out += {hex[bytes[i] >> 4], hex[bytes[i] & 15]};
  return out;
}

class Notes final {
 public:
  // One PT_NOTE segment; alignment as glibc reads it (elf/dl-load: 8 when the segment says so, else 4).
  void segment(const std::vector<unsigned char>& bytes, uint64_t align) {
    const uint64_t unit = align == 8 ? 8 : 4;
    const auto up = [unit](uint64_t n) { return (n + unit - 1) / unit * unit; };
    for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= bytes.size();) {
      Elf64_Nhdr n;
      std::memcpy(&n, bytes.data() + at, sizeof n);
      const uint64_t name = at + sizeof n;  // sizes are 32 bits wide, sums 64: nothing wraps
      const uint64_t body = at + up(sizeof n + uint64_t{n.n_namesz});
      const uint64_t end = body + n.n_descsz;
      if (end > bytes.size()) refuse("has a note that is longer than its segment");
      one(n.n_type, {reinterpret_cast<const char*>(bytes.data()) + name, n.n_namesz}, bytes.data() + body, n.n_descsz);
      at = up(end);
    }
  }
  Note finish() {
    if (!found_) throw Error("plugin", Code::invalid, "has no Rauha note: it is not a plugin", "remove it from the plugin directory");
    return std::move(note_);
  }

 private:
  void one(uint32_t type, std::string_view name, const unsigned char* body, size_t size) {
    if (type == NT_GNU_BUILD_ID && name == std::string_view("GNU\0", 4)) note_.buildId = hexOf(body, size);
    if (type != RAUHA_NOTE_TYPE || name != std::string_view("Rauha\0", 6)) return;
    if (found_) refuse("has two Rauha notes");
    found_ = true;
    parseRauhaNote(body, size, note_);
  }
  Note note_;
  bool found_ = false;
};

}  // namespace

bool FileBytes::read(uint64_t offset, void* to, size_t size) const {
  if (offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - size) return false;
  auto* at = static_cast<unsigned char*>(to);
  while (size > 0) {
    const ssize_t n = pread(fd_, at, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n, offset += static_cast<uint64_t>(n), size -= static_cast<size_t>(n);
  }
  return true;
}

bool MemoryBytes::read(uint64_t offset, void* to, size_t size) const {
  if (offset > size_ || size > size_ - offset) return false;
  if (size > 0) std::memcpy(to, static_cast<const unsigned char*>(data_) + offset, size);
  return true;
}

bool isPluginName(const std::string& text) noexcept {
  return !text.empty() && text.size() <= 31 && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

Note readNote(const ByteSource& file) {
  Notes notes;
  for (const Elf64_Phdr& segment : readSegments(file)) {
    if (segment.p_type != PT_NOTE) continue;
    if (segment.p_filesz > kMaxNoteSegment)
      refuse("has a note segment of " + std::to_string(segment.p_filesz) + " bytes, at most " + std::to_string(kMaxNoteSegment));
    std::vector<unsigned char> bytes(segment.p_filesz);
    if (!file.read(segment.p_offset, bytes.data(), bytes.size())) refuse("ends before its notes");
    notes.segment(bytes, segment.p_align);
  }
  return notes.finish();
}

}  // namespace rauha::plugin
