// The fuzzers' corpora, replayed by every build: what they once found stays found.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/fd.h"
#include "plugins/image-oci/fuzz_targets.h"

namespace rauha::oci {
namespace {

struct Counts {
  size_t accepted = 0, refused = 0;
};

Counts replay(const char* name, bool (*target)(std::string_view)) {
  Counts out;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(RAUHA_SOURCE_DIR) + "/tests/fuzz/corpus/" + name))
    ++(target(readFile(entry.path(), 8 << 20)) ? out.accepted : out.refused);
  return out;
}

TEST(ImageFuzz, References) {
  const Counts c = replay("image_reference", fuzz::reference);
  EXPECT_GE(c.accepted, 8u);
  EXPECT_GE(c.refused, 8u);
}

TEST(ImageFuzz, Headers) {
  const Counts c = replay("image_headers", fuzz::headers);
  EXPECT_GE(c.accepted, 2u);
  EXPECT_GE(c.refused, 4u);
}

TEST(ImageFuzz, Documents) {
  const Counts c = replay("image_document", fuzz::document);
  EXPECT_GE(c.accepted, 4u);
  EXPECT_GE(c.refused, 8u);
}

TEST(ImageFuzz, Layers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
  const Counts c = replay("image_layer", fuzz::layer);
  EXPECT_GE(c.accepted, 6u);
  EXPECT_GE(c.refused, 8u);
}

TEST(ImageFuzz, Archives) {
  const Counts c = replay("image_archive", fuzz::archive);
  EXPECT_GE(c.accepted, 3u);
  EXPECT_GE(c.refused, 3u);
}

}  // namespace
}  // namespace rauha::oci
