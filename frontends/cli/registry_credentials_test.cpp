#include "frontends/cli/registry_credentials.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(RegistryCredentials, RegistryOfAReference) {
  const std::pair<const char*, const char*> cases[] = {{"alpine", "docker.io"},
                                                       {"alpine:3", "docker.io"},
                                                       {"me/app", "docker.io"},
                                                       {"localhost/x", "localhost"},
                                                       {"localhost:5000/x:1", "localhost:5000"},
                                                       {"quay.io/a/b@sha256:0", "quay.io"},
                                                       {"index.docker.io/x", "docker.io"},
                                                       {"host", ""},
                                                       {"oci:./x", ""},
                                                       {"dir:/x", ""},
                                                       {"./x/y", ""},
                                                       {"snapshot:/srv", ""},
                                                       {"https://x/y", ""}};
  for (const auto& [reference, registry] : cases) EXPECT_EQ(registryOf(reference), registry) << reference;
}

TEST(RegistryCredentials, AuthEntries) {
  const auto plan = [](const char* text, const char* registry, const char* repository = "a/b") {
    return planFrom(text, "f", registry, repository);
  };
  EXPECT_EQ(plan(R"({"auths":{"r:1":{"auth":"bWU6cGE6c3M="}}})", "r:1")->json, R"({"password":"pa:ss","registry":"r:1","username":"me"})");
  EXPECT_EQ(plan(R"({"auths":{"https://index.docker.io/v1/":{"auth":"bWU6eA=="}}})", "docker.io")->json,
            R"({"password":"x","registry":"docker.io","username":"me"})");
  EXPECT_EQ(plan(R"({"auths":{"r":{"identitytoken":"T"}}})", "r")->json, R"({"identity_token":"T","registry":"r"})");
  EXPECT_FALSE(plan(R"({"auths":{"other":{"auth":"bWU6eA=="}}})", "r"));
  EXPECT_FALSE(plan(R"({"auths":{"r":{}}})", "r"));
  EXPECT_FALSE(plan("{}", "r"));
  // The longest part of the repository wins.
  const char* parts = R"({"auths":{"r":{"auth":"YTox"},"r/a":{"auth":"Yjoy"}}})";
  EXPECT_NE(plan(parts, "r")->json.find("\"b\""), std::string::npos);
  EXPECT_NE(plan(parts, "r", "c/d")->json.find("\"a\""), std::string::npos);
}

TEST(RegistryCredentials, Helpers) {
  const auto one = planFrom(R"({"credHelpers":{"r":"pass"},"credsStore":"all","auths":{"r":{"auth":"YTox"}}})", "f", "r", "x");
  EXPECT_EQ(one->helper, "pass");
  EXPECT_TRUE(one->json.empty());
  EXPECT_EQ(planFrom(R"({"credsStore":"all"})", "f", "docker.io", "x")->server, "https://index.docker.io/v1/");
  EXPECT_THROW(planFrom(R"({"credsStore":"../x"})", "f", "r", "x"), Error);
  EXPECT_THROW(planFrom(R"({"credsStore":"-x"})", "f", "r", "x"), Error);
}

TEST(RegistryCredentials, DamageIsToldWithoutTheSecret) {
  for (const char* text : {"", "[]", "{\"auths\":", "secret"}) try {
      planFrom(text, "/x/auth.json", "r", "x");
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.text().find("secret"), std::string::npos);
      EXPECT_NE(e.text().find("/x/auth.json"), std::string::npos);
    }
  try {
    planFrom(R"({"auths":{"r":{"auth":"c2VjcmV0"}}})", "f", "r", "x");  // no ':'
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "f: the entry for r is damaged");
  }
}

class CredentialFiles : public ::testing::Test {
 protected:
  CredentialFiles() {
    std::string name = "/tmp/rauha-credentials-XXXXXX";
    directory_ = mkdtemp(name.data());
    setenv("REGISTRY_AUTH_FILE", (directory_ + "/deep/auth.json").c_str(), 1);
  }
  ~CredentialFiles() override {
    unsetenv("REGISTRY_AUTH_FILE");
    std::filesystem::remove_all(directory_);
  }
  std::string directory_;
};

TEST_F(CredentialFiles, StoreAndForget) {
  EXPECT_FALSE(forgetCredentials("r:1"));
  const std::string file = storeCredentials("r:1", "me", "pa:ss");
  struct stat st {};
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(planCredentials("r:1/x:2").json, R"({"password":"pa:ss","registry":"r:1","username":"me"})");
  storeCredentials("docker.io", "other", "x");
  EXPECT_NE(slurp(file).find("r:1"), std::string::npos);  // what else it holds stays
  EXPECT_TRUE(forgetCredentials("r:1"));
  EXPECT_FALSE(forgetCredentials("r:1"));
  EXPECT_TRUE(planCredentials("r:1/x").json.empty());
  EXPECT_FALSE(planCredentials("alpine").json.empty());
  EXPECT_TRUE(planCredentials("host").registry.empty());
}

TEST_F(CredentialFiles, AHelperIsAsked) {
  const std::string program = directory_ + "/docker-credential-mine";
  std::ofstream(program)
      << "#!/bin/sh\nread server\necho \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"me@$server\\\",\\\"Secret\\\":\\\"s\\\"}\"\n";
  chmod(program.c_str(), 0755);
  const std::string path = getenv("PATH");
  setenv("PATH", (directory_ + ":" + path).c_str(), 1);
  EXPECT_EQ(fetchCredentials({"r:1", {}, "mine", "r:1"}), R"({"password":"s","registry":"r:1","username":"me@r:1"})");
  std::ofstream(program) << "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"T\"}'\n";
  EXPECT_EQ(fetchCredentials({"r:1", {}, "mine", "r:1"}), R"({"identity_token":"T","registry":"r:1"})");
  std::ofstream(program) << "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n";
  EXPECT_EQ(fetchCredentials({"r:1", {}, "mine", "r:1"}), "");
  EXPECT_THROW(fetchCredentials({"r:1", {}, "not-there", "r:1"}), Error);
  setenv("PATH", path.c_str(), 1);
}

}  // namespace
}  // namespace rauha::cli
