#pragma once
// A store in a fresh directory, a bus, workers, and the services over fakes: what every test of zones and tasks begins with.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/base/ids.h"
#include "core/testing/fake_backend.h"
#include "core/zone/zone_service.h"

namespace rauha::testing {

class CoreFixture : public ::testing::Test {
 protected:
  CoreFixture()
      : io_(kj::setupAsyncIo()),
        directory_(makeDirectory()),
        store_(directory_),
        workers_(16, 64),
        backend_(io_),
        zones_(*io_.lowLevelProvider, workers_, backend_, store_, events_, directory_) {}
  ~CoreFixture() noexcept override { std::filesystem::remove_all(directory_); }

  static std::string makeDirectory() {
    char path[] = "/tmp/rauha-core-test-XXXXXX";
    if (mkdtemp(path) == nullptr) throwErrno("test", "mkdtemp");
    std::filesystem::create_directory(std::string(path) + "/zones");
    return path;
  }
  template <typename T>
  T wait(Task<T> task) {
    return kj::mv(task).promise().wait(io_.waitScope);
  }

  ZoneRequest zoneRequest(const std::string& name, bool temporary = false, const char* policy = "standard") {
    ZoneRequest request{newId("zone"), name, policy::builtinPolicy(policy), temporary, "", 0, false, {}};
    return request;
  }
  // Nothing of any zone is left: not in the store, not with the backend, not on disk.
  void expectNothingLeft() {
    EXPECT_TRUE(store_.zones().empty());
    EXPECT_TRUE(backend_.zones().empty());
    EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/zones"));
  }
  bool emitted(std::string_view name) const {
    for (const auto& event : events_.recent(1000))
      if (event.name == name) return true;
    return false;
  }

  kj::AsyncIoContext io_;
  std::string directory_;
  store::Store store_;
  evidence::EventBus events_;
  WorkerPool workers_;
  FakeBackend backend_;
  ZoneService zones_;
};

}  // namespace rauha::testing
