#pragma once
// A host for unit tests of plugins: no daemon, no root, nothing outside of a temporary directory. Header-only; needs the SDK and libc.
//
//   rauha::testing::FakeHost host;                                         // directories, services, records
//   rauha::testing::Plugin plugin = rauha::testing::Plugin::fromFile("my-image.so");
//   rauha::testing::Instance instance(host, plugin, "key = 1\n");          // create(); destroy() at the end
//   const auto* images = instance.table<rauha_image_v1>(RAUHA_IMAGE_V1);
//   rauha::testing::FakeCall call(host);                                   // one call: may be cancelled, has a deadline
//   EXPECT_EQ(images->reconcile(instance.raw(), call.raw(), {}), RAUHA_OK) << call.text();
//
// A class behind plugin.hpp can be tested without tables: give it host.host() and call.sdk(). All functions of the host may be called from
// any thread, as in the daemon. Services (fake_services.hpp) are there by default; withdraw() takes one away. Unlike the daemon, the fake
// host records what it gets as it came; limits and cleaning are the daemon's, `rauha-plugin-check` judges them.

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "capture.hpp"
#include "fake_services.hpp"

namespace rauha::testing {

struct LogLine {
  int32_t level = 0;
  std::string text;
};
struct ProgressReport {
  std::string what;
  uint64_t done = 0, total = 0;
};
struct RecordedEvent {
  uint32_t severity = 0;
  std::string name, zoneId, message;
  std::vector<std::pair<std::string, std::string>> attributes;
};

class FakeCall;

class FakeHost final {
 public:
  struct Options {
    std::string instance;                       // empty: "rauha-fake-<pid>-<n>"
    std::string libexecDir = "/nonexistent";    // where a backend looks for its shim
    std::string directory;                      // an existing directory to use and to leave behind; empty: a new one, removed at the end
    size_t eventRoom = SIZE_MAX;                // events that are kept; more are dropped, and rauha.events/1 says LIMIT
    bool serviceThread = false;                 // timers and watches call back by themselves
    std::function<void(const char*)> onCall{};  // each time the plugin calls the host, with the function's name; on the plugin's thread
  };
  FakeHost() : FakeHost(Options()) {}
  explicit FakeHost(Options options) : options_(std::move(options)) {
    static std::atomic<unsigned> count{0};
    if (options_.instance.empty()) options_.instance = "rauha-fake-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    if (options_.directory.empty()) {
      std::string name = (std::filesystem::temp_directory_path() / "rauha-fake-host-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("make directory " + name + ": " + std::strerror(errno));
      root_ = temporary_ = name;
    } else {
      root_ = options_.directory;
    }
    stateDir_ = root_ + "/state";
    runtimeDir_ = root_ + "/run";
    for (const std::string& directory : {stateDir_, stateDir_ + "/plugins", runtimeDir_})
      if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        throw std::runtime_error("make directory " + directory + ": " + std::strerror(errno));
    environment_ = {sizeof environment_,          0, sdk::str(options_.instance), sdk::str(stateDir_), sdk::str(runtimeDir_),
                    sdk::str(options_.libexecDir)};
    fillTable();
    if (options_.serviceThread) callbacks_.runServiceThread();
  }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  ~FakeHost() {
    callbacks_.stopServiceThread();
    std::error_code ignored;
    if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
    for (const auto& [at, size] : mapped_) ::munmap(at, size);
  }

  const rauha_host* table() const noexcept { return &table_; }
  sdk::Host host() const noexcept { return sdk::Host(&table_); }
  // The table of an older host: its struct_size is `size`, and whoever reads the bytes behind it dies of SIGSEGV, for they are the poison
  // of inaccessible memory. Valid as long as the host.
  const rauha_host* truncated(size_t size) { return reinterpret_cast<const rauha_host*>(atEndOfPage(&table_, size, size)); }
  // The table of a newer host: one minor higher, with `extra` more bytes that look like functions and must not be called.
  const rauha_host* larger(size_t extra) {
    std::vector<unsigned char> bytes(sizeof table_ + extra, 0xa5);
    std::memcpy(bytes.data(), &table_, sizeof table_);
    auto* grown = reinterpret_cast<rauha_host*>(atEndOfPage(bytes.data(), bytes.size(), bytes.size()));
    grown->abi_minor = RAUHA_ABI_MINOR + 1;
    return grown;
  }

  const std::string& instance() const noexcept { return options_.instance; }
  const std::string& root() const noexcept { return root_; }
  const std::string& stateDir() const noexcept { return stateDir_; }
  const std::string& runtimeDir() const noexcept { return runtimeDir_; }
  std::string pluginDir(const std::string& plugin) const { return stateDir_ + "/plugins/" + plugin; }
  // Before an instance is made.
  void setLibexecDir(std::string path) {
    options_.libexecDir = std::move(path);
    environment_.libexec_dir = sdk::str(options_.libexecDir);
  }
  void withdraw(const std::string& service) {
    const std::lock_guard held(mutex_);
    withdrawn_.insert(service);
  }

  std::vector<LogLine> logs() const { return copyOf(logs_); }
  bool logged(std::string_view part) const {
    for (const LogLine& line : logs())
      if (line.text.find(part) != std::string::npos) return true;
    return false;
  }
  std::vector<RecordedEvent> events() const { return copyOf(events_); }
  uint64_t eventsDropped() const noexcept { return dropped_; }
  // What was said through set_error without a call.
  std::vector<std::string> strayErrors() const { return copyOf(strays_); }
  // The thread whose calls see on_loop_thread() true.
  void setLoopThread(std::thread::id id) {
    const std::lock_guard held(mutex_);
    loopThread_ = id;
  }

  FakeState& state() noexcept { return state_; }
  FakeCallbacks& callbacks() noexcept { return callbacks_; }
  FakeSpawn& spawn() noexcept { return spawn_; }

 private:
  friend class FakeCall;
  static FakeHost* of(rauha_host_context* c) noexcept { return reinterpret_cast<FakeHost*>(c); }
  template <typename T>
  std::vector<T> copyOf(const std::vector<T>& list) const {
    const std::lock_guard held(mutex_);
    return list;
  }
  void called(const char* function) const {
    if (options_.onCall) options_.onCall(function);
  }
  inline void fillTable();
  inline void fillServices();
  inline rauha_status record(const rauha_event* raw);
  inline const void* service(std::string_view id) const;
  // Puts `use` bytes of `from` at the end of readable memory.
  unsigned char* atEndOfPage(const void* from, size_t use, size_t structSize) {
    const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t room = (use + page - 1) / page * page + page;  // at least one readable page, one that is not
    void* at = ::mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    mapped_.emplace_back(at, room + page);
    ::mprotect(static_cast<unsigned char*>(at) + room, page, PROT_NONE);
    unsigned char* out = static_cast<unsigned char*>(at) + room - use;
    std::memcpy(out, from, use);
    const auto size32 = static_cast<uint32_t>(structSize);
    if (use >= sizeof size32) std::memcpy(out, &size32, sizeof size32);
    return out;
  }

  Options options_;
  std::string root_, temporary_, stateDir_, runtimeDir_;
  rauha_environment environment_{};
  rauha_host table_{};
  rauha_state_v1 stateTable_{};
  rauha_events_v1 eventsTable_{};
  rauha_timer_v1 timerTable_{};
  rauha_watch_v1 watchTable_{};
  rauha_spawn_v1 spawnTable_{};
  std::vector<std::pair<void*, size_t>> mapped_;
  mutable std::mutex mutex_;
  std::vector<LogLine> logs_;
  std::vector<RecordedEvent> events_;
  std::vector<std::string> strays_;
  std::set<std::string, std::less<>> withdrawn_;
  std::thread::id loopThread_;
  std::atomic<uint64_t> dropped_{0};
  FakeState state_;
  FakeCallbacks callbacks_;
  FakeSpawn spawn_;
};

// One call into the plugin: give raw() where a rauha_call is asked for. Records what was said during it.
class FakeCall final {
  template <typename F>
  auto locked(F&& f) const {
    const std::lock_guard held(mutex_);
    return f();
  }

 public:
  explicit FakeCall(const FakeHost& host) : host_(&host), cancelFd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  FakeCall(const FakeCall&) = delete;
  FakeCall& operator=(const FakeCall&) = delete;
  ~FakeCall() { ::close(cancelFd_); }

  rauha_call* raw() noexcept { return reinterpret_cast<rauha_call*>(this); }
  sdk::Call sdk() noexcept { return {host_->table(), raw()}; }

  // Now, or from another thread while the call runs.
  void cancel() noexcept {
    cancelled_ = true;
    ::eventfd_write(cancelFd_, 1);
  }
  // In the middle: when the plugin has asked or told this call something `times` times, it is cancelled.
  void cancelAfter(uint64_t times) noexcept { cancelAt_ = times; }
  void setDeadline(std::chrono::nanoseconds fromNow) { setDeadlineNs(clockNs() + fromNow.count()); }
  void setDeadlineNs(int64_t monotonic) noexcept { deadlineNs_ = monotonic; }

  // What set_error said last, and how often it was called.
  rauha_status status() const {
    return locked([&] { return status_; });
  }
  std::string text() const {
    return locked([&] { return text_; });
  }
  std::string hint() const {
    return locked([&] { return hint_; });
  }
  unsigned errors() const {
    return locked([&] { return errors_; });
  }
  std::vector<ProgressReport> progress() const {
    return locked([&] { return progress_; });
  }
  // How often the plugin used this call.
  uint64_t uses() const noexcept { return uses_; }
  bool isCancelled() const noexcept { return cancelled_; }
  int cancelFd() const noexcept { return cancelFd_; }
  int64_t deadlineNs() const noexcept { return deadlineNs_; }

 private:
  friend class FakeHost;
  static FakeCall* of(rauha_call* c) noexcept { return reinterpret_cast<FakeCall*>(c); }
  void use(const char* function) {
    if (++uses_ == cancelAt_) cancel();
    host_->called(function);
  }
  void setError(rauha_status status, rauha_str text, rauha_str hint) {
    use("set_error");
    const std::lock_guard held(mutex_);
    status_ = status;
    text_ = copied(text);
    hint_ = copied(hint);
    ++errors_;
  }

  const FakeHost* host_;
  mutable std::mutex mutex_;
  rauha_status status_ = RAUHA_OK;
  std::string text_, hint_;
  unsigned errors_ = 0;
  std::vector<ProgressReport> progress_;
  std::atomic<uint64_t> uses_{0}, cancelAt_{0};
  std::atomic<bool> cancelled_{false};
  std::atomic<int64_t> deadlineNs_{0};
  int cancelFd_;
};

inline rauha_status FakeHost::record(const rauha_event* raw) {
  RecordedEvent event{raw->severity, copied(raw->name), copied(raw->zone_id), copied(raw->message), {}};
  const auto* at = static_cast<const unsigned char*>(raw->attributes.ptr);
  for (uint32_t i = 0; i < raw->attributes.count; ++i) {
    rauha_attribute a;
    std::memcpy(&a, at + size_t{i} * raw->attributes.stride, sizeof a);
    event.attributes.emplace_back(copied(a.key), copied(a.value));
  }
  const bool named = event.name.find('.') != std::string::npos;
  const std::lock_guard held(mutex_);
  if (!named || events_.size() >= options_.eventRoom) {
    ++dropped_;
    return named ? RAUHA_E_LIMIT : RAUHA_E_INVALID;
  }
  events_.push_back(std::move(event));
  return RAUHA_OK;
}

inline const void* FakeHost::service(std::string_view id) const {
  {
    const std::lock_guard held(mutex_);
    if (withdrawn_.find(id) != withdrawn_.end()) return nullptr;
  }
  if (id == RAUHA_STATE_V1) return &stateTable_;
  if (id == RAUHA_EVENTS_V1) return &eventsTable_;
  if (id == RAUHA_TIMER_V1) return &timerTable_;
  if (id == RAUHA_WATCH_V1) return &watchTable_;
  if (id == RAUHA_SPAWN_V1) return &spawnTable_;
  return nullptr;
}

inline void FakeHost::fillTable() {
  table_.struct_size = sizeof table_;
  table_.abi_minor = RAUHA_ABI_MINOR;
  table_.context = reinterpret_cast<rauha_host_context*>(this);
  table_.environment = &environment_;
  table_.set_error = [](rauha_call* c, rauha_status status, rauha_str text, rauha_str hint) noexcept {
    if (c != nullptr) FakeCall::of(c)->setError(status, text, hint);
  };
  table_.log = [](rauha_host_context* h, int32_t level, rauha_str text) noexcept {
    of(h)->called("log");
    const std::lock_guard held(of(h)->mutex_);
    of(h)->logs_.push_back({level, copied(text)});
  };
  table_.progress = [](rauha_call* c, rauha_str what, uint64_t done, uint64_t total) noexcept {
    if (c == nullptr) return;
    FakeCall::of(c)->use("progress");
    const std::lock_guard held(FakeCall::of(c)->mutex_);
    FakeCall::of(c)->progress_.push_back({copied(what), done, total});
  };
  table_.cancelled = [](rauha_call* c) noexcept -> int32_t {
    if (c == nullptr) return 0;
    FakeCall::of(c)->use("cancelled");
    return FakeCall::of(c)->cancelled_ ? 1 : 0;
  };
  table_.cancel_fd = [](rauha_call* c) noexcept -> int32_t {
    if (c == nullptr) return -1;
    FakeCall::of(c)->use("cancel_fd");
    return FakeCall::of(c)->cancelFd_;
  };
  table_.deadline_ns = [](rauha_call* c) noexcept -> int64_t {
    if (c == nullptr) return 0;
    FakeCall::of(c)->use("deadline_ns");
    return FakeCall::of(c)->deadlineNs_;
  };
  table_.emit = [](rauha_host_context* h, const rauha_event* event) noexcept {
    of(h)->called("emit");
    of(h)->record(event);
  };
  table_.on_loop_thread = [](rauha_host_context* h) noexcept -> int32_t {
    const std::lock_guard held(of(h)->mutex_);
    return of(h)->loopThread_ == std::this_thread::get_id() ? 1 : 0;
  };
  table_.get_service = [](rauha_host_context* h, const char* id) noexcept -> const void* {
    of(h)->called("get_service");
    return id == nullptr ? nullptr : of(h)->service(id);
  };
  fillServices();
}

namespace detail {
// What a service function does, with its failure told through the call as the headers say.
template <typename F>
rauha_status served(rauha_host_context* host, rauha_call* call, const rauha_host* table, const char* what, F&& f) noexcept {
  rauha_status status = RAUHA_E_INTERNAL;
  std::string text;
  try {
    status = f();
  } catch (const sdk::Error& e) {
    status = e.status();
    text = std::string(": ") + e.what();
  } catch (const std::exception& e) {
    text = std::string(": ") + e.what();
  }
  text = what + std::string(" failed with status ") + std::to_string(status) + text;
  if (status != RAUHA_OK && call != nullptr) table->set_error(call, status, sdk::str(text), {nullptr, 0});
  if (status != RAUHA_OK && call == nullptr) table->log(host, RAUHA_LOG_WARNING, sdk::str(text));
  return status;
}
}  // namespace detail

inline void FakeHost::fillServices() {
  using detail::served;
  stateTable_ = {sizeof stateTable_, 0,
                 [](rauha_host_context* h, rauha_call* c, rauha_str zone, rauha_bytes bytes) noexcept {
                   of(h)->called("state.put");
                   return served(h, c, of(h)->table(), "state.put", [&] {
                     return of(h)->state_.put(copied(zone),
                                              bytes.len == 0 ? "" : std::string(static_cast<const char*>(bytes.ptr), bytes.len));
                   });
                 },
                 [](rauha_host_context* h, rauha_call* c, rauha_str zone, const rauha_bytes_sink* sink) noexcept {
                   of(h)->called("state.get");
                   return served(h, c, of(h)->table(), "state.get", [&]() -> rauha_status {
                     const auto blob = of(h)->state_.get(copied(zone));
                     if (!blob) return RAUHA_E_NOT_FOUND;
                     sink->push(sink->context, {blob->data(), blob->size()});
                     return RAUHA_OK;
                   });
                 },
                 [](rauha_host_context* h, rauha_call*, rauha_str zone) noexcept -> rauha_status {
                   of(h)->called("state.erase");
                   of(h)->state_.erase(copied(zone));
                   return RAUHA_OK;
                 }};
  eventsTable_ = {sizeof eventsTable_, 0,
                  [](rauha_host_context* h, const rauha_event* event) noexcept -> rauha_status {
                    of(h)->called("events.emit");
                    return of(h)->record(event);
                  },
                  [](rauha_host_context* h) noexcept -> uint64_t { return of(h)->dropped_; }};
  timerTable_ = {sizeof timerTable_, 0,
                 [](rauha_host_context* h, rauha_call* c, const rauha_timer_request* request, uint64_t* timer) noexcept {
                   of(h)->called("timer.start");
                   return served(h, c, of(h)->table(), "timer.start", [&] { return of(h)->callbacks_.startTimer(request, timer); });
                 },
                 [](rauha_host_context* h, uint64_t timer) noexcept {
                   of(h)->called("timer.cancel");
                   of(h)->callbacks_.cancelTimer(timer);
                 }};
  watchTable_ = {sizeof watchTable_, 0,
                 [](rauha_host_context* h, rauha_call* c, const rauha_watch_request* request, uint64_t* watch) noexcept {
                   of(h)->called("watch.add");
                   return served(h, c, of(h)->table(), "watch.add", [&] { return of(h)->callbacks_.addWatch(request, watch); });
                 },
                 [](rauha_host_context* h, uint64_t watch) noexcept {
                   of(h)->called("watch.remove");
                   of(h)->callbacks_.removeWatch(watch);
                 }};
  spawnTable_ = {sizeof spawnTable_, 0,
                 [](rauha_host_context* h, rauha_call* c, const rauha_spawn_request* request, rauha_spawn_handle* out) noexcept {
                   of(h)->called("spawn.start");
                   return served(h, c, of(h)->table(), "spawn.start", [&] { return of(h)->spawn_.start(request, out); });
                 },
                 [](rauha_host_context* h, rauha_call* c, int32_t pidfd, rauha_spawn_end* out) noexcept {
                   of(h)->called("spawn.wait");
                   return served(h, c, of(h)->table(), "spawn.wait", [&] {
                     const FakeCall* call = c == nullptr ? nullptr : FakeCall::of(c);
                     return of(h)->spawn_.wait(pidfd, call == nullptr ? -1 : call->cancelFd(), call == nullptr ? 0 : call->deadlineNs(),
                                               out);
                   });
                 }};
}

// A call that failed where the helpers below cannot go on.
class PluginError : public std::runtime_error {
 public:
  PluginError(rauha_status status, const std::string& text, std::string hint)
      : std::runtime_error(text), status_(status), hint_(std::move(hint)) {}
  rauha_status status() const noexcept { return status_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  rauha_status status_;
  std::string hint_;
};

using EntryFunction = const rauha_plugin* (*)();

// A plugin's descriptor, from a file or linked into the test. A value.
class Plugin final {
 public:
  // Throws std::runtime_error with the loader's reason. The file stays loaded, as in the daemon.
  static Plugin fromFile(const std::string& path) {
    void* library = ::dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == nullptr) throw std::runtime_error(std::string("load: ") + ::dlerror());
    void* symbol = ::dlsym(library, "rauha_plugin_entry_v1");
    if (symbol == nullptr) throw std::runtime_error(path + " has no symbol rauha_plugin_entry_v1");
    return fromEntry(reinterpret_cast<EntryFunction>(symbol));
  }
  static Plugin fromEntry(EntryFunction entry) {
    const rauha_plugin* descriptor = entry();
    if (descriptor == nullptr) throw std::runtime_error("rauha_plugin_entry_v1 returned NULL");
    return Plugin(entry, descriptor);
  }
  const rauha_plugin* descriptor() const noexcept { return descriptor_; }
  EntryFunction entry() const noexcept { return entry_; }

 private:
  Plugin(EntryFunction function, const rauha_plugin* descriptor) : entry_(function), descriptor_(descriptor) {}
  EntryFunction entry_;
  const rauha_plugin* descriptor_;
};

// From create() to destroy(). As in the daemon, <state_dir>/plugins/<name> exists before create, and services are dropped after destroy.
class Instance final {
 public:
  // Throws PluginError when create fails. table: another table than the host's own (FakeHost::truncated, larger).
  Instance(FakeHost& host, const Plugin& plugin, std::string_view config = {}, const rauha_host* table = nullptr)
      : host_(&host), plugin_(plugin.descriptor()) {
    const std::string own = host.pluginDir(plugin_->name);
    if (::mkdir(own.c_str(), 0700) != 0 && errno != EEXIST) throw std::runtime_error("make directory " + own + ": " + std::strerror(errno));
    FakeCall call(host);
    const rauha_status status = plugin_->create(table == nullptr ? host.table() : table, call.raw(), sdk::str(config), &instance_);
    if (status != RAUHA_OK) throw PluginError(status, call.text(), call.hint());
    if (instance_ == nullptr) throw PluginError(RAUHA_E_INTERNAL, "create returned OK without an instance", {});
  }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance() {
    plugin_->destroy(instance_);
    host_->callbacks().dropAll();
    host_->spawn().dropAll();
  }
  rauha_instance* raw() const noexcept { return instance_; }
  // Null when the plugin does not have it.
  template <typename T>
  const T* table(const char* id) const noexcept {
    return static_cast<const T*>(plugin_->get_interface(instance_, id));
  }

 private:
  FakeHost* host_;
  const rauha_plugin* plugin_;
  rauha_instance* instance_ = nullptr;
};

}  // namespace rauha::testing
