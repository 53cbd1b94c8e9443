#pragma once
// What the agent's test files share: an event loop per test, and short ways to say "run this script".

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "plugins/backend-linux/shim/testing/zone_harness.h"

namespace rauha::testing {

class AgentTest : public ::testing::Test {
 protected:
  std::unique_ptr<kj::AsyncIoContext> holder_ = std::make_unique<kj::AsyncIoContext>(kj::setupAsyncIo());
  kj::AsyncIoContext& io_ = *holder_;
};

inline Job sh(const std::string& script) {
  Job job;
  job.argv = {"sh", "-c", script};
  return job;
}

// Everything about a run, for failed expectations.
inline std::string say(const Ran& r) {
  return (r.error ? r.error->errorClass() + ": " + r.error->text() : std::string()) + " out=[" + r.out + "] err=[" + r.err +
         "] exit=" + std::to_string(r.exited) + " signal=" + std::to_string(r.signaled);
}

inline MountWriter bindPath(const std::string& source, const std::string& target, bool readOnly = true) {
  return [=](schema::Mount::Builder m) {
    m.setTarget(target);
    m.setBindPath(source);
    m.setReadOnly(readOnly);
    m.setExec(true);
  };
}

// The repository: the host's ids are the zone's run user.
inline MountWriter repository(int descriptor, const std::string& target, bool readOnly, uint32_t uid, uint32_t gid) {
  return [=](schema::Mount::Builder m) {
    m.setTarget(target);
    m.setBindDescriptor(static_cast<uint32_t>(descriptor));
    m.setReadOnly(readOnly);
    m.setMapping(schema::IdMapping::OWNER);
    m.setHostUid(uid);
    m.setHostGid(gid);
    m.setExec(true);
  };
}

inline MountWriter file(const std::string& target, const std::string& content) {
  return [=](schema::Mount::Builder m) {
    m.setTarget(target);
    m.setFile(kj::arrayPtr(reinterpret_cast<const kj::byte*>(content.data()), content.size()));
  };
}

}  // namespace rauha::testing
