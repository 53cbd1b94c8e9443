#include "frontends/cli/progress_server.h"

#include <unistd.h>

#include "core/base/error.h"
#include "frontends/cli/output.h"
#include "frontends/cli/terminal.h"

namespace rauha::cli {
namespace {

class Server final : public schema::ImageProgress::Server {
 public:
  explicit Server(std::shared_ptr<ProgressView> view) : view_(std::move(view)) {}
  kj::Promise<void> report(ReportContext context) override {
    for (const auto item : context.getParams().getItems()) {
      const auto what = item.getWhat();
      view_->report({what.begin(), what.size()}, item.getDone(), item.getTotal());
    }
    view_->draw();
    return kj::READY_NOW;
  }

 private:
  std::shared_ptr<ProgressView> view_;
};

}  // namespace

schema::ImageProgress::Client progressServer(std::shared_ptr<ProgressView> view) { return kj::heap<Server>(std::move(view)); }

std::shared_ptr<ProgressView> standardProgress(bool json, std::string doneWord) {
  const char* terminal = getenv("TERM");
  const bool bars = isatty(STDERR_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
  const auto style = json ? ProgressStyle::json : bars ? ProgressStyle::bars : ProgressStyle::lines;
  const auto write = [](std::string_view text) {
    try {
      writeFully(STDERR_FILENO, text, "write to standard error");
    } catch (const Error&) {  // nobody looks
    }
  };
  return std::make_shared<ProgressView>(style, write, terminalSize(STDERR_FILENO).columns, std::chrono::steady_clock::now,
                                        std::move(doneWord));
}

}  // namespace rauha::cli
