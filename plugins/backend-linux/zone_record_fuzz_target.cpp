#include "plugins/backend-linux/zone_record_fuzz_target.h"

#include <fcntl.h>
#include <kj/exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/backend-linux/shim/boundary.h"
#include "plugins/backend-linux/zone_record.h"

namespace rauha::backend {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

struct Directory {
  std::string path;
  Directory() {
    char name[] = "/dev/shm/rauha-fuzz-XXXXXX";
    if (mkdtemp(name) == nullptr) throwErrno("test", "mkdtemp");
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
};

bool json(std::string_view bytes) {
  static const Directory directory;  // one for the process: making it costs more than an input
  {
    const UniqueFd file(open((directory.path + "/boundary.json").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    writeAll(file.get(), bytes, "boundary.json");
  }
  const auto record = readRecord(directory.path);
  if (!record) return false;
  // What was read can be written, and means the same then.
  writeRecord(directory.path, *record);
  const auto again = readRecord(directory.path);
  must(again && again->zoneId == record->zoneId && again->shim.pid == record->shim.pid && again->hostIdBase == record->hostIdBase &&
       again->groups.size() == record->groups.size());
  return true;
}

bool message(std::string_view bytes) {
  const UniqueFd file(memfd_create("boundary", MFD_CLOEXEC));
  writeAll(file.get(), bytes, "boundary");
  must(lseek(file.get(), 0, SEEK_SET) == 0);
  try {
    const shim::Decisions decisions = shim::readBoundary(file.get());
    must(!decisions.plan.groups.empty());
    if (decisions.zone.userNamespace) must(!decisions.zone.seccomp.empty() && decisions.zone.hostIdBase >= 65536);
    return true;
  } catch (const Error& e) {
    must(e.errorClass() == "backend" && !e.text().empty());
  } catch (const kj::Exception&) {
    // main() makes an Error of it.
  }
  return false;
}

}  // namespace

bool fuzzZoneRecord(std::string_view bytes) {
  if (bytes.empty()) return false;
  return bytes[0] == 'j' ? json(bytes.substr(1)) : message(bytes.substr(1));
}

}  // namespace rauha::backend
