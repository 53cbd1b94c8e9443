#pragma once
// What an ELF file says about itself, read without running any of it: exported symbols, dynamic entries, the Rauha note.

#include <rauha/plugin.h>

#include <optional>
#include <string>
#include <vector>

namespace rauha::conformance {

struct ElfFacts {
  std::vector<std::string> exported;  // dynamic symbols that are defined here and visible, without version symbols
  bool searchPath = false;            // DT_RPATH or DT_RUNPATH
  bool textRelocations = false;       // DT_TEXTREL
  bool executableStack = false;
  std::vector<rauha_note> notes;  // of type 1 and name "Rauha"
};

// Throws std::runtime_error, with the reason, for what is no shared object of this machine.
ElfFacts readElf(const std::string& path);

}  // namespace rauha::conformance
