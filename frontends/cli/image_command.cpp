// `rauha image list|inspect|history|pull|remove|import|export|verify|prune`
#include "core/base/schema_error.h"
#include "core/base/units.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/image_export.h"
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

auto inspectImage(Client& client, const std::string& reference) {
  const UniqueFd source = openImageSource(reference);
  auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.inspectImageRequest();
    request.setReference(reference);
    if (source) request.setSource(passDescriptor(source.get()));
    return request.send();
  });
  throwOnError(response.getOutcome());
  return response;
}

constexpr const char* kAnyImage = "a stored name, or oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:PATH, host";

int inspect(const Invocation& invocation) {
  Arguments arguments("rauha image inspect",
                      "Show an image: digest, platform, layers, configuration, history. What is not stored is read, not imported.",
                      "  rauha image inspect my-image:1\n  rauha image inspect oci:./layout:v1 --json\n");
  std::optional<std::string> reference;
  arguments.positional("IMAGE", reference, kAnyImage, true);
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = inspectImage(client, *reference);
  if (invocation.json) return printDocument(toJson(response.getImage())), kOk;
  printText(fieldLines(response.getImage()));
  return kOk;
}

int history(const Invocation& invocation) {
  Arguments arguments("rauha image history", "Show how an image was built, step by step, as it says itself. The newest step comes first.",
                      "  rauha image history python:3.12\n");
  std::optional<std::string> reference;
  arguments.positional("IMAGE", reference, kAnyImage, true);
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = inspectImage(client, *reference);
  const auto steps = response.getImage().getHistory();
  if (invocation.json) return printDocument(document("history", toJson(steps))), kOk;
  if (steps.size() == 0) return printText("image " + printable(*reference) + " says nothing about its history\n"), kOk;
  Table table({"LAYER", "CREATED", "SIZE", "CREATED BY"});
  for (unsigned i = steps.size(); i-- > 0;) {
    const auto step = steps[i];
    const std::string by = str(step.getCreatedBy()), comment = str(step.getComment());
    table.add({step.getEmptyLayer() ? "-"
               : step.hasDiffId()   ? str(step.getDiffId()).substr(0, 19)
                                    : "?",
               str(step.getCreatedAt()), step.hasDiffId() ? formatBytes(step.getSizeBytes()) : "", by.empty() ? comment : by});
  }
  printText(table.text());
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
                      "  rauha image import oci:./layout:v1 --name my-image:1\n  rauha image import docker-archive:./saved.tar\n"
                      "  rauha image import tar:./rootfs.tar.zst --name base:1\n");
  std::optional<std::string> reference, name;
  arguments.positional("IMAGE", reference,
                       "oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE; tar:FILE: a root file system (plain, gzip, zstd)", true);
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

int exportImage(const Invocation& invocation) {
  Arguments arguments(
      "rauha image export",
      "Write a stored image as an OCI archive or layout, as it came: same digests. The target must not exist; it is there when it is whole.",
      "  rauha image export python:3.12 --to oci-archive:python.tar\n  rauha image export my-image:1 --to oci:./layout:v1\n");
  std::optional<std::string> reference, to;
  arguments.positional("IMAGE", reference, "a stored name; `rauha image list` shows them", true);
  arguments.option("--to", to, "TARGET", "oci-archive:FILE[:TAG] or oci:DIR[:TAG]; the tag is else the image's own");
  if (!arguments.parse(invocation)) return kOk;
  if (!to) throw Error("usage", Code::invalid, "no target", "add --to oci-archive:FILE or --to oci:DIR", "--to");
  const ExportTarget target = parseExportTarget(*to);
  ExportReceiver receiver(openExportSink(target));
  Client client(instancePaths(arguments.root()));
  const auto view = standardProgress(invocation.json, "written");
  auto started = client.call([&](schema::Rauha::Client& rauha) {
    auto call = rauha.exportImageRequest();
    call.setReference(*reference);
    if (!target.tag.empty()) call.setTag(target.tag);
    call.setTarget(passDescriptor(receiver.remote()));
    call.setProgress(progressServer(view));
    return call.send();
  });
  receiver.start();
  auto handle = started.getExport();
  const auto response = client.wait(handle.waitRequest().send());
  view->finish();
  if (!response.getOutcome().isOk()) receiver.giveUp();
  throwOnError(response.getOutcome());
  receiver.finish();
  const auto image = response.getImage();
  if (invocation.json) return printDocument(toJson(image)), kOk;
  printText("image " + printable(str(image.getReference())) + " is exported to " + printable(target.path) + " (" +
            printable(str(image.getDigest())) + ", " + formatBytes(receiver.bytes()) + ")\n");
  return kOk;
}

const char* stateWord(schema::CheckState state) {
  switch (state) {
    case schema::CheckState::GOOD:
      return "good";
    case schema::CheckState::DAMAGED:
      return "DAMAGED";
    case schema::CheckState::MISSING:
      return "MISSING";
    default:
      return "not checked";
  }
}

void printChecks(schema::VerifyReport::Reader report) {
  for (const auto check : report.getChecks()) {
    if (check.getState() == schema::CheckState::GOOD) continue;
    std::string line = std::string(stateWord(check.getState())) + ": " + printable(str(check.getKind()));
    for (const auto& part : {str(check.getDigest()), str(check.getPath())})
      if (!part.empty()) line += " " + printable(part);
    std::string images;
    for (const auto image : check.getImages()) images += (images.empty() ? "" : ", ") + printable(str(image));
    line += "\n  " + printable(str(check.getText())) + (images.empty() ? "" : "\n  needed by " + images);
    if (check.hasRemedy()) line += "\n  " + printable(str(check.getRemedy()));
    printText(line + "\n");
  }
  const uint32_t bad = report.getDamaged() + report.getMissing();
  std::string sum = std::to_string(report.getGood()) + " good";
  if (bad > 0 || report.getUnknown() == 0)
    sum += ", " + std::to_string(report.getDamaged()) + " damaged, " + std::to_string(report.getMissing()) + " missing";
  if (report.getUnknown() > 0) sum += ", " + std::to_string(report.getUnknown()) + " not checked";
  printText(sum + " (" + formatBytes(report.getSizeBytes()) + " read)\n");
}

int verify(const Invocation& invocation) {
  Arguments arguments(
      "rauha image verify",
      "Read again what the store has and compare it with its digests: documents, blobs, unpacked layers. Ends with 1 when something is "
      "damaged or missing.",
      "  rauha image verify\n  rauha image verify python:3.12 --json\n");
  std::vector<std::string> references;
  arguments.positionals("IMAGE", references, "stored names (default: everything in the store)");
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto view = standardProgress(invocation.json, "checked");
  auto started = client.call([&](schema::Rauha::Client& rauha) {
    auto call = rauha.verifyImagesRequest();
    auto list = call.initReferences(static_cast<kj::uint>(references.size()));
    for (kj::uint i = 0; i < list.size(); ++i) list.set(i, references[i]);
    call.setProgress(progressServer(view));
    return call.send();
  });
  auto handle = started.getVerify();
  const auto response = client.wait(handle.waitRequest().send());
  view->finish();
  throwOnError(response.getOutcome());
  const auto report = response.getReport();
  if (invocation.json)
    printDocument(toJson(report));
  else
    printChecks(report);
  return report.getDamaged() + report.getMissing() > 0 ? kFailure : kOk;
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

constexpr Subcommand kSubcommands[] = {{"list", "list the images in the store", list},
                                       {"inspect", "show an image", inspect},
                                       {"history", "show how an image was built", history},
                                       {"pull", "fetch an image from a registry", pull},
                                       {"remove", "remove an image", remove},
                                       {"import", "put a local image into the store", import},
                                       {"export", "write an image as an OCI archive or layout", exportImage},
                                       {"verify", "read again what is stored, and compare digests", verify},
                                       {"prune", "remove what nothing needs", prune}};

}  // namespace

int imageCommand(const Invocation& invocation) { return dispatch("image", kSubcommands, std::size(kSubcommands), invocation); }

}  // namespace rauha::cli
