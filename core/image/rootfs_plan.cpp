#include "core/image/rootfs_plan.h"

#include <algorithm>

#include "core/base/error.h"

namespace rauha::image {
namespace {

void setTexts(capnp::List<capnp::Text>::Builder list, const std::vector<std::string>& from) {
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, from[i]);
}

schema::IdMapping mappingOf(plugin::LayerMapping m) {
  switch (m) {
    case plugin::LayerMapping::none:
      return schema::IdMapping::NONE;
    case plugin::LayerMapping::zone:
      return schema::IdMapping::ZONE;
    case plugin::LayerMapping::owner:
      return schema::IdMapping::OWNER;
  }
  return schema::IdMapping::NONE;
}

uint32_t keep(std::vector<UniqueFd>& descriptors, UniqueFd fd) {
  descriptors.push_back(std::move(fd));
  return static_cast<uint32_t>(descriptors.size() - 1);
}

void writeLayers(schema::RootfsPlan::Builder plan, plugin::ResolvedImage& image, const ContainerRequest& request,
                 std::vector<UniqueFd>& descriptors) {
  auto layers = plan.initOverlay(static_cast<unsigned>(image.layers.size()));
  for (unsigned i = 0; i < layers.size(); ++i) {
    auto& from = image.layers[i];
    auto to = layers[i];
    if (from.directory)
      to.setDescriptor(keep(descriptors, std::move(from.directory)));
    else
      to.setPath(from.path);
    to.setMapping(mappingOf(from.mapping));
    to.setHostUid(request.callerUid);
    to.setHostGid(request.callerGid);
  }
}

void writeMount(schema::Mount::Builder to, const plugin::MountEntry& from) {
  to.setTarget(from.target);
  to.setOptional(from.optional);
  to.setExec(from.exec);
  to.setReadOnly(from.kind == plugin::MountKind::bind);
  switch (from.kind) {
    case plugin::MountKind::bind:
      to.setBindPath(from.source);
      break;
    case plugin::MountKind::symlink:
      to.setSymlink(from.source);
      break;
    case plugin::MountKind::file:
      to.setFile(kj::arrayPtr(reinterpret_cast<const kj::byte*>(from.source.data()), from.source.size()));
      break;
    case plugin::MountKind::directory:
      to.setDirectory(static_cast<uint16_t>(from.number & 07777));
      break;
    case plugin::MountKind::tmpfs:
      to.setTmpfs(from.number);
      break;
  }
}

void writeRepository(schema::Mount::Builder to, Repository& repository, std::vector<UniqueFd>& descriptors) {
  to.setTarget(kWorkspace);
  to.setBindDescriptor(keep(descriptors, std::move(repository.directory)));
  to.setReadOnly(repository.mode == RepositoryMode::readOnly);
  to.setOverlay(repository.mode == RepositoryMode::overlay);
  auto lower = to.initLower(static_cast<unsigned>(repository.lower.size()));
  for (unsigned i = 0; i < lower.size(); ++i) {
    lower[i].setDescriptor(keep(descriptors, std::move(repository.lower[i])));
    lower[i].setMapping(schema::IdMapping::ZONE);
  }
  to.setMapping(schema::IdMapping::OWNER);
  to.setHostUid(repository.uid);
  to.setHostGid(repository.gid);
  to.setExec(true);
}

void writeProcess(schema::ProcessSpec::Builder to, const Config& config, const ContainerRequest& request) {
  setTexts(to.initArgv(static_cast<unsigned>(request.argv.size())), request.argv);
  const auto env = mergeEnvironment(config.env, request.env, request.terminal);
  setTexts(to.initEnv(static_cast<unsigned>(env.size())), env);
  if (!request.workdir.empty())
    to.setWorkdir(request.workdir);
  else if (request.repository)
    to.setWorkdir(kWorkspace);
  else
    to.setWorkdir(config.workdir.empty() ? "/" : config.workdir);
  // A directory that the user named must exist; the image's own is made, as image-spec says of WorkingDir.
  to.setWorkdirRequired(!request.workdir.empty());
  const std::string& user = request.user.empty() ? config.user : request.user;
  if (!user.empty()) to.setUser(user);
  to.setTerminal(request.terminal);
  to.setRows(request.rows);
  to.setColumns(request.columns);
  to.setStdin(request.stdin);
}

}  // namespace

std::vector<std::string> mergeEnvironment(const std::vector<std::string>& image, const std::vector<std::string>& request, bool terminal) {
  std::vector<std::string> out;
  const auto put = [&](const std::string& variable) {
    const auto equals = variable.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error("usage", Code::invalid, "environment '" + variable + "' is not of the form NAME=VALUE", "write --env NAME=VALUE",
                  variable);
    const std::string name = variable.substr(0, equals + 1);
    std::erase_if(out, [&](const std::string& other) { return other.rfind(name, 0) == 0; });
    out.push_back(variable);
  };
  put("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  put("HOME=/root");
  if (terminal) put("TERM=xterm");
  for (const auto& v : image)
    if (v.find('=') != std::string::npos && v[0] != '=') put(v);  // images with a bare NAME exist; it means nothing
  for (const auto& v : request) put(v);
  return out;
}

std::vector<UniqueFd> buildContainerSpec(schema::ContainerSpec::Builder out, plugin::ResolvedImage& image, const Config& config,
                                         schema::Policy::Reader policy, ContainerRequest& request) {
  std::vector<UniqueFd> descriptors;
  out.setId(request.id);
  auto plan = out.initRootfs();
  const auto filesystem = policy.getFilesystem();
  if (image.mounts.empty())
    writeLayers(plan, image, request, descriptors);
  else
    plan.setEmpty();
  plan.setReadOnlyRoot(filesystem.getReadOnlyRoot());
  plan.setScratch(filesystem.getScratch());
  plan.setScratchBytes(filesystem.getScratchBytes());
  plan.setScratchDirectory(request.scratchDirectory);
  plan.setTmpBytes(filesystem.getTmpBytes());
  auto mounts = plan.initMounts(static_cast<unsigned>(image.mounts.size() + (request.repository ? 1 : 0)));
  for (unsigned i = 0; i < image.mounts.size(); ++i) writeMount(mounts[i], image.mounts[i]);
  const bool repository = request.repository.has_value();
  if (repository) writeRepository(mounts[mounts.size() - 1], *request.repository, descriptors);
  plan.setMasked(filesystem.getMasked());
  plan.setReadOnly(filesystem.getReadOnly());
  plan.setDevices(policy.getDevices());
  writeProcess(out.initProcess(), config, request);
  return descriptors;
}

}  // namespace rauha::image
