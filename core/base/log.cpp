#include "core/base/log.h"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"

namespace rauha {
namespace {

constexpr size_t kMaxText = 4096;

spdlog::level::level_enum toSpdlog(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// sd-daemon(3): "<3>" error, "<4>" warning, "<6>" info, "<7>" debug.
int journalPriority(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return 7;
    case LogLevel::info:
      return 6;
    case LogLevel::warning:
      return 4;
    case LogLevel::error:
      return 3;
  }
  return 3;
}

// systemd names the journal's socket by device and inode, so that a redirected standard error is not taken for it.
bool standardErrorIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st {};
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) return false;
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

UniqueFd openLog(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640));
  if (!fd) throwErrno("daemon", "open log file " + path);
  return fd;
}

// spdlog's own file sink would follow links and leak its descriptor into children.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit DescriptorSink(UniqueFd file) : file_(std::move(file)) {}
  void replace(UniqueFd file) {
    std::lock_guard lock(mutex_);
    file_ = std::move(file);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& record) override {
    spdlog::memory_buf_t line;
    formatter_->format(record, line);
    const int fd = file_ ? file_.get() : STDERR_FILENO;
    // One write a record, so that records of several processes do not mix; a log that cannot be written must not stop the daemon.
    for (size_t done = 0; done < line.size();) {
      const ssize_t n = ::write(fd, line.data() + done, line.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      done += static_cast<size_t>(n);
    }
  }
  void flush_() override {}

 private:
  UniqueFd file_;
};

void appendClean(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  const bool cut = text.size() > kMaxText;
  if (cut) text = text.substr(0, kMaxText);
  for (const char c : isUtf8(text) ? std::string(text) : toUtf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
    else
      out += c;
  }
  if (cut) out += " [cut]";
}

}  // namespace

std::optional<LogLevel> logLevelFromName(std::string_view name) noexcept {
  if (name == "debug") return LogLevel::debug;
  if (name == "info") return LogLevel::info;
  if (name == "warning") return LogLevel::warning;
  if (name == "error") return LogLevel::error;
  return std::nullopt;
}

struct Log::State {
  explicit State(const Options& o)
      : options(o),
        journal(o.file.empty() && standardErrorIsJournal()),
        sink(std::make_shared<DescriptorSink>(o.file.empty() ? UniqueFd() : openLog(o.file))),
        logger("rauhad", sink) {
    logger.set_level(toSpdlog(o.level));
    logger.set_error_handler([](const std::string&) {});  // nowhere to report to
    const char* pattern = journal ? "%v" : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
  }
  Options options;
  bool journal;
  std::shared_ptr<DescriptorSink> sink;
  spdlog::logger logger;  // not registered with spdlog: nobody finds it by name
};

Log::Log(const Options& options) : state_(std::make_unique<State>(options)) {}
Log::~Log() = default;

bool Log::enabled(LogLevel level) const noexcept { return state_->logger.should_log(toSpdlog(level)); }

void Log::write(LogLevel level, std::string_view area, std::string_view text) noexcept {
  if (!enabled(level)) return;
  try {
    std::string line;
    if (state_->journal) line = "<" + std::to_string(journalPriority(level)) + ">";
    appendClean(line, area);
    line += ": ";
    appendClean(line, text);
    state_->logger.log(toSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
  } catch (...) {
    // Out of memory: the record is lost, the daemon goes on.
  }
}

void Log::reopen() {
  if (!state_->options.file.empty()) state_->sink->replace(openLog(state_->options.file));
}

}  // namespace rauha
