#pragma once
// The helper programs of one plugin ("rauha.spawn/1"): started with nothing inherited, told apart by pidfd, reaped once, and killed with
// the plugin. Owner: HostServices. Thread: any; start, wait and endAll block. Errors: rauha::Error of class "plugin".

#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fd.h"

namespace rauha::plugin {

struct HelperRequest {
  std::string program;
  std::vector<std::string> arguments, environment;
  std::vector<std::pair<int, int>> descriptors;  // ours (borrowed), its
  std::string directory = "/";
  bool setUserId = false;
};

struct HelperEnd {
  bool signaled = false;
  uint32_t code = 0;
};

class HelperProcesses final {
 public:
  HelperProcesses() = default;
  ~HelperProcesses();
  HelperProcesses(const HelperProcesses&) = delete;
  HelperProcesses& operator=(const HelperProcesses&) = delete;

  // Returns once the program runs. The helper dies with the calling thread.
  std::pair<UniqueFd, int> start(const HelperRequest& request);
  // pidfd: one that start gave, or a duplicate. cancelFd -1, deadlineNs 0: none.
  HelperEnd wait(int pidfd, int cancelFd, int64_t deadlineNs);
  // Kills and reaps all.
  void endAll() noexcept;

 private:
  struct Helper {
    int pid = 0;
    UniqueFd pidfd;
  };
  std::mutex mutex_;
  std::list<Helper> helpers_;  // not reaped yet, so their pids are nobody else's
  size_t starting_ = 0;
};

}  // namespace rauha::plugin
