#pragma once
// How long work asks whether it may go on, and says how far it is. A value; its functions are called on the thread that works.

#include <cstdint>
#include <functional>
#include <string_view>

namespace rauha::oci {

struct Watch {
  std::function<void()> check;                                                       // throws when the caller gave up; may be empty
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> report;  // bytes; may be empty
  int cancelFd = -1;                                                                 // readable once cancelled; -1: none

  void mayGoOn() const {
    if (check) check();
  }
  void progress(std::string_view what, uint64_t done, uint64_t total) const {
    if (report) report(what, done, total);
  }
};

}  // namespace rauha::oci
