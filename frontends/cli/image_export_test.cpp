#include "frontends/cli/image_export.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "frontends/cli/export_files.h"

namespace rauha::cli {
namespace {

namespace fs = std::filesystem;

// One member of a ustar archive.
std::string member(const std::string& name, const std::string& content, char type = '0') {
  std::string h(512, '\0');
  h.replace(0, name.size(), name);
  h.replace(100, 7, "0000644");
  char size[13];
  snprintf(size, sizeof size, "%011zo", content.size());
  h.replace(124, 11, size);
  h[156] = type;
  h.replace(257, 6, std::string("ustar\0", 6));
  h.replace(148, 8, "        ");
  unsigned sum = 0;
  for (char c : h) sum += static_cast<unsigned char>(c);
  char text[8];
  snprintf(text, sizeof text, "%06o", sum);
  h.replace(148, 7, std::string(text, 7));
  return h + content + std::string((512 - content.size() % 512) % 512, '\0');
}

const std::string kEnd(1024, '\0');
std::string blobName(const std::string& content) { return "blobs/sha256/" + sha256(content).substr(7); }
std::string archive() {
  return member("oci-layout", "{}") + member("index.json", "{\"a\":1}") + member(blobName("x"), "x") + member(blobName(""), "") + kEnd;
}

class ImageExport : public ::testing::Test {
 protected:
  ImageExport() {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  }
  ~ImageExport() override { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  static std::string slurp(const std::string& path) {
    std::stringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }
  // What is below the test's directory, hidden files too.
  std::vector<std::string> entries() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(path_)) out.push_back(e.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  template <typename F>
  static Code refusal(F&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.code();
    }
    return Code::none;
  }
  Code layout(const std::string& tar) {
    return refusal([&] {
      const auto sink = layoutSink(*this / "l");
      sink->write(tar);
      sink->publish();
    });
  }

  std::string path_ = "/tmp/rauha-export-test-XXXXXX";
};

using List = std::vector<std::string>;

TEST(ExportTarget, Forms) {
  const auto is = [](const char* text, ExportTarget::Kind kind, const char* path, const char* tag) {
    const ExportTarget t = parseExportTarget(text);
    EXPECT_TRUE(t.kind == kind && t.path == path && t.tag == tag) << text << ": " << t.path << ", " << t.tag;
  };
  is("oci-archive:a.tar", ExportTarget::Kind::archive, "a.tar", "");
  is("oci-archive:/x/a.tar:v1", ExportTarget::Kind::archive, "/x/a.tar", "v1");
  is("oci:dir/:v1", ExportTarget::Kind::layout, "dir", "v1");
  is("oci:./a:b/dir", ExportTarget::Kind::layout, "./a:b/dir", "");
  for (const char* bad :
       {"a.tar", "docker-archive:a.tar", "oci-archive:", "oci:", "oci:/", "oci:.", "oci:x/..", "oci-archive::v1", "oci:a:-x", "oci:a:"})
    EXPECT_THROW(parseExportTarget(bad), Error) << bad;
}

TEST_F(ImageExport, AnArchiveIsThereWhenItIsWhole) {
  {
    const auto sink = archiveSink(*this / "a.tar");
    sink->write("hello ");
    EXPECT_FALSE(fs::exists(*this / "a.tar"));
    sink->write("world");
    sink->publish();
  }
  EXPECT_EQ(slurp(*this / "a.tar"), "hello world");
  { archiveSink(*this / "b.tar")->write("half"); }
  EXPECT_EQ(entries(), List{"a.tar"});
}

TEST_F(ImageExport, NothingIsWrittenOver) {
  std::ofstream(*this / "a.tar") << "mine";
  EXPECT_EQ(refusal([&] { archiveSink(*this / "a.tar"); }), Code::exists);
  EXPECT_EQ(refusal([&] { layoutSink(*this / "a.tar"); }), Code::exists);
  EXPECT_EQ(refusal([&] { archiveSink(*this / "no/such/a.tar"); }), Code::notFound);
  for (const bool directory : {false, true}) {  // it came while the export ran
    const auto sink = directory ? layoutSink(*this / "late") : archiveSink(*this / "late");
    sink->write(archive());
    std::ofstream(*this / "late") << "mine";
    EXPECT_EQ(refusal([&] { sink->publish(); }), Code::exists);
    EXPECT_EQ(slurp(*this / "late"), "mine");
    fs::remove(*this / "late");
  }
  EXPECT_EQ(entries(), List{"a.tar"});
}

TEST_F(ImageExport, ALayoutInWhateverPiecesItComes) {
  for (const size_t piece : {1u, 7u, 511u, 512u, 513u, 100'000u}) {
    const std::string tar = archive();
    {
      const auto sink = layoutSink(*this / "l");
      for (size_t at = 0; at < tar.size(); at += piece) sink->write(std::string_view(tar).substr(at, piece));
      sink->publish();
    }
    EXPECT_EQ(slurp(*this / "l/index.json"), "{\"a\":1}");
    EXPECT_EQ(slurp((*this / "l/") + blobName("x")), "x");
    EXPECT_TRUE(fs::exists((*this / "l/") + blobName("")));
    EXPECT_EQ(entries(), List{"l"});
    fs::remove_all(*this / "l");
  }
}

TEST_F(ImageExport, WhatIsNoLayoutIsRefused) {
  const std::string head = member("oci-layout", "{}") + member("index.json", "{}");
  EXPECT_EQ(layout(head), Code::corrupt) << "without an end";
  EXPECT_EQ(layout(member("oci-layout", "{}") + kEnd), Code::corrupt) << "without an index";
  EXPECT_EQ(layout(head + member(blobName("x"), "y") + kEnd), Code::corrupt) << "another content";
  EXPECT_EQ(layout(head + head + kEnd), Code::corrupt) << "twice";
  for (const char* name : {"../x", "/etc/x", "blobs/sha256/x", "blobs/sha256/../../x", "other", ""})
    EXPECT_EQ(layout(head + member(name, "x") + kEnd), Code::corrupt) << name;
  for (const char type : {'1', '2', '5', 'x', 'L'}) EXPECT_EQ(layout(head + member("oci-layout", "", type) + kEnd), Code::corrupt) << type;
  EXPECT_EQ(layout(std::string(512, 'x')), Code::corrupt);
  std::string sum = archive();
  sum[0] = 'O';
  EXPECT_EQ(layout(sum), Code::corrupt);
  EXPECT_EQ(entries(), List{});
}

TEST_F(ImageExport, WhatAKilledExportLeftGoesWithTheNext) {
  const std::string old = *this / ".l.rauha-x_1", held = *this / ".l.rauha-x_2", foreign = *this / ".other.rauha-x_3";
  for (const auto& directory : {old, held, foreign}) {
    fs::create_directories(directory + "/blobs/sha256");
    std::ofstream(directory + "/blobs/sha256/half") << "half";
  }
  std::ofstream(held + "/mine") << "not a layout's";
  const UniqueFd lock(open(held.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(flock(lock.get(), LOCK_EX), 0);
  EXPECT_EQ(layout(archive()), Code::none);
  EXPECT_EQ(entries(), (List{".l.rauha-x_2", ".other.rauha-x_3", "l"}));
}

TEST_F(ImageExport, TheReceiverTakesWhatIsOnItsWay) {
  const std::string content(3 << 20, 'x');
  ExportReceiver receiver(archiveSink(*this / "a.tar"));
  receiver.start();
  for (size_t at = 0; at < content.size();) {
    const ssize_t n = send(receiver.remote(), content.data() + at, content.size() - at, MSG_NOSIGNAL);
    ASSERT_GT(n, 0);
    at += static_cast<size_t>(n);
  }
  receiver.finish();
  EXPECT_EQ(receiver.bytes(), content.size());
  EXPECT_EQ(slurp(*this / "a.tar"), content);
}

class FullDisk final : public ExportSink {
 public:
  void write(std::string_view) override { throw Error("image", Code::limit, "no space left"); }
  void publish() override {}
};

TEST_F(ImageExport, ATargetThatFailsEndsTheSending) {
  ExportReceiver receiver(std::make_unique<FullDisk>());
  receiver.start();
  ASSERT_EQ(send(receiver.remote(), "some", 4, MSG_NOSIGNAL), 4);
  char byte;  // the end of what can be sent is its refusal
  while (recv(receiver.remote(), &byte, 1, 0) < 0 && errno == EINTR) {
  }
  EXPECT_EQ(refusal([&] { receiver.giveUp(); }), Code::limit);
}

TEST_F(ImageExport, BadBytesAreReportedWhereTheSenderHasNothingBetterToSay) {
  const std::string bad(512, 'x');
  for (const bool senderFailed : {false, true}) {
    ExportReceiver receiver(layoutSink(*this / "l"));
    receiver.start();
    ASSERT_EQ(send(receiver.remote(), bad.data(), bad.size(), MSG_NOSIGNAL), 512);
    ASSERT_EQ(send(receiver.remote(), bad.data(), bad.size(), MSG_NOSIGNAL), 512) << "the rest is taken";
    EXPECT_EQ(refusal([&] { senderFailed ? receiver.giveUp() : receiver.finish(); }), senderFailed ? Code::none : Code::corrupt);
  }
  EXPECT_EQ(entries(), List{});
}

TEST_F(ImageExport, NothingIsLeftOfWhatWasGivenUp) {
  {
    ExportReceiver receiver(archiveSink(*this / "a.tar"));
    receiver.start();
    EXPECT_EQ(send(receiver.remote(), "half", 4, MSG_NOSIGNAL), 4);
    receiver.giveUp();
  }
  EXPECT_EQ(entries(), List{});
}

}  // namespace
}  // namespace rauha::cli
