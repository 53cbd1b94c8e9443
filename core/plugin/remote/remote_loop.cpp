#include "core/plugin/remote/remote_loop.h"

#include <kj/async-unix.h>

#include <algorithm>

#include "core/base/clock.h"
#include "core/base/schema_error.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/remote/services_server.h"

namespace rauha::plugin {
namespace {

// After a lost connection the process's end is waited for so long; then it is killed.
constexpr auto kEndPatience = 5 * kj::SECONDS;
constexpr auto kStep = 20 * kj::MILLISECONDS;

// The caller's descriptor may be gone before KJ has forgotten it: a copy, in this order.
struct Watch {
  Watch(kj::UnixEventPort& port, int from) : fd(duplicate(from)), observer(port, fd.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {}
  UniqueFd fd;
  kj::UnixEventPort::FdObserver observer;
};

capnp::Text::Reader text(const std::string& s) { return {s.c_str(), s.size()}; }

std::string cleaned(capnp::Text::Reader t, size_t limit) { return cleanText({t.begin(), t.size()}, limit); }

// What the process says went wrong, as text for people: cut, one line.
Error cleanError(schema::Error::Reader from) {
  const Code code = codeFromNumber(static_cast<int32_t>(from.getCode()));
  return Error("image", code == Code::none ? Code::internal : code, cleaned(from.getText(), 1024), cleaned(from.getHint(), 1024),
               cleaned(from.getObject(), 256));
}

void throwOn(schema::Outcome::Reader outcome) {
  if (outcome.isError()) throw cleanError(outcome.getError());
  if (!outcome.isOk()) throw Error("plugin", Code::internal, "answered with an outcome that this daemon does not know");
}

// Off the connection, so that a worker can read it. In a KJ continuation: an Error has to leave it encoded.
ImageReply keep(schema::PluginImageAnswer::Reader answer) {
  try {
    throwOn(answer.getOutcome());
  } catch (const Error& e) {
    kj::throwFatalException(toKj(e));
  }
  ImageReply out{std::make_unique<capnp::MallocMessageBuilder>()};
  out.message->setRoot(answer);
  return out;
}

std::string seconds(int64_t ns) { return std::to_string((ns + 500'000'000) / 1'000'000'000) + " s"; }

}  // namespace

RemotePlugin::Loop::Loop(RemotePlugin& owner) : owner_(owner), io_(kj::setupAsyncIo()), timer_(io_.provider->getTimer()) {
  executor = kj::getCurrentThreadExecutor().addRef();
}

void RemotePlugin::Loop::runUntilStopped() {
  stop_.promise.wait(io_.waitScope);
  stopping_ = true;
  for (const auto& process : {process_, beginning_})
    if (process != nullptr) process->kill("was stopped");
  while (asks_ > 0) timer_.afterDelay(kStep).wait(io_.waitScope);
}

Error RemotePlugin::Loop::endError(const HostProcess& process, const std::string& during) const {
  const std::string who = "plugin " + owner_.name() + ": ";
  if (const auto& refusal = process.refusal()) return Error("plugin", refusal->code(), who + refusal->text(), refusal->hint());
  return Error("plugin", Code::internal,
               who + "its process (pid " + std::to_string(process.pid()) + ") " + process.how() + " during " + during,
               "the next call starts it again; if it happens again, report it to the plugin's author");
}

void RemotePlugin::Loop::noteEnd(const HostProcess& process) {
  if (stopping_) return;
  ends_.push_back(monotonicNs());
  const std::string what = "the process of plugin " + owner_.name() + " (pid " + std::to_string(process.pid()) + ") " + process.how();
  {
    std::lock_guard lock(owner_.mutex_);
    owner_.pid_ = 0;
    owner_.lastEnd_ = process.how();
  }
  owner_.host_.log(LogLevel::error, what);
  const std::string pid = std::to_string(process.pid());
  const rauha_attribute attributes[] = {
      {toStr("name"), toStr(owner_.name())}, {toStr("pid"), toStr(pid)}, {toStr("how"), toStr(process.how())}};
  rauha_event event{};
  event.struct_size = sizeof event;
  event.severity = 4;
  event.name = toStr("plugin.process_ended");
  event.message = toStr(what);
  event.attributes = {attributes, 3, sizeof(rauha_attribute)};
  owner_.host_.emit(&event);
}

Task<void> RemotePlugin::Loop::ensureRunning() {
  if (process_ != nullptr && !process_->ended()) co_return;
  if (!starting_) {
    starting_ = true;
    start_ = kj::Promise<void>(start()).fork();
  }
  auto started = start_.addBranch();
  co_await kj::mv(started);
}

Task<void> RemotePlugin::Loop::waitBeforeStart() {
  const int64_t now = monotonicNs();
  while (!ends_.empty() && now - ends_.front() > owner_.patience_.windowNs) ends_.pop_front();
  if (ends_.size() >= owner_.patience_.maxEnds) {
    const int64_t left = owner_.patience_.windowNs - (now - ends_.front());
    std::string how;
    {
      std::lock_guard lock(owner_.mutex_);
      how = owner_.lastEnd_;
    }
    throw Error("plugin", Code::busy,
                "plugin " + owner_.name() + ": its process ended " + std::to_string(ends_.size()) + " times within " +
                    seconds(owner_.patience_.windowNs) + ", the last one " + how,
                "it is started again in " + seconds(left) + ", or with a restart of the daemon; see the daemon's log for each end");
  }
  if (ends_.empty()) co_return;
  const int64_t until = ends_.back() + (owner_.patience_.firstDelayNs << (ends_.size() - 1));
  while (!stopping_ && monotonicNs() < until) {
    const int64_t step = std::min<int64_t>(until - monotonicNs(), 50'000'000);
    co_await timer_.afterDelay(std::max<int64_t>(step, 1) * kj::NANOSECONDS);
  }
}

Task<void> RemotePlugin::Loop::start() {
  const Defer over([this] {
    starting_ = false;
    beginning_ = nullptr;
  });
  auto waiting = waitBeforeStart();
  co_await kj::mv(waiting);
  if (stopping_) throw Error("plugin", Code::busy, "plugin " + owner_.name() + " is being stopped");
  HostStart start;
  start.program = owner_.program_;
  start.plugin = owner_.name();
  start.instance = owner_.instanceName_;
  start.path = owner_.file_.path;
  start.file = owner_.file_.fd.get();
  start.setup = [this](schema::HostSetup::Builder setup) {
    setup.setStateDir(owner_.stateDir_);
    setup.setRuntimeDir(owner_.runtimeDir_);
    setup.setLibexecDir(owner_.libexecDir_);
    setup.setNetwork(owner_.isolation_.network);
    setup.setCapabilities(owner_.isolation_.capabilities);
    setup.setMemoryBytes(owner_.isolation_.memoryBytes);
    auto read = setup.initRead(static_cast<unsigned>(owner_.visible_.size()));
    for (unsigned i = 0; i < read.size(); ++i) read.set(i, owner_.visible_[i]);
  };
  Process process = std::make_shared<HostProcess>(io_, start);
  beginning_ = process;
  std::optional<Error> failure;
  bool lost = false;
  {
    auto late = killAfter(process, owner_.patience_.startNs, "did not load the plugin within " + seconds(owner_.patience_.startNs))
                    .eagerlyEvaluate(nullptr);
    try {
      auto loading = load(process);
      co_await kj::mv(loading);
      auto reconciling = reconcileAfterStart(process);
      co_await kj::mv(reconciling);
    } catch (const kj::Exception& e) {
      lost = true;
      failure = fromKj(e, "plugin");
    } catch (const Error& e) {
      failure = e;
    }
  }
  if (!failure) {
    process_ = process;
    endWatch_ = kj::Promise<void>(endOf(process)).eagerlyEvaluate(nullptr);
    std::lock_guard lock(owner_.mutex_);
    owner_.pid_ = process->pid();
    ++owner_.starts_;
    co_return;
  }
  if (lost) {
    auto ended = process->onEnd().exclusiveJoin(timer_.afterDelay(kEndPatience));
    co_await kj::mv(ended);
  }
  if (!process->ended()) {
    process->kill(lost ? "answered that it cannot be reached" : "could not load the plugin: " + failure->text());
    lost = false;
    auto ended = process->onEnd();
    co_await kj::mv(ended);
  }
  noteEnd(*process);
  if (lost || process->refusal()) throw endError(*process, "its start");
  throw *failure;
}

Task<void> RemotePlugin::Loop::endOf(Process process) {
  auto ended = process->onEnd();
  co_await kj::mv(ended);
  noteEnd(*process);
}

Task<void> RemotePlugin::Loop::load(Process process) {
  std::vector<std::string> layers;
  {
    auto response = co_await process->host().confinementRequest().send();
    for (const auto line : response.getLayers()) layers.push_back(cleaned(line, 256));
  }
  auto request = process->host().loadRequest();
  request.setConfig(text(owner_.toml_));
  request.setServices(kj::heap<ServicesServer>(owner_.host_));
  auto response = co_await request.send();
  if (response.getOutcome().isError()) {
    const Error e = cleanError(response.getOutcome().getError());
    throw Error("plugin", e.code(), e.text(), e.hint(), e.object());
  }
  checkLoaded(response.getPlugin());
  std::lock_guard lock(owner_.mutex_);
  owner_.layers_ = std::move(layers);
}

void RemotePlugin::Loop::checkLoaded(schema::LoadedPlugin::Reader plugin) {
  const std::string name = cleaned(plugin.getName(), 64), version = cleaned(plugin.getVersion(), 64);
  if (name != owner_.note_.name || version != owner_.note_.version)
    throw Error("plugin", Code::internal,
                owner_.file_.path + " says in its process that it is " + name + " " + version + ", its note says " + owner_.note_.name +
                    " " + owner_.note_.version);
  std::vector<std::string> provides;
  const auto list = plugin.getProvides();
  for (unsigned i = 0; i < list.size() && i < 16; ++i) provides.push_back(cleaned(list[i], 64));
  const std::string interface = "rauha." + owner_.note_.kind + "/1";
  if (std::find(provides.begin(), provides.end(), interface) == provides.end())
    throw Error("plugin", Code::invalid, owner_.file_.path + " is of kind " + owner_.note_.kind + " but does not provide " + interface);
  if (owner_.starts_ > 0) return;  // what was said first is what is shown
  owner_.provides_ = std::move(provides);
  owner_.license_ = cleaned(plugin.getLicense(), 64);
}

Task<void> RemotePlugin::Loop::reconcileAfterStart(Process process) {
  if (!reconciled_) co_return;
  ImageQuestion question;
  question.method = ImageMethod::reconcile;
  question.leases.assign(leases_.begin(), leases_.end());
  auto reply = request(*process, question, ++lastId_, 0, nullptr);
  co_await kj::mv(reply);
}

kj::Promise<ImageReply> RemotePlugin::Loop::request(HostProcess& process, const ImageQuestion& question, uint64_t id, int64_t deadlineNs,
                                                    schema::Progress::Client progress) {
  auto images = process.host().imagesRequest().send().getImages();
  const auto begin = [&](auto request) {
    auto call = request.initCall();
    call.setId(id);
    call.setDeadlineNs(deadlineNs);
    call.setProgress(kj::mv(progress));
    return request;
  };
  const auto about = [&](auto request) {
    auto out = begin(kj::mv(request));
    auto to = out.initRequest();
    to.setReference(text(question.text));
    if (question.source >= 0) to.setSource(kj::heap<PassedDescriptor>(duplicate(question.source)));
    to.setCallerUid(question.uid);
    to.setCallerGid(question.gid);
    to.setLease(text(question.lease));
    to.setName(text(question.name));
    auto records = to.initRecords(static_cast<unsigned>(question.records.size()));
    for (unsigned i = 0; i < records.size(); ++i) {
      const QuestionRecord& record = question.records[i];
      records[i].setTag(record.tag);
      records[i].setFlags(record.flags);
      records[i].setNumber(record.number);
      records[i].setText(text(record.text));
    }
    return out;
  };
  const auto answer = [](auto&& promise) { return promise.then([](auto&& response) { return keep(response.getAnswer()); }); };
  switch (question.method) {
    case ImageMethod::resolve:
      return answer(about(images.resolveRequest()).send());
    case ImageMethod::inspect:
      return answer(about(images.inspectRequest()).send());
    case ImageMethod::importImage:
      return answer(about(images.importImageRequest()).send());
    case ImageMethod::prune:
      return answer(about(images.pruneRequest()).send());
    case ImageMethod::exportImage: {
      auto r = about(images.exportImageRequest());
      r.setTarget(kj::heap<PassedDescriptor>(duplicate(question.target)));
      return answer(r.send());
    }
    case ImageMethod::verify:
      return answer(about(images.verifyRequest()).send());
    case ImageMethod::list:
      return answer(begin(images.listRequest()).send());
    case ImageMethod::release: {
      auto r = begin(images.releaseRequest());
      r.setLease(text(question.text));
      return answer(r.send());
    }
    case ImageMethod::remove: {
      auto r = begin(images.removeRequest());
      r.setReference(text(question.text));
      return answer(r.send());
    }
    case ImageMethod::reconcile: {
      auto r = begin(images.reconcileRequest());
      auto list = r.initLeases(static_cast<unsigned>(question.leases.size()));
      for (unsigned i = 0; i < list.size(); ++i) list.set(i, text(question.leases[i]));
      return answer(r.send());
    }
  }
  KJ_UNREACHABLE;
}

kj::Promise<void> RemotePlugin::Loop::killAfter(Process process, int64_t delayNs, std::string why) {
  return timer_.afterDelay(std::max<int64_t>(delayNs, 0) * kj::NANOSECONDS).then([process, why = std::move(why)]() mutable {
    process->kill(std::move(why));
  });
}

kj::Promise<void> RemotePlugin::Loop::guard(Process process, rauha_call* call, uint64_t id, const char* method) {
  kj::Promise<void> out = kj::NEVER_DONE;
  const rauha_host* table = owner_.host_.table();
  if (const int64_t deadline = table->deadline_ns(call); deadline != 0) {
    const int64_t grace = owner_.patience_.overrunNs;
    out = killAfter(process, deadline + grace - monotonicNs(),
                    "was killed: it did not return " + seconds(grace) + " after the deadline of " + method);
  }
  if (const int fd = table->cancel_fd(call); fd >= 0) {
    auto watch = kj::heap<Watch>(io_.unixEventPort, fd);
    auto readable = watch->observer.whenBecomesReadable();
    auto cancelled = readable.then([this, process, id, method]() {
      auto request = process->host().cancelRequest();
      request.setCall(id);
      const int64_t grace = owner_.patience_.cancelNs;
      return request.send().ignoreResult().then([this, process, method, grace]() {
        return killAfter(process, grace, "was killed: it did not return " + seconds(grace) + " after " + method + " was cancelled");
      });
    });
    out = out.exclusiveJoin(cancelled.attach(kj::mv(watch)));
  }
  return out;
}

Task<ImageReply> RemotePlugin::Loop::send(Process process, rauha_call* call, const ImageQuestion& question) {
  const uint64_t id = ++lastId_;
  auto slot = std::make_shared<rauha_call*>(call);
  const Defer forget([slot] { *slot = nullptr; });
  auto guarded = guard(process, call, id, methodName(question.method)).eagerlyEvaluate(nullptr);
  schema::Progress::Client progress = kj::heap<ProgressServer>(owner_.host_, slot);
  auto answered = request(*process, question, id, owner_.host_.table()->deadline_ns(call), kj::mv(progress));
  auto ended = process->onEnd().then([]() { return ImageReply{}; });
  auto either = answered.exclusiveJoin(kj::mv(ended));
  std::optional<Error> failure;
  bool lost = false;
  ImageReply reply;
  try {
    reply = co_await kj::mv(either);
    lost = reply.message == nullptr;
  } catch (const kj::Exception& e) {
    lost = e.getType() == kj::Exception::Type::DISCONNECTED;
    failure = fromKj(e, "plugin");
  } catch (const Error& e) {
    failure = e;
  }
  if (lost) {
    auto end = process->onEnd().exclusiveJoin(timer_.afterDelay(kEndPatience));
    co_await kj::mv(end);
    if (!process->ended()) process->kill("was killed: it answered that it cannot be reached");
    auto end2 = process->onEnd();
    co_await kj::mv(end2);
    throw endError(*process, methodName(question.method));
  }
  if (failure) throw *failure;
  co_return kj::mv(reply);
}

// A process that does not run holds no lease that its next start will not end: it begins with a reconcile.
bool RemotePlugin::Loop::holdsNothing(const ImageQuestion& question) const {
  return question.method == ImageMethod::release && reconciled_ && (process_ == nullptr || process_->ended());
}

Task<ImageReply> RemotePlugin::Loop::ask(rauha_call* call, const ImageQuestion& question) {
  ++asks_;
  const Defer done([this] { --asks_; });
  if (question.method == ImageMethod::release) leases_.erase(question.text);
  if (holdsNothing(question)) co_return ImageReply{};
  auto running = ensureRunning();
  co_await kj::mv(running);
  std::optional<Error> failure;
  ImageReply reply;
  try {
    auto sending = send(process_, call, question);
    reply = co_await kj::mv(sending);
  } catch (const Error& e) {
    failure = e;
  }
  if (failure) {
    if (holdsNothing(question)) co_return ImageReply{};
    throw *failure;
  }
  if (question.method == ImageMethod::resolve && !question.lease.empty()) leases_.insert(question.lease);
  if (question.method == ImageMethod::reconcile) {
    reconciled_ = true;
    leases_ = std::set<std::string>(question.leases.begin(), question.leases.end());
  }
  co_return kj::mv(reply);
}

}  // namespace rauha::plugin
