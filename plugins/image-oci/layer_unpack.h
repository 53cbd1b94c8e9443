#pragma once
// One layer's tar stream, written below a directory as overlayfs wants it (privileged format).
//
//   .wh.NAME        becomes a character device 0:0 called NAME
//   .wh..wh..opq    marks its directory trusted.overlay.opaque=y; in the layer's root it is returned as LayerFacts::opaqueRoot
//   device nodes    are not made: a zone has its own /dev, and 0:0 would be taken for a whiteout
//   xattrs          user.* and security.capability (version 2) are kept, all others dropped and noted
//   a link in the way of an entry is followed if it leads to a directory of the same layer (as if the layer were the root); otherwise,
//                   and when anything else that is no directory is in the way, a directory takes its place
//
// The layer is hostile: names with '..', NUL or excess length, hard links that leave the layer, ids beyond a zone's, and sizes beyond the
// limits are refused with the entry's name. On an error the directory is left half done; the caller throws it away.
// Needs the capabilities of root (chown, mknod, trusted xattrs).

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/stream.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

struct LayerFacts {
  uint64_t bytes = 0;              // of regular files, holes counted
  uint64_t entries = 0;            // made, implied directories counted
  bool opaqueRoot = false;         // nothing of the layers below shows
  std::vector<std::string> notes;  // what was left out, one line each, at most kNotesMax
  uint64_t notesDropped = 0;
};

// rootFd: an empty directory, borrowed. what: names the layer in errors ("layer sha256:…"). `tar` is read up to the end of the archive,
// not to its own end: the caller drains it for the digest.
LayerFacts unpackLayer(ByteStream& tar, int rootFd, const Limits& limits, const Watch& watch, const std::string& what);

}  // namespace rauha::oci
