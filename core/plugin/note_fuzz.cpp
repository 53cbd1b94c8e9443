// Any bytes as a plugin file: the note reader says Error or a Note that keeps its promises, and touches nothing else.

#include <cstdlib>

#include "core/base/error.h"
#include "core/plugin/note.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rauha;
  try {
    const plugin::Note note = plugin::readNote(plugin::MemoryBytes(data, size));
    const bool kept =
        plugin::isPluginName(note.name) && !note.kind.empty() && note.kind.size() <= 11 && note.version.size() <= 15 && note.abiMajor == 1;
    if (!kept) std::abort();
  } catch (const Error& e) {
    if (e.text().empty() || e.errorClass() != "plugin") std::abort();
  }
  return 0;
}
