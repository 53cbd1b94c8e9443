#pragma once
// The one error type inside Rauha: who refuses (class), what the caller may do (code), what happened to which object (text, object),
// and the remedy (hint). Thrown where something should not happen, carried as a value where it is expected; each border (C ABI, RPC,
// thread, process) converts it once. Texts: one line, lower case, naming the object and both sides of a mismatch.

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

namespace rauha {

// The numbers are those of rauha_status (sdk/include/rauha/plugin.h) and schema::ErrorCode.
enum class Code : int32_t {
  none = 0,
  invalid = 1,
  notFound = 2,
  exists = 3,
  unsupported = 4,
  denied = 5,
  busy = 6,
  limit = 7,
  cancelled = 8,
  deadline = 9,
  io = 10,
  conflict = 11,
  corrupt = 12,
  internal = 13,
};

// "not_found"; unknown numbers are "internal".
std::string_view codeName(Code code) noexcept;
// A number from outside; what is not known becomes internal.
Code codeFromNumber(int32_t number) noexcept;
// The code that fits an errno value: ENOENT is notFound, EACCES denied, ENOSPC limit, …, everything else io.
Code codeFromErrno(int error) noexcept;

class Error : public std::exception {
 public:
  // errorClass: a literal such as "policy"; see schemas/common.capnp for the list.
  Error(std::string_view errorClass, Code code, std::string text, std::string hint = {}, std::string object = {});
  const char* what() const noexcept override { return text_.c_str(); }
  const std::string& errorClass() const noexcept { return class_; }
  Code code() const noexcept { return code_; }
  const std::string& text() const noexcept { return text_; }
  const std::string& hint() const noexcept { return hint_; }
  const std::string& object() const noexcept { return object_; }

 private:
  std::string class_, text_, hint_, object_;
  Code code_;
};

// "<what>: <strerror(error)>", with the code that fits. `what` names the object: "open /run/x/lock".
Error osError(std::string_view errorClass, std::string_view what, int error, std::string hint = {});
// osError with the current errno, thrown.
[[noreturn]] void throwErrno(std::string_view errorClass, std::string_view what);

}  // namespace rauha
