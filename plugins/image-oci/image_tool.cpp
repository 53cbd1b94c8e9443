// The image library on the command line, without a daemon; for tests and measurements.
//   image_tool STORE resolve|inspect REFERENCE [LEASE]   STORE import REFERENCE [NAME]   STORE list   STORE remove NAME   STORE release
//   LEASE STORE reconcile [LEASE…]
// Prints one line for each layer or mount. Exit code: 0, or the number of the error (2 is not_found, …).

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/image-oci/library.h"

namespace rauha::oci {
namespace {

void print(const Resolved& image) {
  printf("image %s %s %s %llu\n", image.reference.c_str(), image.digest.empty() ? "-" : image.digest.c_str(), image.source.c_str(),
         static_cast<unsigned long long>(image.bytes));
  for (const auto& layer : image.layers)
    printf("layer %s %s\n", layer.record.diffId.empty() ? "-" : layer.record.diffId.c_str(), layer.path.empty() ? "-" : layer.path.c_str());
  for (const auto& mount : image.mounts)
    printf("mount %d %s %s %o%s\n", static_cast<int>(mount.kind), mount.target.c_str(),
           mount.kind == HostEntry::Kind::file ? "-" : mount.source.c_str(), mount.mode, mount.exec ? " exec" : "");
  for (const auto& note : image.notes) printf("note %s\n", note.c_str());
}

int run(const std::vector<std::string>& args) {
  Limits limits;
  if (const char* bytes = getenv("IMAGE_TOOL_LAYER_BYTES_MAX")) limits.layerBytesMax = strtoull(bytes, nullptr, 10);
  ImageLibrary library(args[1], limits);
  const std::string& verb = args[2];
  const std::string first = args.size() > 3 ? args[3] : "", second = args.size() > 4 ? args[4] : "";
  UniqueFd source;
  Request request;
  if (verb == "resolve" || verb == "inspect" || verb == "import") {
    const Reference reference = parseReference(first);
    if (reference.needsSource()) {
      source.reset(open(reference.path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!source) throwErrno("image", "open " + reference.path);
    }
    request.reference = first;
    request.sourceFd = source.get();
    request.caller = {geteuid(), getegid()};
    (verb == "import" ? request.name : request.lease) = second;
  }
  const int64_t begin = monotonicNs();
  if (verb == "resolve") print(library.resolve(request, {}));
  if (verb == "resolve" && getenv("IMAGE_TOOL_AGAIN") != nullptr) {
    const int64_t again = monotonicNs();
    for (int i = 0; i < 100; ++i) library.resolve(request, {});
    fprintf(stderr, "again: %.1f us each\n", static_cast<double>(monotonicNs() - again) / 1e5);
  }
  if (verb == "inspect") print(library.inspect(request, {}));
  if (verb == "import") print(library.importImage(request, {}));
  if (verb == "list")
    for (const Resolved& image : library.list()) print(image);
  if (verb == "remove") library.remove(first);
  if (verb == "release") library.release(first);
  if (verb == "reconcile") library.reconcile({args.begin() + 3, args.end()});
  fprintf(stderr, "%s: %.3f ms\n", verb.c_str(), static_cast<double>(monotonicNs() - begin) / 1e6);
  return 0;
}

}  // namespace
}  // namespace rauha::oci

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "image_tool STORE VERB [ARGUMENT…]\n");
    return 1;
  }
  try {
    return rauha::oci::run({argv, argv + argc});
  } catch (const rauha::Error& e) {
    fprintf(stderr, "%s: %s\nhint: %s\n", std::string(rauha::codeName(e.code())).c_str(), e.what(), e.hint().c_str());
    return static_cast<int>(e.code());
  }
}
