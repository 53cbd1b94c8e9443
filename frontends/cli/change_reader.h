#pragma once
// Changes as the daemon sends them into checked values: a path that leads out of the tree, or a type that is not known, is an error. Pure;
// any thread.

#include <schemas/changes.capnp.h>

#include <string>

#include "core/base/error.h"
#include "frontends/cli/changes/change.h"

namespace rauha::cli {

// One change. Throws Error "repository" (corrupt) for a path that is none of a tree, an unknown kind or type.
Change readChange(schema::Change::Reader in);
BaseTree readBase(schema::BaseTree::Reader in);

// "the host's tree changed while the task ran", or since the task that it goes on from began.
std::string hostTreeChangedText(schema::ChangeSet::Reader set);

// For whatever else is wrong with a change set of the daemon's.
Error corruptChangeSet(const std::string& text, const std::string& object = {});

}  // namespace rauha::cli
