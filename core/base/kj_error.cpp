#include "core/base/kj_error.h"

#include <charconv>
#include <string>
#include <vector>

namespace rauha {
namespace {
constexpr std::string_view kMark = "rauha-error";
constexpr char kSeparator = '\x1f';

std::string_view description(const kj::Exception& e) {
  const kj::StringPtr d = e.getDescription();
  return {d.begin(), d.size()};
}
}  // namespace

kj::Exception toKj(const Error& e) {
  std::string text(kMark);
  for (const std::string& part : {std::to_string(static_cast<int>(e.code())), e.errorClass(), e.text(), e.hint(), e.object()}) {
    text += kSeparator;
    for (char c : part) text += c == kSeparator || c == '\0' ? ' ' : c;
  }
  return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::heapString(text.data(), text.size()));
}

bool isEncodedError(const kj::Exception& e) {
  const auto d = description(e);
  return d.size() > kMark.size() && d.substr(0, kMark.size()) == kMark && d[kMark.size()] == kSeparator;
}

Error fromKj(const kj::Exception& e, std::string_view fallbackClass) {
  if (!isEncodedError(e)) {
    const auto type = e.getType();
    const Code code = type == kj::Exception::Type::DISCONNECTED ? Code::io
                      : type == kj::Exception::Type::OVERLOADED ? Code::limit  // no descriptors, no memory, no room
                                                                : Code::internal;
    return Error(fallbackClass, code, std::string(description(e)));
  }
  std::vector<std::string> parts(1);
  for (char c : description(e).substr(kMark.size() + 1)) {
    if (c == kSeparator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  parts.resize(5);
  int number = -1;  // no number: no code, which reads as internal
  std::from_chars(parts[0].data(), parts[0].data() + parts[0].size(), number);
  return Error(parts[1], codeFromNumber(number), parts[2], parts[3], parts[4]);
}

kj::Exception currentKj() {
  try {
    throw;
  } catch (const Error& e) {
    return toKj(e);
  } catch (...) {
    KJ_IF_MAYBE (e, kj::runCatchingExceptions([] { throw; })) return kj::mv(*e);
    return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::heapString("unknown exception"));
  }
}

Error currentError(std::string_view fallbackClass) {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const kj::Exception& e) {
    return fromKj(e, fallbackClass);
  } catch (const std::exception& e) {
    return Error(fallbackClass, Code::internal, e.what());
  } catch (...) {
    return Error(fallbackClass, Code::internal, "unknown exception");
  }
}

}  // namespace rauha
