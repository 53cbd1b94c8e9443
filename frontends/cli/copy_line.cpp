#include "frontends/cli/copy_line.h"

#include <unistd.h>

#include <string>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

constexpr int64_t kQuietNs = 10'000'000'000;  // between two lines where lines stay
constexpr const char* kClearLine = "\r\x1b[K";

}  // namespace

struct CopyLine::State {
  explicit State(int descriptor) : fd(descriptor), terminal(isatty(descriptor) == 1) {}

  void show(uint64_t files, uint64_t bytes, bool done) {
    const int64_t now = monotonicNs();
    const bool first = writtenNs == 0;
    if (!first && !done && !terminal && now - writtenNs < kQuietNs) return;
    std::string line = terminal && !first ? kClearLine : "";
    line += done ? "rauha: copied the repository" : "rauha: copying the repository, which cannot be mounted";
    if (!first || done) line += ": " + std::to_string(files) + (files == 1 ? " file, " : " files, ") + formatBytes(bytes);
    open = terminal && !done;
    write(open ? line : line + "\n");
    writtenNs = now;
  }
  void write(const std::string& text) {
    try {
      writeFully(fd, text, "write to standard error");
    } catch (const Error&) {
      fd = -1;  // nobody reads it
    }
  }

  int fd;
  bool terminal, open = false;  // open: the cursor stands behind the line
  int64_t writtenNs = 0;
};

class CopyLine::Server final : public schema::CopyProgress::Server {
 public:
  explicit Server(std::shared_ptr<State> state) : state_(std::move(state)) {}
  kj::Promise<void> report(ReportContext context) override {
    const auto params = context.getParams();
    if (state_->fd >= 0) state_->show(params.getFiles(), params.getBytes(), params.getDone());
    return kj::READY_NOW;
  }

 private:
  const std::shared_ptr<State> state_;
};

CopyLine::CopyLine(int fd) : state_(std::make_shared<State>(fd)) {}

CopyLine::~CopyLine() {
  if (state_->fd >= 0 && state_->open) state_->write("\n");
  state_->fd = -1;
}

schema::CopyProgress::Client CopyLine::capability() { return kj::heap<Server>(state_); }

}  // namespace rauha::cli
