#include "plugins/agent/plan.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "plugins/agent/plan_reader.h"

namespace rauha::agent {
namespace {

// A valid plan that a test spoils.
struct Message {
  capnp::MallocMessageBuilder builder;
  schema::RootfsPlan::Builder root;
  Message() : root(builder.initRoot<schema::RootfsPlan>()) {
    root.setScratchBytes(1 << 20);
    root.setTmpBytes(1 << 20);
    root.initOverlay(1)[0].setPath("/layer");
  }
  Code code(size_t descriptors = 0) {
    try {
      readRoot(root.asReader(), descriptors);
    } catch (const Error& e) {
      return e.code();
    }
    return Code::none;
  }
};

TEST(Plan, IsReadAsItIs) {
  Message m;
  auto mounts = m.root.initMounts(2);
  mounts[0].setTarget("/w");
  mounts[0].setBindDescriptor(1);
  mounts[0].setMapping(schema::IdMapping::OWNER);
  mounts[0].setHostUid(5);
  mounts[1].setTarget("/d");
  mounts[1].setDirectory(01777);
  const RootPlan plan = readRoot(m.root.asReader(), 2);
  EXPECT_TRUE(plan.overlay);
  EXPECT_EQ(plan.mounts[0].source.descriptor, 1);
  EXPECT_EQ(plan.mounts[0].source.hostUid, 5u);
  EXPECT_EQ(plan.mounts[0].source.mapping, Mapping::owner);
  EXPECT_EQ(plan.mounts[1].mode, 01777);
  EXPECT_TRUE(plan.writesHostTree());
}

TEST(Plan, RefusesWhatMakesNoSense) {
  {
    Message m;
    EXPECT_EQ(m.code(), Code::none);
  }
  {
    Message m;
    m.root.setScratchBytes(0);
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    m.root.setTmpBytes(0);
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    m.root.initOverlay(0);
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    m.root.initOverlay(129);
    EXPECT_EQ(m.code(), Code::limit);
  }
  {
    Message m;
    m.root.getOverlay()[0].setPath("relative");
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    m.root.getOverlay()[0].setDescriptor(0);
    EXPECT_EQ(m.code(), Code::invalid);
    EXPECT_EQ(m.code(1), Code::none);
  }
  {
    Message m;
    m.root.setScratch(schema::ScratchKind::DISK);
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    m.root.setScratch(static_cast<schema::ScratchKind>(9));
    EXPECT_EQ(m.code(), Code::unsupported);
  }
  {
    Message m;
    auto d = m.root.initDevices(1)[0];
    d.setPath("/dev/../etc/x");
    d.setAccess("r");
    EXPECT_EQ(m.code(), Code::invalid);
  }
  {
    Message m;
    auto d = m.root.initDevices(1)[0];
    d.setPath("/dev/fuse");
    d.setAccess("x");
    EXPECT_EQ(m.code(), Code::unsupported);
  }
  for (const char* target : {"", "/", "//", "relative"}) {
    Message m;
    auto mount = m.root.initMounts(1)[0];
    mount.setTarget(target);
    mount.setTmpfs(4096);
    EXPECT_EQ(m.code(), Code::invalid) << target;
  }
}

TEST(Plan, ProcessNeedsACommandAndAnAbsolutePlace) {
  capnp::MallocMessageBuilder builder;
  auto spec = builder.initRoot<schema::ProcessSpec>();
  EXPECT_THROW(readProcess(spec.asReader()), Error);
  spec.initArgv(1).set(0, "true");
  EXPECT_EQ(readProcess(spec.asReader()).workdir, "/");
  spec.setWorkdir("relative");
  EXPECT_THROW(readProcess(spec.asReader()), Error);
}

}  // namespace
}  // namespace rauha::agent
