#pragma once
// The system call filters of zones, as BPF bytes that the shim loads.
//
// Default-deny: a call that is not on the list (seccomp_lists.cpp, with the reasons) fails with EPERM; one that only newer kernels have
// fails with ENOSYS, so that programs fall back. 32-bit and x32 calls kill the process. Privileged zones get everything except what their
// capabilities do not cover. Compiling takes ~10 ms, so a compiled program is kept in memory and on disk.
// Errors: rauha::Error of class "policy" for a name that may not be allowed or is not known, "backend" otherwise.

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace rauha::backend {

struct SeccompRequest {
  std::vector<uint8_t> capabilities;     // ascending, each once
  std::vector<std::string> deny, allow;  // system call names of the policy
  bool privileged = false;               // host user namespace
};

// An array of struct sock_filter for the native architecture.
std::string compileFilter(const SeccompRequest& request);
// The further program that refuses to give any file a set-user-ID or set-group-ID bit (EPERM); everything else passes.
std::string compileNoSuidFilter();
size_t instructionCount(const std::string& program);

// Compiled programs, kept by what they were made from. Any thread.
class SeccompCache final {
 public:
  // directory: made when first written to; "" keeps nothing on disk.
  explicit SeccompCache(std::string directory) : directory_(std::move(directory)) {}
  std::string filter(const SeccompRequest& request);
  std::string noSuidFilter();

 private:
  template <typename Compile>
  std::string get(const std::string& key, Compile&& compile);
  const std::string directory_;
  std::mutex mutex_;
  std::map<std::string, std::string> programs_;
};

}  // namespace rauha::backend
