#pragma once
// Turns the layer that a task wrote into a change set: compares it with the host's tree, copies it into the state directory, and writes
// down what changed. One pass: what is copied is digested on its way.
//
// Thread: a worker; it blocks. Nothing else may write the upper directory meanwhile (every process of the zone is dead); the host's tree
// may change at any time, which is found and reported, never an error. Names and contents are hostile: directories are walked by
// descriptors, through no symbolic link, to a bounded depth, and nothing is opened that is not a regular file or a directory.
//
// Layers are overlayfs's (Documentation/filesystems/overlayfs.rst): a character device 0:0, or an empty file with trusted.overlay.whiteout,
// deletes what is below; trusted.overlay.opaque on a directory hides the lower directory. Redirects, metadata-only copies and attributes
// of trusted.overlay that are not known are refused: the layer would be read wrongly.
//
// The kept layer is of the same form, complete by itself (a predecessor's layer is merged into it by hard links), and only relative to the
// host's tree. Its owners are the zone's ids, so that it can be mounted below a follow-up's with the mapping "zone". Whiteouts stand for
// everything deleted; there are no opaque directories in it. It has no sockets and devices.
//
// The top directory itself (its mode, owner, time) is never a change.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/changes/change.h"

namespace rauha::changes {

// From ids as the files of the upper layer have them to the zone's, and from those to the host's.
struct IdTranslation {
  uint32_t base = 0;                    // host id of the zone's id 0; 0 with user namespace "host"
  uint32_t count = UINT32_MAX;          // how many ids the zone has
  uint32_t runUid = 0, runGid = 0;      // the run user, in the zone
  uint32_t ownerUid = 0, ownerGid = 0;  // the tree's owner, on the host
};

struct Limits {
  // Changes that are listed; beyond it they are only counted, and the set is not kept.
  uint64_t changes = 300'000;
  // Bytes on disk of one kept layer; beyond it the set is listed but not kept.
  uint64_t layerBytes = 2ULL << 30;
  // Bytes of paths, link texts and attributes in the list; beyond it as beyond `changes`.
  uint64_t textBytes = 128ULL << 20;
  // Levels of directories; what is deeper, or has a path that no system call takes (4096 bytes), is not looked at, and the set is not kept.
  uint32_t depth = 256;
  // Holes of one file that are digested as the zeros they stand for: a file with more has no digest. They are never copied, and in
  // comparisons of content only what is no hole on both sides is read. The second number is for all files together: holes cost a task
  // nothing, and their zeros cost us time.
  uint64_t holeBytes = 1ULL << 30, allHoleBytes = 4ULL << 30;
  // Files that are made before a thread is started for the others: for a few it is not worth while.
  uint64_t filesAlone = 64;
  // Old content that is digested in search of renames.
  uint64_t renameBytes = 1ULL << 30;
  // How much of the host's tree is looked at for changes made meanwhile: entries and time, or this little when the task changed nothing:
  // then there is nothing to apply, and a large tree must not make every small task slow.
  uint64_t hostEntries = 300'000, hostEntriesUnchanged = 5'000;
  int64_t hostNs = 5'000'000'000, hostNsUnchanged = 1'500'000;
};

// The repository's own index, relative to its top.
inline constexpr const char* kTopIndex = ".git/index";

// Borrowed descriptors; they are open while collect() runs. O_PATH ones will do.
struct Input {
  int upper = -1;
  int base = -1;
  int predecessor = -1;  // follow-up: the kept layer that it went on from, from ChangeStore::openLayer
  int baseIndex = -1;    // the base's ".git/index" as it was when the task began; -1: none, or nobody held it
  int destination = -1;  // empty directory of the daemon's; "layer" and "manifest" are made in it
  std::string basePath;  // as the client opened it; for the record
  // CLOCK_REALTIME, before the task's first instruction; follow-up: of the chain's first task (LayerInfo::base.startedNs).
  int64_t startedNs = 0;
  IdTranslation ids;
  Limits limits;
  std::vector<std::string> protectedPatterns;  // core/base/protected_paths.h
  std::string from;                            // task id of the predecessor
  std::vector<std::string> notes;              // copied into the set
  std::function<bool()> cancelled;             // asked now and then; true: Error cancelled. Empty: never.
};

// Throws rauha::Error: class "repository", code unsupported (a layer that is not understood) or io. `destination` may then hold anything:
// give it to ChangeStore::abort. A full disk or a crossed limit of what is kept is no error: the set is listed, with kept = false, and
// `destination` is empty again.
ChangeSet collect(const Input& input);

}  // namespace rauha::changes
