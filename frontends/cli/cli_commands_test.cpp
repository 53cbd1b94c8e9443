// Every command but `sandbox`: text, JSON, errors, exit status, help.
#include "frontends/cli/testing/program.h"

namespace rauha::cli::testing {
namespace {

class Commands : public CliTest {
 protected:
  nlohmann::json json(std::vector<std::string> words, int status = 0) const {
    words.emplace_back("--json");
    const auto finished = run(words);
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    return finished.json();
  }
  std::string text(const std::vector<std::string>& words, int status = 0) const {
    const auto finished = run(words);
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    return finished.out;
  }
};

TEST_F(Commands, zones) {
  EXPECT_EQ(json({"zone", "list"})["zones"].size(), 2u);
  EXPECT_NE(text({"zone", "list"}).find("frontend"), std::string::npos);
  EXPECT_EQ(text({"zone", "list"}).find('\x1b'), std::string::npos) << "names are hostile";
  EXPECT_EQ(json({"zone", "create", "--name", "new", "--policy", "standard"})["name"], "new");
  EXPECT_TRUE(daemonNoted("createZone new policy=standard toml="));
  EXPECT_EQ(json({"zone", "create", "taken"}, 1)["error"]["code"], "exists");
  EXPECT_EQ(json({"zone", "create", "Bad Name"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone", "create"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone", "create", "a", "--name", "b"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone", "show", "frontend"})["effective_policy"]["name"], "task");
  EXPECT_NE(text({"zone", "show", "frontend"}).find("resources.memory_bytes"), std::string::npos);
  EXPECT_EQ(json({"zone", "delete", "frontend", "--force"})["deleted"], "frontend");
  EXPECT_TRUE(daemonNoted("deleteZone frontend force"));
}

TEST_F(Commands, policies) {
  EXPECT_EQ(json({"policy", "show", "task"})["name"], "task");
  EXPECT_NE(text({"policy", "show"}).find("memory = \"1GiB\"\n"), std::string::npos) << text({"policy", "show"});
  EXPECT_NE(text({"policy", "show", "strict", "--toml"}).find("strict"), std::string::npos);
  EXPECT_EQ(json({"policy", "show", "--zone", "frontend"})["name"], "task");
  EXPECT_EQ(json({"policy", "validate", file("ok.toml", "")})["valid"], true);
  const auto answer = json({"policy", "validate", file("x.toml", "bad = 1\n")}, 1);
  const auto& refused = answer["error"];
  EXPECT_EQ(answer["valid"], false);
  EXPECT_EQ(refused["class"], "policy");
  EXPECT_EQ(refused["hint"], "remove it");
  EXPECT_EQ(json({"policy", "apply", "--zone", "frontend", "task"}, 1)["error"]["code"], "conflict");
  EXPECT_EQ(json({"policy", "apply", "task"}, 2)["error"]["class"], "usage");
}

TEST_F(Commands, images) {
  EXPECT_EQ(json({"image", "list"})["images"][0]["reference"], "busybox:1");
  EXPECT_NE(text({"image", "list"}).find("4MiB"), std::string::npos);
  // The path is opened here and travels as a descriptor.
  EXPECT_EQ(json({"image", "inspect", "dir:" + directory_})["source"], "directory");
  EXPECT_EQ(json({"image", "inspect", "oci-archive:" + file("a.tar", "x") + ":v1"})["source"], "file");
  EXPECT_EQ(json({"image", "import", "docker-archive:" + file("b.tar", "x"), "--name", "mine:1"})["reference"], "mine:1");
  EXPECT_EQ(json({"image", "remove", "nosuch:1"}, 1)["error"]["code"], "not_found");
  EXPECT_EQ(json({"image", "import", "oci:" + path("none")}, 1)["error"]["class"], "image");
  EXPECT_EQ(json({"image", "import", "oci:" + directory_, "--name", "host"}, 2)["error"]["hint"], "choose another: --name my-host:1");
}

TEST_F(Commands, machine) {
  EXPECT_EQ(json({"doctor"})["checks"][1]["status"], "weaker");
  const std::string report = text({"doctor"});
  EXPECT_NE(report.find("not in this kernel"), std::string::npos);
  EXPECT_NE(report.find("try: boot with lsm=landlock"), std::string::npos);
  EXPECT_EQ(json({"plugin", "list"})["plugins"].size(), 2u);
  EXPECT_NE(text({"plugin", "list"}).find("/x/other.so: it is writable by others"), std::string::npos);
  EXPECT_EQ(json({"version"})["server"]["version"], "0.1.0");
}

TEST_F(Commands, doctorSaysWhenSomethingIsMissing) {
  mode("broken");
  EXPECT_EQ(json({"doctor"}, 1)["checks"][1]["status"], "missing");
  EXPECT_NE(text({"doctor"}, 1).find("MISSING"), std::string::npos);
}

TEST_F(Commands, eventsAreOneObjectALine) {
  const auto finished = run({"events", "--json", "--zone", "frontend"});
  EXPECT_EQ(finished.status, 1) << "the stream ended because the daemon did";
  EXPECT_TRUE(daemonNoted("events zone_00000000000000000000"));
  size_t lines = 0;
  std::istringstream in(finished.out);
  for (std::string line; std::getline(in, line); ++lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_EQ(lines, 3u) << "two events and the error";
  EXPECT_NE(finished.err.find("4 events were missed"), std::string::npos);
}

TEST_F(Commands, mistakes) {
  EXPECT_EQ(json({"nosuch"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"--bogus"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone", "nosuch"}, 2)["error"]["object"], "nosuch");
  EXPECT_EQ(json({"zone", "list", "--bogus"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"zone", "\xff\xfe"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"sandbx"}, 2)["error"]["hint"], "did you mean 'sandbox'? see `rauha --help`");
  EXPECT_EQ(json({"zone", "creat"}, 2)["error"].value("hint", "").find("did you mean 'create'?"), 0u);
  EXPECT_EQ(json({"zone", "create"}, 2)["error"]["hint"], "rauha zone create NAME");
  EXPECT_EQ(run({"sandbox", "--", "true"}).err.find("rauha sandbox: no image\n"), 0u) << "the name is there once";
  const auto plain = run({"zone", "nosuch"});
  EXPECT_EQ(plain.out, "");
  EXPECT_NE(plain.err.find("'nosuch' is no command"), std::string::npos);
}

TEST_F(Commands, helpNeedsNoDaemon) {
  EXPECT_NE(text({"--help"}).find("sandbox"), std::string::npos);
  EXPECT_NE(text({"help", "exit-codes"}).find("124"), std::string::npos);
  for (const char* again : {"help", "--help", "-h"}) EXPECT_EQ(text({"help", again}), text({"--help"})) << again;
  for (const char* group : {"task", "zone", "policy", "image", "plugin", "daemon"})
    EXPECT_NE(text({group, "--help"}).find("Commands:"), std::string::npos) << group;
  for (const char* command : {"sandbox", "diff", "apply", "doctor", "events", "version"})
    EXPECT_NE(text({command, "--help"}).find("Examples"), std::string::npos) << command;
  EXPECT_NE(text({"zone", "create", "--help"}).find("rauha zone create --name frontend"), std::string::npos);
  EXPECT_NE(text({"help", "sandbox"}).find("--repo-mode"), std::string::npos);
  EXPECT_EQ(text({"--version"}), "rauha 0.1.0\n");
  EXPECT_EQ(calls(), "");
}

}  // namespace
}  // namespace rauha::cli::testing
