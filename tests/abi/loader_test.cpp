// The loader against real shared objects, most of them wrong in one way each: the exact refusal, and whether any of their code ran.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

class LoaderTest : public testing::Test {
 protected:
  LoaderTest() { unsetenv("RAUHA_TEST_PLUGIN_RAN"); }
  static bool codeRan() { return getenv("RAUHA_TEST_PLUGIN_RAN") != nullptr; }
  // The refusal of a test plugin, without its path; empty when it was loaded.
  std::string refusal(const std::string& name) {
    const std::string path = fixture.install(name);
    const PluginRecord record = fixture.recordOf(name);
    EXPECT_EQ(record.loaded, record.refusal.empty());
    EXPECT_EQ(record.path, path);
    hint = record.hint;
    if (record.refusal.rfind(path + " ", 0) == 0) return record.refusal.substr(path.size() + 1);
    return record.refusal;
  }
  LoadedRegistry fixture;
  std::string hint;
};

TEST_F(LoaderTest, GoodBackend) {
  const std::string path = fixture.install("good-backend");
  const PluginRecord record = fixture.recordOf("good-backend");
  EXPECT_TRUE(record.loaded) << record.refusal;
  EXPECT_EQ(record.version, "1.2.3");
  EXPECT_EQ(record.kind, "backend");
  EXPECT_EQ(record.abi, "1.1");
  EXPECT_EQ(record.license, "Apache-2.0");
  EXPECT_EQ(record.interfaces, std::vector<std::string>{"rauha.backend/1"});
  EXPECT_EQ(record.path, path);
  EXPECT_FALSE(record.buildId.empty());
  EXPECT_EQ(record.weaknesses.empty(), geteuid() == 0);
  EXPECT_EQ(fixture.registry->backend().name(), "good-backend");
  EXPECT_EQ(fixture.logs, (std::vector<std::string>{"good-backend: made for rauha-test", "plugins: good-backend 1.2.3 loaded, ABI 1.1, " +
                                                                                             path + ", build id " + record.buildId}));
}

TEST_F(LoaderTest, GoodByPlainC) { EXPECT_EQ(refusal("raw-good"), ""); }

// Refused before any code ran.
TEST_F(LoaderTest, PlainLibrary) {
  EXPECT_EQ(refusal("plain"), "has no Rauha note: it is not a plugin");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, OtherMajor) {
  EXPECT_EQ(refusal("raw-major"), "is built for plugin ABI 2.1, this daemon speaks 1.1");
  EXPECT_EQ(hint, "use a plugin built for this daemon's ABI");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, UnknownKind) {
  EXPECT_EQ(refusal("raw-kind"), "is of the unknown kind \"gpu\", expected backend, image, enforcer or net");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, FileNamedOtherwise) {
  const std::string path = fixture.install("raw-good", "renamed");
  EXPECT_EQ(fixture.recordOf("renamed").refusal, path + " calls itself raw-good in its note");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, GroupWritable) {
  const std::string path = fixture.install("raw-good", {}, 0775);
  EXPECT_EQ(fixture.recordOf("raw-good").refusal, path + " is writable by its group (mode 0775)");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, Symlink) {
  fixture.install("raw-good", "target");
  const std::string path = fixture.directory() + "/raw-good.so";
  ASSERT_EQ(symlink("target.so", path.c_str()), 0);
  EXPECT_EQ(fixture.recordOf("raw-good").refusal, path + " is a symbolic link");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, LooseDirectory) {
  fixture.install("raw-good");
  chmod(fixture.directory().c_str(), 01777);
  EXPECT_EQ(fixture.recordOf("raw-good").refusal, fixture.directory() + " is writable by others (mode 1777)");
  EXPECT_FALSE(codeRan());
}
TEST_F(LoaderTest, LooseDirectoryWithTheTokenIsShown) {
  fixture.install("raw-good");
  chmod(fixture.directory().c_str(), 01777);
  fixture.config.insecureDirectories.emplace();
  const PluginRecord record = fixture.recordOf("raw-good");
  EXPECT_TRUE(record.loaded) << record.refusal;
  EXPECT_EQ(record.weaknesses, std::vector<std::string>{fixture.directory() + " is writable by others (mode 1777)"});
}
TEST_F(LoaderTest, PinnedHash) {
  const std::string path = fixture.install("raw-good");
  const std::string right = sha256(readFile(path, 64 << 20)), wrong = "sha256:" + std::string(64, '0');
  fixture.config.enabled = {{"raw-good", "", wrong}};
  EXPECT_EQ(fixture.load().records().front().refusal, path + " is " + right + ", the configuration pins " + wrong);
  EXPECT_FALSE(codeRan());
  fixture.config.enabled = {{"raw-good", "", "123"}};
  EXPECT_EQ(fixture.load().records().front().refusal, "the pin of plugin raw-good is not a sha256 of 64 lower-case hex digits: 123");
  for (const auto& pin : {right, right.substr(7)}) {
    fixture.config.enabled = {{"raw-good", "", pin}};
    EXPECT_EQ(fixture.load().records().front().refusal, "");
  }
  EXPECT_TRUE(codeRan());
}
TEST_F(LoaderTest, NotAnElfFile) {
  const std::string path = fixture.directory() + "/script.so";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
  writeAll(fd.get(), "#!/bin/sh\n", path);
  EXPECT_EQ(fixture.recordOf("script").refusal, path + " is not an ELF file");
}
TEST_F(LoaderTest, Missing) {
  const PluginRecord record = fixture.recordOf("absent");
  EXPECT_EQ(record.refusal, "plugin absent is enabled, but there is no absent.so in " + fixture.directory());
  EXPECT_FALSE(record.loaded);
}
TEST_F(LoaderTest, BadName) { EXPECT_EQ(fixture.recordOf("../evil").refusal, "\"../evil\" is not a plugin's name: [a-z0-9-], at most 31"); }
TEST_F(LoaderTest, MissingDirectory) {
  fixture.config.directories = {fixture.directory() + "/none"};
  EXPECT_EQ(fixture.recordOf("raw-good").refusal, "open " + fixture.directory() + "/none: No such file or directory");
}

// Refused after dlopen, before create.
TEST_F(LoaderTest, NoEntry) { EXPECT_EQ(refusal("raw-no-entry"), "does not export rauha_plugin_entry_v1"); }
TEST_F(LoaderTest, NullEntry) { EXPECT_EQ(refusal("raw-null-entry"), "returns null from rauha_plugin_entry_v1"); }
TEST_F(LoaderTest, SmallDescriptor) { EXPECT_EQ(refusal("raw-small"), "its descriptor says that it has 16 bytes, expected 72 to 4096"); }
TEST_F(LoaderTest, HugeDescriptor) { EXPECT_EQ(refusal("raw-huge"), "its descriptor says that it has 1000000 bytes, expected 72 to 4096"); }
TEST_F(LoaderTest, OtherNameInTheDescriptor) {
  const std::string path = fixture.install("raw-other-name", "note-name");
  EXPECT_EQ(fixture.recordOf("note-name").refusal, path + " says name raw-other-name in its descriptor and note-name in its note");
}
TEST_F(LoaderTest, OtherVersionInTheDescriptor) {
  EXPECT_EQ(refusal("raw-version"), "says version 2.0 in its descriptor and 1.0 in its note");
}
TEST_F(LoaderTest, OtherMinorInTheDescriptor) { EXPECT_EQ(refusal("raw-minor"), "says ABI 1.1 in its descriptor and 1.9 in its note"); }
TEST_F(LoaderTest, UnknownService) {
  EXPECT_EQ(refusal("raw-service"), "needs the service rauha.fdstore/1, which this daemon does not have");
  EXPECT_EQ(hint, "use a daemon as new as the plugin");
}
TEST_F(LoaderTest, KindWithoutItsInterface) {
  EXPECT_EQ(refusal("raw-provides"), "is of kind backend but does not provide rauha.backend/1");
}
TEST_F(LoaderTest, NullCreate) { EXPECT_EQ(refusal("raw-null-create"), "has a descriptor whose create is null"); }
TEST_F(LoaderTest, NullDestroy) { EXPECT_EQ(refusal("raw-null-destroy"), "has a descriptor whose destroy is null"); }
TEST_F(LoaderTest, MissingSymbol) {
  const std::string text = refusal("unlinkable");
  EXPECT_NE(text.find("cannot be linked: "), std::string::npos) << text;
  EXPECT_NE(text.find("undefined symbol: rauha_test_nobody_has_this"), std::string::npos) << text;
}
TEST_F(LoaderTest, KindThatNobodyUsesYet) { EXPECT_EQ(refusal("raw-net"), "is of kind net, which this daemon does not use yet"); }

// Refused by what create or the table say.
TEST_F(LoaderTest, CreateFailsInSilence) { EXPECT_EQ(refusal("raw-silent"), "raw-silent: create returned INTERNAL without a message"); }
TEST_F(LoaderTest, CreateMakesNothing) { EXPECT_EQ(refusal("raw-nothing"), "raw-nothing: create returned OK without an instance"); }
TEST_F(LoaderTest, CreateReturnsAStatusOfItsOwn) { EXPECT_EQ(refusal("raw-status"), "the flux is low (raw-status status 1007)"); }
TEST_F(LoaderTest, CreateThrows) {
  fixture.install("good-backend");
  fixture.config.enabled = {{"good-backend", "throw", {}}};
  const PluginRecord record = fixture.load().records().front();
  EXPECT_EQ(record.refusal, "line 1: unknown key \"throw\"");
  EXPECT_EQ(record.hint, "remove it");
  fixture.config.enabled = {{"good-backend", "throw-foreign", {}}};
  EXPECT_EQ(fixture.load().records().front().refusal, "unknown exception");
}
TEST_F(LoaderTest, NullTable) {
  EXPECT_EQ(refusal("raw-null-table"), "raw-null-table: provides rauha.backend/1 by its descriptor, but get_interface returned null");
}
TEST_F(LoaderTest, SmallTable) {
  EXPECT_EQ(refusal("raw-small-table"), "raw-small-table: table rauha.backend/1 says that it has 16 bytes, expected 64 to 4096");
}
TEST_F(LoaderTest, NullFunction) { EXPECT_EQ(refusal("raw-null-probe"), "raw-null-probe: table rauha.backend/1 has no probe"); }

// The registry.
TEST_F(LoaderTest, FilesThatAreNotEnabledAreShownAndNotRun) {
  fixture.install("raw-good");
  fixture.install("plain");
  fixture.install("good-image");
  fixture.enable("good-image");
  const auto records = fixture.load().records();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_TRUE(records[0].loaded);
  EXPECT_EQ(records[1].name, "plain");
  EXPECT_EQ(records[1].refusal, fixture.directory() + "/plain.so has no Rauha note: it is not a plugin");
  EXPECT_EQ(records[2].name, "raw-good");
  EXPECT_EQ(records[2].kind, "backend");
  EXPECT_EQ(records[2].refusal, "not enabled in the configuration");
  EXPECT_FALSE(codeRan());
}

TEST_F(LoaderTest, TheFirstDirectoryWins) {
  fixture.install("raw-good");
  const std::string second = fixture.directory() + "/second";
  std::filesystem::create_directory(second);
  std::filesystem::copy_file(fixture.directory() + "/raw-good.so", second + "/raw-good.so");
  fixture.config.directories.push_back(second);
  fixture.enable("raw-good");
  const auto records = fixture.load().records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].path, fixture.directory() + "/raw-good.so");
  EXPECT_EQ(records[1].path, second + "/raw-good.so");
  EXPECT_EQ(records[1].refusal, "not used: " + fixture.directory() + "/raw-good.so comes first");
}

TEST_F(LoaderTest, BackendSaysWhyThereIsNone) {
  fixture.enable("absent");
  try {
    fixture.load().backend();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "no backend plugin is loaded; plugin absent is enabled, but there is no absent.so in " + fixture.directory());
    EXPECT_EQ(e.code(), Code::notFound);
    EXPECT_EQ(e.hint(), "install it, or take it out of the configuration");
  }
}

TEST_F(LoaderTest, NoBackendAtAllNamesTheLineThatIsMissing) {
  try {
    fixture.load().backend();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "no backend plugin is loaded");
    EXPECT_EQ(e.hint(), "name one in the line backend = … of [plugins] in rauha.toml");
  }
}

TEST_F(LoaderTest, TwoBackendsAreAConflict) {
  fixture.install("raw-good");
  fixture.install("good-backend");
  fixture.enable("raw-good");
  fixture.enable("good-backend");
  try {
    fixture.load().backend();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "two backend plugins are enabled: raw-good and good-backend");
  }
}

TEST_F(LoaderTest, ImagePluginsWithSchemesStandBesideTheOneWithout) {
  fixture.install("good-image");
  fixture.install("lying-image");
  fixture.enable("good-image");
  fixture.config.enabled.push_back({"lying-image", {}, {}, {"lie"}});
  fixture.config.enabled.push_back({"absent", {}, {}, {"void"}});
  ImageSource& images = fixture.load().images();
  const auto resolved = [&](const std::string& reference) {
    ImageRequest request;
    request.reference = reference;
    try {
      return images.resolve({}, request).info.reference;
    } catch (const Error& e) {
      return e.text();
    }
  };
  EXPECT_EQ(images.name(), "good-image");
  EXPECT_EQ(resolved("any"), "any");
  EXPECT_EQ(resolved("lie:x"), "x") << "this one always says x";
  EXPECT_EQ(resolved("void:x"),
            "image void:x: its plugin absent is not loaded: plugin absent is enabled, but there is no absent.so in " + fixture.directory());
}

TEST_F(LoaderTest, ABackendCannotAnswerForImages) {
  fixture.install("good-backend");
  fixture.config.enabled.push_back({"good-backend", {}, {}, {"lie"}});
  EXPECT_EQ(fixture.load().records().front().refusal,
            fixture.directory() + "/good-backend.so is of kind backend and cannot answer for image schemes");
}

TEST_F(LoaderTest, OneFileMayBeLoadedAgainAfterTheRegistryWasClosed) {
  fixture.install("good-backend");
  fixture.enable("good-backend");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fixture.load().backend().name(), "good-backend");
}

// The dynamic linker knows a library by /proc/self/fd/N: a number that is used again must not give the old library.
TEST_F(LoaderTest, ADescriptorNumberIsNeverUsedTwice) {
  fixture.install("raw-good");
  fixture.install("good-backend");
  fixture.enable("raw-good");
  EXPECT_EQ(fixture.load().backend().name(), "raw-good");
  fixture.registry.reset();
  fixture.config.enabled.clear();
  fixture.enable("good-backend");
  EXPECT_EQ(fixture.load().backend().name(), "good-backend");
}

}  // namespace
}  // namespace rauha::plugin
