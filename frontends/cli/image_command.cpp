// `rauha image list|inspect|pull|remove|import|prune`
#include "core/base/schema_error.h"
#include "core/base/units.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/inputs.h"
#include "frontends/cli/output.h"
#include "frontends/cli/progress_server.h"
#include "frontends/cli/registry_credentials.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

int list(const Invocation& invocation) {
  Arguments arguments("rauha image list", "List the images in the store.", "  rauha image list\n  rauha image list --json\n");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([](schema::Rauha::Client& rauha) { return rauha.listImagesRequest().send(); });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("images", toJson(response.getImages()))), kOk;
  Table table({"REFERENCE", "DIGEST", "SIZE", "LAYERS", "CREATED"});
  for (const auto image : response.getImages())
    table.add({str(image.getReference()), str(image.getDigest()).substr(0, 19), formatBytes(image.getSizeBytes()),
               std::to_string(image.getLayers().size()), str(image.getCreatedAt())});
  printText(table.text());
  return kOk;
}

int inspect(const Invocation& invocation) {
  Arguments arguments("rauha image inspect", "Show an image: digest, layers, configuration. What is not stored is read, not imported.",
                      "  rauha image inspect my-image:1\n  rauha image inspect oci:./layout:v1 --json\n");
  std::optional<std::string> reference;
  arguments.positional("IMAGE", reference, "an imported name, or oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:PATH, host",
                       true);
  if (!arguments.parse(invocation)) return kOk;
  const UniqueFd source = openImageSource(*reference);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.inspectImageRequest();
    request.setReference(*reference);
    if (source) request.setSource(passDescriptor(source.get()));
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(toJson(response.getImage())), kOk;
  printText(fieldLines(response.getImage()));
  return kOk;
}

int remove(const Invocation& invocation) {
  Arguments arguments("rauha image remove", "Remove an image's name, and every layer that nothing else needs.",
                      "  rauha image remove my-image:1\n");
  std::optional<std::string> reference;
  arguments.positional("IMAGE", reference, "an imported name; `rauha image list` shows them", true);
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.removeImageRequest();
    request.setReference(*reference);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("removed", jsonString(*reference))), kOk;
  printText("image " + printable(*reference) + " is removed\n");
  return kOk;
}

int import(const Invocation& invocation) {
  Arguments arguments("rauha image import", "Put a local image into the store, under a name.",
                      "  rauha image import oci:./layout:v1 --name my-image:1\n  rauha image import docker-archive:./saved.tar\n");
  std::optional<std::string> reference, name;
  arguments.positional("IMAGE", reference, "oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE", true);
  arguments.option("--name", name, "NAME", "the name to store it under (else made from the reference)");
  if (!arguments.parse(invocation)) return kOk;
  if (name && *name == "host")
    throw Error("usage", Code::invalid, "rauha image import: the name 'host' is taken: it means this machine's own programs",
                "choose another: --name my-host:1", "--name");
  const UniqueFd source = openImageSource(*reference);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.importImageRequest();
    request.setReference(*reference);
    if (source) request.setSource(passDescriptor(source.get()));
    if (name) request.setName(*name);
    return request.send();
  });
  throwOnError(response.getOutcome());
  const auto image = response.getImage();
  if (invocation.json) return printDocument(toJson(image)), kOk;
  printText("image " + printable(str(image.getReference())) + " is stored (" + printable(str(image.getDigest())) + ", " +
            formatBytes(image.getSizeBytes()) + ")\n");
  return kOk;
}

int pull(const Invocation& invocation) {
  Arguments arguments("rauha image pull",
                      "Fetch an image from a registry. What the store has of it is not fetched again; a pull that was broken off goes on.",
                      "  rauha image pull python:3.12\n  rauha image pull registry.example:5000/team/app@sha256:… --platform linux/arm64\n"
                      "Credentials: rauha login, docker's config.json, auth.json, credential helpers; read with your rights.\n");
  std::optional<std::string> reference, platform;
  arguments.positional("IMAGE", reference, "[HOST[:PORT]/]NAME[:TAG][@DIGEST]; without a host: docker.io", true);
  arguments.option("--platform", platform, "OS/ARCH[/VARIANT]", "of an image for several platforms (default: this machine's)");
  if (!arguments.parse(invocation)) return kOk;
  const std::string credentials = fetchCredentials(planCredentials(*reference));
  Client client(instancePaths(arguments.root()));
  const auto view = standardProgress(invocation.json);
  auto started = client.call([&](schema::Rauha::Client& rauha) {
    auto call = rauha.pullImageRequest();
    auto request = call.initRequest();
    request.setReference(*reference);
    if (platform) request.setPlatform(*platform);
    if (!credentials.empty()) request.setCredentials(credentials);
    call.setProgress(progressServer(view));
    return call.send();
  });
  auto handle = started.getPull();
  const auto response = client.wait(handle.waitRequest().send());
  view->finish();
  throwOnError(response.getOutcome());
  const auto image = response.getImage();
  if (invocation.json) return printDocument(toJson(image)), kOk;
  printText("image " + printable(str(image.getReference())) + " is stored (" + printable(str(image.getDigest())) + ", " +
            formatBytes(image.getSizeBytes()) + ")\n");
  return kOk;
}

int prune(const Invocation& invocation) {
  Arguments arguments("rauha image prune", "Remove what nothing needs: layers without an image, pulls that were broken off.",
                      "  rauha image prune\n  rauha image prune --all\n");
  bool all = false;
  arguments.flag("--all", all, "also every image that no zone uses");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.pruneImagesRequest();
    request.setAll(all);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("removed", toJson(response.getImages()))), kOk;
  for (const auto image : response.getImages()) printText("image " + printable(str(image.getReference())) + " is removed\n");
  return kOk;
}

constexpr Subcommand kSubcommands[] = {
    {"list", "list the images in the store", list},         {"inspect", "show an image", inspect},
    {"pull", "fetch an image from a registry", pull},       {"remove", "remove an image", remove},
    {"import", "put a local image into the store", import}, {"prune", "remove what nothing needs", prune}};

}  // namespace

int imageCommand(const Invocation& invocation) { return dispatch("image", kSubcommands, std::size(kSubcommands), invocation); }

}  // namespace rauha::cli
