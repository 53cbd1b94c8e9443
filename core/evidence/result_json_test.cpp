#include "core/evidence/result_json.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "core/base/utf8.h"
#include "core/evidence/json_writer.h"

namespace rauha {
namespace {

using nlohmann::json;

template <typename T>
struct Message {
  capnp::MallocMessageBuilder builder;
  typename T::Builder root = builder.initRoot<T>();
  json parsed(bool pretty = false) const { return json::parse(toJson(root.asReader(), pretty)); }
};

TEST(ResultJson, AnEmptyTaskResultKeepsTheContract) {
  const Message<schema::TaskResult> m;
  for (const bool pretty : {false, true}) {
    const json j = m.parsed(pretty);
    EXPECT_EQ(j.at("schema_version"), 1);
    for (const char* text : {"stdout", "stderr"}) EXPECT_EQ(j.at(text), "") << text;
    for (const char* list : {"command", "events", "enforcement_events", "notes"}) EXPECT_EQ(j.at(list), json::array()) << list;
    for (const char* unknown : {"task_id", "zone_id", "zone_name", "started_at", "finished_at", "image", "image_digest", "policy",
                                "policy_digest", "stdout_stats", "stderr_stats", "event_counters"})
      EXPECT_TRUE(j.at(unknown).is_null()) << unknown;
    EXPECT_TRUE(j.at("exit_code").is_null());
    EXPECT_TRUE(j.at("signal").is_null());
    EXPECT_EQ(j.at("status"), "succeeded");
    EXPECT_EQ(j.at("duration_ms"), 0);
    for (const char* absent : {"error", "posture", "usage", "stdout_base64"}) EXPECT_FALSE(j.contains(absent)) << absent;
  }
}

TEST(ResultJson, AFullTaskResult) {
  Message<schema::TaskResult> m;
  auto r = m.root;
  r.setTaskId("task_1");
  auto command = r.initCommand(2);
  command.set(0, "pytest");
  command.set(1, "tests/");
  r.setStatus(schema::TaskStatus::OUT_OF_MEMORY);
  r.initExitCode().setValue(-9223372036854775807LL - 1);
  r.initSignal().setValue(9);
  r.setDurationMs(18446744073709551615ULL);
  r.initUsage().setMemoryPeakBytes(9007199254740993ULL);
  auto event = r.initEvents(1)[0];
  event.setSequence(9007199254740993ULL);
  event.setSeverity(schema::Severity::WARNING);
  auto attribute = event.initAttributes(1)[0];
  attribute.setKey("k");
  attribute.setValue("v");
  auto layer = r.initPosture().initLayers(1)[0];
  layer.setName("seccomp");
  layer.setArmed(true);
  r.getPosture().setLandlockAbi(4);
  auto error = r.initError();
  error.setClass("image");
  error.setCode(schema::ErrorCode::NOT_FOUND);
  const std::string text = toJson(r.asReader());
  // The numbers must be exact in the text, whatever the parser makes of them.
  EXPECT_NE(text.find("\"exit_code\":-9223372036854775808"), std::string::npos);
  EXPECT_NE(text.find("\"duration_ms\":18446744073709551615"), std::string::npos);
  EXPECT_NE(text.find("\"memory_peak_bytes\":9007199254740993"), std::string::npos);
  const json j = json::parse(text);
  EXPECT_EQ(j.at("command"), json({"pytest", "tests/"}));
  EXPECT_EQ(j.at("status"), "out_of_memory");
  EXPECT_EQ(j.at("signal"), 9);
  EXPECT_EQ(j.at("events").at(0).at("sequence"), 9007199254740993ULL);
  EXPECT_EQ(j.at("events").at(0).at("severity"), "warning");
  EXPECT_EQ(j.at("events").at(0).at("attributes").at(0), json({{"key", "k"}, {"value", "v"}}));
  EXPECT_FALSE(j.at("events").at(0).contains("zone_id"));
  EXPECT_EQ(j.at("posture").at("layers").at(0).at("armed"), true);
  EXPECT_EQ(j.at("posture").at("landlock_abi"), 4);
  EXPECT_EQ(j.at("error").at("code"), "not_found");
  EXPECT_EQ(j.at("error").at("class"), "image");
}

// Every name of every document: snake_case, so that no annotation was forgotten.
void expectSnakeCase(const json& j, const std::string& path) {
  if (j.is_array())
    for (const auto& item : j) expectSnakeCase(item, path + "[]");
  if (!j.is_object()) return;
  for (const auto& [key, value] : j.items()) {
    for (const char c : key) EXPECT_TRUE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') << path << "." << key;
    expectSnakeCase(value, path + "." + key);
  }
}

TEST(ResultJson, NamesAreSnakeCase) {
  Message<schema::Policy> policy;
  policy.root.initFilesystem();
  policy.root.initNetwork().initEgress(1);
  policy.root.initResources();
  policy.root.initSyscalls();
  policy.root.setUserNamespace(schema::UserNamespace::HOST);
  const json p = policy.parsed();
  expectSnakeCase(p, "policy");
  EXPECT_EQ(p.at("resources").at("io_read_bps"), 0);
  EXPECT_EQ(p.at("user_namespace"), "host");
  Message<schema::ZoneInfo> zone;
  zone.root.initPosture();
  zone.root.initUsage();
  zone.root.setShimPid(-1);
  expectSnakeCase(zone.parsed(), "zone");
  EXPECT_EQ(zone.parsed().at("shim_pid"), -1);
  Message<schema::ImageInfo> image;
  image.root.initConfig();
  image.root.initLayers(1);
  expectSnakeCase(image.parsed(), "image");
  Message<schema::DoctorReport> report;
  report.root.initServer();
  auto check = report.root.initChecks(1)[0];
  check.setStatus(schema::CheckStatus::WEAKER);
  expectSnakeCase(report.parsed(), "report");
  EXPECT_EQ(report.parsed().at("checks").at(0).at("status"), "weaker");
  EXPECT_EQ(report.parsed().at("schema_version"), 1);
  Message<schema::PluginInfo> plugin;
  expectSnakeCase(plugin.parsed(), "plugin");
  EXPECT_EQ(plugin.parsed().at("loaded"), false);
  Message<schema::ServerInfo> server;
  expectSnakeCase(server.parsed(), "server");
  EXPECT_EQ(server.parsed().at("uptime_ms"), 0);
  EXPECT_EQ(snakeCase("ioReadBps"), "io_read_bps");
}

TEST(ResultJson, ListsAreDocumentsToo) {
  capnp::MallocMessageBuilder builder;
  auto result = builder.initRoot<schema::TaskResult>();
  EXPECT_EQ(toJson(result.initEvents(0).asReader(), true), "[]");
  auto texts = result.initCommand(2);
  texts.set(0, "a");
  EXPECT_EQ(toJson(texts.asReader()), R"(["a",""])");
  EXPECT_EQ(toJson(texts.asReader(), true), "[\n  \"a\",\n  \"\"\n]");
  EXPECT_EQ(json::parse(toJson(result.initEvents(2).asReader())).size(), 2u);
}

TEST(ResultJson, HostileTextIsAlwaysValid) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (const std::string& bytes : {all, std::string("\0\0a\0", 4), std::string("\xed\xa0\x80"), std::string("\xf5\x80\x80\x80"),
                                   std::string("\"\\\n\r\t\b\f"), std::string("\xe2\x80\xa8\xe2\x80\xa9</script>"), std::string("\xc3")}) {
    Message<schema::TaskResult> m;
    m.root.setStdout(capnp::Text::Reader(bytes.data(), bytes.size()));
    for (const bool pretty : {false, true}) {
      const std::string text = toJson(m.root.asReader(), pretty);
      EXPECT_TRUE(isUtf8(text));
      for (const char c : text) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || (pretty && c == '\n'));
      EXPECT_EQ(json::parse(text).at("stdout").get<std::string>(), toUtf8(bytes));
    }
    EXPECT_EQ(json::parse(jsonString(bytes)).get<std::string>(), toUtf8(bytes));
  }
}

TEST(ResultJson, WhatSteersATerminalIsEscaped) {
  EXPECT_EQ(jsonString("\xc2\x80\xc2\x9b"
                       "2J\xc2\x9f\xc2\xa0"),
            "\"\\u0080\\u009b2J\\u009f\xc2\xa0\"");
  // NOLINTNEXTLINE(misc-misleading-bidirectional): that is what it is about
  EXPECT_EQ(jsonString("\xe2\x80\xae"
                       "a\xe2\x81\xa9\xd8\x9c\xe2\x80\x8f\xe2\x80\xa8"),
            "\"\\u202ea\\u2069\\u061c\\u200f\\u2028\"");
  const std::string harmless = "\xc3\xa4\xe2\x80\x8d\xe2\x80\xaf\xe2\x82\xac\xf0\x9f\x98\x80\xd8\x9d";
  EXPECT_EQ(jsonString(harmless), "\"" + harmless + "\"");
}

TEST(ResultJson, RandomBytesAreAlwaysValid) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    ASSERT_EQ(json::parse(jsonString(bytes)).get<std::string>(), toUtf8(bytes));
  }
}

TEST(ResultJson, ValuesOfALaterVersionKeepTheDocumentValid) {
  Message<schema::TaskResult> m;
  m.root.setStatus(static_cast<schema::TaskStatus>(200));
  EXPECT_EQ(m.parsed().at("status"), "unknown_200");
}

}  // namespace
}  // namespace rauha
