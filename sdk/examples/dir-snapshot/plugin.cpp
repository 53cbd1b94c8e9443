// dir-snapshot: an image source ("rauha.image/1") that copies a directory when a task asks for it, so that the task sees the tree as it was
// then, whatever happens to it afterwards.
//
//   snapshot:/srv/tree    a snapshot of that directory, taken now; kept as long as the zone
//   snapshot:NAME         one that was imported: rauha image import snapshot:/srv/tree --name NAME
//
// Here is the border: what crosses it is checked here, and nothing else is done here.
#include <rauha/config.hpp>
#include <rauha/plugin.hpp>

#include "store.h"

namespace {

namespace sdk = rauha::sdk;
using sdk::Call;
using sdk::Error;

constexpr std::string_view kScheme = "snapshot:";

TreeLimits limitsOf(std::string_view text) {
  sdk::Config config(text);
  TreeLimits out;
  out.bytes = config.bytes("max_bytes", 1, 1ull << 50, out.bytes);
  out.entries = static_cast<uint64_t>(config.number("max_entries", 1, 100'000'000, static_cast<int64_t>(out.entries)));
  config.refuseUnknown();
  return out;
}

// What a reference means: a path (its directory comes as a descriptor, opened by whoever asks) or a name.
struct Reference {
  bool path = false;
  std::string name;
};

std::string checkedName(std::string_view name, const std::string& what) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789", kAny = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  if (name.empty() || name.size() > 64 || kFirst.find(name[0]) == std::string_view::npos ||
      name.find_first_not_of(kAny) != std::string_view::npos)
    throw Error(RAUHA_E_INVALID, what + " is no snapshot's name",
                "a name has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit");
  return std::string(name);
}

Reference parse(std::string_view text) {
  const std::string what = "image " + std::string(text.substr(0, 100));
  if (!text.starts_with(kScheme))
    throw Error(RAUHA_E_INVALID, what + " does not begin with snapshot:", "write snapshot:/DIR, or snapshot:NAME");
  text.remove_prefix(kScheme.size());
  if (text.starts_with('/') || text.starts_with('.')) return {true, {}};
  return {false, checkedName(text, what)};
}

class DirSnapshot {
 public:
  DirSnapshot(sdk::Host host, std::string_view config)
      : host_(host), limits_(limitsOf(config)), store_(std::string(host.stateDir()) + "/plugins/dir-snapshot", limits_) {}

  void resolve(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    refuseUnknown(request);
    const Reference reference = parse(sdk::view(request.reference));
    const auto lease = sdk::view(request.lease);
    push(sink, reference.path ? store_.take(sourceOf(request), callerOf(request), lease, {}, call) : store_.find(reference.name, lease),
         sdk::view(request.reference));
  }

  // Of a path: what a snapshot would be, read and hashed but not kept.
  void inspect(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    refuseUnknown(request);
    const Reference reference = parse(sdk::view(request.reference));
    if (!reference.path) return push(sink, store_.find(reference.name, {}), sdk::view(request.reference));
    const TreeFacts facts = readTree(sourceOf(request), callerOf(request), -1, limits_, call);
    Snapshot out;
    out.hex = facts.digest.substr(7);
    out.bytes = facts.bytes;
    push(sink, out, sdk::view(request.reference));
  }

  void importImage(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    refuseUnknown(request);
    if (!parse(sdk::view(request.reference)).path) throw Error(RAUHA_E_INVALID, "only a directory can be imported", "write snapshot:/DIR");
    std::string_view name = sdk::view(request.name);
    if (name.empty()) throw Error(RAUHA_E_INVALID, "a snapshot needs a name", "add --name NAME");
    // What is stored is asked for by the scheme again; --name may be written with it or without.
    if (name.starts_with(kScheme)) name.remove_prefix(kScheme.size());
    push(sink, store_.take(sourceOf(request), callerOf(request), {}, checkedName(name, "--name " + std::string(name.substr(0, 100))), call),
         {});
  }

  void list(Call&, const rauha_image_request& request, const rauha_image_sink& sink) {
    refuseUnknown(request);
    for (const Snapshot& snapshot : store_.list()) push(sink, snapshot, {});
  }
  void remove(Call&, const rauha_image_request& request) {
    refuseUnknown(request);
    const Reference reference = parse(sdk::view(request.reference));
    if (reference.path)
      throw Error(RAUHA_E_INVALID, "the snapshot of a directory has no name that could be removed", "write snapshot:NAME");
    store_.remove(reference.name);
  }
  void release(Call&, std::string_view lease) { store_.release(lease); }
  void reconcile(Call&, const std::vector<std::string_view>& leases) { store_.reconcile(leases); }

 private:
  // A later Rauha may ask for something that this plugin does not know: then it says no, instead of giving another image than was meant.
  static void refuseUnknown(const rauha_image_request& request) {
    sdk::refuseUnknownFlags(request.flags, 0, "image request");
    sdk::eachRecord(request.records, "image request", [](const rauha_record&) { return false; });
  }
  static int sourceOf(const rauha_image_request& request) {
    if (request.source_fd_borrow < 0)
      throw Error(RAUHA_E_INVALID, "no directory came with the reference", "begin the path with / or ./, so that the client opens it");
    return request.source_fd_borrow;
  }
  static Caller callerOf(const rauha_image_request& request) noexcept { return {request.caller_uid, request.caller_gid}; }

  void push(const rauha_image_sink& sink, const Snapshot& snapshot, std::string_view reference) const {
    for (const std::string& note : snapshot.notes) host_.log(RAUHA_LOG_INFO, "left out of a snapshot: " + note);
    const std::string name = std::string(kScheme) + snapshot.name, digest = "sha256:" + snapshot.hex;
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = sdk::str(reference.empty() ? std::string_view(name) : reference);
    info.digest = sdk::str(digest);
    info.source = sdk::str("snapshot");
    info.size = snapshot.bytes;
    info.created_ns = snapshot.createdNs;
    sink.info(sink.context, &info);
    if (snapshot.path.empty()) return;
    rauha_image_layer layer{};
    layer.struct_size = sizeof layer;
    layer.id_mapping = RAUHA_LAYER_ID_ZONE;  // the copy has the zone's ids: see tree.h
    layer.directory_fd_borrow = -1;
    layer.path = sdk::str(snapshot.path);
    layer.digest = sdk::str(digest);
    layer.media_type = sdk::str("application/vnd.rauha.dir-snapshot");
    layer.size = snapshot.bytes;
    sink.layer(sink.context, &layer);
  }

  sdk::Host host_;
  TreeLimits limits_;
  Store store_;
};

}  // namespace

RAUHA_IMAGE_PLUGIN(DirSnapshot, "dir-snapshot", "1.0", "Apache-2.0");
