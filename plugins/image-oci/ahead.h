#pragma once
// A stream whose source works on a thread of its own, a few blocks ahead of whoever reads: while one block is unpacked, the next is
// decompressed, and the one after that received. Errors of the source come out of next(), after the blocks before them.
//
// Destroying it ends the source's thread: interrupt() is called on the source, then the thread is waited for.

#include <memory>

#include "plugins/image-oci/stream.h"

namespace rauha::oci {

std::unique_ptr<ByteStream> ahead(std::unique_ptr<ByteStream> below);

}  // namespace rauha::oci
