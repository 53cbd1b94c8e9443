// The plugin through its C tables, with a host of the test's own.
#include <gtest/gtest.h>
#include <rauha/plugin.hpp>

#include <algorithm>
#include <map>

#include "core/base/fd.h"
#include "plugins/image-oci/test_image.h"

struct rauha_call {
  std::string text, hint;
  rauha_status status = RAUHA_OK;
  int checksLeft = -1;  // then cancelled; -1: never
  size_t progress = 0;
};

namespace rauha::oci {
namespace {

using namespace test;

struct Pushed {
  std::vector<std::string> order;  // "info", "layer", "mount"
  rauha_image_info info{};
  std::string reference, digest, source, config;
  std::vector<std::string> paths;
  std::vector<uint32_t> mappings;
  std::map<std::string, uint32_t> mountFlags;
  static rauha_image_sink sink(Pushed& to) {
    return {sizeof(rauha_image_sink),
            0,
            &to,
            [](void* c, const rauha_image_info* i) noexcept {
              auto& p = *static_cast<Pushed*>(c);
              p.order.emplace_back("info");
              p.info = *i;
              p.reference = sdk::view(i->reference), p.digest = sdk::view(i->digest), p.source = sdk::view(i->source),
              p.config = sdk::view(i->config_json);
            },
            [](void* c, const rauha_image_layer* l) noexcept {
              auto& p = *static_cast<Pushed*>(c);
              p.order.emplace_back("layer");
              p.paths.emplace_back(sdk::view(l->path));
              p.mappings.push_back(l->id_mapping);
            },
            [](void* c, const rauha_image_mount* m) noexcept {
              auto& p = *static_cast<Pushed*>(c);
              p.order.emplace_back("mount");
              p.mountFlags[std::string(sdk::view(m->target))] = m->flags | m->kind << 8;
            }};
  }
};

class Plugin : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
    std::filesystem::create_directory(temp_ / "state");
    host_.struct_size = sizeof host_;
    host_.environment = &environment_;
    host_.set_error = [](rauha_call* c, rauha_status s, rauha_str text, rauha_str hint) noexcept {
      c->status = s, c->text = sdk::view(text), c->hint = sdk::view(hint);
    };
    host_.log = [](rauha_host_context*, int32_t, rauha_str) noexcept {};
    host_.progress = [](rauha_call* c, rauha_str, uint64_t, uint64_t) noexcept { ++c->progress; };
    host_.cancelled = [](rauha_call* c) noexcept { return static_cast<int32_t>(c->checksLeft >= 0 && c->checksLeft-- == 0); };
    host_.cancel_fd = [](rauha_call*) noexcept { return -1; };
    host_.deadline_ns = [](rauha_call*) noexcept { return int64_t{0}; };
  }
  void TearDown() override {
    if (instance_ != nullptr) plugin_->destroy(instance_);
  }
  rauha_status create(std::string_view config) {
    call_ = {};
    const rauha_status s = plugin_->create(&host_, &call_, sdk::str(config), &instance_);
    if (s == RAUHA_OK) table_ = static_cast<const rauha_image_v1*>(plugin_->get_interface(instance_, RAUHA_IMAGE_V1));
    return s;
  }
  rauha_status resolve(const std::string& reference, int fd, Pushed& to, uint32_t uid = 0) {
    rauha_image_request request{};
    request.struct_size = sizeof request;
    request.reference = sdk::str(reference);
    request.source_fd_borrow = fd;
    request.caller_uid = uid;
    const rauha_image_sink sink = Pushed::sink(to);
    return table_->resolve(instance_, &call_, &request, &sink);
  }

  TempDir temp_;
  std::string state_ = temp_ / "state";
  rauha_environment environment_{sizeof(rauha_environment), 0, sdk::str("rauha-test"), sdk::str(state_), sdk::str(state_),
                                 sdk::str(state_)};
  rauha_host host_{};
  const rauha_plugin* plugin_ = rauha_plugin_entry_v1();
  rauha_instance* instance_ = nullptr;
  const rauha_image_v1* table_ = nullptr;
  rauha_call call_;
};

TEST_F(Plugin, Describes) {
  EXPECT_STREQ(plugin_->name, "image-oci");
  EXPECT_STREQ(plugin_->provides[0], RAUHA_IMAGE_V1);
  ASSERT_EQ(create(""), RAUHA_OK);
  EXPECT_NE(table_, nullptr);
  EXPECT_EQ(plugin_->get_interface(instance_, "rauha.image/2"), nullptr);
}

TEST_F(Plugin, ConfigurationIsChecked) {
  const std::pair<const char*, const char*> bad[] = {{"layer_bytes = 1", "unknown key 'layer_bytes'"},
                                                     {"layer_bytes_max = 5", "layer_bytes_max"},
                                                     {"layer_bytes_max = \"5 apples\"", "layer_bytes_max"},
                                                     {"entries_max = 0", "entries_max"},
                                                     {"entries_max = \"1\"", "entries_max"},
                                                     {"= x", "line 1"},
                                                     {"[[[[[", "TOML"},
                                                     {"a = \xc6\x8d", "configuration of the image plugin"},
                                                     {"\xc6\x8d = 1", "configuration of the image plugin"}};
  for (const auto& [config, why] : bad) {
    EXPECT_EQ(create(config), RAUHA_E_INVALID) << config;
    EXPECT_NE(call_.text.find(why), std::string::npos) << call_.text;
  }
  EXPECT_EQ(create("layer_bytes_max = \"1GiB\"\nentries_max = 5\n"), RAUHA_OK) << call_.text;
}

TEST_F(Plugin, LimitsOfTheConfigurationHold) {
  ASSERT_EQ(create("entries_max = 2"), RAUHA_OK);
  TestImage({{tarOf({{.name = "1"}, {.name = "2"}, {.name = "3"}})}}).writeLayout(temp_ / "image");
  const UniqueFd dir = openDir(temp_ / "image");
  Pushed pushed;
  EXPECT_EQ(resolve("oci:image", dir.get(), pushed), RAUHA_E_LIMIT);
  EXPECT_NE(call_.hint.find("entries_max"), std::string::npos);
  EXPECT_TRUE(pushed.order.empty());
}

TEST_F(Plugin, VerifiesAndExports) {
  ASSERT_EQ(create(""), RAUHA_OK);
  TestImage({{tarOf({{.name = "a"}})}}).writeLayout(temp_ / "image");
  const UniqueFd dir = openDir(temp_ / "image");
  Pushed pushed;
  ASSERT_EQ(resolve("oci:image", dir.get(), pushed), RAUHA_OK) << call_.text;
  rauha_image_request request{};
  request.struct_size = sizeof request;
  request.source_fd_borrow = -1;
  std::vector<std::string> checks;
  rauha_image_sink sink = Pushed::sink(pushed);
  sink.context = &checks;
  sink.check = [](void* c, const rauha_image_check* check) noexcept {
    EXPECT_EQ(check->state, RAUHA_CHECK_GOOD);
    EXPECT_EQ(check->images.count, 1u);
    EXPECT_EQ(sdk::view(*static_cast<const rauha_str*>(check->images.ptr)), "oci:image");
    static_cast<std::vector<std::string>*>(c)->emplace_back(sdk::view(check->kind));
  };
  ASSERT_EQ(table_->verify(instance_, &call_, &request, &sink), RAUHA_OK) << call_.text;
  std::sort(checks.begin(), checks.end());
  EXPECT_EQ(checks, (std::vector<std::string>{"blob", "configuration", "layer", "manifest", "record"}));
  // A sink of 1.0 ends before checks: there is nobody to tell.
  sink.struct_size = offsetof(rauha_image_sink, check);
  EXPECT_EQ(table_->verify(instance_, &call_, &request, &sink), RAUHA_E_UNSUPPORTED);
  sink = Pushed::sink(pushed);
  request.reference = sdk::str("oci:image");
  EXPECT_EQ(table_->export_image(instance_, &call_, &request, dir.get(), &sink), RAUHA_E_INVALID) << "a directory is no socket";
  EXPECT_NE(call_.text.find("no stream socket"), std::string::npos) << call_.text;
}

TEST_F(Plugin, ResolvesInOrder) {
  ASSERT_EQ(create(""), RAUHA_OK);
  TestImage({{tarOf({{.name = "a"}})}, {tarOf({{.name = "b"}})}}).writeLayout(temp_ / "image");
  const UniqueFd dir = openDir(temp_ / "image");
  Pushed pushed;
  ASSERT_EQ(resolve("oci:image", dir.get(), pushed), RAUHA_OK) << call_.text;
  EXPECT_EQ(pushed.order, (std::vector<std::string>{"info", "layer", "layer"}));
  EXPECT_EQ(pushed.reference, "oci:image");
  EXPECT_EQ(pushed.source, "oci");
  EXPECT_EQ(pushed.digest.size(), 71u);
  EXPECT_TRUE(exists(pushed.paths[0] + "/a"));
  EXPECT_EQ(pushed.mappings[0], RAUHA_LAYER_ID_ZONE);
  EXPECT_GT(call_.progress, 0u);
  Pushed tree;
  ASSERT_EQ(resolve("dir:image", dir.get(), tree, 1000), RAUHA_OK);
  EXPECT_EQ(tree.mappings, std::vector<uint32_t>{RAUHA_LAYER_ID_OWNER});
  EXPECT_EQ(tree.info.digest.ptr, nullptr);
  EXPECT_EQ(tree.info.config_json.ptr, nullptr);
}

TEST_F(Plugin, HostMounts) {
  ASSERT_EQ(create(""), RAUHA_OK);
  Pushed pushed;
  ASSERT_EQ(resolve("host", -1, pushed), RAUHA_OK);
  EXPECT_EQ(pushed.order.front(), "info");
  EXPECT_EQ(pushed.mountFlags["/usr"], RAUHA_MOUNT_EXEC | RAUHA_MOUNT_OPTIONAL | RAUHA_MOUNT_BIND << 8);
  EXPECT_EQ(pushed.mountFlags["/var/tmp"], RAUHA_MOUNT_DIRECTORY << 8);
  EXPECT_EQ(pushed.mountFlags.count("/tmp"), 0u);
}

TEST_F(Plugin, ErrorsKeepCodeTextAndHint) {
  ASSERT_EQ(create("pull = false"), RAUHA_OK);
  Pushed pushed;
  EXPECT_EQ(resolve("python:3.12", -1, pushed), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(
      call_.text,
      "image 'python:3.12' is not in the store, and this instance fetches nothing (pull = false in [plugin.image-oci] of rauha.toml)");
  EXPECT_NE(call_.hint.find("docker-archive:FILE"), std::string::npos);
  EXPECT_EQ(resolve("oci:image", -1, pushed), RAUHA_E_INVALID);
  EXPECT_EQ(resolve("", -1, pushed), RAUHA_E_INVALID);
  rauha_image_request nothing{};
  nothing.struct_size = sizeof nothing;
  nothing.reference = sdk::str("nothing");
  EXPECT_EQ(table_->remove(instance_, &call_, &nothing), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(table_->release(instance_, &call_, sdk::str("zone_unknown")), RAUHA_OK);
}

TEST_F(Plugin, UnknownFlagsAreRefused) {
  ASSERT_EQ(create(""), RAUHA_OK);
  rauha_image_request request{};
  request.struct_size = sizeof request;
  request.flags = 8;
  request.reference = sdk::str("host");
  Pushed pushed;
  const rauha_image_sink sink = Pushed::sink(pushed);
  EXPECT_EQ(table_->resolve(instance_, &call_, &request, &sink), RAUHA_E_UNSUPPORTED);
  EXPECT_EQ(table_->list(instance_, &call_, &request, &sink), RAUHA_E_UNSUPPORTED);
  EXPECT_EQ(table_->remove(instance_, &call_, &request), RAUHA_E_UNSUPPORTED);
}

TEST_F(Plugin, UnknownRecordsAreRefusedWhenCritical) {
  ASSERT_EQ(create(""), RAUHA_OK);
  rauha_record record{};
  record.struct_size = sizeof record;
  record.flags = RAUHA_RECORD_CRITICAL;
  record.tag = 7;
  rauha_image_request request{};
  request.struct_size = sizeof request;
  request.reference = sdk::str("host");
  request.records = {&record, 1, sizeof record};
  Pushed pushed;
  const rauha_image_sink sink = Pushed::sink(pushed);
  EXPECT_EQ(table_->resolve(instance_, &call_, &request, &sink), RAUHA_E_UNSUPPORTED);
  EXPECT_EQ(call_.text, "image request: unknown critical record 7");
  record.flags = 0;
  EXPECT_EQ(table_->resolve(instance_, &call_, &request, &sink), RAUHA_OK);
}

TEST_F(Plugin, Cancels) {
  ASSERT_EQ(create(""), RAUHA_OK);
  TestImage({{tarOf({{.name = "a", .content = std::string(1 << 20, 'x')}})}}).writeLayout(temp_ / "image");
  const UniqueFd dir = openDir(temp_ / "image");
  call_.checksLeft = 2;
  Pushed pushed;
  EXPECT_EQ(resolve("oci:image", dir.get(), pushed), RAUHA_E_CANCELLED);
  EXPECT_TRUE(pushed.order.empty());
}

}  // namespace
}  // namespace rauha::oci
