// rauha.image/1 for the cases: a thing is a lease on a working reference.
#include <sys/stat.h>

#include <algorithm>

#include "driver.h"
#include "image_archive.h"
#include "sample_image.h"

namespace rauha::conformance {
namespace {

using testing::CapturedImage;
using testing::FakeCall;
using testing::ImageCapture;

const StructShape kRequest = {"rauha_image_request",
                              sizeof(rauha_image_request),
                              {{"reference", offsetof(rauha_image_request, reference), false},
                               {"lease", offsetof(rauha_image_request, lease), false},
                               {"name", offsetof(rauha_image_request, name), false}},
                              offsetof(rauha_image_request, records)};

bool isDigest(const std::string& s) {
  return s.size() == 71 && s.compare(0, 7, "sha256:") == 0 && s.find_first_not_of("0123456789abcdef", 7) == std::string::npos;
}
bool isPath(const std::string& s) {
  return !s.empty() && s[0] == '/' && s.find('\0') == std::string::npos && (s + "/").find("/../") == std::string::npos;
}

// What the header promises about a pushed image; the first thing that is wrong, or empty.
std::string wrongLayer(const testing::CapturedImageLayer& l) {
  if (l.structSize < sizeof(rauha_image_layer)) return "a layer's struct_size is " + std::to_string(l.structSize);
  if (l.flags != 0) return "a layer has unknown flags " + std::to_string(l.flags);
  if (l.idMapping > RAUHA_LAYER_ID_OWNER) return "a layer has the unknown id_mapping " + std::to_string(l.idMapping);
  if (l.path.empty() && !l.hasDirectory) return "a layer has neither a path nor an open directory_fd_borrow";
  if (!l.path.empty() && l.hasDirectory) return "a layer has both a path and a directory_fd_borrow";
  if (!l.path.empty() && !isPath(l.path)) return "a layer's path " + inQuotes(l.path) + " is not absolute or has \"..\"";
  if (!l.digest.empty() && !isDigest(l.digest)) return "a layer's digest is " + inQuotes(l.digest);
  if (!l.diffId.empty() && !isDigest(l.diffId)) return "a layer's diff_id is " + inQuotes(l.diffId);
  return {};
}
std::string wrongMount(const testing::CapturedMount& m) {
  if (m.structSize < sizeof(rauha_image_mount)) return "a mount's struct_size is " + std::to_string(m.structSize);
  if ((m.flags & ~(RAUHA_MOUNT_OPTIONAL | RAUHA_MOUNT_EXEC)) != 0) return "a mount has unknown flags " + std::to_string(m.flags);
  if (m.kind > RAUHA_MOUNT_TMPFS) return "a mount has the unknown kind " + std::to_string(m.kind);
  if (!isPath(m.target)) return "a mount's target " + inQuotes(m.target) + " is not absolute or has \"..\"";
  if (m.kind == RAUHA_MOUNT_BIND && !isPath(m.source)) return "a bind mount's source " + inQuotes(m.source) + " is not absolute";
  if (m.kind == RAUHA_MOUNT_SYMLINK && m.source.empty()) return "the link " + inQuotes(m.target) + " has no text";
  return {};
}
std::string wrongImages(const ImageCapture& got, bool exactlyOne) {
  if (got.strays != 0) return "a layer or mount was pushed before the image's info";
  if (exactlyOne && got.images.size() != 1) return "returned OK with " + std::to_string(got.images.size()) + " images, expected 1";
  for (const CapturedImage& i : got.images) {
    if (i.structSize < sizeof(rauha_image_info)) return "an info's struct_size is " + std::to_string(i.structSize);
    if (i.flags != 0) return "an info has unknown flags " + std::to_string(i.flags);
    if (i.reference.empty()) return "an info has no reference";
    if (i.source.empty()) return "the info of " + inQuotes(i.reference) + " has no source";
    if (!i.digest.empty() && !isDigest(i.digest)) return "the digest of " + inQuotes(i.reference) + " is " + inQuotes(i.digest);
    if (i.layers.size() > 500) return inQuotes(i.reference) + " has " + std::to_string(i.layers.size()) + " layers, at most 500";
    if (i.mounts.size() > 1024) return inQuotes(i.reference) + " has " + std::to_string(i.mounts.size()) + " mounts, at most 1024";
    for (const auto& l : i.layers)
      if (std::string w = wrongLayer(l); !w.empty()) return w;
    for (const auto& m : i.mounts)
      if (std::string w = wrongMount(m); !w.empty()) return w;
  }
  return {};
}

using RequestFunction = rauha_status (*)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*);

Outcome request(Session& s, FakeCall& call, Input& input, RequestFunction f, ImageCapture& got, bool exactlyOne = true) {
  Outcome out;
  guardedCall(out, call, [&] { return f(s.raw(), call.raw(), input.as<rauha_image_request>(), got.raw()); });
  if (out.ok()) out.contract = wrongImages(got, exactlyOne);
  return out;
}

Operation requesting(const char* name, RequestFunction (*which)(const rauha_image_v1&)) {
  return {name, Operation::Takes::record, &kRequest, false, false, [which](Session& s, FakeCall& call, Input& input) {
            ImageCapture got;
            return request(s, call, input, which(*s.table<rauha_image_v1>()), got);
          }};
}

// What the host answers for a plugin that does not have a function which came after 1.0.
Outcome absent() {
  Outcome out;
  out.status = out.told = RAUHA_E_UNSUPPORTED;
  out.text = "the plugin does not have it";
  out.errors = 1;
  return out;
}

std::string wrongCheck(const testing::CapturedCheck& c) {
  if (c.structSize < sizeof(rauha_image_check)) return "a check's struct_size is " + std::to_string(c.structSize);
  if (c.flags != 0) return "a check has unknown flags " + std::to_string(c.flags);
  if (c.state > RAUHA_CHECK_UNKNOWN) return "a check has the unknown state " + std::to_string(c.state);
  if (c.kind.empty()) return "a check has no kind";
  if (!c.digest.empty() && !isDigest(c.digest)) return "a check's digest is " + inQuotes(c.digest);
  if (!c.path.empty() && !isPath(c.path)) return "a check's path is " + inQuotes(c.path);
  if (c.state != RAUHA_CHECK_GOOD && c.text.empty()) return "a check of " + c.kind + " that is not good does not say why";
  if (c.state == RAUHA_CHECK_GOOD && !c.text.empty()) return "a check of " + c.kind + " is good and says " + inQuotes(c.text);
  return {};
}

Outcome verifying(Session& s, FakeCall& call, Input& input, ImageCapture& got) {
  const auto* table = s.table<rauha_image_v1>();
  if (!RAUHA_HAS(table, verify) || table->verify == nullptr) return absent();
  Outcome out;
  guardedCall(out, call, [&] { return plain(table->verify)(s.raw(), call.raw(), input.as<rauha_image_request>(), got.raw()); });
  if (!out.ok()) return out;
  if (!got.images.empty()) out.contract = "verify pushed an image";
  for (const auto& c : got.checks)
    if (out.contract.empty()) out.contract = wrongCheck(c);
  return out;
}

Outcome exporting(Session& s, FakeCall& call, Input& input, ArchiveReceiver& receiver) {
  const auto* table = s.table<rauha_image_v1>();
  if (!RAUHA_HAS(table, export_image) || table->export_image == nullptr) return absent();
  Outcome out;
  ImageCapture got;
  guardedCall(out, call, [&] {
    return plain(table->export_image)(s.raw(), call.raw(), input.as<rauha_image_request>(), receiver.target(), got.raw());
  });
  if (!receiver.targetIsOpen()) {
    out.contract = "export_image closed the target, which it only borrows";
    return out;
  }
  if (!out.ok()) return out;
  out.contract = wrongImages(got, true);
  if (out.contract.empty()) out.contract = wrongArchive(receiver.finish(), got.images.front().digest);
  return out;
}

const std::vector<Operation>& imageOperations() {
  using Takes = Operation::Takes;
  static const std::vector<Operation> list = {
      requesting("resolve", [](const rauha_image_v1& t) -> RequestFunction { return t.resolve; }),
      {"release", Takes::text, nullptr, true, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_image_v1>()->release)(s.raw(), call.raw(), input.text); });
         return out;
       }},
      {"list", Takes::record, &kRequest, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         ImageCapture got;
         Outcome out = request(s, call, input, s.table<rauha_image_v1>()->list, got, false);
         return out;
       }},
      requesting("inspect", [](const rauha_image_v1& t) -> RequestFunction { return t.inspect; }),
      {"remove", Takes::record, &kRequest, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         guardedCall(out, call,
                     [&] { return plain(s.table<rauha_image_v1>()->remove)(s.raw(), call.raw(), input.as<rauha_image_request>()); });
         return out;
       }},
      requesting("import_image", [](const rauha_image_v1& t) -> RequestFunction { return t.import_image; }),
      {"export_image", Takes::record, &kRequest, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         ArchiveReceiver receiver;
         return exporting(s, call, input, receiver);
       }},
      {"verify", Takes::record, &kRequest, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         ImageCapture got;
         return verifying(s, call, input, got);
       }},
      {"prune", Takes::record, &kRequest, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         const auto* table = s.table<rauha_image_v1>();
         if (!RAUHA_HAS(table, prune) || table->prune == nullptr) return absent();
         ImageCapture got;
         return request(s, call, input, table->prune, got, false);
       }},
      {"reconcile", Takes::list, nullptr, false, false,
       [](Session& s, FakeCall& call, Input& input) {
         Outcome out;
         guardedCall(out, call, [&] { return plain(s.table<rauha_image_v1>()->reconcile)(s.raw(), call.raw(), input.list); });
         return out;
       }},
  };
  return list;
}

// A reference with its placeholder filled in, and what the client would have opened for it.
struct Source {
  std::string reference;
  std::string path;  // empty: nothing to open
};

Source prepared(Context& context, const std::string& pattern) {
  struct Placeholder {
    const char* name;
    void (*make)(const std::string&);
  };
  static constexpr Placeholder kPlaceholders[] = {{"@oci-archive", makeSampleOciArchive},
                                                  {"@docker-archive", makeSampleDockerArchive},
                                                  {"@oci", makeSampleOci},
                                                  {"@dir", makeSampleDirectory}};
  for (const Placeholder& p : kPlaceholders) {
    const size_t at = pattern.find(p.name);
    if (at == std::string::npos) continue;
    const std::string path = context.directory + "/sample" + (p.name + 1);
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) p.make(path);
    std::string reference = pattern;
    reference.replace(at, std::strlen(p.name), path);
    return {reference, path};
  }
  // "kind:/path": what stands behind the first colon, when it is there.
  const size_t colon = pattern.find(':');
  const std::string path = colon == std::string::npos ? "" : pattern.substr(colon + 1);
  struct stat st {};
  return {pattern, !path.empty() && ::stat(path.c_str(), &st) == 0 ? path : ""};
}

struct Descriptor {
  explicit Descriptor(const std::string& path) : fd(path.empty() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

class ImageDriver final : public Driver {
 public:
  const char* interface() const override { return RAUHA_IMAGE_V1; }
  const std::vector<Operation>& operations() const override { return imageOperations(); }

  Input input(Session& session, const Operation& operation, const std::string& name) override {
    Input out;
    const std::string_view what = operation.name;
    if (what == "release") out.text = out.own(name);
    if (operation.takes != Operation::Takes::record) return out;
    if (what == "list" || what == "prune") return requestFor({});
    // By the name under which resolve may have stored it: nothing is opened for it.
    if (what == "export_image" || what == "verify") return requestFor({sourceOf(session.context).reference, ""});
    if (what == "remove") return requestFor({storedName(name), {}});
    out = requestFor(sourceOf(session.context));
    if (what == "resolve") out.as<rauha_image_request>()->lease = out.own(name);
    if (what == "import_image") out.as<rauha_image_request>()->name = out.own(storedName(name));
    return out;
  }

  std::string cannotMake(Context& context) override {
    findReference(context);
    return context.memory["why"];
  }

  Outcome make(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& resolve = operation("resolve");
    Input in = input(session, resolve, name);
    return resolve.call(session, call, in);
  }
  Outcome unmake(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& release = operation("release");
    Input in = input(session, release, name);
    return release.call(session, call, in);
  }
  void empty(Session& session) override {
    FakeCall call(session.host);
    ImageCapture stored;
    const auto* table = session.table<rauha_image_v1>();
    session.context.step("list and remove everything");
    Input all = requestFor({});
    request(session, call, all, table->list, stored, false);
    for (const CapturedImage& i : stored.images) {
      Input one = requestFor({i.reference, {}});
      operation("remove").call(session, call, one);
    }
    table->reconcile(session.raw(), call.raw(), {nullptr, 0, sizeof(rauha_str)});
  }
  Outcome verify(Session& session, FakeCall& call, const std::string& name) override {
    const Operation& inspect = operation("inspect");
    Input in = input(session, inspect, name);
    return inspect.call(session, call, in);
  }
  Outcome reconcile(Session& session, FakeCall& call, const std::vector<std::string>& keep, std::vector<std::string>*) override {
    Input in;
    const std::vector<rauha_str> texts = viewsOf(keep);
    in.list = {texts.data(), static_cast<uint32_t>(texts.size()), sizeof(rauha_str)};
    return operation("reconcile").call(session, call, in);
  }
  std::string missingFunctions(const void* table) const override {
    const auto* t = static_cast<const rauha_image_v1*>(table);
    std::string out;
    const auto need = [&](bool has, const char* name) { out += has ? "" : std::string(out.empty() ? "" : ", ") + name; };
    need(RAUHA_HAS(t, resolve) && t->resolve != nullptr, "resolve");
    need(RAUHA_HAS(t, release) && t->release != nullptr, "release");
    need(RAUHA_HAS(t, list) && t->list != nullptr, "list");
    need(RAUHA_HAS(t, inspect) && t->inspect != nullptr, "inspect");
    need(RAUHA_HAS(t, remove) && t->remove != nullptr, "remove");
    need(RAUHA_HAS(t, import_image) && t->import_image != nullptr, "import_image");
    need(RAUHA_HAS(t, reconcile) && t->reconcile != nullptr, "reconcile");
    return out;
  }
  void life(Context& context, Session& session) override;
  void lifeOfStored(Context& context, Session& session, const std::string& reference);

 private:
  static std::string storedName(const std::string& name) { return "check-" + name + ":latest"; }
  // The first reference that the plugin resolves, found with a store of its own.
  static void findReference(Context& context) {
    if (!context.memory.emplace("searched", "").second) return;
    std::vector<std::string> patterns = context.options.references;
    if (patterns.empty()) patterns = {"oci:@oci", "dir:@dir", "host"};
    const std::string scratch = context.directory + "/scratch-" + std::to_string(context.random());
    ::mkdir(scratch.c_str(), 0700);
    Session::Settings settings;
    settings.directory = scratch;
    Session session(context, settings);
    std::string why;
    for (const std::string& pattern : patterns) {
      context.step("looking for a reference that works: " + pattern);
      FakeCall call(session.host);
      Input in = requestFor(prepared(context, pattern));
      const Outcome outcome = session.driver->operation("resolve").call(session, call, in);
      if (outcome.ok()) {
        context.memory["reference"] = pattern;
        return;
      }
      why += (why.empty() ? "" : "; ") + pattern + ": " + statusText(outcome.status) + " " + inQuotes(outcome.text);
    }
    context.memory["why"] = "no reference can be resolved, give one with --reference (" + why + ")";
  }
  static Input requestFor(const Source& source) {
    Input out;
    rauha_image_request r{};
    r.struct_size = sizeof r;
    if (!source.reference.empty()) r.reference = out.own(source.reference);
    const auto descriptor = std::make_shared<Descriptor>(source.path);
    out.keep.push_back(descriptor);
    r.source_fd_borrow = descriptor->fd;
    r.caller_uid = ::geteuid();
    r.caller_gid = ::getegid();
    out.bytes.resize(sizeof r);
    std::memcpy(out.bytes.data(), &r, sizeof r);
    return out;
  }
  static Source sourceOf(Context& context) {
    findReference(context);
    const std::string& reference = context.memory["reference"];
    return reference.empty() ? Source{"no-such-image", ""} : prepared(context, reference);
  }
};

void ImageDriver::life(Context& context, Session& session) {
  const auto* table = session.table<rauha_image_v1>();
  const auto resolve = [&](const std::string& lease) {
    FakeCall call(session.host);
    ImageCapture got;
    Input in = input(session, operation("resolve"), lease);
    context.step("resolve with the lease " + lease);
    const Outcome outcome = request(session, call, in, table->resolve, got);
    expectStatus(context, outcome, "resolve with the lease " + lease, {RAUHA_OK});
    return got.images.empty() ? CapturedImage() : got.images.front();
  };
  const auto named = [&](const char* what, const std::string& text) {
    FakeCall call(session.host);
    const bool byText = operation(what).takes == Operation::Takes::text;
    Input in = byText ? Input() : requestFor({text, {}});
    if (byText) in.text = in.own(text);
    context.step(std::string(what) + "(" + inQuotes(text) + ")");
    return operation(what).call(session, call, in);
  };
  const CapturedImage image = resolve("zone_a");
  resolve("zone_b");
  for (const auto& layer : image.layers)
    if (!layer.path.empty() && !std::filesystem::is_directory(layer.path))
      context.fail("the layer " + inQuotes(layer.path) + " is not a directory while it is leased");

  FakeCall call(session.host);
  ImageCapture listed, inspected;
  Input in = input(session, operation("inspect"), "zone_a");
  expectStatus(context, request(session, call, in, table->inspect, inspected), "inspect of what was resolved", {RAUHA_OK});
  if (!inspected.images.empty() && inspected.images.front().digest != image.digest)
    context.fail("inspect says digest " + inQuotes(inspected.images.front().digest) + ", resolve said " + inQuotes(image.digest));
  context.step("list");
  Input all = requestFor({});
  expectStatus(context, request(session, call, all, table->list, listed, false), "list", {RAUHA_OK});
  const bool stored =
      std::any_of(listed.images.begin(), listed.images.end(), [&](const auto& i) { return i.reference == image.reference; });

  if (stored) lifeOfStored(context, session, image.reference);

  if (stored) expectStatus(context, named("remove", image.reference), "remove of an image that a lease uses", {RAUHA_E_BUSY});
  expectStatus(context, named("release", "zone_b"), "release", {RAUHA_OK});
  std::vector<std::string> ignored;
  expectStatus(context, reconcile(session, call, {"zone_a"}, &ignored), "reconcile with a lease that lives", {RAUHA_OK});
  for (const auto& layer : image.layers)
    if (!layer.path.empty() && !std::filesystem::is_directory(layer.path))
      context.fail("the layer " + inQuotes(layer.path) + " is gone after a reconcile that was told to keep its lease");
  if (stored) expectStatus(context, named("remove", image.reference), "remove of an image that a kept lease uses", {RAUHA_E_BUSY});
  expectStatus(context, named("release", "zone_a"), "release", {RAUHA_OK});
  if (stored) expectStatus(context, named("remove", image.reference), "remove of an image that nobody uses", {RAUHA_OK});
  if (stored) expectStatus(context, named("remove", image.reference), "remove of an image that was removed", {RAUHA_E_NOT_FOUND});
  resolve("zone_c");
  expectStatus(context, reconcile(session, call, {}, &ignored), "reconcile with no lease alive", {RAUHA_OK});
  if (stored) expectStatus(context, named("remove", image.reference), "remove after reconcile ended the lease", {RAUHA_OK});
}

// verify and export_image, as far as the plugin has them.
void ImageDriver::lifeOfStored(Context& context, Session& session, const std::string& reference) {
  const auto* table = session.table<rauha_image_v1>();
  const std::string never = "rauha-check-never:1";
  if (RAUHA_HAS(table, verify) && table->verify != nullptr) {
    for (const std::string& what : {reference, std::string()}) {
      FakeCall call(session.host);
      ImageCapture got;
      Input in = requestFor({what, ""});
      context.step("verify of " + inQuotes(what));
      expectStatus(context, verifying(session, call, in, got), "verify of what was just stored", {RAUHA_OK});
      for (const auto& c : got.checks)
        if (c.state == RAUHA_CHECK_DAMAGED || c.state == RAUHA_CHECK_MISSING)
          context.fail("verify says of what was just stored: " + c.kind + " " + c.digest + ": " + inQuotes(c.text));
    }
    FakeCall call(session.host);
    ImageCapture got;
    Input in = requestFor({never, ""});
    context.step("verify of what never was");
    expectStatus(context, verifying(session, call, in, got), "verify of what never was", {RAUHA_E_NOT_FOUND});
  }
  if (!RAUHA_HAS(table, export_image) || table->export_image == nullptr) return;
  const auto exported = [&](const std::string& what, ArchiveReceiver& receiver, FakeCall& call) {
    Input in = requestFor({what, ""});
    return exporting(session, call, in, receiver);
  };
  {
    ArchiveReceiver receiver;
    FakeCall call(session.host);
    context.step("export of what never was");
    expectStatus(context, exported(never, receiver, call), "export_image of what never was", {RAUHA_E_NOT_FOUND});
  }
  ArchiveReceiver receiver;
  FakeCall call(session.host);
  context.step("export of what was just stored");
  const Outcome whole = exported(reference, receiver, call);
  expectStatus(context, whole, "export_image of what was just stored", {RAUHA_OK, RAUHA_E_NOT_FOUND});
  if (!whole.ok()) return;
  {
    ArchiveReceiver gone;
    gone.hangUp();
    FakeCall other(session.host);
    context.step("export to a receiver that has gone (a signal here: it was sent without MSG_NOSIGNAL)");
    if (exported(reference, gone, other).ok()) context.fail("export_image is OK although the receiver has gone");
  }
  if (receiver.size() < 16'000) return;  // a socket holds as much
  ArchiveReceiver deaf(true);
  FakeCall cancelled(session.host);
  context.step("export to a receiver that takes nothing, then cancelled");
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    cancelled.cancel();
  });
  const Outcome stuck = exported(reference, deaf, cancelled);
  canceller.join();
  expectStatus(context, stuck, "export_image to a receiver that takes nothing, cancelled", {RAUHA_E_CANCELLED});
}

}  // namespace

std::unique_ptr<Driver> imageDriver() { return std::make_unique<ImageDriver>(); }

}  // namespace rauha::conformance
