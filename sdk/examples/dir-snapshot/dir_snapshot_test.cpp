// The plugin against the fake host: neither a daemon nor root.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <rauha/testing/fake_host.hpp>

#include <filesystem>
#include <fstream>

#include "posix.h"
#include "sha256.h"
#include "tree.h"

namespace {

namespace fs = std::filesystem;
namespace t = rauha::testing;

TEST(Sha256, Vectors) {  // FIPS 180-4
  const auto of = [](std::string_view text) {
    Sha256 hash;
    hash.update(text);
    return hash.hex();
  };
  EXPECT_EQ(of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 million;
  for (int i = 0; i < 1000; ++i) million.update(std::string(1000, 'a'));
  EXPECT_EQ(million.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

class DirSnapshotTest : public ::testing::Test {
 protected:
  DirSnapshotTest() : tree(host.root() + "/tree"), store(host.pluginDir("dir-snapshot")) {
    fs::create_directories(tree + "/bin");
    write("etc", "a file");
    write("bin/run", "#!/bin/sh\n");
    fs::permissions(tree + "/bin/run", fs::perms(0755));
    fs::create_symlink("/etc/shadow", tree + "/link");
  }

  void write(const std::string& name, std::string_view content) { std::ofstream(tree + "/" + name) << content; }

  // What a call said and pushed.
  struct Answer {
    rauha_status status = RAUHA_OK;
    std::string text, hint;
    std::vector<t::CapturedImage> images;
    const t::CapturedImage& image() const { return images.at(0); }
  };
  using Function = decltype(rauha_image_v1::resolve);
  Answer ask(
      Function rauha_image_v1::*function, const std::string& reference, const std::string& lease = {}, const std::string& name = {},
      void (*prepare)(t::FakeCall&) = [](t::FakeCall&) {}) {
    t::FakeCall call(host);
    prepare(call);
    t::ImageCapture got;
    const bool path = reference.rfind("snapshot:/", 0) == 0;
    const Fd source(path ? open(reference.substr(9).c_str(), O_RDONLY | O_CLOEXEC) : -1);
    rauha_image_request request{};
    request.struct_size = sizeof request;
    request.reference = rauha::sdk::str(reference);
    request.source_fd_borrow = source.get();
    request.caller_uid = geteuid();
    request.caller_gid = getegid();
    request.lease = rauha::sdk::str(lease);
    request.name = rauha::sdk::str(name);
    Answer out;
    out.status = (images->*function)(instance.raw(), call.raw(), &request, got.raw());
    out.text = call.text();
    out.hint = call.hint();
    out.images = got.images;
    return out;
  }
  Answer resolve(const std::string& reference, const std::string& lease = "zone_a") {
    return ask(&rauha_image_v1::resolve, reference, lease);
  }
  Answer import(const std::string& name) { return ask(&rauha_image_v1::import_image, "snapshot:" + tree, {}, name); }
  Answer remove(const std::string& reference) {
    t::FakeCall call(host);
    rauha_image_request request{};
    request.struct_size = sizeof request;
    request.reference = rauha::sdk::str(reference);
    request.source_fd_borrow = -1;
    Answer out;
    out.status = images->remove(instance.raw(), call.raw(), &request);
    out.text = call.text();
    return out;
  }
  void release(const std::string& lease) {
    t::FakeCall call(host);
    EXPECT_EQ(images->release(instance.raw(), call.raw(), rauha::sdk::str(lease)), RAUHA_OK) << call.text();
  }
  void reconcile(std::vector<rauha_str> leases) {
    t::FakeCall call(host);
    const rauha_array array{leases.data(), static_cast<uint32_t>(leases.size()), sizeof(rauha_str)};
    EXPECT_EQ(images->reconcile(instance.raw(), call.raw(), array), RAUHA_OK) << call.text();
  }
  size_t count(const std::string& below) const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(store + "/" + below), fs::directory_iterator()));
  }

  t::FakeHost host;
  const std::string tree, store;
  t::Plugin plugin = t::Plugin::fromEntry(rauha_plugin_entry_v1);
  t::Instance instance{host, plugin, "max_bytes = \"1MiB\"\nmax_entries = 100\n"};
  const rauha_image_v1* images = instance.table<rauha_image_v1>(RAUHA_IMAGE_V1);
};

TEST_F(DirSnapshotTest, CopiesTheTreeAsItIsNow) {
  const Answer answer = resolve("snapshot:" + tree);
  ASSERT_EQ(answer.status, RAUHA_OK) << answer.text;
  ASSERT_EQ(answer.image().layers.size(), 1u);
  const std::string copy = answer.image().layers[0].path;
  EXPECT_EQ(answer.image().digest, answer.image().layers[0].digest);
  EXPECT_EQ(answer.image().size, 16u);
  EXPECT_EQ(fs::read_symlink(copy + "/link"), "/etc/shadow") << "copied, not followed";
  EXPECT_EQ(fs::status(copy + "/bin/run").permissions(), fs::perms(0755));
  write("etc", "changed");
  std::ifstream file(copy + "/etc");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "a file");
}

TEST_F(DirSnapshotTest, DigestIsOfTheContent) {
  const std::string first = resolve("snapshot:" + tree).image().digest;
  EXPECT_EQ(ask(&rauha_image_v1::inspect, "snapshot:" + tree).image().digest, first) << "also without a copy";
  EXPECT_EQ(resolve("snapshot:" + tree).image().digest, first);
  EXPECT_EQ(count("layers"), 1u);
  fs::last_write_time(tree + "/etc", fs::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_EQ(resolve("snapshot:" + tree).image().digest, first) << "times are not part of it";
  const auto changed = [&] { return ask(&rauha_image_v1::inspect, "snapshot:" + tree).image().digest != first; };
  fs::permissions(tree + "/etc", fs::perms(0600));
  EXPECT_TRUE(changed());
  fs::permissions(tree + "/etc", fs::perms(0644));
  EXPECT_FALSE(changed());
  write("more", "");
  EXPECT_TRUE(changed());
  fs::remove(tree + "/more");
  fs::remove(tree + "/link");
  fs::create_symlink("/etc/shadoW", tree + "/link");
  EXPECT_TRUE(changed());
}

TEST_F(DirSnapshotTest, LeasesKeepAndReleaseRemoves) {
  resolve("snapshot:" + tree, "zone_a");
  resolve("snapshot:" + tree, "zone_b");
  release("zone_a");
  EXPECT_EQ(count("layers"), 1u);
  release("zone_b");
  EXPECT_EQ(count("layers"), 0u);
  EXPECT_EQ(count("tmp"), 0u);
  release("zone_b");
  release("zone_unknown");
}

TEST_F(DirSnapshotTest, NamesAreImportedListedAndRemoved) {
  EXPECT_EQ(import("base").image().reference, "snapshot:base");
  EXPECT_EQ(import("snapshot:other").image().reference, "snapshot:other");
  t::FakeCall call(host);
  t::ImageCapture listed;
  rauha_image_request request{};
  request.struct_size = sizeof request;
  ASSERT_EQ(images->list(instance.raw(), call.raw(), &request, listed.raw()), RAUHA_OK);
  ASSERT_EQ(listed.images.size(), 2u);
  EXPECT_GT(listed.images[0].createdNs, 0);
  ASSERT_EQ(resolve("snapshot:base").status, RAUHA_OK);
  EXPECT_EQ(remove("snapshot:base").text, "snapshot base is in use by zone_a");
  release("zone_a");
  EXPECT_EQ(remove("snapshot:base").status, RAUHA_OK);
  EXPECT_EQ(count("layers"), 1u) << "the other name needs it";
  EXPECT_EQ(remove("snapshot:base").status, RAUHA_E_NOT_FOUND);
  EXPECT_EQ(remove("snapshot:other").status, RAUHA_OK);
  EXPECT_EQ(count("layers"), 0u);
}

TEST_F(DirSnapshotTest, ReconcileForgetsZonesThatAreGoneAndHalfCopies) {
  resolve("snapshot:" + tree, "zone_a");
  write("more", "x");
  resolve("snapshot:" + tree, "zone_b");
  fs::create_directories(store + "/tmp/abandoned/root/deep");
  const std::string living = "zone_b";
  reconcile({rauha::sdk::str(living)});
  EXPECT_EQ(count("layers"), 1u);
  EXPECT_EQ(count("leases"), 1u);
  EXPECT_EQ(count("tmp"), 0u);
}

TEST_F(DirSnapshotTest, WhatIsNoFileIsLeftOutAndNamed) {
  ASSERT_EQ(mkfifo((tree + "/pipe").c_str(), 0600), 0);
  const Answer answer = resolve("snapshot:" + tree);
  ASSERT_EQ(answer.status, RAUHA_OK) << answer.text << ": and it did not wait for a writer";
  EXPECT_FALSE(fs::exists(answer.image().layers[0].path + "/pipe"));
  EXPECT_TRUE(host.logged("pipe is a pipe"));
}

TEST_F(DirSnapshotTest, LimitsLeaveNothing) {
  for (int i = 0; i < 120; ++i) write("file" + std::to_string(i), "");
  Answer answer = resolve("snapshot:" + tree);
  EXPECT_EQ(answer.status, RAUHA_E_LIMIT);
  EXPECT_EQ(answer.hint, "raise max_entries");
  fs::remove_all(tree);
  fs::create_directories(tree);
  write("sparse", "");
  fs::resize_file(tree + "/sparse", 1ull << 40);
  answer = resolve("snapshot:" + tree);
  EXPECT_EQ(answer.status, RAUHA_E_LIMIT);
  EXPECT_EQ(answer.hint, "raise max_bytes");
  EXPECT_EQ(count("layers") + count("tmp") + count("leases"), 0u);
}

TEST_F(DirSnapshotTest, DeepTreesEndSomewhere) {
  t::Instance other(host, plugin);
  std::string path = tree;
  for (int i = 0; i < 140; ++i) path += "/d";
  fs::create_directories(path);
  images = other.table<rauha_image_v1>(RAUHA_IMAGE_V1);
  const Answer answer = resolve("snapshot:" + tree);
  EXPECT_EQ(answer.status, RAUHA_E_LIMIT);
  EXPECT_EQ(count("tmp"), 0u);
}

TEST_F(DirSnapshotTest, CancelAndDeadlineLeaveNothing) {
  const auto cancelled = ask(&rauha_image_v1::resolve, "snapshot:" + tree, "zone_a", {}, [](t::FakeCall& call) { call.cancel(); });
  EXPECT_EQ(cancelled.status, RAUHA_E_CANCELLED);
  t::Instance other(host, plugin);
  for (int i = 0; i < 300; ++i) write("file" + std::to_string(i), "");
  const auto late = ask(&rauha_image_v1::resolve, "snapshot:" + tree, "zone_a", {}, [](t::FakeCall& call) { call.setDeadlineNs(1); });
  EXPECT_NE(late.status, RAUHA_OK);
  EXPECT_EQ(count("layers") + count("tmp") + count("leases"), 0u);
}

TEST_F(DirSnapshotTest, RefusesWhatItDoesNotUnderstand) {
  const auto text = [&](const std::string& reference) { return resolve(reference).text; };
  EXPECT_EQ(text("tree"), "image tree does not begin with snapshot:");
  EXPECT_EQ(text("snapshot:"), "image snapshot: is no snapshot's name");
  EXPECT_EQ(text("snapshot:a/b"), "image snapshot:a/b is no snapshot's name");
  EXPECT_EQ(text("snapshot:none"), "there is no snapshot of the name none");
  EXPECT_EQ(text("snapshot:./x"), "no directory came with the reference");
  EXPECT_EQ(text("snapshot:" + tree + "/etc"), "the source is not a directory");
  EXPECT_EQ(resolve("snapshot:" + tree, "../zone").text, "the lease is no zone's id");
  EXPECT_EQ(import("../base").text, "--name ../base is no snapshot's name");

  t::FakeCall call(host);
  t::ImageCapture got;
  rauha_image_request request{};
  request.struct_size = sizeof request;
  request.flags = 4;
  EXPECT_EQ(images->list(instance.raw(), call.raw(), &request, got.raw()), RAUHA_E_UNSUPPORTED);
  const rauha_record record{sizeof record, RAUHA_RECORD_CRITICAL, 1, 0, 0, {nullptr, 0}};
  request.flags = 0;
  request.records = {&record, 1, sizeof record};
  EXPECT_EQ(images->list(instance.raw(), call.raw(), &request, got.raw()), RAUHA_E_UNSUPPORTED);
}

TEST_F(DirSnapshotTest, ConfigurationIsCheckedByLine) {
  const auto refusal = [&](const char* toml) {
    try {
      const t::Instance other(host, plugin, toml);
    } catch (const t::PluginError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal("\nmax_byte = 1\n"), "configuration: line 2: unknown key 'max_byte'");
  EXPECT_EQ(refusal("max_entries = 0"), "configuration: line 1: max_entries must be a whole number from 1 to 100000000");
  EXPECT_EQ(refusal("max_bytes = '2 miles'").substr(0, 43), "configuration: line 1: max_bytes must be a ");
}

// Only root can be somebody else: what the caller cannot read is not read for him.
TEST_F(DirSnapshotTest, ReadsWithTheRightsOfTheCaller) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  fs::permissions(host.root(), fs::perms(0755));
  fs::permissions(tree + "/etc", fs::perms(0600));
  const Fd source(open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  t::FakeCall call(host);
  rauha::sdk::Call sdk = call.sdk();
  try {
    readTree(source.get(), {65534, 65534}, -1, {}, sdk);
    FAIL() << "it read a file of root's for nobody";
  } catch (const rauha::sdk::Error& e) {
    EXPECT_EQ(e.status(), RAUHA_E_DENIED);
    EXPECT_STREQ(e.what(), "read etc: Permission denied");
  }
  EXPECT_EQ(readTree(source.get(), {0, 0}, -1, {}, sdk).entries, 4u) << "and the owner can";
}

}  // namespace
