#include "core/policy/policy.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/policy/testing/refusal.h"

namespace rauha::policy {
namespace {

using testing::refusal;

std::string view(capnp::Text::Reader text) { return std::string(text.begin(), text.size()); }
std::vector<std::string> list(capnp::List<capnp::Text>::Reader in) {
  std::vector<std::string> out;
  for (const auto text : in) out.push_back(view(text));
  return out;
}

constexpr std::string_view kHead = "name = \"x\"\ntype = \"task\"\n";
std::string task(std::string_view rest) { return std::string(kHead) + std::string(rest); }

TEST(Policy, ACopyIsTheSameAndOutlivesTheFirst) {
  std::optional<Policy> first = parsePolicy(task("[resources]\nmemory = \"3GiB\"\n"), "p.toml");
  const Policy copy = first->copy();
  const std::string digest = first->digest();
  first.reset();
  EXPECT_EQ(copy.digest(), digest);
  EXPECT_EQ(copy.name(), "x");
  EXPECT_EQ(view(copy.get().getName()), "x");
  EXPECT_EQ(view(copy.get().getSource()), "p.toml");
  EXPECT_EQ(copy.get().getResources().getMemoryBytes(), 3ull << 30);
  EXPECT_EQ(copy.toml(), task("[resources]\nmemory = \"3GiB\"\n"));
}

TEST(Policy, EveryKeyArrivesInTheSchema) {
  const std::string toml = R"(
name = "full-1.0"
type = "standard"
user_namespace = "private"
require = ["seccomp", "cgroup_io"]
capabilities = ["chown", "net_raw"]
[filesystem]
read_only_root = true
scratch = "disk"
scratch_size = "10GiB"
tmp_size = "64MiB"
masked = ["/etc/shadow"]
read_only = ["/etc"]
[network]
mode = "bridged"
egress = [{cidr = "10.0.0.0/8", ports = [443, 80], protocol = "tcp"}, {cidr = "2001:db8::/32"}]
ingress = [{port = 8080, protocol = "udp", from = "192.168.0.0/16"}]
zones = ["db"]
[resources]
cpu = 1.5
cpu_weight = 50
memory = "3GiB"
pids = 77
open_files = 256
io_weight = 200
io_read = "100MiB/s"
io_write = "50MB/s"
timeout = "90s"
stop_grace = "500ms"
output = "2MiB"
core = "1MiB"
[syscalls]
deny = ["ptrace", "keyctl"]
allow = ["userfaultfd"]
[[devices]]
path = "/dev/fuse"
access = "rw"
)";
  const Policy policy = parsePolicy(toml, "policies/full.toml");
  const auto p = policy.get();
  EXPECT_EQ(policy.name(), "full-1.0");
  EXPECT_EQ(policy.toml(), toml);
  EXPECT_EQ(policy.digest(), sha256(toml));
  EXPECT_EQ(view(p.getDigest()), policy.digest());
  EXPECT_EQ(view(p.getSource()), "policies/full.toml");
  EXPECT_EQ(p.getType(), schema::ZoneType::STANDARD);
  EXPECT_EQ(list(p.getRequire()), (std::vector<std::string>{"seccomp", "cgroup_io"}));
  EXPECT_EQ(list(p.getCapabilities()), (std::vector<std::string>{"chown", "net_raw"}));
  const auto f = p.getFilesystem();
  EXPECT_TRUE(f.getReadOnlyRoot());
  EXPECT_EQ(f.getScratch(), schema::ScratchKind::DISK);
  EXPECT_EQ(f.getScratchBytes(), 10ULL << 30);
  EXPECT_EQ(f.getTmpBytes(), 64ULL << 20);
  EXPECT_EQ(list(f.getMasked()), std::vector<std::string>{"/etc/shadow"});
  EXPECT_EQ(list(f.getReadOnly()), std::vector<std::string>{"/etc"});
  const auto n = p.getNetwork();
  EXPECT_EQ(n.getMode(), schema::NetworkMode::BRIDGED);
  ASSERT_EQ(n.getEgress().size(), 2u);
  EXPECT_EQ(view(n.getEgress()[0].getCidr()), "10.0.0.0/8");
  EXPECT_EQ(n.getEgress()[0].getPorts()[1], 80);
  EXPECT_EQ(view(n.getEgress()[0].getProtocol()), "tcp");
  EXPECT_EQ(n.getEgress()[1].getPorts().size(), 0u);
  EXPECT_EQ(view(n.getEgress()[1].getProtocol()), "any");
  ASSERT_EQ(n.getIngress().size(), 1u);
  EXPECT_EQ(n.getIngress()[0].getPort(), 8080);
  EXPECT_EQ(view(n.getIngress()[0].getProtocol()), "udp");
  EXPECT_EQ(view(n.getIngress()[0].getFrom()), "192.168.0.0/16");
  EXPECT_EQ(list(n.getZones()), std::vector<std::string>{"db"});
  const auto r = p.getResources();
  EXPECT_EQ(r.getCpuMillis(), 1500u);
  EXPECT_EQ(r.getCpuWeight(), 50u);
  EXPECT_EQ(r.getMemoryBytes(), 3ULL << 30);
  EXPECT_EQ(r.getPids(), 77u);
  EXPECT_EQ(r.getOpenFiles(), 256u);
  EXPECT_EQ(r.getIoWeight(), 200u);
  EXPECT_EQ(r.getIoReadBps(), 100ULL << 20);
  EXPECT_EQ(r.getIoWriteBps(), 50'000'000u);
  EXPECT_EQ(r.getTimeoutMs(), 90'000u);
  EXPECT_EQ(r.getStopGraceMs(), 500u);
  EXPECT_EQ(r.getOutputBytes(), 2ULL << 20);
  EXPECT_EQ(r.getCoreBytes(), 1ULL << 20);
  EXPECT_EQ(list(p.getSyscalls().getDeny()), (std::vector<std::string>{"keyctl", "ptrace"}));
  EXPECT_EQ(list(p.getSyscalls().getAllow()), std::vector<std::string>{"userfaultfd"});
  ASSERT_EQ(p.getDevices().size(), 1u);
  EXPECT_EQ(view(p.getDevices()[0].getPath()), "/dev/fuse");
  EXPECT_EQ(view(p.getDevices()[0].getAccess()), "rw");
}

TEST(Policy, RefusalNamesSourceLineKeyAndRemedy) {
  try {
    parsePolicy(task("\n[resources]\nmemroy = \"1GiB\"\n"), "policies/x.toml");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.errorClass(), "policy");
    EXPECT_EQ(e.code(), Code::invalid);
    EXPECT_EQ(e.text(), "policies/x.toml:5: resources.memroy: unknown key");
    EXPECT_EQ(e.object(), "resources.memroy");
    EXPECT_EQ(e.hint(), "did you mean 'memory'?");
  }
}

TEST(Policy, TheFirstLineIsToldAndTheOthersAreCounted) {
  const auto text = refusal(task("[resources]\npids = -1\nmemory = 5\n[network]\nmoed = \"host\"\n")).text;
  EXPECT_EQ(text, "x.toml:4: resources.pids: -1 is out of range (and 2 more)");
}

TEST(Policy, NameAndTypeMustBeGiven) {
  EXPECT_EQ(refusal("type = \"task\"\n").text, "x.toml:1: name: is missing");
  EXPECT_EQ(refusal("name = \"x\"\n").text, "x.toml:1: type: is missing");
  EXPECT_NE(refusal("").text.find("is missing"), std::string::npos);
}

struct Case {
  const char* name;
  const char* toml;  // below name and type of a task
  const char* text;  // after "x.toml:"
  const char* hint;  // part of it
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Refused : public ::testing::TestWithParam<Case> {};

TEST_P(Refused, WithItsReasonAndRemedy) {
  const auto& c = GetParam();
  const auto r = refusal(task(c.toml));
  EXPECT_EQ(r.text, std::string("x.toml:") + c.text);
  EXPECT_NE(r.hint.find(c.hint), std::string::npos) << r.hint;
  EXPECT_EQ(r.text.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, Refused,
    ::testing::Values(Case{"unknown_top", "requires = []", "3: requires: unknown key", "did you mean 'require'?"},
                      Case{"unknown_section", "[limits]\ncpu = 1", "3: limits: unknown key", "known here: "},
                      Case{"unknown_in_rule", "[network]\nmode=\"bridged\"\negress = [{cdir = \"10.0.0.0/8\", cidr = \"10.0.0.0/8\"}]",
                           "5: network.egress[0].cdir: unknown key", "did you mean 'cidr'?"},
                      Case{"unknown_in_device", "[[devices]]\npath = \"/dev/fuse\"\nacces = \"rw\"",
                           "3: devices[0].access: is missing (and 1 more)", "write access"},
                      Case{"case_matters", "[resources]\nMemory = \"1GiB\"", "4: resources.Memory: unknown key", "did you mean 'memory'?"},
                      Case{"duplicate_key", "[resources]\npids = 3\npids = 4",
                           "5: not valid TOML: error while parsing key-value pair: cannot redefine existing integer 'pids'", "toml.io"},
                      Case{"section_is_a_value", "resources = 3", "3: resources: must be a table, is an integer", "write [resources]"},
                      Case{"section_is_an_array", "[[network]]\nmode = \"host\"", "3: network: must be a table, is an array",
                           "write [network]"}));

INSTANTIATE_TEST_SUITE_P(
    Types, Refused,
    ::testing::Values(Case{"string_for_bool", "[filesystem]\nread_only_root = \"yes\"",
                           "4: filesystem.read_only_root: must be a boolean, is a string", "= true"},
                      Case{"number_for_list", "capabilities = 1", "3: capabilities: must be an array, is an integer", "[\"…\"]"},
                      Case{"string_for_list", "capabilities = \"all\"", "3: capabilities: must be an array, is a string", "[\"…\"]"},
                      Case{"number_in_list", "capabilities = [\"chown\", 2]", "3: capabilities[1]: must be a string, is an integer", ""},
                      Case{"string_for_number", "[resources]\npids = \"many\"", "4: resources.pids: must be an integer, is a string",
                           "pids = 2"},
                      Case{"fraction_for_integer", "[resources]\npids = 1.5", "4: resources.pids: must be an integer, is a fraction", ""},
                      Case{"date", "[resources]\ntimeout = 2024-01-01", "4: resources.timeout: must be a string, is a date or time", "30s"},
                      Case{"string_for_rules", "[network]\nmode=\"bridged\"\negress = [\"10.0.0.0/8\"]",
                           "5: network.egress[0]: must be a table, is a string", "{key"},
                      Case{"string_for_cpu", "[resources]\ncpu = \"2\"", "4: resources.cpu: must be a number, is a string", "cpu = 1.5"}));

INSTANTIATE_TEST_SUITE_P(
    Values, Refused,
    ::testing::Values(
        Case{"no_unit", "[resources]\nmemory = 2048", "4: resources.memory: has no unit", "512MiB"},
        Case{"bad_unit", "[resources]\nmemory = \"2gb\"", "4: resources.memory: '2gb' is not a size", "units: B, KiB"},
        Case{"blank_in_size", "[resources]\nmemory = \"2 GiB\"", "4: resources.memory: '2 GiB' is not a size", ""},
        Case{"overflow", "[resources]\nmemory = \"99999999999999TiB\"", "4: resources.memory: '99999999999999TiB' is not a size", ""},
        Case{"too_little_memory", "[resources]\nmemory = \"1B\"", "4: resources.memory: '1B' is out of range",
             "allowed: 0 (no limit) or 4MiB"},
        Case{"zero_scratch", "[filesystem]\nscratch_size = \"0\"", "4: filesystem.scratch_size: '0' is out of range", "allowed: 1MiB"},
        Case{"rate_without_s", "[resources]\nio_read = \"5MiB\"", "4: resources.io_read: '5MiB' is not a rate", "100MiB/s"},
        Case{"no_duration_unit", "[resources]\ntimeout = 10", "4: resources.timeout: has no unit", "units: ms, s, m, h"},
        Case{"bad_duration", "[resources]\ntimeout = \"1d\"", "4: resources.timeout: '1d' is not a duration", ""},
        Case{"long_grace", "[resources]\nstop_grace = \"61m\"", "4: resources.stop_grace: '61m' is out of range", "allowed: 0 to 60m"},
        Case{"too_much_output", "[resources]\noutput = \"5MiB\"", "4: resources.output: '5MiB' is out of range", "to 4MiB"},
        Case{"one_pid", "[resources]\npids = 1", "4: resources.pids: 1 is out of range", "allowed: 2 to"},
        Case{"negative", "[resources]\npids = -5", "4: resources.pids: -5 is out of range", ""},
        Case{"weight", "[resources]\ncpu_weight = 0", "4: resources.cpu_weight: 0 is out of range", "1 to 10000"},
        Case{"cpu_nan", "[resources]\ncpu = nan", "4: resources.cpu: is out of range", "0.01 to 4096"},
        Case{"cpu_inf", "[resources]\ncpu = inf", "4: resources.cpu: is out of range", ""},
        Case{"cpu_negative", "[resources]\ncpu = -1", "4: resources.cpu: is out of range", ""},
        Case{"cpu_tiny", "[resources]\ncpu = 0.001", "4: resources.cpu: is out of range", ""},
        Case{"mode", "[network]\nmode = \"isolate\"", "4: network.mode: unknown value 'isolate'", "did you mean 'isolated'?"},
        Case{"scratch_kind", "[filesystem]\nscratch = \"ssd\"", "4: filesystem.scratch: unknown value 'ssd'", "\"memory\", \"disk\""},
        Case{"layer", "require = [\"secomp\"]", "3: require[0]: unknown layer 'secomp'", "did you mean 'seccomp'?"},
        Case{"capability", "capabilities = [\"net_admn\"]", "3: capabilities[0]: unknown capability 'net_admn'",
             "did you mean 'net_admin'?"},
        Case{"capability_prefix", "capabilities = [\"CAP_NET_RAW\"]", "3: capabilities[0]: unknown capability 'CAP_NET_RAW'",
             "did you mean 'net_raw'?"},
        Case{"capability_all", "capabilities = [\"everything\"]", "3: capabilities[0]: unknown capability 'everything'", "lower case"},
        Case{"twice", "capabilities = [\"chown\", \"chown\"]", "3: capabilities[1]: 'chown' is there twice", "remove"},
        Case{"syscall_name", "[syscalls]\ndeny = [\"Open At\"]", "4: syscalls.deny[0]: unknown system call 'Open At'", "lower case"},
        Case{"syscall_unknown", "[syscalls]\nallow = [\n  \"ptrace\",\n  \"no_such_call_at_all\"]",
             "6: syscalls.allow[1]: unknown system call 'no_such_call_at_all'", "syscalls(2)"},
        Case{"path_relative", "[filesystem]\nmasked = [\"etc\"]", "4: filesystem.masked[0]: 'etc' is not absolute", "absolute path"},
        Case{"path_dots", "[filesystem]\nmasked = [\"/a/../b\"]", "4: filesystem.masked[0]: '/a/../b' has a '..' component", ""},
        Case{"path_root", "[filesystem]\nmasked = [\"/\"]", "4: filesystem.masked[0]: '/' is the whole tree", ""},
        Case{"path_nul", "[filesystem]\nmasked = [\"/a\\u0000b\"]", "4: filesystem.masked[0]: '/a?b' has a control character", ""},
        Case{"device_outside_dev", "devices = [{path = \"/etc/passwd\", access = \"r\"}]",
             "3: devices[0].path: '/etc/passwd' is not below /dev", "/dev/fuse"},
        Case{"device_access", "devices = [{path = \"/dev/fuse\", access = \"rx\"}]",
             "3: devices[0].access: 'rx' has a letter that is none of 'rwm'", "rwm"},
        Case{"device_twice", "devices = [{path = \"/dev/fuse\", access = \"r\"}, {path = \"/dev/fuse\", access = \"w\"}]",
             "3: devices[1].path: '/dev/fuse' is there twice", "remove"},
        Case{"cidr", "[network]\nmode=\"bridged\"\negress = [{cidr = \"10.0.0.1/8\"}]",
             "5: network.egress[0].cidr: '10.0.0.1/8' has bits set after its prefix; the network is 10.0.0.0/8", "network as"},
        Case{"port", "[network]\nmode=\"bridged\"\negress = [{cidr = \"10.0.0.0/8\", ports = [70000]}]",
             "5: network.egress[0].ports[0]: is not a port", "65535"},
        Case{"ingress_port", "[network]\nmode=\"bridged\"\ningress = [{protocol = \"tcp\"}]", "5: network.ingress[0].port: is missing",
             "port = 8080"},
        Case{"zone_name", "[network]\nmode=\"bridged\"\nzones = [\"a b\"]", "5: network.zones[0]: 'a b' is not a zone's name", ""}));

INSTANTIATE_TEST_SUITE_P(
    Contradictions, Refused,
    ::testing::Values(
        Case{"host_network", "[network]\nmode = \"host\"", "4: network.mode: \"host\" shows the zone the host's network", "privileged"},
        Case{"host_user_namespace", "user_namespace = \"host\"", "3: user_namespace: \"host\" makes zone root host root", "privileged"},
        Case{"host_disk", "devices = [{path = \"/dev/sda\", access = \"r\"}]",
             "3: devices[0].path: '/dev/sda' hands out the host's memory or disks", "privileged"},
        Case{"egress_without_bridge", "[network]\negress = [{cidr = \"10.0.0.0/8\"}]",
             "4: network.egress: needs network.mode = \"bridged\"", "mode = \"bridged\""},
        Case{"deny_and_allow", "[syscalls]\ndeny = [\"ptrace\"]\nallow = [\"ptrace\"]",
             "5: syscalls.allow[0]: 'ptrace' is also in syscalls.deny", "deny wins"},
        Case{"never_allowed", "[syscalls]\nallow = [\n \"ptrace\",\n \"io_uring_setup\"]",
             "6: syscalls.allow[1]: 'io_uring_setup' is never admitted: it does other calls' work where no filter sees it",
             "only a privileged zone"},
        Case{"comes_with_a_capability", "[syscalls]\nallow = [\"mount\"]",
             "4: syscalls.allow[0]: 'mount' is never admitted: it needs the capability sys_admin, and comes with it",
             "capabilities = [\"sys_admin\"]"},
        Case{"masked_and_read_only", "[filesystem]\nmasked = [\"/a\"]\nread_only = [\"/a\"]",
             "5: filesystem.read_only: '/a' is also in filesystem.masked", "masked hides"},
        Case{"required_without_limit", "require = [\"cgroup_memory\"]\n[resources]\nmemory = \"0\"",
             "3: require: names 'cgroup_memory', but resources.memory is 0 (no limit)", "change one"}));

INSTANTIATE_TEST_SUITE_P(
    Hostile, Refused,
    ::testing::Values(
        Case{"broken", "[resources", "3: not valid TOML: error while parsing table header: encountered end-of-file", "toml.io"},
        Case{"bare_unicode", "x\u018d = 1", "3: not valid TOML: error while parsing key-value pair: expected '=', saw '\u018d'", "toml.io"},
        Case{"quoted_unicode", "'x\u018d' = 1 # \u018d", "3: x\u018d: unknown key", "known here"},
        Case{"brackets", "[[[[[", "3: not valid TOML: a table header without a key", "[name]"},
        Case{"no_header_key", "a = [\n [{}],\n [[1]]]\n[ = 3 ]", "6: not valid TOML: a table header without a key", "[[name]]"},
        Case{"control", "a = \"\x01\"", "3: control character 0x01", "escape"},
        Case{"lone_return", "a = 1\rb = 2", "3: control character 0x0d", ""}, Case{"not_utf8", "# \xff\xfe", "3: not UTF-8", "UTF-8"},
        Case{"odd_key", "\"a\\nb\\u0007\" = 1", "3: a?b?: unknown key", "known here"},
        Case{"deep_inline", "a = [[[[[[[[[1]]]]]]]]]", "3: nested deeper than 8 levels", "four"}));

TEST(Policy, StrictTakesNothingAway) {
  const std::string head = "name = \"s\"\ntype = \"strict\"\n";
  EXPECT_NO_THROW(parsePolicy(head, ""));
  EXPECT_EQ(refusal(head + "[filesystem]\nread_only_root = false\n").text,
            "x.toml:4: filesystem.read_only_root: type strict has a read-only root");
  EXPECT_EQ(refusal(head + "require = [\"user_namespace\"]\n").text, "x.toml:3: require: type strict requires 'seccomp' (and 6 more)");
}

TEST(Policy, ADefaultLayerGivesWayToALiftedLimit) {
  const Policy policy = parsePolicy(task("[resources]\nmemory = \"0\"\n"), "");
  EXPECT_EQ(list(policy.get().getRequire()),
            (std::vector<std::string>{"user_namespace", "seccomp", "capabilities", "cgroup_pids", "network"}));
  EXPECT_EQ(refusal("name = \"s\"\ntype = \"strict\"\n[resources]\npids = 0\n").text,
            "x.toml:1: require: names 'cgroup_pids', but resources.pids is 0 (no limit)");
}

TEST(Policy, PrivilegedDefaultsToHostRootAndSaysSo) {
  const Policy policy = parsePolicy("name = \"p\"\ntype = \"privileged\"\n[network]\nmode = \"host\"\n", "");
  EXPECT_EQ(policy.get().getUserNamespace(), schema::UserNamespace::HOST);
  ASSERT_GE(policy.warnings().size(), 3u);
  EXPECT_NE(policy.warnings()[0].find("privileged"), std::string::npos);
  EXPECT_NE(policy.warnings()[1].find("host root"), std::string::npos);
  EXPECT_NE(policy.warnings()[2].find("network.mode host"), std::string::npos);
}

TEST(Policy, CallsThatNoZoneGetsAreFineWhereTheyAreThereAnyway) {
  EXPECT_NO_THROW(parsePolicy(task("capabilities = [\"sys_admin\"]\n[syscalls]\nallow = [\"mount\", \"clone3\"]\n"), ""));
  EXPECT_NO_THROW(parsePolicy("name = \"p\"\ntype = \"privileged\"\n[syscalls]\nallow = [\"io_uring_setup\", \"keyctl\"]\n", ""));
  EXPECT_EQ(refusal("name = \"p\"\ntype = \"privileged\"\nuser_namespace = \"private\"\n[syscalls]\nallow = [\"keyctl\"]\n").text,
            "x.toml:5: syscalls.allow[0]: 'keyctl' is never admitted: keyrings are shared with the host");
}

TEST(Policy, WarnsOfWhatIsAcceptedButRisky) {
  const Policy policy = parsePolicy(
      "name = \"x\"\ntype = \"standard\"\nrequire = []\ncapabilities = [\"sys_admin\"]\n"
      "devices = [{path = \"/dev/kvm\", access = \"rw\"}]\n[resources]\nmemory = \"0\"\npids = 0\n[syscalls]\nallow = [\"ptrace\"]\n",
      "");
  const auto& w = policy.warnings();
  ASSERT_EQ(w.size(), 5u);
  EXPECT_EQ(w[0].substr(0, 22), "capabilities sys_admin");
  EXPECT_EQ(w[1].substr(0, 16), "devices /dev/kvm");
  EXPECT_EQ(w[2].substr(0, 21), "syscalls.allow ptrace");
  EXPECT_EQ(w[3].substr(0, 18), "resources.memory 0");
  EXPECT_EQ(w[4].substr(0, 16), "resources.pids 0");
  const Policy small = parsePolicy(task("[resources]\nmemory = \"64MiB\"\n"), "");
  ASSERT_EQ(small.warnings().size(), 1u);
  EXPECT_NE(small.warnings()[0].find("1GiB in memory, but resources.memory is 64MiB"), std::string::npos) << small.warnings()[0];
  EXPECT_TRUE(parsePolicy(kHead, "").warnings().empty());
}

TEST(Policy, WarnsOfWhatThisVersionCannotRun) {
  const Policy policy = parsePolicy(task("require = [\n  \"seccomp\",\n  \"enforcer\"]\n[network]\n\nmode = \"bridged\"\n"), "x.toml");
  const auto& w = policy.warnings();
  ASSERT_EQ(w.size(), 2u);
  EXPECT_EQ(w[0].substr(0, 29), "x.toml:5: require[1]: this ve") << w[0];
  EXPECT_EQ(w[1].substr(0, 29), "x.toml:8: network.mode: this ") << w[1];
}

TEST(Policy, TooLargeTooMany) {
  EXPECT_EQ(refusal(std::string(kMaxPolicyBytes + 1, '#')).text, "x.toml: is 1048577 bytes long, at most 1048576 are read");
  std::string many = "[syscalls]\ndeny = [";
  for (int i = 0; i < 1025; ++i) many += "\"s" + std::to_string(i) + "\",";
  EXPECT_EQ(refusal(task(many + "]")).text, "x.toml:4: syscalls.deny: has 1025 entries, at most 1024 are allowed");
  std::string keys;
  for (int i = 0; i < 50000; ++i) keys += "k" + std::to_string(i) + " = 1\n";
  EXPECT_EQ(refusal(task(keys)).text, "x.toml:3: k0: unknown key (and 63 more)");
}

TEST(Policy, DottedKeysOfAnyDepthDoNotReachTheStack) {
  std::string deep = "a";
  for (int i = 0; i < 500'000; ++i) deep += ".a";
  EXPECT_EQ(refusal(task(deep + " = 1\n")).text, "x.toml:3: more than 1000 dots outside of strings");
  EXPECT_EQ(refusal(task("[" + deep + "]\n")).text, "x.toml:3: more than 1000 dots outside of strings");
  std::string shallow = "a";
  for (int i = 0; i < 900; ++i) shallow += ".a";
  EXPECT_EQ(refusal(task(shallow + " = 1\n")).text, "x.toml:3: nested deeper than 8 levels");
}

TEST(Policy, SourceIsShownSafely) {
  try {
    parsePolicy("x = 1", "evil\n\x1b[31m\xff.toml");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.text().substr(0, 20), "evil??[31m\xEF\xBF\xBD.toml:1");
  }
  EXPECT_EQ(refusal("x = 1", "").text.substr(0, 9), "policy:1:");
}

TEST(Policy, MovesKeepTheMessage) {
  Policy a = builtinPolicy("task");
  const auto digest = a.digest();
  const Policy b = std::move(a);
  EXPECT_EQ(view(b.get().getDigest()), digest);
}

}  // namespace
}  // namespace rauha::policy
