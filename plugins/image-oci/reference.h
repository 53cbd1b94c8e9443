#pragma once
// What a user may write after --image, taken apart. A value; parsing touches nothing.
//
//   host                      the machine's own programs
//   dir:PATH                  a directory that already is a root file system
//   oci:DIR[:TAG|@DIGEST]     an OCI image layout
//   oci-archive:FILE[:TAG]    the same in a tar file
//   docker-archive:FILE[:REF] the output of `docker save`
//   tar:FILE                  a root file system as a tar (plain, gzip, zstd); can only be imported
//   [HOST[:PORT]/]NAME[:TAG][@DIGEST]
//                             a name in the store; what is not there is asked of a registry: "alpine" is docker.io/library/alpine:latest.
//                             The first part is a host when it has a '.' or ':' or is "localhost". A digest wins over a tag.
//
// PATH of the archive and layout forms ends at the last ':' whose rest is a valid tag; REF may itself hold one ':' ("name:tag").
// Whoever opens the path for us must cut it in the same way (path()).

#include <string>
#include <string_view>

namespace rauha::oci {

struct Reference {
  enum class Kind { host, dir, oci, ociArchive, dockerArchive, tar, stored };
  Kind kind = Kind::stored;
  std::string text;    // as written
  std::string path;    // of dir, oci, ociArchive, dockerArchive, tar
  std::string tag;     // of oci, ociArchive; the whole REF of dockerArchive; empty: none given
  std::string digest;  // "sha256:…" of oci:DIR@DIGEST and of names; else empty
  std::string name;    // stored: "name:tag", the tag always there, or "name@digest"; what docker.io adds is left out ("alpine:latest")
  std::string domain, repository;  // stored: "docker.io", "library/alpine"

  bool needsSource() const noexcept {
    return kind == Kind::dir || kind == Kind::oci || kind == Kind::ociArchive || kind == Kind::dockerArchive || kind == Kind::tar;
  }
  // "oci", "dir", …
  std::string_view source() const noexcept;
};

// Throws Error invalid for what is malformed, with the reason; unsupported for transports that Rauha does not have.
Reference parseReference(std::string_view text);

// "name[:tag]" of the store, the tag ":latest" added when missing. Throws Error invalid.
std::string parseStoredName(std::string_view text);

// A tag alone. Throws Error invalid.
std::string parseTag(std::string_view text);

// A stored name made from a reference: "oci:/a/My Image:1" -> "my-image:1".
std::string nameFor(const Reference& reference);

// The error for a name that is not in the store and that nobody was asked for; `why` stands behind it.
[[noreturn]] void refuseAbsent(const Reference& reference, const std::string& why, const std::string& hint);
// "did you mean 'dir:PATH'? otherwise ", or nothing: a slip of a local kind reads as a name.
std::string meantKind(std::string_view text);
// What a registry would not accept of a name that the store does: "" or the reason.
std::string registryFault(const Reference& reference);

}  // namespace rauha::oci
