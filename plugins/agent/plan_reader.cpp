#include "plugins/agent/plan_reader.h"

#include "core/base/error.h"

namespace rauha::agent {
namespace {

[[noreturn]] void unknown(const char* what) {
  throw Error("zone", Code::unsupported, std::string("the plan uses a kind of ") + what + " that this agent does not know",
              "the daemon and the agent are of different versions; restart the zone");
}

std::string text(capnp::Text::Reader t) { return std::string(t.begin(), t.size()); }

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> out;
  out.reserve(list.size());
  for (auto t : list) out.push_back(text(t));
  return out;
}

Mapping mapping(schema::IdMapping m) {
  switch (m) {
    case schema::IdMapping::NONE:
      return Mapping::none;
    case schema::IdMapping::ZONE:
      return Mapping::zone;
    case schema::IdMapping::OWNER:
      return Mapping::owner;
  }
  unknown("id mapping");
}

Source layer(schema::Layer::Reader in) {
  Source s;
  switch (in.which()) {
    case schema::Layer::PATH:
      s.path = text(in.getPath());
      break;
    case schema::Layer::DESCRIPTOR:
      s.descriptor = static_cast<int>(in.getDescriptor() & 0x7fffffff);
      break;
    default:
      unknown("layer");
  }
  s.mapping = mapping(in.getMapping());
  s.hostUid = in.getHostUid();
  s.hostGid = in.getHostGid();
  return s;
}

MountPlan mount(schema::Mount::Reader in) {
  using Kind = MountPlan::Kind;
  MountPlan m;
  m.target = text(in.getTarget());
  switch (in.which()) {
    case schema::Mount::BIND_PATH:
      m.source.path = text(in.getBindPath());
      break;
    case schema::Mount::BIND_DESCRIPTOR:
      m.source.descriptor = static_cast<int>(in.getBindDescriptor() & 0x7fffffff);
      break;
    case schema::Mount::TMPFS:
      m.kind = Kind::tmpfs, m.bytes = in.getTmpfs();
      break;
    case schema::Mount::SYMLINK:
      m.kind = Kind::symlink, m.content = text(in.getSymlink());
      break;
    case schema::Mount::FILE: {
      m.kind = Kind::file;
      auto data = in.getFile();
      m.content.assign(reinterpret_cast<const char*>(data.begin()), data.size());
      break;
    }
    case schema::Mount::DIRECTORY:
      m.kind = Kind::directory, m.mode = in.getDirectory() & 07777;
      break;
    default:
      unknown("mount");
  }
  m.source.mapping = mapping(in.getMapping());
  m.source.hostUid = in.getHostUid();
  m.source.hostGid = in.getHostGid();
  m.readOnly = in.getReadOnly();
  m.optional = in.getOptional();
  m.exec = in.getExec();
  m.overlay = in.getOverlay();
  for (auto l : in.getLower()) m.lower.push_back(layer(l));
  return m;
}

DevicePlan device(schema::Device::Reader in) {
  DevicePlan d;
  d.path = text(in.getPath());
  for (char c : in.getAccess()) {
    if (c == 'r')
      d.read = true;
    else if (c == 'w')
      d.write = true;
    else if (c != 'm')
      unknown("device access");
  }
  return d;
}

}  // namespace

RootPlan readRoot(schema::RootfsPlan::Reader in, size_t descriptorCount) {
  RootPlan plan;
  switch (in.which()) {
    case schema::RootfsPlan::OVERLAY:
      plan.overlay = true;
      for (auto l : in.getOverlay()) plan.layers.push_back(layer(l));
      break;
    case schema::RootfsPlan::EMPTY:
      break;
    default:
      unknown("root");
  }
  plan.readOnlyRoot = in.getReadOnlyRoot();
  switch (in.getScratch()) {
    case schema::ScratchKind::MEMORY:
      plan.scratch = Scratch::memory;
      break;
    case schema::ScratchKind::DISK:
      plan.scratch = Scratch::disk;
      break;
    default:
      unknown("scratch");
  }
  plan.scratchBytes = in.getScratchBytes();
  plan.scratchDirectory = text(in.getScratchDirectory());
  plan.tmpBytes = in.getTmpBytes();
  for (auto m : in.getMounts()) plan.mounts.push_back(mount(m));
  plan.masked = texts(in.getMasked());
  plan.readOnly = texts(in.getReadOnly());
  for (auto d : in.getDevices()) plan.devices.push_back(device(d));
  validate(plan, descriptorCount);
  return plan;
}

ProcessPlan readProcess(schema::ProcessSpec::Reader in) {
  ProcessPlan plan;
  plan.argv = texts(in.getArgv());
  plan.env = texts(in.getEnv());
  if (in.hasWorkdir() && in.getWorkdir().size() > 0) plan.workdir = text(in.getWorkdir());
  plan.workdirRequired = in.getWorkdirRequired();
  plan.user = text(in.getUser());
  plan.terminal = in.getTerminal();
  plan.rows = in.getRows();
  plan.columns = in.getColumns();
  plan.stdinOpen = in.getStdin();
  validate(plan);
  return plan;
}

}  // namespace rauha::agent
