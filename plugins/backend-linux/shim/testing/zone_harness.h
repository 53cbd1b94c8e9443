#pragma once
// A real zone for tests: its own control groups, a shim started as the backend starts it, and a client of the agent protocol. Everything it
// made is gone when it is destroyed, and that nothing is left is itself checked.

#include <schemas/agent.capnp.h>
#include <schemas/boundary.capnp.h>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/linux-common/cgroup.h"
#include "plugins/linux-common/cgroup_create.h"

namespace rauha::testing {

struct ZoneOptions {
  bool ephemeral = true;
  bool userNamespace = true;
  bool noSuid = true;
  bool hostNetwork = false;
  bool landlock = true;
  bool listen = false;
  uint64_t memoryBytes = 512u << 20;
  uint64_t pids = 64;
  uint32_t openFiles = 256;
  std::vector<uint8_t> capabilities = {0, 1, 3, 4, 5, 6, 7, 8, 10, 18};
  std::vector<std::string> allow;  // system calls on top of the default list
  int failStep = 0;                // the shim's call into the kernel that fails (linux-common/testing/fault_point.h); 0: the real shim
};

using MountWriter = std::function<void(schema::Mount::Builder)>;

struct Job {
  std::vector<std::string> argv;
  std::vector<std::string> env = {"PATH=/bin:/usr/bin", "HOME=/root"};
  std::string user, workdir = "/", input, scratchDirectory;
  std::vector<std::string> layers;  // lowest first; empty: the busybox image
  std::vector<MountWriter> mounts;
  std::vector<std::string> masked, readOnly;
  std::vector<std::pair<std::string, std::string>> devices;
  std::vector<int> descriptors;  // borrowed
  bool emptyRoot = false, readOnlyRoot = false, terminal = false, workdirRequired = false, diskScratch = false, stdinOpen = false;
  uint64_t scratchBytes = 64u << 20, tmpBytes = 16u << 20;
  schema::IdMapping layerMapping = schema::IdMapping::ZONE;
};

struct Ran {
  std::optional<Error> error;  // of create or start
  int exited = -1, signaled = 0;
  bool outOfMemory = false;
  std::string out, err;
  std::vector<std::string> notes, capabilities;
  uint32_t landlockAbi = 0;
  bool seccomp = false, noNewPrivs = false;
  uint64_t totalNs = 0;
  std::vector<std::pair<std::string, uint64_t>> stages;
};

class Sink final : public schema::ByteSink::Server {
 public:
  explicit Sink(std::string& into, bool* ended = nullptr) : into_(into), ended_(ended) {}
  kj::Promise<void> write(WriteContext context) override;
  kj::Promise<void> end(EndContext) override;

 private:
  std::string& into_;
  bool* ended_;
};

// A process that was created but not waited for.
struct Live {
  schema::Process::Client process = nullptr;
  int pid = 0;
  std::optional<Error> error;
  std::shared_ptr<std::string> out = std::make_shared<std::string>(), err = std::make_shared<std::string>();
  Ran ran;
};

class TestZone final {
 public:
  explicit TestZone(kj::AsyncIoContext& io, const ZoneOptions& options = {});
  ~TestZone();
  TestZone(const TestZone&) = delete;
  TestZone& operator=(const TestZone&) = delete;

  // create, attach, start, feed, wait. Class and code of what failed are in `error`.
  Ran run(const Job& job);
  Live create(const Job& job, bool attach = true);
  std::optional<Error> start(Live& live);
  Ran wait(Live& live, const std::string& input = {}, bool feed = false);
  Live exec(const Job& job);  // in the last container
  schema::Agent::Client& agent() { return agent_; }
  // The fresh layer that the last container wrote at `target`.
  UniqueFd writableLayer(const std::string& target);
  void disconnect();
  void reconnect();  // through the socket path
  pid_t shimPid() const { return shim_; }
  int shimPidfd() const { return shimPidfd_.get(); }
  const cgroup::ZoneGroups& groups() const { return *groups_; }
  uint32_t hostIdBase() const { return hostIdBase_; }
  const std::string& id() const { return id_; }
  std::string socketPath() const;
  bool shimEnds(int timeoutMs);
  bool zoneEmpties(int timeoutMs);

  template <typename T>
  T await(kj::Promise<T> promise) {
    return io_.provider->getTimer().timeoutAfter(30 * kj::SECONDS, kj::mv(promise)).wait(io_.waitScope);
  }

 private:
  void makeGroups(const ZoneOptions& options);
  UniqueFd boundary(const ZoneOptions& options);
  void startShim(int boundary, int agent, int outcome, int failStep);
  void end();
  void connect(UniqueFd fd);
  void writeRoot(schema::RootfsPlan::Builder out, const Job& job);

  kj::AsyncIoContext& io_;
  std::string id_, directory_, lastContainer_;
  uint32_t hostIdBase_ = 0;
  std::unique_ptr<cgroup::GroupTree> tree_;
  std::vector<cgroup::Member> members_;
  std::unique_ptr<cgroup::ZoneGroups> groups_;
  pid_t shim_ = 0;
  UniqueFd shimPidfd_;
  kj::Own<kj::AsyncCapabilityStream> stream_;
  kj::Own<capnp::TwoPartyClient> client_;
  schema::Agent::Client agent_ = nullptr;
  int containers_ = 0;
};

// A directory that is removed with everything in it.
class TempTree final {
 public:
  explicit TempTree(const std::string& base = "/tmp");
  ~TempTree();
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& content, mode_t mode = 0644) const;
  void directory(const std::string& name, mode_t mode = 0755) const;
  void link(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

// busybox with its applets, /etc/passwd and /etc/group; made once per process.
const std::string& busyboxLayer();

}  // namespace rauha::testing
