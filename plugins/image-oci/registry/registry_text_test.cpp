// The pure parts of the registry client: headers, addresses, credentials.

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "plugins/image-oci/config.h"
#include "plugins/image-oci/registry/address.h"
#include "plugins/image-oci/registry/challenge.h"
#include "plugins/image-oci/registry/credentials.h"
#include "plugins/image-oci/registry/url_text.h"

namespace rauha::oci {
namespace {

TEST(Challenge, BearerAndBasic) {
  const auto one = parseChallenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="invalid_token")");
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].scheme, "bearer");
  EXPECT_EQ(one[0].realm, "https://auth.docker.io/token");
  EXPECT_EQ(one[0].service, "registry.docker.io");
  EXPECT_EQ(one[0].scope, "repository:a/b:pull,push");
  EXPECT_EQ(one[0].error, "invalid_token");
  const auto two = parseChallenges(R"(BASIC realm="x \"y\"", , Bearer realm=https , service = "s")");
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].scheme, "basic");
  EXPECT_EQ(two[0].realm, "x \"y\"");
  EXPECT_EQ(two[1].service, "s");
  EXPECT_EQ(parseChallenges("Negotiate").at(0).scheme, "negotiate");
}

TEST(Challenge, MalformedOnesEndTheList) {
  for (const char* text : {"", ",", "=", "\"", "Bearer realm=\"open", "Bearer realm=\"a\nb\"", "Bearer realm="})
    EXPECT_TRUE(parseChallenges(text).empty()) << text;
  EXPECT_LE(parseChallenges(std::string(100'000, 'a')).size(), 1u);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "a b=c, ";
  EXPECT_LE(parseChallenges(many).size(), 8u);
}

TEST(RetryAfter, SecondsAndDates) {
  EXPECT_EQ(parseRetryAfter("3", 0), 3000u);
  EXPECT_EQ(parseRetryAfter(" 0 ", 0), 0u);
  EXPECT_EQ(parseRetryAfter("99999999999", 0), 1'000'000'000u);
  EXPECT_EQ(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4'000'000'000), 6000u);
  EXPECT_EQ(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 40'000'000'000), 0u);
  for (const char* text : {"", "-1", "soon", "1.5", "Thu, 01 Jan 1970 00:00:10 UTC", "99999999999999999999999"})
    EXPECT_FALSE(parseRetryAfter(text, 0)) << text;
}

TEST(Range, OfAnAnswer) {
  const auto range = parseContentRange("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->size, 10u);
  for (const char* text : {"", "bytes 5-9/*", "bytes 9-5/10", "bytes 5-10/10", "bytes */10", "items 5-9/10", "bytes -1-2/3"})
    EXPECT_FALSE(parseContentRange(text)) << text;
}

TEST(Address, NearnessIsOrdered) {
  const std::pair<const char*, Nearness> cases[] = {{"127.0.0.1", Nearness::loopback},
                                                    {"127.255.0.1", Nearness::loopback},
                                                    {"0.0.0.0", Nearness::loopback},
                                                    {"::1", Nearness::loopback},
                                                    {"::", Nearness::loopback},
                                                    {"::ffff:127.0.0.1", Nearness::loopback},
                                                    {"64:ff9b::7f00:1", Nearness::loopback},
                                                    {"169.254.169.254", Nearness::link},
                                                    {"fe80::1", Nearness::link},
                                                    {"10.1.2.3", Nearness::local},
                                                    {"172.16.0.1", Nearness::local},
                                                    {"172.31.255.255", Nearness::local},
                                                    {"192.168.1.1", Nearness::local},
                                                    {"100.64.0.1", Nearness::local},
                                                    {"fd00::2", Nearness::local},
                                                    {"8.8.8.8", Nearness::world},
                                                    {"172.32.0.1", Nearness::world},
                                                    {"100.128.0.1", Nearness::world},
                                                    {"2001:db8::1", Nearness::world},
                                                    {"no address", Nearness::loopback}};
  for (const auto& [text, nearness] : cases) EXPECT_EQ(nearnessOfText(text), nearness) << text;
  EXPECT_LT(Nearness::loopback, Nearness::link);
  EXPECT_LT(Nearness::local, Nearness::world);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(0x0a000001);
  EXPECT_EQ(nearnessOf(reinterpret_cast<const sockaddr&>(in)), Nearness::local);
}

TEST(Address, LoopbackHosts) {
  for (const char* text : {"localhost", "localhost:5000", "127.0.0.1:1", "127.1.2.3", "[::1]:5000", "[::1]"})
    EXPECT_TRUE(isLoopbackHost(text)) << text;
  for (const char* text : {"localhost.example", "example:5000", "128.0.0.1", "[::2]", "127.0.0.1.example", ""})
    EXPECT_FALSE(isLoopbackHost(text)) << text;
}

TEST(Url, Parts) {
  EXPECT_EQ(originOf("https://Host:443/x?y"), "https://host");
  EXPECT_EQ(originOf("https://host:444/x"), "https://host:444");
  EXPECT_EQ(originOf("http://host:80"), "http://host");
  EXPECT_EQ(originOf("https://user:pass@host/x"), "https://host");
  EXPECT_NE(originOf("https://host/"), originOf("http://host/"));
  EXPECT_EQ(hostOf("https://host:5000?x"), "host:5000");
  EXPECT_EQ(urlEncoded("a b/c:d~"), "a%20b%2Fc%3Ad~");
}

TEST(Credentials, NeverQuoted) {
  const auto good = parseCredentials(R"({"registry":"r","username":"u","password":"p"})");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->password, "p");
  EXPECT_FALSE(parseCredentials(""));
  EXPECT_FALSE(parseCredentials(R"({"registry":"r"})"));
  for (const char* text :
       {"hunter2", "[\"hunter2\"]", R"({"username":"hunter2"})", R"({"registry":"r","username":"u","password":"hunter2\n"})",
        R"({"registry":"r","username":"hunter2:","password":"p"})"})
    try {
      parseCredentials(text);
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ((e.text() + e.hint()).find("hunter2"), std::string::npos) << e.text();
    }
}

TEST(Config, Registries) {
  const PluginConfig c = readConfig(
      "parallel = 2\nstall_timeout = \"5s\"\npull = false\nproxy = \"http://p:1\"\nno_proxy = \"x\"\n"
      "[registry.\"localhost:5000\"]\ninsecure = true\nmirrors = [\"a:1\", \"b\"]\n[registry.\"r.example\"]\nca = \"/a\"\ncertificate = \"/b\"\nkey = \"/c\"\n");
  EXPECT_EQ(c.registries.parallel, 2u);
  EXPECT_EQ(c.registries.stallMs, 5000u);
  EXPECT_FALSE(c.registries.pull);
  EXPECT_TRUE(c.registries.hosts.at("localhost:5000").insecure);
  EXPECT_EQ(c.registries.hosts.at("localhost:5000").mirrors, (std::vector<std::string>{"a:1", "b"}));
  EXPECT_EQ(c.registries.hosts.at("r.example").key, "/c");
  for (const char* text : {"parallel = 0", "stall_timeout = 5", "pull = 1", "registry = 1", "[registry.\"HTTPS://x\"]",
                           "[registry.x]\nca = \"relative\"", "[registry.x]\nkey = \"/a\"", "[registry.x]\ninsecure = true\nca = \"/a\"",
                           "[registry.x]\nmirrors = [1]", "[registry.x]\nother = 1", "proxy = \"\""})
    EXPECT_THROW(readConfig(text), Error) << text;
}

}  // namespace
}  // namespace rauha::oci
