#pragma once
// Are two unpacked trees the same? Names, types, modes, owners, contents, link texts, hard-link counts, devices, all xattrs, and times but
// those of directories and whiteouts (a directory without an entry of its own has the time of its unpacking, and so has a whiteout). Pure;
// [any] thread.

#include <string>

#include "plugins/image-oci/watch.h"

namespace rauha::oci {

// "" or the first difference: "etc/passwd: its content differs". Hostile names are made printable. Throws what reading throws.
std::string differenceOf(int found, int expected, const Watch& watch);

}  // namespace rauha::oci
