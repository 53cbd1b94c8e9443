#pragma once
// Copies a hostile directory tree, for the case that the kernel cannot mount it for a zone: the repository lies on a file system that
// cannot be id-mapped. Nothing is followed: each entry is opened by its plain name beneath the descriptor of its parent.
//
// What is copied: directories, regular files (holes stay holes), symbolic links; their permission bits, times, `user.` attributes, and
// access control lists that name nobody but the owner.
// Hard links become files of their own. FIFOs, sockets and devices are left out and counted.
// Called by the container process with the host's rights, before anything of the zone runs. Errors: class "repository"; Code::limit when
// `to` is full.

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace rauha::agent {

struct CopyOwner {
  uid_t fromUid = 0;  // who becomes `uid`; everybody else becomes nobody, as an id map would show it
  gid_t fromGid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct CopyCounts {
  uint64_t files = 0, bytes = 0, leftOut = 0;
};

// Both are open directories; `to` is empty and ours alone. progress: called before the first file, some times a second, and at the end.
using CopyReport = std::function<void(const CopyCounts&, bool done)>;
CopyCounts copyTree(int from, int to, const CopyOwner& owner, const CopyReport& progress);

}  // namespace rauha::agent
