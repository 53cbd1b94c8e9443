// Opens and reads every file of a list, again and again, and says how long each pass took: in a zone's repository, and in a plain overlay
// mount of the same files. Statically linked, so that it runs in any image.
//
//   read_probe LIST PASSES [landlock] [FILTER]
//
// LIST: a file with one path a line, relative to the working directory. landlock: under a Landlock ruleset as a zone has it, for "/" and
// the working directory. FILTER: a file with a zone's system call filter, as the backend keeps it: under that. Both tell what these layers
// cost by themselves. Prints a line a pass: nanoseconds spent in open and close, nanoseconds spent in read.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
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

// plugins/agent/landlock.cpp has the real one: rules for the root, and for the repository's overlay once more.
void armLandlock() {
  const auto abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 2) failed("find Landlock in", "the kernel");
  constexpr uint64_t kTruncate = 1ULL << 14, kIoctlDev = 1ULL << 15, kNodes = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
  uint64_t handled = (LANDLOCK_ACCESS_FS_REFER << 1) - 1;
  if (abi >= 3) handled |= kTruncate;
  if (abi >= 5) handled |= kIoctlDev;
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
  bool armed = ruleset >= 0;
  for (const char* top : {"/", "."}) {
    landlock_path_beneath_attr rule{};
    rule.allowed_access = handled & ~(kNodes | kIoctlDev);
    rule.parent_fd = open(top, O_PATH | O_CLOEXEC);
    armed = armed && rule.parent_fd >= 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  }
  if (!armed || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
    failed("arm", "Landlock");
}

// plugins/backend-linux/seccomp_cache.cpp writes it: a digest, a newline, the program.
void armFilter(const char* path) {
  std::ifstream file(path);
  std::string digest;
  std::getline(file, digest);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  bytes.copy(reinterpret_cast<char*>(program.data()), program.size() * sizeof(sock_filter));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (program.empty() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
    failed("arm the filter in", path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) failed("run without", "LIST PASSES");
  std::vector<std::string> paths;
  std::ifstream list(argv[1]);
  for (std::string line; std::getline(list, line);) paths.push_back(line);
  if (paths.empty()) failed("find a path in", argv[1]);
  std::vector<char> buffer(256 * 1024);
  std::vector<int> files(paths.size());
  for (int i = 3; i < argc; ++i) {
    if (std::string(argv[i]) == "landlock")
      armLandlock();
    else
      armFilter(argv[i]);
  }
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
