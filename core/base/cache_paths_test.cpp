#include "core/base/cache_paths.h"

#include <gtest/gtest.h>

namespace rauha {
namespace {

TEST(CachePaths, Caches) {
  EXPECT_EQ(cacheGroup("__pycache__"), "__pycache__");
  EXPECT_EQ(cacheGroup("a/__pycache__/x.cpython-311.pyc"), "__pycache__");
  EXPECT_EQ(cacheGroup("a/__PYCACHE__/x"), "__pycache__");
  EXPECT_EQ(cacheGroup("a/x.pyc"), "*.pyc");
  EXPECT_EQ(cacheGroup("a/x.PyO"), "*.pyc");
  EXPECT_EQ(cacheGroup("web/node_modules/.cache/babel/x"), "node_modules/.cache");
  EXPECT_EQ(cacheGroup(".ccache/0/1/2R"), ".ccache");
}

TEST(CachePaths, WorkIsNone) {
  for (const auto path : {"", "a", "a.py", "x.pyc/source.c", "node_modules/x", ".cache/x", "src/pycache", ".git/index", "-rf", "pyc", "/"})
    EXPECT_EQ(cacheGroup(path), "") << path;
}

}  // namespace
}  // namespace rauha
