#pragma once
// Every call into the kernel of syscalls.cpp as a step that can be made to fail: RAUHA_FAIL_STEP=n makes the n-th fail with EIO, counted
// over a program and all that it forks. Compiled into test programs alone (RAUHA_FAULT_POINTS); the product has no such thing.

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

namespace rauha::testing {

class FaultCounter final {
 public:
  FaultCounter() noexcept {
    const char* step = ::getenv("RAUHA_FAIL_STEP");
    if (step == nullptr) return;
    fails_ = std::atoi(step);
    void* shared = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) std::abort();
    count_ = new (shared) std::atomic<int>(0);
  }
  bool failsHere() noexcept { return count_ != nullptr && ++*count_ == fails_; }

 private:
  int fails_ = 0;
  std::atomic<int>* count_ = nullptr;  // stays mapped as long as the process lives
};

// Made before main, which takes the environment away.
inline FaultCounter faultCounter;

template <typename... Arguments>
long faultyCall(Arguments... arguments) noexcept {
  if (faultCounter.failsHere()) {
    errno = EIO;
    return -1;
  }
  return ::syscall(arguments...);
}

}  // namespace rauha::testing
