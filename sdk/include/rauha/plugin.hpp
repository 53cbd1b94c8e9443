#pragma once
// The C++20 side of the plugin ABI, header-only, for authors of plugins.
//
// A plugin's class is plain C++: it throws rauha::sdk::Error (or any std::exception), takes std::string_view, and never sees a C
// table. The macros at the end (RAUHA_BACKEND_PLUGIN, RAUHA_IMAGE_PLUGIN) make the exported entry, the note and the guards that keep
// exceptions inside; services that the plugin cannot do without are named there. The services themselves: services.hpp.
// Nothing here allocates for the host or frees what is the host's.
//
// Threads: as the C headers tag them. Errors: Error carries one of RAUHA_E_*; every other exception becomes RAUHA_E_INTERNAL with its text.

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"
#include "image.h"
#include "plugin.h"

namespace rauha::sdk {

inline rauha_str str(std::string_view s) noexcept { return {s.data(), s.size()}; }
inline std::string_view view(rauha_str s) noexcept { return s.ptr == nullptr ? std::string_view() : std::string_view(s.ptr, s.len); }

// What a plugin throws: a status that says what the caller may do, one line of text, and the remedy.
class Error : public std::runtime_error {
 public:
  Error(rauha_status status, const std::string& text, std::string hint = {})
      : std::runtime_error(text), status_(status), hint_(std::move(hint)) {}
  rauha_status status() const noexcept { return status_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  rauha_status status_;
  std::string hint_;
};

// A service of the host refused: the host has set the call's text already, and what() does not replace it.
class ServiceError : public Error {
 public:
  using Error::Error;
};

// The host as the plugin sees it. A value; valid as long as the plugin's instance.
class Host {
 public:
  explicit Host(const rauha_host* raw) noexcept : raw_(raw) {}
  std::string_view instance() const noexcept { return view(raw_->environment->instance); }
  std::string_view stateDir() const noexcept { return view(raw_->environment->state_dir); }
  std::string_view runtimeDir() const noexcept { return view(raw_->environment->runtime_dir); }
  std::string_view libexecDir() const noexcept { return view(raw_->environment->libexec_dir); }
  void log(int level, std::string_view text) const noexcept { raw_->log(raw_->context, level, str(text)); }
  void emit(const rauha_event& event) const noexcept { raw_->emit(raw_->context, &event); }
  const void* service(const char* id) const noexcept { return raw_->get_service(raw_->context, id); }
  // The table of a service (service_*.h); throws RAUHA_E_UNSUPPORTED when this host lacks it or its first version's functions.
  template <typename Table>
  const Table& require(const char* id) const {
    const auto* table = static_cast<const Table*>(service(id));
    if (table == nullptr || table->struct_size < sizeof(Table))
      throw Error(RAUHA_E_UNSUPPORTED, std::string("this host has no ") + id, "use a daemon as new as the plugin");
    return *table;
  }
  const rauha_host* raw() const noexcept { return raw_; }

 private:
  const rauha_host* raw_;
};

namespace detail {
// A text as set_error takes it: one line of at most 512 bytes of UTF-8. What does not fit is cut, what is no text becomes "?".
class Line {
 public:
  explicit Line(std::string_view text) noexcept {
    for (size_t i = 0; i < text.size();) {
      const size_t n = length(text.substr(i));
      if (size_ + std::max<size_t>(n, 1) > sizeof bytes_) break;
      const auto c = static_cast<unsigned char>(text[i]);
      if (n == 0)
        bytes_[size_++] = '?';
      else if (c < 0x20 || c == 0x7f)
        bytes_[size_++] = ' ';
      else
        for (size_t k = 0; k < n; ++k) bytes_[size_++] = text[i + k];
      i += std::max<size_t>(n, 1);
    }
  }
  std::string_view view() const noexcept { return {bytes_, size_}; }

 private:
  // Bytes of the character that s begins with; 0: none (RFC 3629).
  static size_t length(std::string_view s) noexcept {
    const auto byte = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
    const unsigned c = byte(0);
    const size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; ++i)
      if ((byte(i) & 0xc0) != 0x80) return 0;
    const bool overlong = (c == 0xe0 && byte(1) < 0xa0) || (c == 0xf0 && byte(1) < 0x90);
    const bool beyond = (c == 0xed && byte(1) >= 0xa0) || (c == 0xf4 && byte(1) >= 0x90);
    return overlong || beyond ? 0 : n;
  }
  char bytes_[512];
  size_t size_ = 0;
};

// Everything that this wrapper calls without asking: the host's table of ABI 1.0.
inline bool hasBase(const rauha_host* host) noexcept { return RAUHA_HAS(host, get_service) && RAUHA_HAS(host->environment, libexec_dir); }

// Told to a host that is older than 1.0's table, as far as it can be told anything.
inline rauha_status refuseHost(const rauha_host* host, rauha_call* call) noexcept {
  if (RAUHA_HAS(host, set_error))
    host->set_error(call, RAUHA_E_UNSUPPORTED, str("the host's table is older than ABI 1.0"), str("use a daemon as new as the plugin"));
  return RAUHA_E_UNSUPPORTED;
}
}  // namespace detail

// One call in progress.
class Call {
 public:
  Call(const rauha_host* host, rauha_call* raw) noexcept : host_(host), raw_(raw) {}
  bool cancelled() const noexcept { return host_->cancelled(raw_) != 0; }
  int cancelFd() const noexcept { return host_->cancel_fd(raw_); }
  int64_t deadlineNs() const noexcept { return host_->deadline_ns(raw_); }
  void progress(std::string_view what, uint64_t done, uint64_t total) const noexcept { host_->progress(raw_, str(what), done, total); }
  rauha_call* raw() const noexcept { return raw_; }
  // Throws RAUHA_E_CANCELLED once the host gave up; long loops call it often.
  void check() const {
    if (cancelled()) throw Error(RAUHA_E_CANCELLED, "cancelled by the caller");
  }

  template <typename F>
  rauha_status guard(F&& f) noexcept {
    try {
      f();
      return RAUHA_OK;
    } catch (const ServiceError& e) {
      return e.status();
    } catch (const Error& e) {
      return fail(e.status(), e.what(), e.hint());
    } catch (const std::bad_alloc&) {
      return fail(RAUHA_E_INTERNAL, "out of memory", {});
    } catch (const std::exception& e) {
      return fail(RAUHA_E_INTERNAL, e.what(), {});
    } catch (...) {
      return fail(RAUHA_E_INTERNAL, "unknown exception", {});
    }
  }

 private:
  rauha_status fail(rauha_status s, std::string_view text, std::string_view hint) noexcept {
    const detail::Line line(text), remedy(hint);
    host_->set_error(raw_, s, str(line.view()), str(remedy.view()));
    return s;
  }
  const rauha_host* host_;
  rauha_call* raw_;
};

// The size rules for an input struct: what the caller did not know reads as zero; what we do not know must be zero.
template <typename T>
T input(const T* raw, const char* what) {
  T out{};
  if (raw == nullptr || raw->struct_size < 2 * sizeof(uint32_t))
    throw Error(RAUHA_E_INVALID, std::string(what) + ": no struct given, or its struct_size is too small");
  const size_t known = std::min<size_t>(raw->struct_size, sizeof(T));
  std::memcpy(static_cast<void*>(&out), raw, known);
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw);
  for (size_t i = sizeof(T); i < raw->struct_size; ++i)
    if (bytes[i] != 0)
      throw Error(RAUHA_E_UNSUPPORTED, std::string(what) + ": the caller sets bytes beyond the " + std::to_string(sizeof(T)) +
                                           " that this plugin (ABI 1." + std::to_string(RAUHA_ABI_MINOR) + ") knows");
  return out;
}

inline void refuseUnknownFlags(uint32_t flags, uint32_t known, const char* what) {
  if ((flags & ~known) != 0) throw Error(RAUHA_E_UNSUPPORTED, std::string(what) + ": unknown flag bits " + std::to_string(flags & ~known));
}

// Elements of a rauha_array, each through input().
template <typename T>
std::vector<T> elements(const rauha_array& array, const char* what) {
  std::vector<T> out;
  out.reserve(array.count);
  const auto* p = static_cast<const unsigned char*>(array.ptr);
  for (uint32_t i = 0; i < array.count; ++i) out.push_back(input<T>(reinterpret_cast<const T*>(p + size_t{i} * array.stride), what));
  return out;
}

// Hands each record to known(record), which says whether it knew the tag; an unknown critical one is refused, others are skipped.
template <typename F>
void eachRecord(const rauha_array& records, const char* what, F&& known) {
  for (const rauha_record& record : elements<rauha_record>(records, what)) {
    refuseUnknownFlags(record.flags, RAUHA_RECORD_CRITICAL, what);
    if (!known(record) && (record.flags & RAUHA_RECORD_CRITICAL) != 0)
      throw Error(RAUHA_E_UNSUPPORTED, std::string(what) + ": unknown critical record " + std::to_string(record.tag));
  }
}

inline std::vector<std::string_view> texts(const rauha_array& array) {
  std::vector<std::string_view> out;
  out.reserve(array.count);
  const auto* p = static_cast<const unsigned char*>(array.ptr);
  for (uint32_t i = 0; i < array.count; ++i) out.push_back(view(*reinterpret_cast<const rauha_str*>(p + size_t{i} * array.stride)));
  return out;
}

namespace detail {
template <typename T>
struct Box {
  const rauha_host* host;
  T impl;
};
template <typename T>
Box<T>* box(rauha_instance* i) noexcept {
  return reinterpret_cast<Box<T>*>(i);
}

template <typename T, typename F>
rauha_status run(rauha_instance* i, rauha_call* raw, F&& f) noexcept {
  Call call(box<T>(i)->host, raw);
  return call.guard([&] { f(box<T>(i)->impl, call); });
}
}  // namespace detail

// T: probe(Call&, sink), createZone(Call&, spec, sink) -> rauha_zone_handle, connectZone(Call&, id) -> rauha_zone_handle,
// updateZone(Call&, spec), destroyZone(Call&, id), checkZone(Call&, id), reconcile(Call&, ids, sink).
template <typename T>
const rauha_backend_v1* backendTable() noexcept {
  using detail::run;
  static const rauha_backend_v1 table = {
      sizeof(rauha_backend_v1),
      0,
      [](rauha_instance* i, rauha_call* c, const rauha_layer_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.probe(k, *s); });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_zone_spec* z, const rauha_layer_sink* s, rauha_zone_handle* out) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) {
          rauha_zone_handle h = t.createZone(k, input(z, "zone spec"), *s);
          h.struct_size = std::min<uint32_t>(out->struct_size, sizeof(h));
          std::memcpy(static_cast<void*>(out), &h, h.struct_size);
        });
      },
      [](rauha_instance* i, rauha_call* c, rauha_str id, rauha_zone_handle* out) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) {
          rauha_zone_handle h = t.connectZone(k, view(id));
          h.struct_size = std::min<uint32_t>(out->struct_size, sizeof(h));
          std::memcpy(static_cast<void*>(out), &h, h.struct_size);
        });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_zone_spec* z) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.updateZone(k, input(z, "zone spec")); });
      },
      [](rauha_instance* i, rauha_call* c, rauha_str id) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.destroyZone(k, view(id)); });
      },
      [](rauha_instance* i, rauha_call* c, rauha_str id) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.checkZone(k, view(id)); });
      },
      [](rauha_instance* i, rauha_call* c, rauha_array ids, const rauha_finding_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.reconcile(k, texts(ids), *s); });
      },
  };
  return &table;
}

// T: resolve(Call&, request, sink), release(Call&, lease), list(Call&, request, sink), inspect(Call&, request, sink),
// remove(Call&, request), importImage(Call&, request, sink), reconcile(Call&, leases). T refuses request.flags and request.records that it
// does not know (refuseUnknownFlags, eachRecord).
// May be left out (ABI 1.1): prune(Call&, request, sink), exportImage(Call&, request, targetFd, sink), verify(Call&, request, sink).
namespace detail {
template <typename T, typename = void>
struct Prune {
  static constexpr decltype(rauha_image_v1::prune) function = nullptr;
};
template <typename T>
struct Prune<T, std::void_t<decltype(std::declval<T&>().prune(std::declval<Call&>(), std::declval<const rauha_image_request&>(),
                                                              std::declval<const rauha_image_sink&>()))>> {
  static rauha_status function(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
    return run<T>(i, c, [&](T& t, Call& k) { t.prune(k, input(r, "image request"), *s); });
  }
};
template <typename T, typename = void>
struct Export {
  static constexpr decltype(rauha_image_v1::export_image) function = nullptr;
};
template <typename T>
struct Export<T, std::void_t<decltype(std::declval<T&>().exportImage(std::declval<Call&>(), std::declval<const rauha_image_request&>(), 0,
                                                                     std::declval<const rauha_image_sink&>()))>> {
  static rauha_status function(rauha_instance* i, rauha_call* c, const rauha_image_request* r, int32_t target,
                               const rauha_image_sink* s) noexcept {
    return run<T>(i, c, [&](T& t, Call& k) { t.exportImage(k, input(r, "image request"), target, *s); });
  }
};
template <typename T, typename = void>
struct Verify {
  static constexpr decltype(rauha_image_v1::verify) function = nullptr;
};
template <typename T>
struct Verify<T, std::void_t<decltype(std::declval<T&>().verify(std::declval<Call&>(), std::declval<const rauha_image_request&>(),
                                                                std::declval<const rauha_image_sink&>()))>> {
  static rauha_status function(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
    return run<T>(i, c, [&](T& t, Call& k) { t.verify(k, input(r, "image request"), *s); });
  }
};
}  // namespace detail

template <typename T>
const rauha_image_v1* imageTable() noexcept {
  using detail::run;
  static const rauha_image_v1 table = {
      sizeof(rauha_image_v1),
      0,
      [](rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.resolve(k, input(r, "image request"), *s); });
      },
      [](rauha_instance* i, rauha_call* c, rauha_str lease) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.release(k, view(lease)); });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.list(k, input(r, "image request"), *s); });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.inspect(k, input(r, "image request"), *s); });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_image_request* r) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.remove(k, input(r, "image request")); });
      },
      [](rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.importImage(k, input(r, "image request"), *s); });
      },
      [](rauha_instance* i, rauha_call* c, rauha_array leases) noexcept {
        return run<T>(i, c, [&](T& t, Call& k) { t.reconcile(k, texts(leases)); });
      },
      detail::Prune<T>::function,
      detail::Export<T>::function,
      detail::Verify<T>::function,
  };
  return &table;
}

}  // namespace rauha::sdk

#include "services.hpp"

// T(Host, std::string_view config) is the plugin's constructor; it may throw. After LICENSE: the ids of the services that the plugin cannot
// do without, as in RAUHA_IMAGE_PLUGIN(MyImages, "my-images", "1.0", "Apache-2.0", RAUHA_STATE_V1, RAUHA_TIMER_V1). A host that lacks one
// refuses the plugin before it is made.
#define RAUHA_DETAIL_PLUGIN(T, KIND, ID, TABLE, NAME, VERSION, LICENSE, ...)                                                 \
  RAUHA_PLUGIN_NOTE(KIND, NAME, VERSION);                                                                                    \
  extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {                                         \
    using rauha::sdk::detail::Box;                                                                                           \
    static const char* const provides[] = {ID, nullptr};                                                                     \
    static const char* const requires_services[] = {__VA_ARGS__ __VA_OPT__(, ) nullptr};                                     \
    static const rauha_plugin plugin = {                                                                                     \
        sizeof(rauha_plugin),                                                                                                \
        RAUHA_ABI_MINOR,                                                                                                     \
        NAME,                                                                                                                \
        VERSION,                                                                                                             \
        LICENSE,                                                                                                             \
        provides,                                                                                                            \
        requires_services,                                                                                                   \
        [](const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) noexcept -> rauha_status {      \
          if (!rauha::sdk::detail::hasBase(host)) return rauha::sdk::detail::refuseHost(host, call);                         \
          return rauha::sdk::Call(host, call).guard([&] {                                                                    \
            *out = reinterpret_cast<rauha_instance*>(new Box<T>{host, T(rauha::sdk::Host(host), rauha::sdk::view(config))}); \
          });                                                                                                                \
        },                                                                                                                   \
        [](rauha_instance* i) noexcept { delete rauha::sdk::detail::box<T>(i); },                                            \
        [](rauha_instance*, const char* id) noexcept -> const void* {                                                        \
          return std::string_view(id) == ID ? static_cast<const void*>(TABLE) : nullptr;                                     \
        }};                                                                                                                  \
    return &plugin;                                                                                                          \
  }                                                                                                                          \
  static_assert(true)

#define RAUHA_BACKEND_PLUGIN(T, NAME, VERSION, LICENSE, ...) \
  RAUHA_DETAIL_PLUGIN(T, "backend", RAUHA_BACKEND_V1, rauha::sdk::backendTable<T>(), NAME, VERSION, LICENSE __VA_OPT__(, ) __VA_ARGS__)
#define RAUHA_IMAGE_PLUGIN(T, NAME, VERSION, LICENSE, ...) \
  RAUHA_DETAIL_PLUGIN(T, "image", RAUHA_IMAGE_V1, rauha::sdk::imageTable<T>(), NAME, VERSION, LICENSE __VA_OPT__(, ) __VA_ARGS__)
