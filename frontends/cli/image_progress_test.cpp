#include "frontends/cli/image_progress.h"

#include <gtest/gtest.h>

namespace rauha::cli {
namespace {

using namespace std::chrono_literals;

class Progress : public ::testing::Test {
 protected:
  ProgressView view(ProgressStyle style, size_t columns = 80) {
    return ProgressView(
        style, [this](std::string_view text) { out_ += text; }, columns, [this] { return now_; });
  }
  std::string taken() { return std::exchange(out_, {}); }
  std::string out_;
  std::chrono::steady_clock::time_point now_{};
  static constexpr const char* kLayer = "layer sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
};

TEST_F(Progress, LinesTellBeginningAndEnd) {
  ProgressView v = view(ProgressStyle::lines);
  v.report(kLayer, 0, 4096);
  v.report(kLayer, 2048, 4096);
  EXPECT_EQ(taken(), "layer 0123456789ab: 4KiB\n");
  v.report(kLayer, 4096, 4096);
  v.report(kLayer, 4096, 4096);
  EXPECT_EQ(taken(), "layer 0123456789ab: received\n");
  v.report("notice: something \x1b[31m", 0, 0);
  const std::string told = taken();
  EXPECT_EQ(told.find('\x1b'), std::string::npos);
  EXPECT_EQ(told.rfind("rauha: something", 0), 0u);
}

TEST_F(Progress, JsonIsOneObjectALine) {
  ProgressView v = view(ProgressStyle::json);
  v.report("layer x", 1, 2);
  v.report("notice: n", 0, 0);
  EXPECT_EQ(taken(), "{\"progress\":{\"done\":1,\"total\":2,\"what\":\"layer x\"}}\n{\"notice\":\"n\"}\n");
}

TEST_F(Progress, BarsHaveSpeedAndRest) {
  ProgressView v = view(ProgressStyle::bars, 100);
  v.report(kLayer, 0, 40u << 20);
  v.draw();
  taken();
  now_ += 2s;
  v.report(kLayer, 20u << 20, 40u << 20);
  v.draw();
  const std::string text = taken();
  EXPECT_NE(text.find("\x1b[1A"), std::string::npos);
  EXPECT_NE(text.find("10MiB/s"), std::string::npos) << text;
  EXPECT_NE(text.find("2.00 s"), std::string::npos) << text;
  v.report(kLayer, 40u << 20, 40u << 20);
  v.draw();
  EXPECT_NE(taken().find("1 layer received"), std::string::npos);
  v.finish();
}

TEST_F(Progress, NarrowTerminalsAreNotWrapped) {
  ProgressView v = view(ProgressStyle::bars, 40);
  v.report(std::string(300, 'x'), 1, 1u << 30);
  v.draw();
  EXPECT_LE(taken().find('\n'), 40u);
}

TEST_F(Progress, SilentSaysNothing) {
  ProgressView v = view(ProgressStyle::silent);
  v.report("notice: x", 0, 0);
  v.report("layer", 1, 2);
  v.draw();
  EXPECT_EQ(taken(), "");
}

}  // namespace
}  // namespace rauha::cli
