#include "plugins/image-oci/inflate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/base/error.h"
#include "plugins/image-oci/ahead.h"
#include "plugins/image-oci/test_tar.h"

namespace rauha::oci {
namespace {

// In pieces of `piece` bytes.
class Pieces final : public ByteStream {
 public:
  Pieces(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  std::string_view next() override {
    const std::string_view out = std::string_view(text_).substr(at_, piece_);
    at_ += out.size();
    return out;
  }

 private:
  std::string text_;
  size_t piece_, at_ = 0;
};

std::string content(size_t size) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  std::string out;
  while (out.size() < size) out += random() % 3 == 0 ? std::string(random() % 400, static_cast<char>(random())) : std::to_string(random());
  out.resize(size);
  return out;
}

std::string all(ByteStream& stream) {
  std::string out;
  for (std::string_view block; !(block = stream.next()).empty();) out += block;
  return out;
}

std::string undone(const char* filter, const std::string& packed, size_t piece) {
  auto source = std::make_unique<Pieces>(packed, piece);
  auto stream = std::string(filter) == "gzip" ? gunzip(std::move(source), "x") : unzstd(std::move(source), "x");
  return all(*stream);
}

class Inflate : public ::testing::TestWithParam<const char*> {};

TEST_P(Inflate, WhateverThePieces) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{300'000}, size_t{3'000'000}}) {
    const std::string plain = content(size), packed = test::packed(plain, GetParam());
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{1} << 20}) {
      if (piece == 1 && size > 300'000) continue;
      EXPECT_TRUE(undone(GetParam(), packed, piece) == plain) << size << " in pieces of " << piece;
    }
  }
}

TEST_P(Inflate, SeveralOneAfterAnother) {
  std::string plain, packed;
  for (const size_t size : {size_t{10}, size_t{0}, size_t{500'000}, size_t{3}}) {
    plain += content(size);
    packed += test::packed(content(size), GetParam());
  }
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{1000}, size_t{1} << 20})
    EXPECT_TRUE(undone(GetParam(), packed, piece) == plain) << piece;
}

TEST_P(Inflate, EarlyEndsAreErrors) {
  const std::string packed = test::packed(content(100'000), GetParam());
  for (size_t length = 5; length < packed.size(); length += 997)
    for (const size_t piece : {size_t{100}, size_t{1} << 20})
      EXPECT_THROW(undone(GetParam(), packed.substr(0, length), piece), Error) << length;
  EXPECT_THROW(undone(GetParam(), packed.substr(0, packed.size() - 1), 4096), Error);
}

TEST_P(Inflate, DamageIsAnErrorOrTheSame) {
  const std::string plain = content(20'000), packed = test::packed(plain, GetParam());
  std::mt19937 random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (int i = 0; i < 500; ++i) {
    std::string bad = packed;
    bad[4 + random() % (bad.size() - 4)] ^= static_cast<char>(1 + random() % 255);
    try {
      static_cast<void>(undone(GetParam(), bad, 1 + random() % 5000));
    } catch (const Error& e) {
      EXPECT_TRUE(e.code() == Code::invalid || e.code() == Code::corrupt);
    }
  }
}

TEST_P(Inflate, OnAnotherThread) {
  const std::string plain = content(3'000'000), packed = test::packed(plain, GetParam());
  auto source = ahead(std::make_unique<Pieces>(packed, 5000));
  const auto stream = ahead(std::string(GetParam()) == "gzip" ? gunzip(std::move(source), "x") : unzstd(std::move(source), "x"));
  EXPECT_TRUE(all(*stream) == plain);
  EXPECT_TRUE(stream->next().empty());
}

INSTANTIATE_TEST_SUITE_P(Both, Inflate, ::testing::Values("gzip", "zstd"));

TEST(Gunzip, PaddingBehindIsNoContent) {
  const std::string plain = content(5000), packed = test::packed(plain, "gzip");
  EXPECT_EQ(undone("gzip", packed + std::string(1000, '\0'), 100), plain);
  EXPECT_EQ(undone("gzip", packed + "\x1f", 100), plain);
  std::string wrong = packed;
  wrong[wrong.size() - 6] ^= 1;  // of the checksum
  EXPECT_THROW(undone("gzip", wrong, 4096), Error);
}

// A frame whose header says how far it may look back costs that much memory before a byte of it is checked.
TEST(Unzstd, TheWindowIsLimited) {
  const auto frame = [](int exponent) {
    return std::string("\x28\xb5\x2f\xfd", 4) + '\0' + static_cast<char>(exponent << 3) + std::string("\x09\0\0x", 4);  // one raw block
  };
  EXPECT_EQ(undone("zstd", frame(25 - 10), 100), "x");
  for (const int log : {26, 27, 31, 41}) try {
      undone("zstd", frame(log - 10), 100);
      ADD_FAILURE() << log;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::limit) << log;
      EXPECT_NE(e.text().find("window"), std::string::npos) << e.text();
    }
}

class Failing final : public ByteStream {
 public:
  std::string_view next() override {
    if (++count_ == 3) throw Error("image", Code::io, "broken");
    return "block";
  }

 private:
  int count_ = 0;
};

TEST(Ahead, ErrorsComeAfterWhatWasBeforeThem) {
  const auto stream = ahead(std::make_unique<Failing>());
  EXPECT_EQ(stream->next(), "block");
  EXPECT_EQ(stream->next(), "block");
  EXPECT_THROW(stream->next(), Error);
}

TEST(Ahead, IsDroppedInTheMiddle) {
  for (int i = 0; i < 50; ++i) {
    const auto stream = ahead(std::make_unique<Pieces>(content(100'000), 100));
    EXPECT_EQ(stream->next().size(), 100u);
  }
}

}  // namespace
}  // namespace rauha::oci
