#include "core/plugin/image_router.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace rauha::plugin {
namespace {

// Remembers what it was asked; stores under `prefix` + name.
class Recorder final : public ImageSource {
 public:
  Recorder(std::string name, std::string prefix) : name_(std::move(name)), prefix_(std::move(prefix)) {}
  const std::string& name() const noexcept override { return name_; }
  ResolvedImage resolve(const CallOptions&, const ImageRequest& r) override { return answer("resolve", r.reference); }
  ResolvedImage inspect(const CallOptions&, const ImageRequest& r) override { return answer("inspect", r.reference); }
  ResolvedImage importImage(const CallOptions&, const ImageRequest& r) override { return answer("import", prefix_ + r.name); }
  void release(const CallOptions&, std::string_view lease) override { note("release " + std::string(lease)); }
  std::vector<ResolvedImage> list(const CallOptions&) override {
    std::vector<ResolvedImage> out;
    out.push_back(answer("list", prefix_ + "one"));
    return out;
  }
  void remove(const CallOptions&, std::string_view reference) override { note("remove " + std::string(reference)); }
  void reconcile(const CallOptions&, const std::vector<std::string>& leases) override { note("reconcile " + leases.at(0)); }
  ResolvedImage exportImage(const CallOptions&, const ImageRequest& r) override { return answer("export", r.reference); }
  std::vector<ImageCheck> verify(const CallOptions&, const ImageRequest& r) override {
    note("verify " + r.reference);
    return {{CheckState::good, "layer", {}, name_, {}, {}, 1, {}}};
  }

  std::vector<std::string> calls;
  bool failing = false;

 private:
  void note(std::string what) {
    calls.push_back(std::move(what));
    if (failing) throw Error("image", Code::io, name_ + " fails");
  }
  ResolvedImage answer(const std::string& function, const std::string& reference) {
    note(function + " " + reference);
    ResolvedImage out;
    out.info.reference = reference;
    return out;
  }
  const std::string name_, prefix_;
};

class ImageRouterTest : public ::testing::Test {
 protected:
  Recorder oci{"image-oci", ""}, snapshots{"dir-snapshot", "snapshot:"};
  std::vector<std::string> logged;
  std::function<void(const std::string&, const std::string&)> log() {
    return [this](const std::string& plugin, const std::string& text) { logged.push_back(plugin + " " + text); };
  }
  std::unique_ptr<ImageSource> router =
      routeImages({{"dir-snapshot", {"snapshot", "snap"}, &snapshots, {}, {}}, {"image-oci", {}, &oci, {}, {}}}, log());

  static ImageRequest request(std::string reference, std::string name = {}) {
    ImageRequest out;
    out.reference = std::move(reference);
    out.name = std::move(name);
    return out;
  }
  template <typename F>
  static std::string refusal(F&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.text();
    }
    return "accepted";
  }
};

TEST_F(ImageRouterTest, TheSchemeSaysWhoAnswers) {
  for (const char* reference : {"host", "alpine:3", "oci:/x", "localhost:5000/snapshot:1", "snapshots:x", "", ":", "snapshot"})
    router->resolve({}, request(reference));
  EXPECT_EQ(oci.calls.size(), 8u);
  EXPECT_TRUE(snapshots.calls.empty());
  router->resolve({}, request("snapshot:/srv"));
  router->inspect({}, request("snap:./x"));
  router->remove({}, "snapshot:base");
  EXPECT_EQ(snapshots.calls, (std::vector<std::string>{"resolve snapshot:/srv", "inspect snap:./x", "remove snapshot:base"}));
  EXPECT_EQ(router->name(), "image-oci");
}

TEST_F(ImageRouterTest, AFailureWithoutARemedyNamesThePluginBesideOurs) {
  const auto hintOf = [&](const std::string& reference) {
    try {
      router->resolve({}, request(reference));
    } catch (const Error& e) {
      return e.hint();
    }
    return std::string("accepted");
  };
  oci.failing = snapshots.failing = true;
  EXPECT_EQ(hintOf("snapshot:/x"), "see what plugin dir-snapshot says of its images: it is no part of Rauha");
  EXPECT_EQ(hintOf("oci:/x"), "") << "what is added to ours speaks of ours";
}

TEST_F(ImageRouterTest, ListIsEverybodys) {
  const auto images = router->list({});
  ASSERT_EQ(images.size(), 2u);
  EXPECT_EQ(images[0].info.reference, "snapshot:one");
  EXPECT_EQ(images[1].info.reference, "one");
  EXPECT_TRUE(logged.empty());
}

TEST_F(ImageRouterTest, NobodyListsWhatSomebodyElseWouldAnswerFor) {
  Recorder liar{"dir-snapshot", "host\n"}, thief{"image-oci", "snapshot:"};
  const auto other = routeImages({{"image-oci", {}, &thief, {}, {}}, {"dir-snapshot", {"snapshot"}, &liar, {}, {}}}, log());
  EXPECT_TRUE(other->list({}).empty());
  EXPECT_EQ(logged, (std::vector<std::string>{
                        "image-oci lists 1 images that are not its own to name, and are left out; the first is snapshot:one",
                        "dir-snapshot lists 1 images that are not its own to name, and are left out; the first is host?one"}));
}

TEST_F(ImageRouterTest, VerifyOfEverythingLeavesNobodyOut) {
  EXPECT_EQ(router->verify({}, request("snapshot:base")).size(), 1u);
  EXPECT_EQ(snapshots.calls, std::vector<std::string>{"verify snapshot:base"});
  EXPECT_EQ(router->verify({}, request("")).size(), 2u);
  EXPECT_EQ(oci.calls, std::vector<std::string>{"verify "});
  const auto other =
      routeImages({{"image-oci", {}, &oci, {}, {}}, {"dir-snapshot", {"snapshot"}, nullptr, "it is a symbolic link", "copy it"}}, log());
  const auto checks = other->verify({}, request(""));
  ASSERT_EQ(checks.size(), 2u);
  EXPECT_EQ(checks[1].state, CheckState::unknown);
  EXPECT_EQ(checks[1].text, "plugin dir-snapshot is not loaded: it is a symbolic link");
  router->exportImage({}, request("snap:x"));
  EXPECT_EQ(snapshots.calls.back(), "export snap:x");
}

// What a source has that knows neither.
TEST_F(ImageRouterTest, WhatASourceCannotIsSaid) {
  EXPECT_EQ(refusal([&] { oci.ImageSource::exportImage({}, request("x")); }), "image-oci cannot export images");
  const auto checks = oci.ImageSource::verify({}, request(""));
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].state, CheckState::unknown);
}

TEST_F(ImageRouterTest, EverybodyReleasesAlsoWhenTheFirstCannot) {
  snapshots.failing = true;
  EXPECT_EQ(refusal([&] { router->release({}, "zone_a"); }), "dir-snapshot fails");
  EXPECT_EQ(oci.calls, std::vector<std::string>{"release zone_a"});
  EXPECT_EQ(refusal([&] { router->reconcile({}, {"zone_b"}); }), "dir-snapshot fails");
  EXPECT_EQ(oci.calls.back(), "reconcile zone_b");
}

TEST_F(ImageRouterTest, WhoLeasedIsAskedAlone) {
  ImageRequest leased = request("oci:/x");
  leased.lease = "zone_a";
  router->resolve({}, leased);
  oci.calls.clear();
  snapshots.failing = true;
  router->release({}, "zone_a");
  EXPECT_EQ(oci.calls, std::vector<std::string>{"release zone_a"}) << "the plugin that fails has nothing to do with this zone";
  // What failed is asked again.
  leased.lease = "zone_b";
  oci.failing = true;
  EXPECT_EQ(refusal([&] { router->resolve({}, leased); }), "image-oci fails");
  EXPECT_EQ(refusal([&] { router->release({}, "zone_b"); }), "image-oci fails");
  oci.failing = false;
  router->release({}, "zone_b");
  EXPECT_EQ(oci.calls.back(), "release zone_b");
}

TEST_F(ImageRouterTest, NamesStayReachable) {
  EXPECT_EQ(router->importImage({}, request("snapshot:/srv", "base")).info.reference, "snapshot:base");
  EXPECT_EQ(refusal([&] { router->importImage({}, request("oci:/x", "snapshot:1")); }),
            "image name snapshot:1 belongs to plugin dir-snapshot, but oci:/x is read by image-oci");
  EXPECT_TRUE(oci.calls.empty()) << "refused before anything was stored";
  Recorder forgets{"dir-snapshot", ""};
  const auto other = routeImages({{"image-oci", {}, &oci, {}, {}}, {"dir-snapshot", {"snapshot"}, &forgets, {}, {}}}, log());
  EXPECT_EQ(refusal([&] { other->importImage({}, request("snapshot:/srv", "base")); }),
            "dir-snapshot: stored image base under a name that belongs to plugin image-oci");
}

TEST_F(ImageRouterTest, SchemeOfARefusedPluginStaysClaimed) {
  const auto other =
      routeImages({{"image-oci", {}, &oci, {}, {}}, {"dir-snapshot", {"snapshot"}, nullptr, "it is a symbolic link", "copy it"}}, log());
  EXPECT_EQ(refusal([&] { other->resolve({}, request("snapshot:/srv")); }),
            "image snapshot:/srv: its plugin dir-snapshot is not loaded: it is a symbolic link");
  EXPECT_TRUE(oci.calls.empty());
  other->release({}, "zone_a");
  EXPECT_EQ(other->list({}).size(), 1u);
}

TEST(ImageScheme, Form) {
  for (const char* good : {"ab", "snapshot", "x+y", "a-1.b"}) EXPECT_TRUE(isImageScheme(good)) << good;
  for (const char* bad : {"", "a", "1a", "Snap", "a b", "a:", "a/b", "host\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})
    EXPECT_FALSE(isImageScheme(bad)) << bad;
}

}  // namespace
}  // namespace rauha::plugin
