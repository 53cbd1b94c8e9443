#pragma once
// Change sets to and from schemas/changes.capnp: into a task's result, and into the manifest file beside the kept layer.
//
// A manifest is one ChangeSet with every change, as capnp writes a flat message; it is the daemon's own and is mapped, not read. Thread:
// any; a Manifest belongs to one.

#include <schemas/changes.capnp.h>

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/base/fd.h"
#include "core/changes/change.h"
#include "core/changes/content.h"

namespace rauha::changes {

// Changes that a result carries, and bytes of their paths, link texts and attributes; the others are in the manifest.
inline constexpr size_t kResultChanges = 500;
inline constexpr uint64_t kResultText = 1 << 20;

// limit, text: the most that is written. When not all fit: those that are noise after all others.
void writeChangeSet(schema::ChangeSet::Builder out, const ChangeSet& set, size_t limit = kResultChanges, uint64_t text = kResultText);
void writeTotals(schema::ChangeTotals::Builder out, const Totals& totals);

// Makes <directory>/manifest; returns its bytes on disk. Throws Error "repository".
uint64_t writeManifest(int directory, const ChangeSet& set);

class Manifest final {
 public:
  // Maps <directory>/manifest. Throws Error "repository", code corrupt or io.
  explicit Manifest(int directory);
  ~Manifest();
  Manifest(const Manifest&) = delete;
  Manifest& operator=(const Manifest&) = delete;
  schema::ChangeSet::Reader get() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a manifest says about the contents of its layer's regular files, by path.
struct KnownContent {
  uint64_t size = 0;
  int64_t mtimeNs = 0;
  Content content;
  std::string entriesBefore;  // FileState::entries of the base, when the chain began
};
using KnownContents = std::unordered_map<std::string, KnownContent>;
KnownContents knownContents(const Manifest& manifest);

}  // namespace rauha::changes
