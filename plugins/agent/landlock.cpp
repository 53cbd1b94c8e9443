#include "plugins/agent/landlock.h"

#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

// Newer than the oldest kernel headers we build with.
constexpr uint64_t kTruncate = 1ull << 14;  // ABI 3
constexpr uint64_t kIoctlDev = 1ull << 15;  // ABI 5
constexpr uint64_t kScopeAbstract = 1;      // ABI 6

struct RulesetAttr {
  uint64_t handledFs, handledNet, scoped;
};

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kWrite = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                            LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER | kTruncate;
constexpr uint64_t kNodes = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
// What a rule on something that is not a directory may carry.
constexpr uint64_t kFileRights =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kIoctlDev;

void allow(int ruleset, int fd, uint64_t rights) {
  struct stat st;
  if (::fstat(fd, &st) != 0) throwErrno("zone", "stat a path of the Landlock ruleset");
  if (!S_ISDIR(st.st_mode)) rights &= kFileRights;
  struct landlock_path_beneath_attr rule = {};
  rule.allowed_access = rights;
  rule.parent_fd = fd;
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) throwErrno("zone", "add a Landlock rule");
}

}  // namespace

UniqueFd makeLandlockRuleset(const LandlockPlan& plan, int& abi) {
  abi = sys::landlockAbi();
  if (abi < 2) {
    abi = 0;
    return {};
  }
  uint64_t handled = kRead | kWrite | kNodes;
  if (abi < 3) handled &= ~kTruncate;
  if (abi >= 5) handled |= kIoctlDev;
  RulesetAttr attr = {handled, 0, plan.scopeAbstractSockets && abi >= 6 ? kScopeAbstract : 0};
  const size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 16 : 8;
  UniqueFd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
  if (!ruleset) throwErrno("zone", "make a Landlock ruleset");
  const uint64_t everywhere = (plan.readOnlyRoot ? kRead : kRead | kWrite) & handled;
  allow(ruleset.get(), plan.root, everywhere);
  for (int fd : plan.again) allow(ruleset.get(), fd, everywhere);
  allow(ruleset.get(), plan.dev, (kRead | kWrite | kIoctlDev) & handled);
  if (plan.readOnlyRoot)
    for (int fd : plan.writable) allow(ruleset.get(), fd, (kRead | kWrite) & handled);
  return ruleset;
}

int enforceLandlockRaw(int ruleset) noexcept { return static_cast<int>(::syscall(SYS_landlock_restrict_self, ruleset, 0)); }

}  // namespace rauha::agent
