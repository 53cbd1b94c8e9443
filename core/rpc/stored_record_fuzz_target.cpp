#include "core/rpc/stored_record_fuzz_target.h"

#include <fcntl.h>
#include <kj/exception.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/changes/change_set_message.h"
#include "core/rpc/request_summary.h"

namespace rauha::rpc {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

// One for the process: making it costs more than an input.
class Directory final {
 public:
  Directory() {
    char name[] = "/dev/shm/rauha-fuzz-XXXXXX";
    if (mkdtemp(name) == nullptr) throwErrno("test", "mkdtemp");
    path_ = name;
    fd_.reset(open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  int fd() const { return fd_.get(); }

 private:
  std::string path_;
  UniqueFd fd_;
};

bool manifest(std::string_view bytes) {
  static const Directory directory;
  {
    const UniqueFd file(openat(directory.fd(), "manifest", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    writeAll(file.get(), bytes, "manifest");
  }
  try {
    const changes::Manifest manifest(directory.fd());
    // The list's own limits stand above the file's; whoever reads a change is guarded by the border.
    bool any = false;
    const auto refused = kj::runCatchingExceptions([&] {
      any = !changes::knownContents(manifest).empty();
      for (const auto change : manifest.get().getChanges()) any |= change.getPath().size() > 0;
    });
    return any && refused == nullptr;
  } catch (const Error& e) {
    must(e.errorClass() == "repository" && e.code() == Code::corrupt && !e.hint().empty());
    return false;
  }
}

bool summary(std::string_view bytes) {
  const RequestSummary found = readRequestSummary(std::string(bytes));
  return !found.image.empty() || !found.command.empty();
}

}  // namespace

bool fuzzStoredRecord(std::string_view bytes) {
  if (bytes.empty()) return false;
  return bytes[0] == 's' ? summary(bytes.substr(1)) : manifest(bytes.substr(1));
}

}  // namespace rauha::rpc
