#pragma once
// What the subjects of conformance_test.cpp share: plugins that keep every rule, but the one that their configuration names
// (bad = "errors.text"). So each case is shown to fail for its rule, and only for it.
//
// The tables are made by hand and not by plugin.hpp's macros: those would not let the rules be broken. Functions are not noexcept, so that
// an exception can leave.

#include <sys/stat.h>
#include <unistd.h>
#include <rauha/config.hpp>
#include <rauha/plugin.hpp>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace subject {

namespace fs = std::filesystem;
namespace sdk = rauha::sdk;

// The host whose base is complete; what an older one has is not enough for these plugins.
inline bool complete(const rauha_host* host) { return RAUHA_HAS(host, get_service); }

struct Base {
  const rauha_host* host = nullptr;
  std::thread::id maker = std::this_thread::get_id();
  std::string bad, state, runtime, instance;
  std::mutex mutex;

  bool is(std::string_view rule) const { return bad == rule; }
  std::string dir(const std::string& name) const {
    const std::string path = (name[0] == '!' ? runtime + "/" + name.substr(1) : state + "/" + name);
    fs::create_directories(path);
    return path;
  }
  void touch(const std::string& path) const { std::ofstream(path) << "x"; }
};

// Fails the call as the subject is told to.
inline rauha_status fail(Base& b, rauha_call* call, rauha_status status, std::string text, std::string hint = {}) {
  for (std::string* s : {&text, &hint})
    for (char& c : *s)
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  if (text.size() > 500) text.resize(500);
  if (b.is("errors.text")) text += "\n";
  if (b.is("errors.silent")) return status;
  b.host->set_error(call, b.is("errors.status") ? RAUHA_E_INTERNAL : status, sdk::str(text), sdk::str(hint));
  return status;
}

// A function of the subject's as the pointer that a table takes.
template <typename R, typename... A>
auto shut(R (*f)(A...)) {
  return reinterpret_cast<R (*)(A...) noexcept>(f);
}

template <typename F>
rauha_status guarded(Base& b, rauha_call* call, F&& f) {
  try {
    f();
    return RAUHA_OK;
  } catch (const sdk::Error& e) {
    if (b.is("errors.exceptions") && std::string_view(e.what()).find("no such thing") != std::string_view::npos) throw;
    return fail(b, call, e.status(), e.what(), e.hint());
  }
}

// The size rules with the deviations about them.
template <typename T>
T taken(Base& b, const T* raw) {
  T copy{};
  if (b.is("random.inputs") && raw->struct_size >= 8 && raw->struct_size < sizeof(T)) ::abort();  // an older caller
  if ((b.is("specs.tail_nonzero") && raw->struct_size > sizeof(T)) || (b.is("specs.small") && raw->struct_size < 8)) {
    std::memcpy(static_cast<void*>(&copy), raw, sizeof copy);
  } else if (b.is("specs.tail_zero") && raw->struct_size > sizeof(T)) {
    throw sdk::Error(RAUHA_E_UNSUPPORTED, "a struct of another size");
  } else {
    copy = sdk::input(raw, "input");
  }
  if (!b.is("specs.flags")) sdk::refuseUnknownFlags(copy.flags, 0, "input");
  return copy;
}

inline void records(Base& b, const rauha_array& array, const std::set<uint32_t>& known) {
  const bool grown = array.stride != sizeof(rauha_record);
  if (b.is("specs.stride") && grown) return;  // looks at none whose size it does not know
  for (const auto& r : sdk::elements<rauha_record>(array, "record")) {
    if ((r.flags & ~RAUHA_RECORD_CRITICAL) != 0) throw sdk::Error(RAUHA_E_UNSUPPORTED, "a record with unknown flags");
    if (known.count(r.tag) != 0) continue;
    const bool critical = (r.flags & RAUHA_RECORD_CRITICAL) != 0;
    if (critical ? !b.is("specs.record_critical") : b.is("specs.record_other") && !grown)
      throw sdk::Error(RAUHA_E_UNSUPPORTED, "unknown record " + std::to_string(r.tag));
  }
}

inline bool isId(const std::string& id) {
  return !id.empty() && id.size() <= 40 && id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

inline std::string idOf(Base& b, rauha_str raw) {
  const std::string id(sdk::view(raw));
  if (b.is("specs.texts") && id.size() > 100'000) ::abort();
  if (!isId(id) && !b.is("specs.ids")) throw sdk::Error(RAUHA_E_INVALID, "zone id " + id + " is not 1 to 40 of [a-z0-9_]");
  return id;
}

// Text for a file's name.
inline std::string fileName(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 100)) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return out + "-" + std::to_string(std::hash<std::string_view>{}(text));
}

inline void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(2500)); }  // longer than the test's limit for a cancelled call

// Where a making call looks whether it was cancelled; the deviations make it deaf there.
inline void look(Base& b, const sdk::Call& call, std::string_view deaf) {
  const bool cancelled = call.cancelled();
  if (b.is(deaf) && cancelled) nap();
  if (call.deadlineNs() == 1) {  // the kit's "long ago"
    if (b.is("cancel.deadline")) nap();
    throw sdk::Error(RAUHA_E_DEADLINE, "the deadline has passed");
  }
  if (cancelled) throw sdk::Error(RAUHA_E_CANCELLED, "cancelled by the caller");
}

inline bool contains(const rauha_array& array, std::string_view text) {
  for (const std::string_view t : sdk::texts(array))
    if (t == text) return true;
  return false;
}

// create() for an instance type that derives from Base.
template <typename T>
rauha_status create(const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) {
  if (!complete(host)) {
    // Without being complete it is not known what can be read; the deviation reads on.
    static constexpr std::string_view kBad = "older_host";
    if (sdk::view(config).find(kBad) == std::string_view::npos) return RAUHA_E_UNSUPPORTED;
    host->log(host->context, RAUHA_LOG_INFO, sdk::str("too new"));
  }
  auto made = std::make_unique<T>();
  made->host = host;
  made->instance = sdk::view(host->environment->instance);
  made->runtime = sdk::view(host->environment->runtime_dir);
  made->state = std::string(sdk::view(host->environment->state_dir)) + "/plugins/" + T::kName;
  if (sdk::view(config).find("bad = \"errors.untouched\"") != std::string_view::npos) *out = nullptr;
  // A deviation in reading the configuration has to be known before it is read.
  const bool lenient = sdk::view(config).find("bad = \"config.malformed\"") != std::string_view::npos;
  try {
    sdk::Config read(lenient ? std::string_view("bad = \"config.malformed\"\n") : sdk::view(config));
    made->bad = read.text("bad");
    const bool nameless = made->is("config.unknown_key");
    try {
      if (lenient && sdk::view(config).find("rauha_check_unknown = 1") != std::string_view::npos)
        throw sdk::Error(RAUHA_E_INVALID, "unknown key rauha_check_unknown");
      read.refuseUnknown();
    } catch (const sdk::Error& e) {
      return fail(*made, call, e.status(), nameless ? "the configuration is wrong" : e.what());
    }
  } catch (const sdk::Error& e) {
    return fail(*made, call, e.status(), e.what());
  }
  if (made->is("versions.newer_host") && host->abi_minor > RAUHA_ABI_MINOR)
    return fail(*made, call, RAUHA_E_UNSUPPORTED, "the host is too new");
  if (made->is("versions.services") && host->get_service(host->context, "rauha.state/1") == nullptr)
    return fail(*made, call, RAUHA_E_UNSUPPORTED, "no state");
  if (made->is("resources.instances")) (void)!::dup(2);
  *out = reinterpret_cast<rauha_instance*>(static_cast<Base*>(made.release()));
  return RAUHA_OK;
}

template <typename T>
T& of(rauha_instance* i) {
  return *static_cast<T*>(reinterpret_cast<Base*>(i));
}

template <typename T>
void destroy(rauha_instance* i) {
  delete &of<T>(i);
}

// get_interface, with the deviation of answering to everything.
template <typename T>
const void* interfaceOf(rauha_instance* i, const char* id, const char* own, const void* table) {
  return std::string_view(id) == own || of<T>(i).is("load.interfaces") ? table : nullptr;
}

}  // namespace subject

// The entry and the note. The macros BAD_… break what cannot be broken by a configuration.
#ifdef BAD_NOTE
#define SUBJECT_NOTE_VERSION "9.9"
#else
#define SUBJECT_NOTE_VERSION "1.0"
#endif
#ifdef BAD_DESCRIPTOR
#define SUBJECT_LICENSE ""
#else
#define SUBJECT_LICENSE "Apache-2.0"
#endif
#ifdef BAD_ENTRY
#define SUBJECT_ENTRY_EFFECT ::setenv("RAUHA_SUBJECT", "entered", 1);
#else
#define SUBJECT_ENTRY_EFFECT
#endif

#define SUBJECT_PLUGIN(T, KIND, NAME, ID, TABLE)                                                                  \
  RAUHA_PLUGIN_NOTE(KIND, NAME, SUBJECT_NOTE_VERSION);                                                            \
  extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {                              \
    static const char* const provides[] = {ID, nullptr};                                                          \
    static const char* const services[] = {nullptr};                                                              \
    static const rauha_plugin plugin = {                                                                          \
        sizeof(rauha_plugin),                                                                                     \
        RAUHA_ABI_MINOR,                                                                                          \
        T::kName,                                                                                                 \
        "1.0",                                                                                                    \
        SUBJECT_LICENSE,                                                                                          \
        provides,                                                                                                 \
        services,                                                                                                 \
        subject::shut(subject::create<T>),                                                                        \
        subject::shut(subject::destroy<T>),                                                                       \
        [](rauha_instance* i, const char* id) noexcept { return subject::interfaceOf<T>(i, id, ID, &(TABLE)); }}; \
    SUBJECT_ENTRY_EFFECT                                                                                          \
    return &plugin;                                                                                               \
  }                                                                                                               \
  static_assert(true)
