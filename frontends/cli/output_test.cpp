#include "frontends/cli/output.h"

#include <gtest/gtest.h>

namespace rauha::cli {
namespace {

TEST(Printable, controlCharactersLoseTheirPower) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("a\nb\tc"), "a b c");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m")
      << "CSI as one character";
  EXPECT_EQ(printable("\xff"), "\xef\xbf\xbd");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
}

TEST(Table, alignsByCharacters) {
  Table table({"NAME", "X"});
  table.add({"\xc3\xbc", "1"});
  table.add({"longer", ""});
  EXPECT_EQ(table.text(), "NAME    X\n\xc3\xbc       1\nlonger  -\n");
}

TEST(Table, cutsItsLastColumnToTheTerminal) {
  Table table({"NAME", "COMMAND"});
  table.add({"a", "0123456789\xc3\xbc 0123456789"});
  EXPECT_EQ(table.text(20), "NAME  COMMAND\na     0123456789\xc3\xbc 0…\n");
  EXPECT_EQ(table.text(27), "NAME  COMMAND\na     0123456789\xc3\xbc 01234567…\n");
  EXPECT_EQ(table.text(28), "NAME  COMMAND\na     0123456789\xc3\xbc 0123456789\n");
  EXPECT_EQ(table.text(1), "NAME  COMMAND\na     0123456789\xc3\xbc…\n") << "some of it in any case";
}

TEST(Duration, isForPeople) {
  EXPECT_EQ(formatDuration(0), "0 ms");
  EXPECT_EQ(formatDuration(1842), "1.84 s");
  EXPECT_EQ(formatDuration(123'000), "2 m 03 s");
}

}  // namespace
}  // namespace rauha::cli
