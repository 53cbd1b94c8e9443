// What a pull cannot be faster than: decompresses the given layers, as many at once as there are cores, and does nothing with the bytes.
//   unpack_floor LAYER…      prints {"seconds": …, "bytes": …}
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/image-oci/stream.h"

int main(int argc, char** argv) {
  using namespace rauha;
  std::atomic<int> next{1};
  std::atomic<uint64_t> bytes{0};
  std::atomic<bool> failed{false};
  const int64_t began = monotonicNs();
  const auto work = [&] {
    for (int i; (i = next++) < argc;) {
      try {
        UniqueFd fd(open(argv[i], O_RDONLY | O_CLOEXEC));
        struct stat meta {};
        if (!fd || fstat(fd.get(), &meta) != 0) throwErrno("image", argv[i]);
        const auto plain = oci::decompress(oci::streamFile(std::move(fd), 0, static_cast<uint64_t>(meta.st_size), argv[i]), argv[i]);
        for (std::string_view block; !(block = plain->next()).empty();) bytes += block.size();
      } catch (const Error& e) {
        fprintf(stderr, "%s\n", e.what());
        failed = true;
      }
    }
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) others.emplace_back(work);
  work();
  for (auto& t : others) t.join();
  printf("{\"seconds\": %.3f, \"bytes\": %llu}\n", static_cast<double>(monotonicNs() - began) / 1e9,
         static_cast<unsigned long long>(bytes.load()));
  return failed ? 1 : 0;
}
