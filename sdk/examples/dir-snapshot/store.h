#pragma once
// The plugin's store, below <state_dir>/plugins/dir-snapshot:
//
//   layers/HEX/root/   a copied tree; HEX is its digest. layers/HEX/facts: bytes and entries
//   names/NAME         "HEX TIME\n": a snapshot that was imported
//   leases/ZONE/HEX    an empty file: the zone uses the layer
//   tmp/XXXXXX/        a copy in the making
//   lock               flock(2) while anything but tmp/ changes
//
// Whatever is visible is whole: a tree is copied in tmp/, then renamed; written to disk before that, when a name will keep it. Nothing is
// kept in memory, so that a killed daemon loses nothing, and calls may run at once, also in two processes. A layer goes when neither a name
// nor a lease needs it. Thread: [any]. Errors: rauha::sdk::Error.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "posix.h"
#include "tree.h"

struct Snapshot {
  std::string hex;
  std::string name;  // empty: not imported
  std::string path;  // of the tree; absolute
  uint64_t bytes = 0, entries = 0;
  int64_t createdNs = 0;  // when it was imported
  std::vector<std::string> notes;
};

class Store {
 public:
  // path: exists, our own. Makes what is missing.
  Store(std::string path, TreeLimits limits);

  // Copies the tree unless the same is there. lease: a zone's id, or empty; name: to import it under, or empty.
  Snapshot take(int source, Caller caller, std::string_view lease, std::string_view name, rauha::sdk::Call& call);
  // The snapshot of a name; with a lease, the zone uses it from now on. NOT_FOUND.
  Snapshot find(std::string_view name, std::string_view lease);
  std::vector<Snapshot> list();
  void remove(std::string_view name);  // NOT_FOUND; BUSY
  void release(std::string_view lease);
  void reconcile(const std::vector<std::string_view>& leases);

 private:
  Fd lock() const;
  Snapshot snapshotOf(const std::string& hex) const;
  Snapshot readName(const std::string& name) const;
  void lease(std::string_view zone, const std::string& hex) const;
  std::vector<std::string> zonesUsing(const std::string& hex) const;
  std::vector<std::string> collect() const;
  void discard(const std::vector<std::string>& away) const;
  void publish(const std::string& temporary, const TreeFacts& facts) const;

  const std::string path_;
  const TreeLimits limits_;
  Fd root_, layers_, names_, leases_, tmp_;
};
