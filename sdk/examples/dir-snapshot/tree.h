#pragma once
// Reads a directory tree that its owner may change while it is read, and that may have been made to hurt: as a copy, or only to know its
// digest.
//
// What it holds to:
//  - every name is opened by itself, below its directory's descriptor, without following links: nothing outside of the tree is reached;
//  - everything is opened with the ids of the caller, whose tree it is: the daemon's rights read nothing for him;
//  - what was opened is looked at, not what had the name before; pipes and devices are never opened for reading;
//  - entries, bytes and depth are bounded while they are counted;
//  - the digest is of what was written into the copy, not of what is in the tree by then.
// In the copy the caller's files are the zone's root's; others are nobody's, but for root, whose snapshots keep owners up to 65535.
// Links are copied as links. Devices, pipes, sockets, other file systems mounted in it, hard links as such, extended attributes and
// set-user-ID bits of files that are not the caller's are left out; what is left out as a whole is counted and named in `notes`.

#include <rauha/plugin.hpp>

#include <cstdint>
#include <string>
#include <vector>

struct Caller {
  uint32_t uid = 0, gid = 0;
};

struct TreeLimits {
  uint64_t bytes = 8ull << 30;
  uint64_t entries = 1'000'000;
};

struct TreeFacts {
  std::string digest;  // "sha256:…": of names, kinds, modes, owners, contents and link texts, not of times
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t leftOut = 0;
  std::vector<std::string> notes;  // at most 8
};

// from: an open directory. to: an open, empty directory of our own for the copy, or -1. Throws Error LIMIT, DENIED, CANCELLED, DEADLINE,
// IO.
TreeFacts readTree(int from, Caller caller, int to, const TreeLimits& limits, rauha::sdk::Call& call);

// Removes `name` below `dir`, whatever it is. What is not there is no error.
void removeTree(int dir, const std::string& name);
