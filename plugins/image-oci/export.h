#pragma once
// A stored image as an OCI archive (image-spec, image-layout.md, in a plain tar), sent to a client. Every byte is what the image came with
// and is hashed on its way out; the same image gives the same archive. The client on the other end is hostile: it may not read, or go away.
// Thread: one, which may block.

#include <string>
#include <string_view>
#include <vector>

#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

// A connected stream socket, borrowed.
class SocketTarget final {
 public:
  // stallMs: without a byte taken for so long, write gives up.
  SocketTarget(int socket, const Watch& watch, int stallMs);
  // Throws io (the client is gone), deadline (it does not read), cancelled, invalid (no socket).
  void write(std::string_view bytes);

 private:
  void waitForRoom();
  int socket_;
  const Watch& watch_;
  int stallMs_;
};

struct ExportImage {
  std::string what;  // "image 'python:3.12'", for errors
  Descriptor manifest;
  Platform platform;
  std::string tag;   // annotation org.opencontainers.image.ref.name; empty: none
  std::string name;  // annotation io.containerd.image.name; empty: none
  // Everything that the manifest needs, itself and the configuration among them; each once.
  std::vector<Descriptor> blobs;
};

// Throws corrupt when a blob does not verify, notFound when one is not there.
void writeOciArchive(const ExportImage& image, const BlobStore& store, SocketTarget& target, const Watch& watch);

}  // namespace rauha::oci
