#include "elf_file.h"

#include <elf.h>
#include <link.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace rauha::conformance {
namespace {

using Header = ElfW(Ehdr);
using Section = ElfW(Shdr);
using Segment = ElfW(Phdr);
using Symbol = ElfW(Sym);
using Dynamic = ElfW(Dyn);

// Everything by offset and with bounds: the file may be anything.
class File final {
 public:
  explicit File(const std::string& path) : path_(path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("open " + path + ": " + std::strerror(errno));
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }
  template <typename T>
  T at(uint64_t offset) const {
    T out;
    if (offset > bytes_.size() || sizeof out > bytes_.size() - offset) broken("ends too early");
    std::memcpy(&out, bytes_.data() + offset, sizeof out);
    return out;
  }
  std::string textAt(uint64_t offset) const {
    if (offset >= bytes_.size()) broken("has a name outside of the file");
    return {bytes_.c_str() + offset, ::strnlen(bytes_.c_str() + offset, bytes_.size() - offset)};
  }
  [[noreturn]] void broken(const char* why) const { throw std::runtime_error(path_ + " " + why); }

 private:
  std::string path_, bytes_;
};

void readSymbols(const File& file, const Header& header, const Section& table, ElfFacts& out) {
  const auto strings = file.at<Section>(header.e_shoff + uint64_t{table.sh_link} * header.e_shentsize);
  for (uint64_t at = table.sh_offset; at + sizeof(Symbol) <= table.sh_offset + table.sh_size; at += sizeof(Symbol)) {
    const auto symbol = file.at<Symbol>(at);
    const unsigned bind = symbol.st_info >> 4, visibility = symbol.st_other & 3;
    const bool named = symbol.st_name != 0 && symbol.st_shndx != SHN_UNDEF && symbol.st_shndx != SHN_ABS;
    if (named && bind != STB_LOCAL && (visibility == STV_DEFAULT || visibility == STV_PROTECTED))
      out.exported.push_back(file.textAt(strings.sh_offset + symbol.st_name));
  }
}

void readDynamic(const File& file, const Segment& segment, ElfFacts& out) {
  for (uint64_t at = segment.p_offset; at + sizeof(Dynamic) <= segment.p_offset + segment.p_filesz; at += sizeof(Dynamic)) {
    const auto entry = file.at<Dynamic>(at);
    if (entry.d_tag == DT_NULL) return;
    if (entry.d_tag == DT_RPATH || entry.d_tag == DT_RUNPATH) out.searchPath = true;
    if (entry.d_tag == DT_TEXTREL || (entry.d_tag == DT_FLAGS && (entry.d_un.d_val & DF_TEXTREL) != 0)) out.textRelocations = true;
  }
}

void readNotes(const File& file, const Segment& segment, ElfFacts& out) {
  const auto padded = [](uint64_t n) { return (n + 3) / 4 * 4; };
  const uint64_t end = segment.p_offset + segment.p_filesz;
  for (uint64_t at = segment.p_offset; at + 12 <= end;) {
    const auto name = file.at<uint32_t>(at), desc = file.at<uint32_t>(at + 4), type = file.at<uint32_t>(at + 8);
    const uint64_t next = at + 12 + padded(name) + padded(desc);
    if (next > end) return;
    if (type == RAUHA_NOTE_TYPE && name == 6 && file.textAt(at + 12) == "Rauha" && desc >= sizeof(rauha_note) - 20)
      out.notes.push_back(file.at<rauha_note>(at));
    at = next;
  }
}

}  // namespace

ElfFacts readElf(const std::string& path) {
  const File file(path);
  const auto header = file.at<Header>(0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) file.broken("is not an ELF file");
  if (header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) || header.e_type != ET_DYN)
    file.broken("is not a shared object of this machine");
  ElfFacts out;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    const auto section = file.at<Section>(header.e_shoff + uint64_t{i} * header.e_shentsize);
    if (section.sh_type == SHT_DYNSYM) readSymbols(file, header, section, out);
  }
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const auto segment = file.at<Segment>(header.e_phoff + uint64_t{i} * header.e_phentsize);
    if (segment.p_type == PT_DYNAMIC) readDynamic(file, segment, out);
    if (segment.p_type == PT_NOTE) readNotes(file, segment, out);
    if (segment.p_type == PT_GNU_STACK && (segment.p_flags & PF_X) != 0) out.executableStack = true;
  }
  return out;
}

}  // namespace rauha::conformance
