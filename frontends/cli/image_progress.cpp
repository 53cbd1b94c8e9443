#include "frontends/cli/image_progress.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/units.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

constexpr size_t kItemsMax = 1024;
constexpr std::string_view kNotice = "notice: ";

// "layer sha256:0123456789ab…" -> "layer 0123456789ab"
std::string shortName(std::string_view what) {
  const size_t at = what.find("sha256:");
  if (at == std::string_view::npos) return printable(what.substr(0, 40));
  return printable(std::string(what.substr(0, at)) + std::string(what.substr(at + 7, 12)));
}

std::string amount(uint64_t done, uint64_t total) { return formatBytes(done) + (total > 0 ? " of " + formatBytes(total) : ""); }

}  // namespace

ProgressView::ProgressView(ProgressStyle style, std::function<void(std::string_view)> write, size_t columns, Clock clock,
                           std::string doneWord)
    : style_(style),
      write_(std::move(write)),
      columns_(std::clamp<size_t>(columns, 40, 200)),
      clock_(std::move(clock)),
      doneWord_(std::move(doneWord)) {}

void ProgressView::report(std::string_view what, uint64_t done, uint64_t total) {
  if (style_ == ProgressStyle::silent) return;
  if (what.substr(0, kNotice.size()) == kNotice) return notice(what.substr(kNotice.size()));
  const auto found = items_.find(what);
  if (found == items_.end() && items_.size() >= kItemsMax) return;
  if (found == items_.end()) order_.emplace_back(what);
  Item& item = found == items_.end() ? items_[std::string(what)] : found->second;
  if (found == items_.end()) {
    item.since = clock_();
    item.first = done;
  }
  item.done = done;
  item.total = total;
  if (style_ == ProgressStyle::json) {
    const nlohmann::json line = {{"progress", {{"what", printable(what)}, {"done", done}, {"total", total}}}};
    write_(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  if (style_ != ProgressStyle::lines) return;
  if (!std::exchange(item.announced, true)) write_(shortName(what) + (total > 0 ? ": " + formatBytes(total) : "") + "\n");
  if (total > 0 && done >= total && !std::exchange(item.ended, true)) write_(shortName(what) + ": " + doneWord_ + "\n");
}

void ProgressView::notice(std::string_view text) {
  if (style_ == ProgressStyle::json) {
    const nlohmann::json line = {{"notice", printable(text)}};
    return write_(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  erase();
  write_("rauha: " + printable(text) + "\n");
}

// "layer 0123456789ab  [=====>    ]  12.0 MiB of 40.0 MiB  8.1 MiB/s  3 s"
std::string ProgressView::bar(const std::string& what, const Item& item) const {
  const double seconds = std::chrono::duration<double>(clock_() - item.since).count();
  std::string tail = "  " + amount(item.done, item.total);
  const bool whole = item.total > 0 && item.done >= item.total;
  if (!whole && seconds > 0.5 && item.done > item.first) {
    const double speed = static_cast<double>(item.done - item.first) / seconds;
    tail += "  " + formatBytes(static_cast<uint64_t>(speed)) + "/s";
    if (item.total > item.done)
      tail += "  " + formatDuration(static_cast<uint64_t>(1000.0 * static_cast<double>(item.total - item.done) / speed));
  }
  const std::string head = shortName(what) + "  ";
  std::string line = head;
  if (item.total > 0 && head.size() + tail.size() + 12 <= columns_) {
    const size_t width = std::min<size_t>(30, columns_ - head.size() - tail.size() - 3);
    const auto full =
        static_cast<size_t>(static_cast<double>(width) * std::min(1.0, static_cast<double>(item.done) / static_cast<double>(item.total)));
    line += "[" + std::string(full, '=') + std::string(width - full, ' ') + "]";
  }
  line += tail;
  return line.substr(0, columns_ - 1);
}

void ProgressView::erase() {
  if (drawn_ > 0) write_("\x1b[" + std::to_string(drawn_) + "A\x1b[J");
  drawn_ = 0;
}

void ProgressView::draw() {
  if (style_ != ProgressStyle::bars || order_.empty()) return;
  constexpr size_t kShown = 12;  // the latest of those that are not whole; the rest as one line
  std::vector<const std::string*> open;
  size_t whole = 0;
  for (const std::string& what : order_) {
    const Item& item = items_.find(what)->second;
    if (item.total > 0 && item.done >= item.total)
      ++whole;
    else
      open.push_back(&what);
  }
  std::string text;
  size_t lines = 0;
  if (whole > 0) text += std::to_string(whole) + (whole == 1 ? " layer " : " layers ") + doneWord_ + "\n", ++lines;
  for (size_t i = 0; i < open.size() && i < kShown; ++i, ++lines) text += bar(*open[i], items_.find(*open[i])->second) + "\n";
  erase();
  write_(text);
  drawn_ = lines;
}

void ProgressView::finish() {
  if (style_ == ProgressStyle::bars) erase();
}

}  // namespace rauha::cli
