// In the place of rauha-plugin-host: breaks the protocol in the way that the name of a file beside the program says.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kSocket = 3;

// Until the daemon hangs up; a daemon that reads no more blocks us, and kills us later.
void sendAll(const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = send(kSocket, at, size, MSG_NOSIGNAL);
    if (n <= 0) _exit(0);
    at += n;
    size -= static_cast<size_t>(n);
  }
}

bool is(const std::string& directory, const char* what) { return access((directory + "/" + what).c_str(), F_OK) == 0; }

[[noreturn]] void waitForEver() {
  char buffer[4096];
  while (read(kSocket, buffer, sizeof buffer) > 0) {
  }
  for (;;) pause();
}

}  // namespace

int main() {
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) return 9;
  std::string directory(self, static_cast<size_t>(n));
  directory.resize(directory.rfind('/'));
  char setup[65536];
  if (read(kSocket, setup, sizeof setup) <= 0) return 8;
  if (is(directory, "silent")) waitForEver();
  if (is(directory, "exits")) return 7;
  if (is(directory, "closes")) {
    close(kSocket);
    for (;;) pause();
  }
  if (is(directory, "noise")) {
    std::vector<unsigned char> noise(1 << 20);
    uint32_t x = 1;
    for (auto& byte : noise) byte = static_cast<unsigned char>((x = x * 1664525u + 1013904223u) >> 24);
    sendAll(noise.data(), noise.size());
    waitForEver();
  }
  if (is(directory, "zeros")) {
    const std::vector<unsigned char> zeros(1 << 20);
    sendAll(zeros.data(), zeros.size());
    waitForEver();
  }
  if (is(directory, "huge")) {  // one segment of 32 GiB
    const uint32_t header[] = {0, 0xffffffffu};
    sendAll(header, sizeof header);
    const std::vector<unsigned char> body(8 << 20);
    for (;;) sendAll(body.data(), body.size());
  }
  if (is(directory, "segments")) {  // four thousand million segments
    const uint32_t header[] = {0xffffffffu, 1};
    sendAll(header, sizeof header);
    waitForEver();
  }
  if (is(directory, "half")) {
    const uint32_t header[] = {0, 100, 7};
    sendAll(header, sizeof header);
    return 0;
  }
  if (is(directory, "calls_without_reading")) {
    // Bootstrap requests, each of which is answered: rpc.capnp Message { bootstrap { questionId } }.
    for (uint64_t question = 0;; ++question) {
      uint64_t message[6];
      message[0] = uint64_t{5} << 32;      // one segment of five words
      message[1] = 0x0001000100000000ull;  // root: struct, one data word, one pointer
      message[2] = 8;                      // which: bootstrap
      message[3] = 0x0001000100000000ull;  // its struct: one data word, one pointer
      message[4] = question & 0xffffffffu;
      message[5] = 0;
      sendAll(message, sizeof message);
    }
  }
  return 6;
}
