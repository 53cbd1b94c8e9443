#include "core/evidence/result_json_fuzz_target.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/utf8.h"
#include "core/evidence/result_json.h"

namespace rauha {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

template <typename T>
void print(capnp::MessageReader& message) {
  const auto value = message.getRoot<T>();
  const std::string plain = toJson(value, false), pretty = toJson(value, true);
  must(isUtf8(plain) && isUtf8(pretty));
  const auto document = nlohmann::json::parse(plain, nullptr, false);
  must(document.is_object() && document == nlohmann::json::parse(pretty, nullptr, false));
}

void printAs(char type, capnp::MessageReader& message) {
  switch (type) {
    case 'z':
      return print<schema::ZoneInfo>(message);
    case 'i':
      return print<schema::ImageInfo>(message);
    case 'p':
      return print<schema::Policy>(message);
    case 'l':
      return print<schema::PluginInfo>(message);
    case 'd':
      return print<schema::DoctorReport>(message);
    case 'e':
      return print<schema::Event>(message);
    case 's':
      return print<schema::ServerInfo>(message);
    default:
      print<schema::TaskResult>(message);
      must(nlohmann::json::parse(toJson(message.getRoot<schema::TaskResult>())).contains("task_id"));
  }
}

}  // namespace

bool fuzzResultJson(std::string_view bytes) {
  if (bytes.empty()) return false;
  auto words = kj::heapArray<capnp::word>((bytes.size() - 1) / sizeof(capnp::word));
  if (words.size() > 0) std::memcpy(static_cast<void*>(words.begin()), bytes.data() + 1, words.asBytes().size());
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 1 << 16;
  options.nestingLimit = 32;
  bool printed = false;
  const auto refused = kj::runCatchingExceptions([&] {
    capnp::FlatArrayMessageReader message(words, options);
    printAs(bytes[0], message);
    printed = true;
  });
  must(printed == (refused == nullptr));
  return printed;
}

}  // namespace rauha
