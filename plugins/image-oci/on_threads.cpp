#include "plugins/image-oci/on_threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/error.h"

namespace rauha::oci {

void onThreads(size_t count, uint32_t threads, const Watch& watch, const std::function<void(size_t, const Watch&)>& work,
               const std::function<void()>& failed) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::exception_ptr first;
  Watch own = watch;
  own.check = [&] {
    if (stop) throw Error("image", Code::cancelled, "another layer failed");
    watch.mayGoOn();
  };
  const auto run = [&] {
    for (size_t i; !stop && (i = next++) < count;) {
      try {
        work(i, own);
      } catch (...) {
        const std::lock_guard<std::mutex> guard(mutex);
        stop = true;
        if (first != nullptr) continue;
        first = std::current_exception();
        failed();
      }
    }
  };
  std::vector<std::thread> others;
  try {
    while (others.size() + 1 < std::min<size_t>(threads, count)) others.emplace_back(run);
  } catch (const std::system_error&) {  // fewer then
  }
  run();
  for (std::thread& t : others) t.join();
  if (first != nullptr) std::rethrow_exception(first);
}

}  // namespace rauha::oci
