// The names that a policy may use (core, which does not know libseccomp) are those that this backend can resolve: compared both ways.
#include <gtest/gtest.h>
#include <seccomp.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>

#include "core/policy/known_names.h"
#include "plugins/backend-linux/seccomp_lists.h"

namespace rauha::backend {
namespace {

constexpr uint32_t kArchitectures[] = {SCMP_ARCH_X86_64,  SCMP_ARCH_X86,     SCMP_ARCH_X32,     SCMP_ARCH_ARM,
                                       SCMP_ARCH_AARCH64, SCMP_ARCH_MIPS64,  SCMP_ARCH_PPC64LE, SCMP_ARCH_S390X,
                                       SCMP_ARCH_S390,    SCMP_ARCH_RISCV64, SCMP_ARCH_PARISC};
constexpr int kNumbers = 1100;   // beyond every architecture's last call
constexpr int kPseudo = -20000;  // below the last number that libseccomp gives to what x86-64 does not have

void add(std::set<std::string>& names, uint32_t architecture, int number) {
  char* name = seccomp_syscall_resolve_num_arch(architecture, number);
  if (name != nullptr) names.insert(name);
  free(name);
}

std::set<std::string> libraryNames() {
  std::set<std::string> names;
  for (const uint32_t architecture : kArchitectures)
    for (int n = 0; n < kNumbers; ++n) add(names, architecture, n);
  for (int n = -1; n > kPseudo; --n) add(names, SCMP_ARCH_X86_64, n);
  return names;
}

TEST(SyscallNames, PolicyKnowsWhatTheLibraryResolves) {
  const auto names = libraryNames();
  ASSERT_GT(names.size(), 450u);
  for (const auto& name : names) EXPECT_TRUE(policy::isSyscall(name)) << "add " << name << " to core/policy/syscall_names.cpp";
  for (const NewCall& call : newCalls())
    EXPECT_TRUE(policy::isSyscall(call.name)) << "add " << call.name << " to core/policy/syscall_names.cpp";
}

TEST(SyscallNames, TheBackendKnowsWhatPolicyAccepts) {
  const auto newer = newCalls();
  for (const auto name : policy::syscallNames())
    EXPECT_TRUE(seccomp_syscall_resolve_name(std::string(name).c_str()) != __NR_SCMP_ERROR ||
                std::any_of(newer.begin(), newer.end(), [&](const NewCall& call) { return call.name == name; }))
        << name << " is in core/policy/syscall_names.cpp, but nobody can resolve it";
}

}  // namespace
}  // namespace rauha::backend
