#pragma once
// What the fuzzers call, also replayed over the corpus by every build's tests. Each returns whether the input was accepted, and aborts when
// something happened that must never happen. Tests only.

#include <string_view>

namespace rauha::oci::fuzz {

bool reference(std::string_view bytes);
// What a registry says in headers, and credentials as they come with a request.
bool headers(std::string_view bytes);
// The first byte says which document: 'i' index, 'm' manifest, 'c' configuration, 'd' manifest.json of a docker archive.
bool document(std::string_view bytes);
// A layer as a blob, compressed or not, unpacked for real (needs root; as another user every entry fails at its owner).
bool layer(std::string_view bytes);
// A whole archive: found, indexed, read; its layers are not unpacked.
bool archive(std::string_view bytes);

}  // namespace rauha::oci::fuzz
