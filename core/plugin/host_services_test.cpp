#include "core/plugin/host_services.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>
#include <string>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/plugin/c_struct.h"

namespace rauha::plugin {
namespace {

rauha_str str(std::string_view s) { return toStr(s); }

class HostTest : public testing::Test {
 protected:
  HostTest() {
    PluginConfig config;
    config.instance = "rauha-12345678";
    config.stateDir = "/state";
    config.runtimeDir = "/run/x";
    config.libexecDir = "/libexec";
    HostCallbacks callbacks;
    callbacks.event = [this](PluginEvent&& e) {
      if (full) return false;
      events.push_back(std::move(e));
      return true;
    };
    callbacks.log = [this](LogLevel level, std::string_view plugin, std::string_view text) {
      logs.push_back(std::to_string(static_cast<int>(level)) + " " + std::string(plugin) + ": " + std::string(text));
    };
    callbacks.onLoopThread = [] { return true; };
    host = std::make_unique<HostServices>("test-plugin", config, std::move(callbacks));
    table = host->table();
  }
  Error fail(rauha_status status, const std::function<void(rauha_call*)>& during = {}) {
    PluginCall call(*host, options, "backend", "zone_create");
    if (during) during(call.raw());
    try {
      call.finish(status);
    } catch (const Error& e) {
      return e;
    }
    return Error("none", Code::none, "no error");
  }
  rauha_event event(std::string_view name) {
    rauha_event e{};
    e.struct_size = sizeof e;
    e.severity = 3;
    e.name = str(name);
    return e;
  }
  CallOptions options;
  std::vector<PluginEvent> events;
  std::vector<std::string> logs;
  bool full = false;
  std::unique_ptr<HostServices> host;
  const rauha_host* table = nullptr;
};

TEST_F(HostTest, EnvironmentIsGiven) {
  const rauha_environment& e = *table->environment;
  EXPECT_EQ(cleanText(e.instance, 100), "rauha-12345678");
  EXPECT_EQ(cleanText(e.state_dir, 100), "/state");
  EXPECT_EQ(cleanText(e.runtime_dir, 100), "/run/x");
  EXPECT_EQ(cleanText(e.libexec_dir, 100), "/libexec");
  EXPECT_EQ(table->abi_minor, static_cast<uint32_t>(RAUHA_ABI_MINOR));
}

TEST_F(HostTest, ErrorsKeepCodeTextAndHint) {
  const Error e = fail(RAUHA_E_CONFLICT, [&](rauha_call* c) {
    table->set_error(c, RAUHA_E_IO, str("an earlier text"), str(""));
    table->set_error(c, RAUHA_E_CONFLICT, str("zone zone_x is frozen"), str("thaw it"));
  });
  EXPECT_EQ(e.errorClass(), "backend");
  EXPECT_EQ(e.code(), Code::conflict);
  EXPECT_EQ(e.text(), "zone zone_x is frozen");
  EXPECT_EQ(e.hint(), "thaw it");
  EXPECT_EQ(fail(RAUHA_OK).text(), "no error");
}

TEST_F(HostTest, MissingTextsAndUnknownStatuses) {
  EXPECT_EQ(fail(RAUHA_E_INTERNAL).text(), "test-plugin: zone_create returned INTERNAL without a message");
  EXPECT_EQ(fail(RAUHA_E_NOT_FOUND).text(), "test-plugin: zone_create returned NOT_FOUND without a message");
  EXPECT_EQ(fail(RAUHA_E_NOT_FOUND).code(), Code::notFound);
  EXPECT_EQ(fail(1234).text(), "test-plugin: zone_create returned status 1234 without a message");
  EXPECT_EQ(fail(-5).text(), "test-plugin: zone_create returned status -5 without a message");
  const Error e = fail(1234, [&](rauha_call* c) { table->set_error(c, 1234, str("own trouble"), {}); });
  EXPECT_EQ(e.text(), "own trouble (test-plugin status 1234)");
  EXPECT_EQ(e.code(), Code::internal);
}

TEST_F(HostTest, TextsAreCleanedAndCut) {
  const Error e = fail(
      RAUHA_E_IO, [&](rauha_call* c) { table->set_error(c, RAUHA_E_IO, str("two\nlines \x1b[31m \xff"), str(std::string(5000, 'h'))); });
  EXPECT_EQ(e.text(), "two lines  [31m \xEF\xBF\xBD");
  EXPECT_EQ(e.hint().size(), 512 + std::string(" [cut]").size());
}

TEST_F(HostTest, GarbagePointersOfTextsAreNothing) {
  const Error e = fail(RAUHA_E_IO, [&](rauha_call* c) { table->set_error(c, RAUHA_E_IO, rauha_str{nullptr, 77}, rauha_str{nullptr, 0}); });
  EXPECT_EQ(e.text(), "test-plugin: zone_create returned IO without a message");
  table->set_error(nullptr, RAUHA_E_IO, str("x"), str("y"));
  table->log(nullptr, 0, str("x"));
  table->progress(nullptr, str("x"), 1, 2);
  table->emit(nullptr, nullptr);
  EXPECT_EQ(table->cancelled(nullptr), 0);
  EXPECT_EQ(table->cancel_fd(nullptr), -1);
  EXPECT_EQ(table->deadline_ns(nullptr), 0);
  EXPECT_EQ(table->get_service(table->context, nullptr), nullptr);
}

TEST_F(HostTest, CancelIsSeenByFlagAndDescriptor) {
  options.cancel = std::make_shared<CancelToken>();
  PluginCall call(*host, options, "backend", "zone_create");
  const int fd = table->cancel_fd(call.raw());
  pollfd p{fd, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0);
  EXPECT_EQ(table->cancelled(call.raw()), 0);
  std::thread([&] { options.cancel->cancel(); }).join();
  options.cancel->cancel();  // twice is once
  EXPECT_EQ(table->cancelled(call.raw()), 1);
  EXPECT_EQ(poll(&p, 1, 0), 1);
}

TEST_F(HostTest, NoCallBeginsWithoutHope) {
  options.cancel = std::make_shared<CancelToken>();
  options.cancel->cancel();
  try {
    PluginCall call(*host, options, "backend", "zone_create");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "cancelled by the caller before zone_create began");
    EXPECT_EQ(e.code(), Code::cancelled);
  }
  options.cancel.reset();
  options.deadlineNs = monotonicNs() - 1;
  try {
    PluginCall call(*host, options, "backend", "zone_create");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "the time was up before zone_create of test-plugin began");
    EXPECT_EQ(e.code(), Code::deadline);
  }
}

TEST_F(HostTest, EveryCallHasADeadline) {
  options.deadlineNs = monotonicNs() + 1'000'000'000;
  {
    PluginCall call(*host, options, "backend", "zone_create");
    EXPECT_EQ(table->deadline_ns(call.raw()), options.deadlineNs);
  }
  options.deadlineNs = 0;
  PluginCall call(*host, options, "backend", "zone_create");
  EXPECT_GT(table->deadline_ns(call.raw()), monotonicNs());
}

TEST_F(HostTest, BreachesAreLoggedAndCounted) {
  fail(RAUHA_E_IO);
  fail(77, [&](rauha_call* c) { table->set_error(c, 77, str("odd"), str("")); });
  fail(1077, [&](rauha_call* c) { table->set_error(c, 1077, str("my own"), str("")); });  // allowed
  PluginCall call(*host, options, "backend", "zone_create");
  call.fault(Error("plugin", Code::internal, "a layer is null"));
  EXPECT_THROW(call.finish(RAUHA_OK), Error);
  EXPECT_EQ(host->health().violations, 3u);
  EXPECT_EQ(host->health().lastViolation, "zone_create: a layer is null");
  EXPECT_EQ(logs, (std::vector<std::string>{"2 test-plugin: zone_create returned IO without a message",
                                            "2 test-plugin: zone_create returned the unknown status 77: odd",
                                            "2 test-plugin: zone_create: a layer is null"}));
}

TEST_F(HostTest, FloodsAreCutOffAndCounted) {
  const rauha_event e = event("a.b");
  for (int i = 0; i < 5000; ++i) table->emit(table->context, &e);
  EXPECT_GE(events.size(), 800u);
  EXPECT_LT(events.size(), 4000u);
  EXPECT_EQ(host->health().eventsDropped + events.size(), 5000u);
  for (int i = 0; i < 5000; ++i) table->log(table->context, RAUHA_LOG_INFO, str("again"));
  EXPECT_GE(logs.size(), 200u);
  EXPECT_LT(logs.size(), 2000u);
}

TEST_F(HostTest, FaultsBeatSuccess) {
  PluginCall call(*host, options, "backend", "zone_create");
  call.fault(Error("plugin", Code::internal, "a layer is null"));
  call.fault(Error("plugin", Code::internal, "the second is not told"));
  try {
    call.finish(RAUHA_OK);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "test-plugin: zone_create: a layer is null");
    EXPECT_EQ(e.code(), Code::internal);
  }
}

TEST_F(HostTest, ProgressIsPassedOnAndMayThrow) {
  std::string seen;
  options.progress = [&](std::string_view what, uint64_t done, uint64_t total) {
    seen = std::string(what) + " " + std::to_string(done) + "/" + std::to_string(total);
    throw std::runtime_error("must not reach the plugin");
  };
  PluginCall call(*host, options, "image", "resolve");
  table->progress(call.raw(), str("layer 1"), 5, 10);
  EXPECT_EQ(seen, "layer 1 5/10");
}

TEST_F(HostTest, EventsAreCopied) {
  const rauha_attribute attributes[] = {{str("path"), str("/etc/\x01shadow")}, {str("uid"), str("0")}};
  rauha_event e = event("zone.file_denied");
  e.zone_id = str("zone_x");
  e.message = str("denied\n");
  e.attributes = {attributes, 2, sizeof(rauha_attribute)};
  e.severity = 99;
  table->emit(table->context, &e);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].plugin, "test-plugin");
  EXPECT_EQ(events[0].name, "zone.file_denied");
  EXPECT_EQ(events[0].zoneId, "zone_x");
  EXPECT_EQ(events[0].message, "denied ");
  EXPECT_EQ(events[0].severity, 4u);
  EXPECT_EQ(events[0].attributes[0].second, "/etc/ shadow");
  EXPECT_EQ(host->eventsDropped(), 0u);
}

TEST_F(HostTest, BadEventsAreDroppedAndCounted) {
  for (const char* name : {"", "nodot", "Zone.Denied", "zone.\n"}) {
    const rauha_event e = event(name);
    table->emit(table->context, &e);
  }
  rauha_event small = event("a.b");
  small.struct_size = 12;
  table->emit(table->context, &small);
  rauha_event many = event("a.b");
  many.attributes = {&many, 33, sizeof(rauha_attribute)};
  table->emit(table->context, &many);
  rauha_event stride = event("a.b");
  stride.attributes = {&stride, 1, 4};
  table->emit(table->context, &stride);
  table->emit(table->context, nullptr);
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(host->eventsDropped(), 8u);
  full = true;
  const rauha_event good = event("a.b");
  table->emit(table->context, &good);
  EXPECT_EQ(host->eventsDropped(), 9u);
}

TEST(SizeRules, WhatWeDoNotKnowMustBeZero) {
  // As a newer plugin would hand it over: a record with eight more bytes.
  rauha_record record{};
  record.struct_size = sizeof record + sizeof(uint64_t);
  record.tag = 7;
  std::string memory(record.struct_size, '\0');
  std::memcpy(memory.data(), &record, sizeof record);
  const auto* grown = reinterpret_cast<const rauha_record*>(memory.data());
  EXPECT_EQ(readStruct(grown, sizeof(rauha_record), "a record").tag, 7u);
  memory.back() = 1;
  try {
    readStruct(grown, sizeof(rauha_record), "a record");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "a record has 48 bytes and uses those beyond the 40 that this daemon (ABI 1.1) knows");
    EXPECT_EQ(e.code(), Code::unsupported);
  }
}

TEST(SizeRules, SizesOutsideOfReasonAreRefused) {
  rauha_record r{};
  for (uint32_t size : {0u, 4u, 39u, 4097u, UINT32_MAX}) {
    r.struct_size = size;
    EXPECT_THROW(readStruct(&r, sizeof r, "a record"), Error) << size;
  }
  EXPECT_THROW(readStruct<rauha_record>(nullptr, sizeof r, "a record"), Error);
}

TEST(SizeRules, ExactTextIsWholeOrRefused) {
  EXPECT_EQ(exactText({nullptr, 0}, 5, "x"), "");
  EXPECT_EQ(exactText(toStr("abc"), 3, "x"), "abc");
  EXPECT_THROW(exactText(toStr("abcd"), 3, "x"), Error);
  EXPECT_THROW(exactText(toStr(std::string_view("a\0b", 3)), 9, "x"), Error);
  EXPECT_THROW(exactText({nullptr, 3}, 9, "x"), Error);
}

}  // namespace
}  // namespace rauha::plugin
