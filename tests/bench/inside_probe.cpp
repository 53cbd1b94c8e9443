// What operations cost where this runs: in a zone, in another tool's container, on the host. Statically linked. Prints "name nanoseconds" a
// line; each number is the median of several batches.
//
//   inside_probe DIRECTORY      DIRECTORY: writable, for the file that is opened and the one that is created
//   inside_probe --end          ends at once: what exec runs
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr int kBatches = 15;

long long nowNs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

void must(bool good, const char* what) {
  if (good) return;
  fprintf(stderr, "inside_probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

template <typename Operation>
void measure(const char* name, int times, Operation operation) {
  std::vector<long long> batches;
  for (int batch = 0; batch <= kBatches; ++batch) {
    const long long begun = nowNs();
    for (int i = 0; i < times; ++i) operation();
    if (batch > 0) batches.push_back((nowNs() - begun) / times);  // the first one warms up
  }
  std::sort(batches.begin(), batches.end());
  printf("%s %lld\n", name, batches[kBatches / 2]);
}

void openOnce(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd >= 0, "open");
  close(fd);
}

void createOnce(const char* path) {
  const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  must(fd >= 0, "create");
  close(fd);
  must(unlink(path) == 0, "unlink");
}

void execOnce(const char* self) {
  const pid_t pid = vfork();
  must(pid >= 0, "vfork");
  if (pid == 0) {
    execl(self, self, "--end", static_cast<char*>(nullptr));
    _exit(1);
  }
  int status = 0;
  must(waitpid(pid, &status, 0) == pid && status == 0, "exec");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--end") == 0) return 0;
  if (argc != 2) {
    fputs("usage: inside_probe DIRECTORY\n", stderr);
    return 2;
  }
  const std::string opened = std::string(argv[1]) + "/probe-open", created = std::string(argv[1]) + "/probe-create";
  const int fd = open(opened.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  must(fd >= 0, "create the file to open");
  close(fd);
  measure("getppid", 200'000, [] { syscall(SYS_getppid); });
  measure("open", 5'000, [&] { openOnce(opened.c_str()); });
  measure("create", 1'000, [&] { createOnce(created.c_str()); });
  measure("exec", 40, [&] { execOnce(argv[0]); });
  must(unlink(opened.c_str()) == 0, "unlink the file that was opened");
  return 0;
}
