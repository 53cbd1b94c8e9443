#include "core/base/error.h"

#include <cerrno>
#include <cstring>

namespace rauha {

std::string_view codeName(Code code) noexcept {
  switch (code) {
    case Code::none:
      return "none";
    case Code::invalid:
      return "invalid";
    case Code::notFound:
      return "not_found";
    case Code::exists:
      return "exists";
    case Code::unsupported:
      return "unsupported";
    case Code::denied:
      return "denied";
    case Code::busy:
      return "busy";
    case Code::limit:
      return "limit";
    case Code::cancelled:
      return "cancelled";
    case Code::deadline:
      return "deadline";
    case Code::io:
      return "io";
    case Code::conflict:
      return "conflict";
    case Code::corrupt:
      return "corrupt";
    case Code::internal:
      return "internal";
  }
  return "internal";
}

Code codeFromNumber(int32_t number) noexcept {
  return number >= 0 && number <= static_cast<int32_t>(Code::internal) ? static_cast<Code>(number) : Code::internal;
}

Code codeFromErrno(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      return Code::notFound;
    case EEXIST:
    case ENOTEMPTY:
      return Code::exists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::denied;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY:
      return Code::busy;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return Code::limit;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::unsupported;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      return Code::invalid;
    case ECANCELED:
      return Code::cancelled;
    case ETIMEDOUT:
      return Code::deadline;
    default:
      return Code::io;
  }
}

Error::Error(std::string_view errorClass, Code code, std::string text, std::string hint, std::string object)
    : class_(errorClass), text_(std::move(text)), hint_(std::move(hint)), object_(std::move(object)), code_(code) {
  for (auto* s : {&text_, &hint_})
    for (char& c : *s)
      if (c == '\n' || c == '\r') c = ' ';
}

Error osError(std::string_view errorClass, std::string_view what, int error, std::string hint) {
  char buffer[128];
  const char* reason = strerror_r(error, buffer, sizeof buffer);  // the GNU form: thread-safe, returns the text
  return Error(errorClass, codeFromErrno(error), std::string(what) + ": " + reason, std::move(hint));
}

void throwErrno(std::string_view errorClass, std::string_view what) { throw osError(errorClass, what, errno); }

}  // namespace rauha
