// rauha/config.hpp: a plugin's section, as operators and fuzzers write it.
#include <gtest/gtest.h>
#include <rauha/config.hpp>

#include <random>

namespace rauha::sdk {
namespace {

std::string refusal(const std::string& text) {
  try {
    Config config(text);
    config.number("n", -10, 10, 0);
    config.text("s");
    config.flag("b", false);
    config.list("l");
    config.bytes("z", 1, 1 << 20, 1);
    config.refuseUnknown();
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), RAUHA_E_INVALID);
    return e.what() + (e.hint().empty() ? "" : " (" + e.hint() + ")");
  }
  return "accepted";
}

TEST(PluginConfig, ReadsWhatTheDaemonHandsOver) {
  Config c(
      "\n\nn = 1_000 # comment\r\ns = \"a\\tb \\u00e4\\\"#\"\nraw = 'C:\\x'\nneg = -0x1F\n\nb = true\nl = [ 'x', \"y\" ,\n  # why\n 'z', ]\n\"quoted\" = "
      "false\nz = \"3KiB\"\nplain = 17");
  EXPECT_EQ(c.number("n", 0, 2000, 1), 1000);
  EXPECT_EQ(c.text("s"), "a\tb \xc3\xa4\"#");
  EXPECT_EQ(c.text("raw"), "C:\\x");
  EXPECT_EQ(c.number("neg", -100, 0, 1), -31);
  EXPECT_TRUE(c.flag("b", false));
  EXPECT_EQ(c.list("l"), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_FALSE(c.flag("quoted", true));
  EXPECT_EQ(c.bytes("z", 1, 1 << 20, 1), 3072u);
  EXPECT_EQ(c.bytes("plain", 1, 1 << 20, 1), 17u);
  EXPECT_EQ(c.text("absent", "fallback"), "fallback");
  c.refuseUnknown();
}

TEST(PluginConfig, RefusesByLineAndName) {
  EXPECT_EQ(refusal(""), "accepted");
  EXPECT_EQ(refusal(" # only a comment"), "accepted");
  EXPECT_EQ(refusal("\n\nm = 1\n"), "configuration: line 3: unknown key 'm' (it knows n, s, b, l, z)");
  EXPECT_EQ(refusal("n = 11"), "configuration: line 1: n must be a whole number from -10 to 10");
  EXPECT_EQ(refusal("n = '1'"), "configuration: line 1: n must be a whole number from -10 to 10");
  EXPECT_EQ(refusal("\ns = 1"), "configuration: line 2: s must be a string");
  EXPECT_EQ(refusal("b = 1"), "configuration: line 1: b must be true or false");
  EXPECT_EQ(refusal("l = 'x'"), "configuration: line 1: l must be a list of strings");
  EXPECT_EQ(refusal("z = '2MiB'"), "configuration: line 1: z must be a size such as \"64MiB\", from 1 to 1048576 bytes");
  EXPECT_EQ(refusal("z = -1"), refusal("z = '5 MB'"));
  EXPECT_EQ(refusal("z = '99999999999999999999TiB'"), refusal("z = 'KiB'"));
  EXPECT_EQ(refusal("n = 1\nn = 2"), "configuration: line 2: 'n' stands there twice");
}

TEST(PluginConfig, RefusesTheRestOfToml) {
  const std::string number = " is no string in quotes, whole number, true, false or list of strings";
  EXPECT_EQ(refusal("[sub]\n"), "configuration: line 1: this plugin has no tables in its section");
  EXPECT_EQ(refusal("a.b = 1"), "configuration: line 1: expected '=' behind 'a'");
  EXPECT_EQ(refusal("n = 1.5"), "configuration: line 1: '1.5'" + number);
  EXPECT_EQ(refusal("n = { x = 1 }"), "configuration: line 1: ''" + number);
  EXPECT_EQ(refusal("n = 99999999999999999999"), "configuration: line 1: '99999999999999999999'" + number);
  EXPECT_EQ(refusal("s = '''x'''"), "configuration: line 1: strings of several lines are not taken");
  EXPECT_EQ(refusal("s = \"x"), "configuration: line 1: the string has no end");
  EXPECT_EQ(refusal("s = \"\\q\""), "configuration: line 1: unknown escape in a string");
  EXPECT_EQ(refusal("s = \"\\ud800\""), "configuration: line 1: unknown escape in a string");
  EXPECT_EQ(refusal("s = \"\\u12"), "configuration: line 1: an escape in a string lacks digits");
  EXPECT_EQ(refusal("l = ['a' 'b']"), "configuration: line 1: a list consists of strings in quotes, with commas between them");
  EXPECT_EQ(refusal("l = ['a',\n1]"), "configuration: line 2: a list consists of strings in quotes, with commas between them");
  EXPECT_EQ(refusal("\nl = ['a',\n"), "configuration: line 2: the list has no end");
  EXPECT_EQ(refusal("s = 'x' y"), "configuration: line 1: unexpected text behind the value of 's'");
  EXPECT_EQ(refusal("= 1"), "configuration: line 1: expected a key");
}

// Whatever the bytes: an Error of ours or values, never anything else.
TEST(PluginConfig, AnyBytes) {
  std::mt19937 random(20);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  const std::string letters = "ns=\"'[]#\n\\u,0x_-+.{}truefalse \t\r";
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (size_t length = random() % 24; length > 0; --length)
      text += random() % 16 == 0 ? static_cast<char>(random()) : letters[random() % letters.size()];
    refusal(text);
  }
}

}  // namespace
}  // namespace rauha::sdk
