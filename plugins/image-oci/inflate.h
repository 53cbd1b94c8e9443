#pragma once
// gzip (ISA-L) and zstd (libzstd) as streams: the fastest maintained decoders of the archive. Several members or frames behind one another
// are one content. Hostile input: a stream that ends early, a wrong checksum and everything malformed is Error invalid with the layer's
// name. Memory: 350 KiB for gzip; for zstd what its window needs, at most 128 MiB (the format's default limit). Used by one thread.

#include <memory>
#include <string>

#include "plugins/image-oci/stream.h"

namespace rauha::oci {

// What follows the last member and is no gzip (padding) is left unread.
std::unique_ptr<ByteStream> gunzip(std::unique_ptr<ByteStream> below, std::string what);
std::unique_ptr<ByteStream> unzstd(std::unique_ptr<ByteStream> below, std::string what);

}  // namespace rauha::oci
