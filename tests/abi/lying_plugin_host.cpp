// In the place of rauha-plugin-host: speaks the protocol well, and lies. What a hostile plugin can say once it has taken its process over,
// without our own host library, which would have refused much of it. The reference says which lie.
#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <capnp/serialize.h>
#include <kj/async-io.h>
#include <schemas/plugin_host.capnp.h>
#include <unistd.h>

#include <string>

namespace {

namespace schema = rauha::schema;

constexpr int kSocket = 3;
std::string store;  // the plugin's directory

std::string textOf(capnp::Text::Reader t) { return {t.begin(), t.size()}; }
capnp::Text::Reader text(const std::string& s) { return {s.c_str(), s.size()}; }

void layer(schema::PluginImage::Builder image, const std::string& path) { image.initLayers(1)[0].setPath(text(path)); }

void mount(schema::PluginImage::Builder image, uint32_t kind, const std::string& source, const std::string& target, uint32_t flags = 0) {
  auto to = image.initMounts(1)[0];
  to.setKind(kind);
  to.setFlags(flags);
  to.setSource(capnp::Data::Reader(reinterpret_cast<const kj::byte*>(source.data()), source.size()));
  to.setTarget(text(target));
}

void error(schema::PluginImageAnswer::Builder answer, uint16_t code, const std::string& words) {
  auto out = answer.initOutcome().initError();
  out.setCode(static_cast<schema::ErrorCode>(code));
  out.setText(text(words));
  out.setHint(text(words));
  out.setObject(text(words));
}

bool lieAboutLayers(const std::string& how, schema::PluginImage::Builder image) {
  if (how == "layer-outside") return layer(image, "/etc"), true;
  if (how == "layer-climbs") return layer(image, store + "/../../.."), true;
  if (how == "layer-nul") return layer(image, store + std::string("/a\0/b", 5)), true;
  if (how == "layer-long") return layer(image, store + "/" + std::string(5000, 'x')), true;
  if (how == "layer-beside") return layer(image, store + "-other"), true;
  if (how == "layer-store") return layer(image, store), true;
  if (how == "layer-missing") return layer(image, store + "/none"), true;
  if (how == "layer-fifo") return layer(image, store + "/fifo"), true;
  if (how == "layer-file") return layer(image, store + "/file"), true;
  if (how == "layer-link") return layer(image, store + "/link/layer"), true;
  if (how == "layer-no-source") return image.initLayers(1)[0].setSource(), true;
  if (how == "layer-mapping") return layer(image, store + "/layer"), image.getLayers()[0].setMapping(77), true;
  if (how == "layer-digest") return layer(image, store + "/layer"), image.getLayers()[0].setDigest("sha256:beef"), true;
  if (how == "layers-many") return image.initLayers(129), true;
  if (how == "layers-huge") return image.initLayers(200'000), true;
  return false;
}

bool lieAboutMounts(const std::string& how, schema::PluginImage::Builder image) {
  if (how == "bind-outside") return mount(image, 0, "/etc/shadow", "/seen"), true;
  if (how == "bind-climbs") return mount(image, 0, "/usr/../etc/shadow", "/seen"), true;
  if (how == "bind-store") return mount(image, 0, store, "/seen"), true;
  if (how == "mount-kind") return mount(image, 99, "/usr", "/seen"), true;
  if (how == "mount-flags") return mount(image, 0, "/usr", "/seen", 0xff00), true;
  if (how == "mount-target") return mount(image, 0, "/usr", "/../seen"), true;
  if (how == "mounts-huge") return image.initMounts(100'000), true;
  return false;
}

void lie(const std::string& how, schema::PluginImageAnswer::Builder answer) {
  answer.initOutcome().setOk();
  if (how == "none") return;
  if (how == "two" || how == "images-huge") {
    answer.initImages(how == "two" ? 2 : 300'000);
    return;
  }
  if (how == "code-unknown") return error(answer, 60'000, "odd");
  if (how == "error-controls") return error(answer, 1, std::string("a\x1b[2Jb\nc\0d\xff", 11));
  if (how == "error-long") return error(answer, 1, std::string(1 << 20, 'x'));
  if (how == "error-empty") return error(answer, 1, "");
  auto image = answer.initImages(1)[0];
  image.setReference(text(how));
  if (how == "good") return layer(image, store + "/layer");
  if (how == "reference-nul") return image.setReference(text(std::string("a\0b", 3)));
  if (how == "reference-binary") return image.setReference(text("\xff\xfe"));
  if (how == "reference-long") return image.setReference(text(std::string(10'000, 'x')));
  if (how == "digest") return image.setDigest("md5:1");
  if (how == "config-long") {
    image.initConfigJson(5 << 20);
    return;
  }
  if (how == "bomb") {
    image.initConfigJson(60 << 20);
    return;
  }
  if (lieAboutLayers(how, image) || lieAboutMounts(how, image)) return;
  error(answer, 1, "no lie is called " + how);
}

// More than anybody wants to hear, before the answer.
void flood(schema::HostServices::Client services, schema::Progress::Client progress) {
  for (int i = 0; i < 3000; ++i) {
    auto log = services.logRequest();
    log.setLevel(i % 9 - 4);
    log.setText(text("\x1b[31mflood\n" + std::string(100, 'x')));
    log.send().ignoreResult().detach([](kj::Exception&&) {});
    auto event = services.eventRequest();
    event.setDroppedBefore(~0u);
    event.initEvent().setName(text(i % 2 == 0 ? "no name at all\n" : "lying.flood"));
    event.send().ignoreResult().detach([](kj::Exception&&) {});
    auto violation = services.violationRequest();
    violation.setCount(~0u);
    violation.setText(text("\x1b[31m" + std::string(5000, 'v')));
    violation.send().ignoreResult().detach([](kj::Exception&&) {});
    auto report = progress.reportRequest();
    report.setWhat(text(std::string(10'000, 'p')));
    report.setDone(~0ull);
    report.send().ignoreResult().detach([](kj::Exception&&) {});
  }
}

class Images final : public schema::PluginImages::Server {
 public:
  explicit Images(schema::HostServices::Client services) : services_(kj::mv(services)) {}
  kj::Promise<void> resolve(ResolveContext context) override { return about(context); }
  kj::Promise<void> inspect(InspectContext context) override { return about(context); }
  kj::Promise<void> list(ListContext context) override {
    auto answer = context.getResults().initAnswer();
    answer.initOutcome().setOk();
    answer.initImages(20'000);
    return kj::READY_NOW;
  }
  kj::Promise<void> release(ReleaseContext context) override {
    context.getResults().initAnswer().initOutcome().setOk();
    return kj::READY_NOW;
  }
  kj::Promise<void> reconcile(ReconcileContext context) override {
    context.getResults().initAnswer().initOutcome().setOk();
    return kj::READY_NOW;
  }

 private:
  template <typename Context>
  kj::Promise<void> about(Context context) {
    const auto params = context.getParams();
    const std::string how = textOf(params.getRequest().getReference());
    if (how == "flood") flood(services_, params.getCall().getProgress());
    lie(how == "flood" ? "good" : how, context.getResults().initAnswer());
    return kj::READY_NOW;
  }
  schema::HostServices::Client services_;
};

class Host final : public schema::PluginHost::Server {
 public:
  kj::Promise<void> confinement(ConfinementContext context) override {
    auto layers = context.getResults().initLayers(3);
    layers.set(0, "\x1b[31mall is well\n");
    layers.set(1, text(std::string(5000, 'x')));
    return kj::READY_NOW;
  }
  kj::Promise<void> load(LoadContext context) override {
    services_ = context.getParams().getServices();
    context.getResults().initOutcome().setOk();
    auto plugin = context.getResults().initPlugin();
    plugin.setName("bad-image");
    plugin.setVersion("1.0");
    plugin.setLicense(text("\x1b[31m" + std::string(1000, 'l')));
    auto provides = plugin.initProvides(100);
    for (unsigned i = 0; i < 100; ++i) provides.set(i, "rauha.image/1");
    return kj::READY_NOW;
  }
  kj::Promise<void> images(ImagesContext context) override {
    KJ_IF_MAYBE (services, services_) context.getResults().setImages(kj::heap<Images>(*services));
    return kj::READY_NOW;
  }
  kj::Promise<void> cancel(CancelContext) override { return kj::READY_NOW; }

 private:
  kj::Maybe<schema::HostServices::Client> services_;
};

}  // namespace

int main() {
  capnp::StreamFdMessageReader setup(kSocket);
  const auto root = setup.getRoot<schema::HostSetup>();
  store = textOf(root.getStateDir()) + "/plugins/" + textOf(root.getPlugin());
  auto io = kj::setupAsyncIo();
  auto stream = io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(kSocket));
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 64u << 20;
  capnp::TwoPartyVatNetwork network(*stream, 1, capnp::rpc::twoparty::Side::SERVER, options);
  const auto rpc = capnp::makeRpcServer(network, kj::heap<Host>());
  network.onDisconnect().wait(io.waitScope);
  _exit(0);
}
