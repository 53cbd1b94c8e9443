#include "core/task/client_files.h"

#include <memory>

#include "core/base/bounded_run.h"
#include "core/base/error.h"

namespace rauha {
namespace {
constexpr std::string_view kClass = "repository";
}

Task<struct stat> ClientFiles::stat(int fd, std::string path, uint32_t uid) {
  const Error late(kClass, Code::deadline, "the file system of " + path + " does not answer",
                   "it is served by a program or a machine that hangs; end that, or use another directory", path);
  const std::string key = std::to_string(uid) + (uid == 0 ? ":" + path : "");
  auto own = std::make_shared<UniqueFd>(duplicate(fd));
  auto asking = runBounded(workers_, timer_, patience_, key, late, [own, path] {
    struct stat st {};
    if (fstat(own->get(), &st) != 0) throwErrno(kClass, "stat " + path);
    return st;
  });
  own.reset();  // the worker's alone: whoever closes it last may have to wait, too
  const struct stat st = co_await kj::mv(asking);
  co_return st;
}

}  // namespace rauha
