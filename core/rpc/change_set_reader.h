#pragma once
// A kept change set for a client: its list page by page, its new contents as descriptors. Holds the set's lease, so what it reads stays.
// Owner: the capability. Thread: the event loop.

#include <schemas/client.capnp.h>

#include "core/changes/change_store.h"

namespace rauha::rpc {

// Throws Error "repository" when the manifest is damaged.
schema::ChangeSetReader::Client makeChangeSetReader(changes::ChangeStore::Opened opened);

}  // namespace rauha::rpc
