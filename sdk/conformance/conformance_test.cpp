// Each case can fail, and fails for its own rule only: subjects that keep all rules but the one that their configuration names (testdata/).
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <rauha/testing/conformance_gtest.hpp>
#include <set>

#include "elf_file.h"
#include "process_state.h"
#include "sample_image.h"

namespace rauha::conformance {
namespace {

Options optionsFor(const std::string& file, const std::string& bad = {}) {
  Options out;
  out.plugin = std::string(RAUHA_TEST_SUBJECTS) + "/" + file + ".so";
  if (!bad.empty()) out.config = "bad = \"" + bad + "\"\n";
  out.rounds = 4;
  out.randomInputs = 80;
  out.kills = 4;
  out.cancelLimit = std::chrono::milliseconds(2000);
  return out;
}

struct Row {
  const char* plugin;
  const char* bad;   // what the configuration says; empty: nothing
  const char* rule;  // the case that has to fail; empty: none
};

void PrintTo(const Row& row, std::ostream* to) { *to << row.plugin << " " << row.bad << " " << row.rule; }

class Subjects : public ::testing::TestWithParam<Row> {};

TEST_P(Subjects, FailExactlyTheirCase) {
  const Options options = optionsFor(GetParam().plugin, GetParam().bad);
  std::set<std::string> failed;
  std::string seen;
  for (const Case& c : casesOf(kindOf(options))) {
    const Result result = run(c, options);
    EXPECT_NE(result.verdict, Verdict::skipped) << c.name << ": " << result.seen;
    if (result.verdict != Verdict::failed) continue;
    // A cancellation "in the middle" may come before the call has begun; then it meets the same fault.
    if (c.name == std::string_view("cancel.middle") && GetParam().bad == std::string_view("cancel.before")) continue;
    failed.insert(c.name);
    seen += std::string(c.name) + ": " + result.seen + "\n";
    EXPECT_FALSE(result.seen.empty()) << c.name;
  }
  EXPECT_EQ(failed, *GetParam().rule == '\0' ? std::set<std::string>() : std::set<std::string>{GetParam().rule}) << seen;
}

std::string rowName(const ::testing::TestParamInfo<Row>& info) {
  std::string out = std::string(info.param.plugin) + "_" + info.param.bad;
  for (char& c : out)
    if (c == '-' || c == '.') c = '_';
  return out;
}

INSTANTIATE_TEST_SUITE_P(Good, Subjects,
                         ::testing::Values(Row{"image-subject", "", ""}, Row{"backend-subject", "", ""}, Row{"enforcer-subject", "", ""},
                                           Row{"net-subject", "", ""}),
                         rowName);

INSTANTIATE_TEST_SUITE_P(Files, Subjects,
                         ::testing::Values(Row{"bad-exports", "", "load.exports"}, Row{"bad-dynamic", "", "load.dynamic"},
                                           Row{"bad-note", "", "load.note"}, Row{"bad-open", "", "load.open"},
                                           Row{"bad-entry", "", "load.entry"}, Row{"bad-descriptor", "", "load.descriptor"}),
                         rowName);

Row image(const char* rule) { return {"image-subject", rule, rule}; }
INSTANTIATE_TEST_SUITE_P(
    Images, Subjects,
    ::testing::Values(image("load.interfaces"), image("versions.older_host"), image("versions.newer_host"), image("versions.services"),
                      image("config.unknown_key"), image("config.malformed"), image("specs.tail_zero"), image("specs.tail_nonzero"),
                      image("specs.flags"), image("specs.record_critical"), image("specs.record_other"), image("specs.stride"),
                      image("specs.small"), image("specs.texts"), image("errors.text"),
                      Row{"image-subject", "errors.silent", "errors.text"}, image("errors.status"), image("errors.untouched"),
                      image("errors.exceptions"), image("life"), Row{"image-subject", "life.verify", "life"},
                      Row{"image-subject", "life.damaged", "life"}, Row{"image-subject", "life.deaf", "life"}, image("answers"),
                      Row{"image-subject", "answers.export", "answers"}, Row{"image-subject", "answers.end", "answers"},
                      Row{"image-subject", "answers.verify", "answers"}, image("idempotence.unknown"), image("idempotence.twice"),
                      image("idempotence.reconcile"), image("cancel.before"), image("cancel.middle"), image("cancel.deadline"),
                      image("crash.reconcile"), image("resources.rounds"), image("resources.instances"), image("threads.parallel"),
                      image("random.inputs")),
    rowName);

Row of(const char* plugin, const char* rule) { return {plugin, rule, rule}; }
INSTANTIATE_TEST_SUITE_P(OtherKinds, Subjects,
                         ::testing::Values(of("backend-subject", "specs.ids"), of("backend-subject", "errors.untouched"),
                                           of("backend-subject", "life"), of("backend-subject", "answers"),
                                           of("backend-subject", "idempotence.reconcile"), of("enforcer-subject", "life"),
                                           of("enforcer-subject", "answers"), of("enforcer-subject", "specs.record_critical"),
                                           of("net-subject", "life"), of("net-subject", "answers"),
                                           of("net-subject", "specs.tail_nonzero")),
                         rowName);

// A table above that forgot a case would pass: every case of every kind has a row that it fails.
TEST(Cases, EachHasASubjectThatFailsIt) {
  std::set<std::string> rows;
  const ::testing::UnitTest* unit = ::testing::UnitTest::GetInstance();
  for (int s = 0; s < unit->total_test_suite_count(); ++s) {
    const ::testing::TestSuite* suite = unit->GetTestSuite(s);
    for (int t = 0; t < suite->total_test_count(); ++t)
      if (const char* value = suite->GetTestInfo(t)->value_param(); value != nullptr) {
        const std::string text = value;
        rows.insert(text.substr(text.rfind(' ') + 1));
      }
  }
  for (const Kind kind : {Kind::backend, Kind::image, Kind::enforcer, Kind::net})
    for (const Case& c : casesOf(kind)) EXPECT_EQ(rows.count(c.name), 1u) << c.name;
}

// The cases as an author has them.
const bool kRegistered = registerTests(optionsFor("enforcer-subject"), "AsAuthorsHaveThem");

TEST(Runner, ACaseThatDoesNotEndIsEnded) {
  Options options = optionsFor("image-subject");
  options.limit = std::chrono::milliseconds(200);
  const Case endless{"test.endless", "ends", "nowhere", 0xf, false, [](Context&) {
                       for (;;) ::pause();
                     }};
  const Result result = run(endless, options);
  EXPECT_EQ(result.verdict, Verdict::failed);
  EXPECT_NE(result.seen.find("no end after 200 ms"), std::string::npos) << result.seen;
}

TEST(Runner, ACrashIsTold) {
  const Case crash{"test.crash", "lives", "nowhere", 0xf, false, [](Context&) { ::raise(SIGKILL); }};
  const Result result = run(crash, optionsFor("image-subject"));
  EXPECT_EQ(result.verdict, Verdict::failed);
  EXPECT_NE(result.seen.find("SIGKILL"), std::string::npos) << result.seen;
  const Case leave{"test.exit", "lives", "nowhere", 0xf, false, [](Context&) { ::_exit(9); }};
  EXPECT_NE(run(leave, optionsFor("image-subject")).seen.find("exit code 9"), std::string::npos);
}

TEST(Runner, LeavesNoDirectory) {
  const auto count = [] {
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path()))
      n += entry.path().filename().string().rfind("rauha-check-", 0) == 0 ? 1 : 0;
    return n;
  };
  // In a directory of its own: others may run the same program.
  char own[] = "/tmp/rauha-conformance-test-XXXXXX";
  ASSERT_NE(::mkdtemp(own), nullptr);
  ::setenv("TMPDIR", own, 1);
  const auto cases = casesOf(Kind::image);
  run(cases.back(), optionsFor("image-subject", "random.inputs"));
  run(cases.front(), optionsFor("image-subject"));
  EXPECT_EQ(count(), 0u);
  ::unsetenv("TMPDIR");
  std::filesystem::remove_all(own);
}

TEST(Kinds, AreReadWithoutRunningTheFile) {
  EXPECT_EQ(kindOf(optionsFor("net-subject")), Kind::net);
  Options none;
  none.plugin = "/proc/self/exe";
  EXPECT_THROW(kindOf(none), std::runtime_error);
  none.kind = Kind::net;
  EXPECT_EQ(kindOf(none), Kind::net);
  none.kind = {};
  none.plugin = "/nonexistent";
  EXPECT_THROW(kindOf(none), std::runtime_error);
}

TEST(Elf, ReadsWhatIsExported) {
  const ElfFacts good = readElf(optionsFor("image-subject").plugin);
  EXPECT_EQ(good.exported, std::vector<std::string>{"rauha_plugin_entry_v1"});
  EXPECT_EQ(good.notes.size(), 1u);
  EXPECT_FALSE(good.searchPath);
  EXPECT_TRUE(readElf(optionsFor("bad-dynamic").plugin).searchPath);
  EXPECT_GT(readElf(optionsFor("bad-exports").plugin).exported.size(), 1u);
}

TEST(Elf, HostileFilesAreRefused) {
  const std::string good = optionsFor("net-subject").plugin;
  std::ifstream in(good, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  char path[] = "/tmp/rauha-elf-test-XXXXXX";
  const int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  for (const size_t size : {size_t{0}, size_t{4}, size_t{63}, size_t{100}, bytes.size() / 2}) {
    ASSERT_EQ(::ftruncate(fd, 0), 0);
    ASSERT_EQ(::pwrite(fd, bytes.data(), size, 0), static_cast<ssize_t>(size));
    EXPECT_THROW(readElf(path), std::runtime_error) << size;
  }
  for (size_t at = 0; at < 64; ++at) {  // a header with any byte turned
    std::string turned = bytes;
    turned[at] = static_cast<char>(~turned[at]);
    ASSERT_EQ(::pwrite(fd, turned.data(), turned.size(), 0), static_cast<ssize_t>(turned.size()));
    try {
      readElf(path);
    } catch (const std::runtime_error&) {  // either is fine; what is not is a crash
    }
  }
  ::close(fd);
  ::unlink(path);
}

TEST(SampleImage, Sha256) {
  EXPECT_EQ(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256Hex(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(ProcessState, SeesWhatChanges) {
  const ProcessState before = processState();
  EXPECT_TRUE(differences(before, processState()).empty());
  const int fd = ::dup(2);
  ::setenv("RAUHA_TEST_STATE", "1", 1);
  const mode_t mask = ::umask(0123);
  const auto old = ::signal(SIGUSR2, SIG_IGN);
  EXPECT_EQ(differences(before, processState()).size(), 4u);
  ::signal(SIGUSR2, old);
  ::umask(mask);
  ::unsetenv("RAUHA_TEST_STATE");
  ::close(fd);
  EXPECT_TRUE(differences(before, processState()).empty());
}

}  // namespace
}  // namespace rauha::conformance
