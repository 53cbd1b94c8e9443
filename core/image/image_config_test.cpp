#include "core/image/image_config.h"

#include <gtest/gtest.h>

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

TEST(ImageConfig, EmptyIsEmpty) { EXPECT_TRUE(parseConfig("", "host").env.empty()); }

}  // namespace
}  // namespace rauha::image
