#include "plugins/linux-common/device_filter.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::cgroup {
namespace {

// r0 verdict, r1 context, r2 type and access, r3 major, r4 minor, r5 scratch.
bpf_insn instruction(uint8_t code, uint8_t destination, uint8_t source, int16_t offset, int32_t value) {
  bpf_insn out{};
  out.code = code;
  out.dst_reg = destination & 0xF;
  out.src_reg = source & 0xF;
  out.off = offset;
  out.imm = value;
  return out;
}
bpf_insn load(uint8_t to, size_t offset) { return instruction(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, static_cast<int16_t>(offset), 0); }
bpf_insn set(uint8_t to, int32_t value) { return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
bpf_insn jumpUnless(uint8_t reg, int32_t value, size_t distance) {
  return instruction(BPF_JMP | BPF_JNE | BPF_K, reg, 0, static_cast<int16_t>(distance), value);
}
bpf_insn leave() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

int32_t accessBits(const std::string& letters) {
  int32_t out = 0;
  for (const char c : letters) out |= c == 'r' ? BPF_DEVCG_ACC_READ : c == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
  return out;
}

// One rule: all its tests hold, then "allowed"; else on to the next rule.
void append(std::vector<bpf_insn>& code, const DeviceRule& rule) {
  std::vector<bpf_insn> tests;
  const size_t length = rule.minor < 0 ? 9 : 10;
  auto rest = [&] { return length - tests.size() - 1; };
  tests.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_5, BPF_REG_2, 0, 0));
  tests.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_5, 0, 0, 0xFFFF));
  tests.push_back(jumpUnless(BPF_REG_5, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, rest()));
  tests.push_back(jumpUnless(BPF_REG_3, static_cast<int32_t>(rule.major), rest()));
  if (rule.minor >= 0) tests.push_back(jumpUnless(BPF_REG_4, static_cast<int32_t>(rule.minor), rest()));
  tests.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_5, BPF_REG_2, 0, 0));
  tests.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_5, 0, 0, (~accessBits(rule.access) & 0x7) << 16));
  tests.push_back(jumpUnless(BPF_REG_5, 0, rest()));
  tests.push_back(set(BPF_REG_0, 1));
  tests.push_back(leave());
  code.insert(code.end(), tests.begin(), tests.end());
}

std::vector<bpf_insn> compile(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> code = {load(BPF_REG_2, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                load(BPF_REG_3, offsetof(bpf_cgroup_dev_ctx, major)), load(BPF_REG_4, offsetof(bpf_cgroup_dev_ctx, minor))};
  for (const DeviceRule& rule : rules) append(code, rule);
  code.push_back(set(BPF_REG_0, 0));
  code.push_back(leave());
  return code;
}

long bpf(int command, bpf_attr& attributes) { return syscall(SYS_bpf, command, &attributes, sizeof attributes); }

}  // namespace

std::string deviceRuleText(const DeviceRule& rule) {
  return std::string(1, rule.type) + " " + std::to_string(rule.major) + ":" + (rule.minor < 0 ? "*" : std::to_string(rule.minor)) + " " +
         rule.access;
}

void attachDeviceFilter(int groupFd, const std::vector<DeviceRule>& rules) {
  const std::vector<bpf_insn> code = compile(rules);
  bpf_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(code.data());
  attributes.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const UniqueFd program(static_cast<int>(bpf(BPF_PROG_LOAD, attributes)));
  if (!program) throw osError("backend", "load the device filter", errno, "use a kernel with CONFIG_CGROUP_BPF");
  std::memset(&attributes, 0, sizeof attributes);
  attributes.target_fd = static_cast<uint32_t>(groupFd);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  // With MULTI a filter that the operator put on a parent keeps its say.
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attributes) != 0) throwErrno("backend", "attach the device filter");
}

}  // namespace rauha::cgroup
