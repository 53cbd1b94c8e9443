// Opens and reads every file of a list, again and again, and says how long each pass took: once in a zone's repository, once in a plain
// overlay mount of the same files. Statically linked, so that it runs in any image.
//
//   read_probe LIST PASSES     LIST: a file with one path a line, relative to the working directory
//
// Prints a line a pass: nanoseconds spent in open and close, nanoseconds spent in read.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

namespace {

long long now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

[[noreturn]] void failed(const char* what, const std::string& path) {
  fprintf(stderr, "read_probe: cannot %s %s\n", what, path.c_str());
  exit(1);
}

void readAll(int fd, std::vector<char>& buffer, const std::string& path) {
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0) failed("read", path);
    if (n == 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) failed("run without", "LIST PASSES");
  std::vector<std::string> paths;
  std::ifstream list(argv[1]);
  for (std::string line; std::getline(list, line);) paths.push_back(line);
  if (paths.empty()) failed("find a path in", argv[1]);
  std::vector<char> buffer(256 * 1024);
  std::vector<int> files(paths.size());
  for (long pass = strtol(argv[2], nullptr, 10); pass > 0; --pass) {
    long long opening = 0, reading = 0;
    // In batches, so that the two are told apart without a clock call around each.
    constexpr size_t kBatch = 200;
    for (size_t first = 0; first < paths.size(); first += kBatch) {
      const size_t last = first + kBatch < paths.size() ? first + kBatch : paths.size();
      const long long begin = now();
      for (size_t i = first; i < last; ++i)
        if ((files[i] = open(paths[i].c_str(), O_RDONLY | O_CLOEXEC)) < 0) failed("open", paths[i]);
      const long long opened = now();
      for (size_t i = first; i < last; ++i) readAll(files[i], buffer, paths[i]);
      const long long read = now();
      for (size_t i = first; i < last; ++i) close(files[i]);
      opening += opened - begin + now() - read;
      reading += read - opened;
    }
    printf("%lld %lld\n", opening, reading);
  }
  return 0;
}
