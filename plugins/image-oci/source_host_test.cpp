#include "plugins/image-oci/source_host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/test_directory.h"

namespace rauha::oci {
namespace {

using namespace test;

const HostEntry* find(const std::vector<HostEntry>& all, const std::string& target) {
  const auto it = std::find_if(all.begin(), all.end(), [&](const HostEntry& e) { return e.target == target; });
  return it == all.end() ? nullptr : &*it;
}

// A machine of our own making: merged /usr for /bin and /lib, a real /sbin, secrets that must not show.
class Host : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* dir : {"usr/bin", "usr/lib", "opt", "sbin", "home/user/.ssh", "etc/ssl/certs", "etc/ssl/private", "etc/ssh",
                            "etc/java-17", "etc/python3.11", "var/lib/secret"})
      std::filesystem::create_directories(temp_ / dir);
    std::filesystem::create_symlink("usr/bin", temp_ / "bin");
    std::filesystem::create_symlink("usr/lib", temp_ / "lib");
    for (const char* file : {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/sudoers", "etc/machine-id", "etc/hostname",
                             "etc/resolv.conf", "etc/ssh/ssh_host_rsa_key", "etc/ssl/private/key", "etc/nsswitch.conf"})
      spill(temp_ / file, "x");
    spill(temp_ / "etc/services", "x");
    std::filesystem::permissions(temp_ / "etc/services", std::filesystem::perms(0600));
    std::filesystem::create_symlink("/usr/share/zoneinfo/Etc/UTC", temp_ / "etc/localtime");
    std::filesystem::create_symlink("/etc/shadow", temp_ / "etc/protocols");
    entries_ = hostEntries(temp_.path());
  }
  TempDir temp_;
  std::vector<HostEntry> entries_;
};

TEST_F(Host, ProgramsAsTheMachineHasThem) {
  ASSERT_NE(find(entries_, "/usr"), nullptr);
  EXPECT_EQ(find(entries_, "/usr")->kind, HostEntry::Kind::bind);
  EXPECT_TRUE(find(entries_, "/usr")->exec);
  EXPECT_EQ(find(entries_, "/bin")->kind, HostEntry::Kind::symlink);
  EXPECT_EQ(find(entries_, "/bin")->source, "usr/bin");
  EXPECT_EQ(find(entries_, "/sbin")->kind, HostEntry::Kind::bind);
  EXPECT_TRUE(find(entries_, "/sbin")->exec);
  EXPECT_EQ(find(entries_, "/lib64"), nullptr);
}

TEST_F(Host, ConfigurationWithoutSecrets) {
  for (const char* there : {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/java-17", "/etc/python3.11"}) {
    ASSERT_NE(find(entries_, there), nullptr) << there;
    EXPECT_EQ(find(entries_, there)->kind, HostEntry::Kind::bind) << there;
    EXPECT_TRUE(find(entries_, there)->optional) << there;
    EXPECT_FALSE(find(entries_, there)->exec) << there;
  }
  EXPECT_EQ(find(entries_, "/etc/localtime")->kind, HostEntry::Kind::symlink);
  EXPECT_EQ(find(entries_, "/etc/ssl")->kind, HostEntry::Kind::directory);
  for (const char* gone :
       {"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/ssh", "/etc/ssl/private", "/etc/services"})
    EXPECT_EQ(find(entries_, gone), nullptr) << gone;
  for (const char* fresh : {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
    EXPECT_EQ(find(entries_, fresh)->kind, HostEntry::Kind::file) << fresh;
}

// Every bind, followed to its end, lies where it says: no link of the allow-list leads to a secret.
TEST_F(Host, BindsDoNotLeadElsewhere) {
  for (const HostEntry& e : hostEntries()) {
    if (e.kind != HostEntry::Kind::bind) continue;
    const std::string real = std::filesystem::weakly_canonical(e.source).string();
    for (const char* secret :
         {"/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/sudoers", "/root", "/home", "/var", "/proc", "/sys", "/dev"})
      EXPECT_NE(real.compare(0, std::string(secret).size(), secret), 0) << e.source << " leads to " << real;
  }
}

TEST_F(Host, FreshDirectories) {
  EXPECT_EQ(find(entries_, "/var/tmp")->mode, 01777u);
  EXPECT_EQ(find(entries_, "/tmp"), nullptr);
  EXPECT_EQ(find(entries_, "/var/tmp")->mode, 01777u);
  EXPECT_EQ(find(entries_, "/root")->mode, 0700u);
  for (const char* dir : {"/home", "/var", "/run", "/workspace", "/mnt", "/srv"})
    EXPECT_EQ(find(entries_, dir)->kind, HostEntry::Kind::directory) << dir;
}

TEST_F(Host, ParentsComeFirstAndNothingTwice) {
  std::set<std::string> seen = {""};
  for (const HostEntry& e : entries_) {
    EXPECT_TRUE(seen.count(e.target.substr(0, e.target.rfind('/')))) << e.target;
    EXPECT_TRUE(seen.insert(e.target).second) << e.target;
  }
}

TEST_F(Host, ConfigIsAnImageConfiguration) {
  EXPECT_EQ(parseConfig(hostConfig(), "host").platform.text(), hostPlatform().os + "/" + hostPlatform().architecture);
}

}  // namespace
}  // namespace rauha::oci
