#include "core/plugin_host/server.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <map>
#include <memory>
#include <thread>

#include "core/base/schema_error.h"
#include "core/base/worker_pool.h"
#include "core/plugin/adapters.h"
#include "core/plugin/loaded_plugin.h"
#include "core/plugin/loader.h"
#include "core/plugin/remote/image_wire.h"
#include "core/plugin/service_tables.h"
#include "core/plugin_host/outbox.h"

namespace rauha::plugin_host {
namespace {

using plugin::ImageCheck;
using plugin::ImageRequest;
using plugin::ImageSource;
using plugin::ResolvedImage;

constexpr size_t kWorkers = 16, kQueue = 1024;
constexpr unsigned kDescriptorsPerMessage = 1;

std::string text(capnp::Text::Reader t) { return {t.begin(), t.size()}; }
capnp::Text::Reader reader(const std::string& s) { return {s.c_str(), s.size()}; }

capnp::ReaderOptions options() {
  capnp::ReaderOptions out;
  out.traversalLimitInWords = 5u << 20;  // as the daemon's: it also bounds what this side may send
  out.nestingLimit = 32;
  return out;
}

// What the calls share. Thread: the event loop, except where the outbox and the tokens say otherwise.
struct Shared {
  explicit Shared(kj::AsyncIoContext& context) : io(context), outbox(io.unixEventPort), workers(kWorkers, kQueue) {}
  kj::AsyncIoContext& io;
  Outbox outbox;
  std::map<uint64_t, std::shared_ptr<plugin::CancelToken>> calls;
  std::shared_ptr<plugin::LoadedPlugin> plugin;
  std::unique_ptr<ImageSource> images;
  WorkerPool workers;  // last: its threads use the rest
};

// One call's options, and its place in the list of those that can be cancelled.
class Call final {
 public:
  Call(Shared& shared, schema::PluginCall::Reader from) : shared_(shared), id_(from.getId()) {
    options.deadlineNs = from.getDeadlineNs();
    options.cancel = std::make_shared<plugin::CancelToken>();
    shared_.calls[id_] = options.cancel;
    if (!from.hasProgress()) return;
    shared_.outbox.watch(id_, from.getProgress());
    options.progress = [&outbox = shared_.outbox, id = id_](std::string_view what, uint64_t done, uint64_t total) {
      outbox.progress(id, what, done, total);
    };
  }
  ~Call() {
    shared_.calls.erase(id_);
    shared_.outbox.forget(id_);
  }
  KJ_DISALLOW_COPY(Call);
  plugin::CallOptions options;

 private:
  Shared& shared_;
  const uint64_t id_;
};

// As the plugin said it: what is added where there is no remedy, the daemon adds.
void writeFailure(schema::Outcome::Builder out, const Error& e) {
  auto to = out.initError();
  writeError(to, e);
  to.setHint(reader(e.hint()));
}

void answer(schema::PluginImageAnswer::Builder out, const std::vector<ResolvedImage>& images, int source) {
  try {
    plugin::writeImages(out.initImages(static_cast<unsigned>(images.size())), images, source);
    out.initOutcome().setOk();
  } catch (const Error& e) {
    out.disownImages();
    writeFailure(out.initOutcome(), e);
  }
}

void answer(schema::PluginImageAnswer::Builder out, const std::vector<ImageCheck>& checks, int) {
  plugin::writeChecks(out.initChecks(static_cast<unsigned>(checks.size())), checks);
  out.initOutcome().setOk();
}

class ImagesServer final : public schema::PluginImages::Server {
 public:
  explicit ImagesServer(Shared& shared) : shared_(shared) {}

  kj::Promise<void> resolve(ResolveContext context) override { return about(context, &ImageSource::resolve); }
  kj::Promise<void> inspect(InspectContext context) override { return about(context, &ImageSource::inspect); }
  kj::Promise<void> importImage(ImportImageContext context) override { return about(context, &ImageSource::importImage); }
  kj::Promise<void> prune(PruneContext context) override {
    return run(context, [this, all = hasAll(context.getParams().getRequest())](const plugin::CallOptions& o) {
      ImageRequest request;
      request.all = all;
      return shared_.images->prune(o, request);
    });
  }
  kj::Promise<void> exportImage(ExportImageContext context) override { return exportTask(context); }
  kj::Promise<void> verify(VerifyContext context) override {
    return run(context, [this, request = readRequest(context.getParams().getRequest())](const plugin::CallOptions& o) {
      return shared_.images->verify(o, request);
    });
  }
  kj::Promise<void> list(ListContext context) override {
    return run(context, [this](const plugin::CallOptions& o) { return shared_.images->list(o); });
  }
  kj::Promise<void> release(ReleaseContext context) override {
    return run(context, [this, lease = text(context.getParams().getLease())](const plugin::CallOptions& o) {
      shared_.images->release(o, lease);
      return std::vector<ResolvedImage>();
    });
  }
  kj::Promise<void> remove(RemoveContext context) override {
    return run(context, [this, reference = text(context.getParams().getReference())](const plugin::CallOptions& o) {
      shared_.images->remove(o, reference);
      return std::vector<ResolvedImage>();
    });
  }
  kj::Promise<void> reconcile(ReconcileContext context) override {
    std::vector<std::string> leases;
    for (const auto lease : context.getParams().getLeases()) leases.push_back(text(lease));
    return run(context, [this, leases = std::move(leases)](const plugin::CallOptions& o) {
      shared_.images->reconcile(o, leases);
      return std::vector<ResolvedImage>();
    });
  }

 private:
  // The records as the adapter on this side writes them again; a critical one that we do not know is refused here.
  static void readRecords(schema::PluginImageRequest::Reader from, ImageRequest& to) {
    for (const auto record : from.getRecords()) {
      switch (record.getTag()) {
        case RAUHA_IMAGE_PULL:
          if (record.getNumber() > RAUHA_PULL_NEVER)
            throw Error("image", Code::unsupported, "pull policy " + std::to_string(record.getNumber()) + " is not known");
          to.pull = static_cast<plugin::Pull>(record.getNumber());
          break;
        case RAUHA_IMAGE_PLATFORM:
          to.platform = text(record.getText());
          break;
        case RAUHA_IMAGE_CREDENTIALS:
          to.credentials = text(record.getText());
          break;
        case RAUHA_IMAGE_REQUIRE_DIGEST:
          to.requireDigest = true;
          break;
        case RAUHA_IMAGE_REGISTRY:
          to.registries.push_back(text(record.getText()));
          break;
        case RAUHA_IMAGE_ALL:
          to.all = true;
          break;
        default:
          if ((record.getFlags() & RAUHA_RECORD_CRITICAL) != 0)
            throw Error("image", Code::unsupported, "image request: unknown critical record " + std::to_string(record.getTag()));
      }
    }
  }
  static bool hasAll(schema::PluginImageRequest::Reader from) {
    ImageRequest request;
    readRecords(from, request);
    return request.all;
  }
  using About = ResolvedImage (ImageSource::*)(const plugin::CallOptions&, const ImageRequest&);

  // Runs f on a worker and writes what it gives.
  template <typename Context, typename F>
  kj::Promise<void> run(Context context, F f) {
    return runTask(shared_, context, std::move(f), std::make_shared<UniqueFd>());
  }

  template <typename Context, typename F>
  static Task<void> runTask(Shared& shared, Context context, F f, std::shared_ptr<UniqueFd> source) {
    Call call(shared, context.getParams().getCall());
    std::optional<Error> failure;
    std::invoke_result_t<F, const plugin::CallOptions&> result;
    try {
      // The source lives as long as the worker uses it.
      auto working = shared.workers.run([function = std::move(f), options = call.options, source]() mutable { return function(options); });
      result = co_await kj::mv(working);
    } catch (...) {
      failure = currentError("image");
    }
    auto out = context.getResults().initAnswer();
    if (failure)
      writeFailure(out.initOutcome(), *failure);
    else
      answer(out, result, source->get());
  }

  static ImageRequest readRequest(schema::PluginImageRequest::Reader from) {
    ImageRequest request;
    request.reference = text(from.getReference());
    request.callerUid = from.getCallerUid();
    request.callerGid = from.getCallerGid();
    request.lease = text(from.getLease());
    request.name = text(from.getName());
    readRecords(from, request);
    return request;
  }

  Task<void> exportTask(ExportImageContext context) {
    ImageRequest request = readRequest(context.getParams().getRequest());
    UniqueFd target;
    auto capability = context.getParams().getTarget();
    kj::Maybe<int> fd = co_await capability.getFd();
    KJ_IF_MAYBE (f, fd) target = duplicate(*f);
    if (!target) throw Error("image", Code::internal, "the target's descriptor did not arrive");
    request.targetFd = target.get();
    auto f = [this, request = std::move(request)](const plugin::CallOptions& o) {
      std::vector<ResolvedImage> out;
      out.push_back(shared_.images->exportImage(o, request));
      return out;
    };
    auto running = runTask(shared_, context, std::move(f), std::make_shared<UniqueFd>(std::move(target)));
    co_await kj::mv(running);
  }

  template <typename Context>
  Task<void> aboutTask(Context context, About method) {
    const auto from = context.getParams().getRequest();
    ImageRequest request = readRequest(from);
    UniqueFd source;
    if (from.hasSource()) {
      auto capability = from.getSource();
      kj::Maybe<int> fd = co_await capability.getFd();
      KJ_IF_MAYBE (f, fd) source = duplicate(*f);
      if (!source) throw Error("image", Code::internal, "the source's descriptor did not arrive");
    }
    request.sourceFd = source.get();
    auto f = [this, method, request = std::move(request)](const plugin::CallOptions& o) {
      std::vector<ResolvedImage> out;
      out.push_back((shared_.images.get()->*method)(o, request));
      return out;
    };
    auto running = runTask(shared_, context, std::move(f), std::make_shared<UniqueFd>(std::move(source)));
    co_await kj::mv(running);
  }
  template <typename Context>
  kj::Promise<void> about(Context context, About method) {
    return aboutTask(context, method);
  }

  Shared& shared_;
};

class HostServer final : public schema::PluginHost::Server {
 public:
  HostServer(Shared& shared, schema::HostSetup::Reader setup, std::vector<std::string> layers, UniqueFd file)
      : shared_(shared), setup_(setup), layers_(std::move(layers)), file_(std::move(file)) {}

  kj::Promise<void> confinement(ConfinementContext context) override {
    auto out = context.getResults().initLayers(static_cast<unsigned>(layers_.size()));
    for (unsigned i = 0; i < out.size(); ++i) out.set(i, reader(layers_[i]));
    return kj::READY_NOW;
  }

  kj::Promise<void> load(LoadContext context) override { return loadTask(context); }

  kj::Promise<void> images(ImagesContext context) override {
    if (shared_.images == nullptr) throw Error("plugin", Code::conflict, "no image plugin is loaded");
    context.getResults().setImages(kj::heap<ImagesServer>(shared_));
    return kj::READY_NOW;
  }

  kj::Promise<void> cancel(CancelContext context) override {
    if (const auto it = shared_.calls.find(context.getParams().getCall()); it != shared_.calls.end()) it->second->cancel();
    return kj::READY_NOW;
  }

 private:
  struct Loaded {
    std::shared_ptr<plugin::LoadedPlugin> plugin;
    std::unique_ptr<ImageSource> images;
  };

  Task<void> loadTask(LoadContext context) {
    if (!file_) throw Error("plugin", Code::conflict, "the plugin was loaded already");
    sending_ = kj::Promise<void>(shared_.outbox.send(context.getParams().getServices())).eagerlyEvaluate([](kj::Exception&&) {});
    std::optional<Error> failure;
    Loaded loaded;
    try {
      auto working = shared_.workers.run([this, file = std::move(file_), toml = text(context.getParams().getConfig()),
                                          loop = std::this_thread::get_id()]() mutable { return open(std::move(file), toml, loop); });
      loaded = co_await kj::mv(working);
    } catch (...) {
      failure = currentError("plugin");
    }
    if (failure) {
      writeFailure(context.getResults().initOutcome(), *failure);
      co_return;
    }
    shared_.plugin = std::move(loaded.plugin);
    shared_.images = std::move(loaded.images);
    const auto& opened = shared_.plugin->opened();
    context.getResults().initOutcome().setOk();
    auto out = context.getResults().initPlugin();
    out.setName(reader(opened.note.name));
    out.setVersion(reader(opened.note.version));
    out.setLicense(reader(opened.license));
    auto provides = out.initProvides(static_cast<unsigned>(opened.provides.size()));
    for (unsigned i = 0; i < provides.size(); ++i) provides.set(i, reader(opened.provides[i]));
  }

  Loaded open(UniqueFd file, const std::string& toml, std::thread::id loop) {
    plugin::PluginConfig config;
    config.instance = text(setup_.getInstance());
    config.stateDir = text(setup_.getStateDir());
    config.runtimeDir = text(setup_.getRuntimeDir());
    config.libexecDir = text(setup_.getLibexecDir());
    plugin::HostCallbacks callbacks;
    callbacks.log = [&outbox = shared_.outbox](LogLevel level, std::string_view, std::string_view line) {
      outbox.log(static_cast<int32_t>(level), line);
    };
    callbacks.event = [&outbox = shared_.outbox](plugin::PluginEvent&& event) { return outbox.event(std::move(event)); };
    callbacks.onLoopThread = [loop] { return std::this_thread::get_id() == loop; };
    callbacks.violation = [&outbox = shared_.outbox](const std::string& text) { outbox.violation(text); };
    // Events, timers and watches are served here. State is of zones, which only the daemon knows; the filter has no fork.
    callbacks.state = nullptr;
    callbacks.spawn = false;
    // The daemon has judged the file on this descriptor; its note is read again because the loader compares the two.
    plugin::InspectedPlugin inspected{{std::move(file), text(setup_.getPath()), {}}, {}};
    inspected.note = plugin::readNote(plugin::FileBytes(inspected.file.fd.get()));
    const auto services = plugin::offeredServices(callbacks);
    Loaded out;
    out.plugin = std::make_shared<plugin::LoadedPlugin>(plugin::openPlugin(std::move(inspected), services, plugin::PluginPlace::ownProcess),
                                                        config, toml, std::move(callbacks));
    out.images = plugin::adaptImages(out.plugin);
    return out;
  }

  Shared& shared_;
  const schema::HostSetup::Reader setup_;
  const std::vector<std::string> layers_;
  UniqueFd file_;
  kj::Promise<void> sending_ = kj::READY_NOW;
};

// Calls that are late the daemon sees itself; callbacks of timers and watches only we do.
Task<void> watchCallbacks(Shared& shared) {
  for (;;) {
    co_await shared.io.provider->getTimer().afterDelay(1 * kj::SECONDS);
    if (shared.plugin != nullptr) shared.plugin->host().checkCalls();
  }
}

}  // namespace

void serve(schema::HostSetup::Reader setup, std::vector<std::string> layers, UniqueFd socket, UniqueFd file) {
  auto io = kj::setupAsyncIo();
  Shared shared(io);
  auto stream = io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(socket.release()));
  capnp::TwoPartyVatNetwork network(*stream, kDescriptorsPerMessage, capnp::rpc::twoparty::Side::SERVER, options());
  [[maybe_unused]] const auto rpc = capnp::makeRpcServer(network, kj::heap<HostServer>(shared, setup, std::move(layers), std::move(file)));
  [[maybe_unused]] const auto watching = kj::Promise<void>(watchCallbacks(shared)).eagerlyEvaluate([](kj::Exception&&) {});
  network.onDisconnect().wait(io.waitScope);
  // Nothing is taken down: calls may run, and the daemon has forgotten them.
  _exit(0);
}

}  // namespace rauha::plugin_host
