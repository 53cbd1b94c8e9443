#pragma once
// How a pull, an export or a verify shows itself on standard error: bars with speed and rest time on a terminal, one line for each layer
// that begins or ends elsewhere, JSON lines with --json. Standard output stays the command's own.
//
// What comes from the daemon is hostile text. A value-like object; its output goes where the constructor says.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::cli {

enum class ProgressStyle { silent, lines, bars, json };

class ProgressView final {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  // write: takes whole pieces of output. columns: of the terminal, for bars.
  ProgressView(ProgressStyle style, std::function<void(std::string_view)> write, size_t columns = 80,
               Clock clock = std::chrono::steady_clock::now, std::string doneWord = "received");

  void report(std::string_view what, uint64_t done, uint64_t total);
  // After a batch of reports: draws.
  void draw();
  // Leaves the terminal as a finished text.
  void finish();

 private:
  struct Item {
    uint64_t done = 0, total = 0, first = 0;  // first: what was there when it began to be told
    std::chrono::steady_clock::time_point since;
    bool announced = false, ended = false;
  };
  void notice(std::string_view text);
  std::string bar(const std::string& what, const Item& item) const;
  void erase();

  ProgressStyle style_;
  std::function<void(std::string_view)> write_;
  size_t columns_, drawn_ = 0;
  Clock clock_;
  std::string doneWord_;
  std::vector<std::string> order_;
  std::map<std::string, Item, std::less<>> items_;
};

}  // namespace rauha::cli
