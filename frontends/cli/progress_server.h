#pragma once
// ImageProgress as a capability over a ProgressView that is shared with the command. Thread: the event loop's.

#include <schemas/image.capnp.h>

#include <memory>

#include "frontends/cli/image_progress.h"

namespace rauha::cli {

schema::ImageProgress::Client progressServer(std::shared_ptr<ProgressView> view);

// As standard error wants it: bars on a terminal, else lines; json: JSON lines. What cannot be written is dropped.
// doneWord: what has happened to an item that is whole.
std::shared_ptr<ProgressView> standardProgress(bool json, std::string doneWord = "received");

}  // namespace rauha::cli
