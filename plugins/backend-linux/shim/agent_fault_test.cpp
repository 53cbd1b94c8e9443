// Every step of making a zone and its first process fails once: the error comes through, and nothing of what was made before it stays.
// That nothing stays is looked at by the harness at the end of each zone, in the kernel.

#include <fcntl.h>

#include "plugins/backend-linux/shim/testing/agent_fixture.h"

namespace rauha::testing {
namespace {

class AgentFault : public AgentTest {
 protected:
  struct Told {
    std::optional<Error> error;
    bool ran = false;
  };
  Told tryWith(int step, const Job& job) {
    ZoneOptions options;
    options.failStep = step;
    Told told;
    try {
      TestZone zone(io_, options);
      const Ran r = zone.run(job);
      told.error = r.error;
      told.ran = !r.error && r.exited == 0 && r.out == "ran\n";
    } catch (const Error& e) {
      told.error = e;
    }
    return told;
  }
  // Steps from the first on until so many in a row changed nothing. Returns how many of them failed.
  int failEach(const Job& job) {
    constexpr int kQuiet = 12, kMost = 500;
    int failed = 0;
    for (int step = 1, quiet = 0; quiet < kQuiet; ++step) {
      EXPECT_LT(step, kMost) << "the steps do not come to an end";
      if (step >= kMost) break;
      const Told told = tryWith(step, job);
      // A step may be one that can be done without, or that is tried in another way: then the task runs as if nothing had been.
      EXPECT_TRUE(told.ran || told.error) << "step " << step << " failed, and neither did the task run nor was an error told";
      if (told.error) {
        EXPECT_NE(told.error->code(), Code::internal) << "step " << step << ": " << told.error->text();
        EXPECT_FALSE(told.error->text().empty());
      }
      failed += told.error ? 1 : 0;
      quiet = told.error ? 0 : quiet + 1;
      if (HasFailure()) break;
    }
    return failed;
  }
};

TEST_F(AgentFault, EveryStepOfAZoneFailsOnce) { EXPECT_GE(failEach(sh("echo ran")), 40); }

TEST_F(AgentFault, EveryStepOfARootWithEverythingFailsOnce) {
  TempTree host;
  host.directory("repo");
  host.directory("bound");
  const UniqueFd repo(::open((host / "repo").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  Job job = sh("echo ran");
  job.descriptors = {repo.get()};
  job.mounts = {repository(0, "/workspace", false, 1000, 1000), bindPath(host / "bound", "/bound"), file("/etc/extra", "x")};
  job.masked = {"/etc/group"};
  job.readOnly = {"/root"};
  EXPECT_GE(failEach(job), 60);
}

}  // namespace
}  // namespace rauha::testing
