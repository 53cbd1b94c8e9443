#include "core/plugin/note.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rauha/plugin.h>

#include <cstring>
#include <random>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::plugin {
namespace {

// A file with one PT_NOTE segment; every part may be broken before bytes() is called.
struct Elf {
  Elf() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
#if defined(__aarch64__)
    header.e_machine = EM_AARCH64;
#else
    header.e_machine = EM_X86_64;
#endif
    header.e_type = ET_DYN;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    header.e_phoff = sizeof header;
    segment.p_type = PT_NOTE;
    segment.p_align = 4;
    segment.p_offset = sizeof header + sizeof segment;
    addRauha(good());
  }
  static rauha_note good() {
    return {6, sizeof(rauha_note) - 20, RAUHA_NOTE_TYPE, "Rauha", RAUHA_ABI_MAJOR, 3, "backend", "good-one", "1.2.3"};
  }
  void addRauha(const rauha_note& note) { notes.append(reinterpret_cast<const char*>(&note), sizeof note); }
  void addNote(uint32_t type, const std::string& name, const std::string& body, uint32_t claimed) {
    const Elf64_Nhdr n{static_cast<uint32_t>(name.size()), claimed, type};
    notes.append(reinterpret_cast<const char*>(&n), sizeof n);
    notes += name + std::string((4 - name.size() % 4) % 4, '\0') + body + std::string((4 - body.size() % 4) % 4, '\0');
  }
  std::string bytes() {
    if (segment.p_filesz == 0) segment.p_filesz = notes.size();
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) +
           std::string(reinterpret_cast<const char*>(&segment), sizeof segment) + notes;
  }
  Elf64_Ehdr header{};
  Elf64_Phdr segment{};
  std::string notes;
};

std::string refusal(const std::string& bytes) {
  try {
    readNote(MemoryBytes(bytes.data(), bytes.size()));
  } catch (const Error& e) {
    return e.text();
  }
  return "accepted";
}

std::string refusalOfNote(const rauha_note& note) {
  Elf elf;
  elf.notes.clear();
  elf.addRauha(note);
  return refusal(elf.bytes());
}

TEST(Note, Good) {
  Elf elf;
  elf.addNote(NT_GNU_BUILD_ID, std::string("GNU\0", 4), "\x01\xab\xff", 3);
  const std::string bytes = elf.bytes();
  const Note note = readNote(MemoryBytes(bytes.data(), bytes.size()));
  EXPECT_EQ(note.kind, "backend");
  EXPECT_EQ(note.name, "good-one");
  EXPECT_EQ(note.version, "1.2.3");
  EXPECT_EQ(note.abiMajor, RAUHA_ABI_MAJOR);
  EXPECT_EQ(note.abiMinor, 3);
  EXPECT_EQ(note.buildId, "01abff");
}

TEST(Note, EightByteSegmentsPadNamesAndBodiesToEight) {
  Elf elf;
  elf.notes.clear();
  elf.segment.p_align = 8;
  elf.addNote(NT_GNU_PROPERTY_TYPE_0, std::string("GNU\0", 4), std::string(12, 'p'), 12);
  elf.notes += std::string(4, '\0');  // 12 + 4 + 12, up to 32
  const rauha_note note = Elf::good();
  elf.notes.append(reinterpret_cast<const char*>(&note), 20);
  elf.notes += std::string(4, '\0');  // 12 + 6, up to 24
  elf.notes.append(reinterpret_cast<const char*>(&note) + 20, sizeof note - 20);
  EXPECT_EQ(refusal(elf.bytes()), "accepted");
}

TEST(Note, NotElf) {
  EXPECT_EQ(refusal(""), "is not an ELF file");
  EXPECT_EQ(refusal("#!/bin/sh\n"), "is not an ELF file");
  EXPECT_EQ(refusal(Elf().bytes().substr(0, 63)), "is not an ELF file");
}

TEST(Note, OtherMachines) {
  Elf elf;
  elf.header.e_ident[EI_CLASS] = ELFCLASS32;
  elf.header.e_machine = EM_386;
  EXPECT_EQ(refusal(elf.bytes()).substr(0, 69), "is for another machine: ELF class 1, byte order 1, machine 3; this da");
  Elf big;
  big.header.e_ident[EI_DATA] = ELFDATA2MSB;
  EXPECT_EQ(refusal(big.bytes()).substr(0, 23), "is for another machine:");
}

TEST(Note, Programs) {
  Elf elf;
  elf.header.e_type = ET_EXEC;
  EXPECT_EQ(refusal(elf.bytes()), "is not a shared object: ELF type 2, expected 3");
}

TEST(Note, ProgramHeaders) {
  Elf many;
  many.header.e_phnum = 129;
  EXPECT_EQ(refusal(many.bytes()), "has 129 program headers, at most 128");
  Elf extended;
  extended.header.e_phnum = PN_XNUM;
  EXPECT_EQ(refusal(extended.bytes()), "has 65535 program headers, at most 128");
  Elf size;
  size.header.e_phentsize = 32;
  EXPECT_EQ(refusal(size.bytes()), "has program headers of 32 bytes, expected 56");
  for (uint64_t offset : {uint64_t{1} << 20, UINT64_MAX, UINT64_MAX - 55, uint64_t{1} << 63}) {
    Elf outside;
    outside.header.e_phoff = offset;
    EXPECT_EQ(refusal(outside.bytes()), "ends before its program headers");
  }
  Elf none;
  none.header.e_phnum = 0;
  EXPECT_EQ(refusal(none.bytes()), "has no Rauha note: it is not a plugin");
}

TEST(Note, Segments) {
  Elf large;
  large.segment.p_filesz = 65537;
  EXPECT_EQ(refusal(large.bytes()), "has a note segment of 65537 bytes, at most 65536");
  Elf huge;
  huge.segment.p_filesz = UINT64_MAX;
  EXPECT_EQ(refusal(huge.bytes()), "has a note segment of 18446744073709551615 bytes, at most 65536");
  Elf cut;
  cut.segment.p_filesz = 65536;
  EXPECT_EQ(refusal(cut.bytes()), "ends before its notes");
  Elf outside;
  outside.segment.p_offset = UINT64_MAX - 10;
  EXPECT_EQ(refusal(outside.bytes()), "ends before its notes");
}

TEST(Note, NotesThatLieAboutTheirSize) {
  for (uint32_t claimed : {100u, 0x7fffffffu, 0xffffffffu}) {
    Elf elf;
    elf.addNote(NT_GNU_BUILD_ID, std::string("GNU\0", 4), "x", claimed);
    EXPECT_EQ(refusal(elf.bytes()), "has a note that is longer than its segment");
  }
  rauha_note name = Elf::good();
  name.name_size = 0xffffffff;
  EXPECT_EQ(refusalOfNote(name), "has a note that is longer than its segment");
  rauha_note small = Elf::good();
  small.desc_size = 60;
  EXPECT_EQ(refusalOfNote(small), "has a Rauha note of 60 bytes, expected 64");
}

TEST(Note, NoneOrTwo) {
  Elf none;
  none.notes.clear();
  none.addNote(NT_GNU_BUILD_ID, std::string("GNU\0", 4), "abcd", 4);
  EXPECT_EQ(refusal(none.bytes()), "has no Rauha note: it is not a plugin");
  Elf two;
  two.addRauha(Elf::good());
  EXPECT_EQ(refusal(two.bytes()), "has two Rauha notes");
}

TEST(Note, OtherMajorIsToldBeforeAnythingElse) {
  rauha_note note = Elf::good();
  note.abi_major = 2;
  std::memset(note.kind, 0xff, sizeof note.kind);
  EXPECT_EQ(refusalOfNote(note), "is built for plugin ABI 2.3, this daemon speaks 1.1");
}

TEST(Note, Fields) {
  rauha_note note = Elf::good();
  std::strcpy(note.kind, "gpu");
  std::memset(note.kind + 3, 0, sizeof note.kind - 3);
  EXPECT_EQ(refusalOfNote(note), "is of the unknown kind \"gpu\", expected backend, image, enforcer or net");
  note = Elf::good();
  note.kind[11] = 'x';
  EXPECT_EQ(refusalOfNote(note), "has a Rauha note whose kind is not text padded with NUL");
  note = Elf::good();
  std::memset(note.version, 'v', sizeof note.version);
  EXPECT_EQ(refusalOfNote(note), "has a Rauha note whose version is not text padded with NUL");
  note = Elf::good();
  std::memset(note.version, 0, sizeof note.version);
  EXPECT_EQ(refusalOfNote(note), "has a Rauha note whose version is empty or not printable");
  note = Elf::good();
  std::memcpy(note.plugin, "../../etc", 10);
  EXPECT_EQ(refusalOfNote(note), "has a Rauha note whose name \"../../etc\" is not [a-z0-9-]");
  note = Elf::good();
  note.plugin[0] = '\x1b';
  EXPECT_EQ(refusalOfNote(note), "has a Rauha note whose name is empty or not printable");
}

TEST(Note, EveryTruncationIsAnErrorNotACrash) {
  const std::string whole = Elf().bytes();
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_NE(refusal(whole.substr(0, n)), "accepted") << n;
}

TEST(Note, RandomDamageIsNeverACrash) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same damage in every run
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = Elf().bytes();
    for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    refusal(bytes);  // any Error, nothing else: other exceptions fail the test, and the sanitizers see the rest
  }
}

TEST(Note, FilesAreReadOnTheDescriptor) {
  const UniqueFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  char magic[4];
  EXPECT_TRUE(FileBytes(self.get()).read(0, magic, 4));
  EXPECT_EQ(std::string(magic + 1, 3), "ELF");
  EXPECT_FALSE(FileBytes(self.get()).read(uint64_t{1} << 40, magic, 4));
  EXPECT_FALSE(FileBytes(self.get()).read(UINT64_MAX, magic, 4));
  EXPECT_THROW(readNote(FileBytes(self.get())), Error);
}

TEST(Note, Names) {
  EXPECT_TRUE(isPluginName("backend-linux"));
  for (const char* bad : {"", "-a", "A", "a_b", "a.so", "a/b", "0123456789012345678901234567890a"}) EXPECT_FALSE(isPluginName(bad)) << bad;
}

}  // namespace
}  // namespace rauha::plugin
