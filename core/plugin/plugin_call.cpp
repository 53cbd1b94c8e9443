#include <array>

#include "core/base/clock.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/host_services.h"

namespace rauha::plugin {
namespace {

constexpr size_t kMaxErrorText = 512;
constexpr size_t kMaxProgressText = 128;
constexpr rauha_status kFirstOwnStatus = 1000;

std::string statusName(rauha_status status) {
  static constexpr std::array<const char*, 14> names{"OK",    "INVALID",   "NOT_FOUND", "EXISTS", "UNSUPPORTED", "DENIED",  "BUSY",
                                                     "LIMIT", "CANCELLED", "DEADLINE",  "IO",     "CONFLICT",    "CORRUPT", "INTERNAL"};
  return status >= 0 && static_cast<size_t>(status) < names.size() ? names[static_cast<size_t>(status)]
                                                                   : "status " + std::to_string(status);
}

uint64_t beginCall(HostServices& host, const CallOptions& options, std::string_view errorClass, std::string_view function,
                   int64_t deadlineNs) {
  if (options.cancel != nullptr && options.cancel->cancelled())
    throw Error(errorClass, Code::cancelled, "cancelled by the caller before " + std::string(function) + " began");
  if (monotonicNs() >= deadlineNs)
    throw Error(errorClass, Code::deadline, "the time was up before " + std::string(function) + " of " + host.plugin() + " began");
  return host.calls().begin(errorClass, function, deadlineNs, options.cancel);
}

}  // namespace

PluginCall::PluginCall(HostServices& host, const CallOptions& options, std::string_view errorClass, std::string_view function)
    : host_(host),
      options_(options),
      errorClass_(errorClass),
      function_(function),
      deadlineNs_(options.deadlineNs != 0 ? options.deadlineNs : monotonicNs() + host.calls().limits().callNs),
      number_(beginCall(host, options, errorClass, function, deadlineNs_)) {}

void PluginCall::setError(rauha_str text, rauha_str hint) noexcept {
  try {
    std::string cleanedText = cleanText(text, kMaxErrorText), cleanedHint = cleanText(hint, kMaxErrorText);
    std::lock_guard lock(mutex_);
    text_ = std::move(cleanedText);
    hint_ = std::move(cleanedHint);
  } catch (...) {  // out of memory: the status alone must do
  }
}

void PluginCall::progress(rauha_str what, uint64_t done, uint64_t total) noexcept {
  if (!options_.progress) return;
  try {
    options_.progress(cleanText(what, kMaxProgressText), done, total);
  } catch (...) {  // progress is a courtesy
  }
}

void PluginCall::fault(const Error& what) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (fault_.empty()) fault_ = what.text();
  } catch (...) {
    std::terminate();  // a broken contract must not be forgotten for lack of memory
  }
}

void PluginCall::threw(const char* what) noexcept {
  try {
    fault(Error("plugin", Code::internal, std::string("threw an exception through the border: ") + what));
  } catch (...) {
    std::terminate();  // as in fault()
  }
}

Error PluginCall::errorFor(rauha_status status) {
  const bool known = status > 0 && status <= RAUHA_E_INTERNAL;
  const Code code = known ? static_cast<Code>(status) : Code::internal;
  const std::string function(function_);
  if (text_.empty()) {
    host_.violation(function + " returned " + statusName(status) + " without a message");
    return Error(errorClass_, code, host_.plugin() + ": " + function + " returned " + statusName(status) + " without a message", hint_);
  }
  if (known) return Error(errorClass_, code, text_, hint_);
  // From 1000 on the numbers are the plugin's own; the others nobody has given a meaning.
  if (status < kFirstOwnStatus) host_.violation(function + " returned the unknown " + statusName(status) + ": " + text_);
  return Error(errorClass_, code, text_ + " (" + host_.plugin() + " status " + std::to_string(status) + ")", hint_);
}

void PluginCall::finish(rauha_status status) {
  std::lock_guard lock(mutex_);
  if (!fault_.empty()) host_.violation(std::string(function_) + ": " + fault_);
  if (status != RAUHA_OK && (fault_.empty() || !text_.empty())) throw errorFor(status);
  if (!fault_.empty())
    throw Error(errorClass_, Code::internal, host_.plugin() + ": " + std::string(function_) + ": " + fault_,
                "report this to the plugin's author");
}

}  // namespace rauha::plugin
