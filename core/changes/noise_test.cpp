#include "core/changes/noise.h"

#include <gtest/gtest.h>

namespace rauha::changes {
namespace {

TEST(Noise, Groups) {
  EXPECT_EQ(noiseGroup(".git/index"), ".git/index");
  EXPECT_EQ(noiseGroup("sub/.git/index"), ".git/index");
  EXPECT_EQ(noiseGroup(".git/worktrees/w/index"), ".git/index");
  EXPECT_EQ(noiseGroup(".git/modules/a/b/index"), ".git/index");
  EXPECT_EQ(noiseGroup(".git/objects/ab/cdef"), ".git/objects");
  EXPECT_EQ(noiseGroup("sub/.git/objects"), ".git/objects");
  EXPECT_EQ(noiseGroup(".git/logs/refs/heads/main"), ".git/logs");
  EXPECT_EQ(noiseGroup("a/__pycache__"), "__pycache__");
  EXPECT_EQ(noiseGroup("a/__pycache__/x.py"), "__pycache__");
  EXPECT_EQ(noiseGroup("a/x.pyc"), "*.pyc");
  EXPECT_EQ(noiseGroup("a/X.PYO"), "*.pyc");
  EXPECT_EQ(noiseGroup("A/__PyCache__/x"), "__pycache__");
  EXPECT_EQ(noiseGroup("a/.coverage"), ".coverage");
  EXPECT_EQ(noiseGroup(".pytest_cache/v/cache"), ".pytest_cache");
  EXPECT_EQ(noiseGroup("web/node_modules/.cache/x"), "node_modules/.cache");
}

TEST(Noise, WorkIsNoNoise) {
  for (const auto path : {"index", "src/index", ".git/HEAD", ".git/refs/heads/index", "x.pyc/source.c", "node_modules/a", ".cache/x", "",
                          "-rf", ".git/index.lock", "a.git/index", "objects/ab", "a.git/objects/x", ".gitx/logs/y",
                          ".git/refs/heads/objects", ".git/hooks/objects/x"})
    EXPECT_EQ(noiseGroup(path), "") << path;
}

}  // namespace
}  // namespace rauha::changes
