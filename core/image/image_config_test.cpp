#include "core/image/image_config.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "core/base/error.h"

namespace rauha::image {
namespace {

TEST(ImageConfig, ReadsWhatWeActOn) {
  const Config c = parseConfig(
      R"({"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"WorkingDir":"/app","User":"1000:1000","Cmd":["sh"],"Entrypoint":null,"Labels":{"k":"v"},"Volumes":{"/data":{}}}})",
      "x");
  EXPECT_EQ(c.architecture, "amd64");
  EXPECT_EQ(c.env, std::vector<std::string>{"A=1"});
  EXPECT_EQ(c.workdir, "/app");
  EXPECT_EQ(c.user, "1000:1000");
  EXPECT_TRUE(c.entrypoint.empty());
  EXPECT_EQ(c.labels.size(), 1u);
  EXPECT_EQ(c.volumes, std::vector<std::string>{"/data"});
}

TEST(ImageConfig, HostileDocumentsAreRefused) {
  for (const char* bad : {"[]", "not json", "{\"config\":[]}", "{\"config\":{\"Env\":\"A=1\"}}", "{\"config\":{\"Env\":[1]}}",
                          "{\"config\":{\"User\":{}}}", "{\"config\":{\"WorkingDir\":\"/a\\u0000b\"}}"})
    EXPECT_THROW(parseConfig(bad, "x"), Error) << bad;
}

TEST(ImageConfig, History) {
  plugin::ResolvedImage image;
  image.info.configJson = R"({"architecture":"arm","os":"linux","variant":"v7","created":"2024-01-02T03:04:05Z","history":[
      {"created_by":"ADD base","created":"2024-01-01T00:00:00Z"},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN \u0001","comment":"c"}]})";
  image.layers.resize(2);
  image.layers[0].diffId = "sha256:a";
  image.layers[1].diffId = "sha256:b";
  image.layers[1].size = 7;
  capnp::MallocMessageBuilder message;
  auto info = message.initRoot<schema::ImageInfo>();
  writeInfo(info, image, true);
  EXPECT_STREQ(info.getPlatform().cStr(), "linux/arm/v7");
  EXPECT_STREQ(info.getBuiltAt().cStr(), "2024-01-02T03:04:05Z");
  const auto history = info.asReader().getHistory();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_STREQ(history[0].getDiffId().cStr(), "sha256:a");
  EXPECT_TRUE(history[1].getEmptyLayer());
  EXPECT_FALSE(history[1].hasDiffId());
  EXPECT_STREQ(history[2].getDiffId().cStr(), "sha256:b");
  EXPECT_EQ(history[2].getSizeBytes(), 7u);
  EXPECT_STREQ(history[2].getComment().cStr(), "c");
  // One layer more than the history knows: then none is said to be a step's.
  image.layers.resize(3);
  writeInfo(info, image, true);
  EXPECT_FALSE(info.asReader().getHistory()[0].hasDiffId());
  writeInfo(message.initRoot<schema::ImageInfo>(), image);
}

TEST(ImageConfig, OddHistoryIsLeftOut) {
  for (const char* odd : {R"({"history":{}})", R"({"history":[1]})", R"({"history":null})", R"({"history":"x"})"})
    EXPECT_TRUE(parseConfig(odd, "x").history.empty()) << odd;
  const Config c = parseConfig(R"({"history":[{"created":1,"created_by":["a"],"empty_layer":"yes"}]})", "x");
  ASSERT_EQ(c.history.size(), 1u);
  EXPECT_EQ(c.history[0].createdBy, "");
  EXPECT_FALSE(c.history[0].emptyLayer);
}

TEST(ImageConfig, OwnCommand) {
  EXPECT_EQ(ownCommand(parseConfig(R"({"config":{"Entrypoint":["/e","1"],"Cmd":["2"]}})", "x")),
            (std::vector<std::string>{"/e", "1", "2"}));
  EXPECT_EQ(ownCommand(parseConfig(R"({"config":{"Cmd":["sh"]}})", "x")), std::vector<std::string>{"sh"});
  EXPECT_TRUE(ownCommand({}).empty());
}

TEST(ImageConfig, StopSignals) {
  EXPECT_EQ(signalNumber("SIGQUIT"), SIGQUIT);
  EXPECT_EQ(signalNumber("QUIT"), SIGQUIT);
  EXPECT_EQ(signalNumber("9"), 9);
  EXPECT_EQ(signalNumber("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(signalNumber("RTMAX-1"), SIGRTMAX - 1);
  EXPECT_EQ(signalNumber("SIGRTMIN"), SIGRTMIN);
  for (const char* bad : {"", "0", "-1", "65", "SIG", "SIGNOPE", "SIGRTMIN+99", "SIGRTMIN-1", "SIGRTMIN+", "RTMAX+1", "9 ", "quit"})
    EXPECT_EQ(signalNumber(bad), std::nullopt) << bad;
}

TEST(ImageConfig, EmptyIsEmpty) { EXPECT_TRUE(parseConfig("", "host").env.empty()); }

}  // namespace
}  // namespace rauha::image
