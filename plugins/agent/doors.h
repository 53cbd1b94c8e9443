#pragma once
// Doors of a directory tree that is mounted into a zone as it is: Unix sockets and named pipes, behind which processes of the host listen.
// No namespace closes them; the file system alone decides who may knock. An overlay has inodes of its own, so there they lead nowhere.
//
// Called by the container process with the host's rights, before anything of the zone runs. The tree is hostile: nothing is followed, each
// directory is opened beneath the one it lies in. Errors are not thrown: what cannot be read is passed over.

#include <cstddef>
#include <string>

namespace rauha::agent {

// Looking costs about a microsecond an entry. Whoever wants to hide a door behind more entries than this can: it is a hint, no promise.
inline constexpr size_t kDoorEntries = 10'000;

// One line for the result's notes that names the first doors, nearest to the top; empty when none was found among `limit` entries.
// `directory` is an open directory, O_PATH will do.
std::string noteDoors(int directory, size_t limit = kDoorEntries);

}  // namespace rauha::agent
