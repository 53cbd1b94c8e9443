#pragma once
// What fuzzers of RPC put at the other end: a server of any interface that reads all that it is sent and answers with as much as an honest
// one would, and the bytes of one input turned into a peer.
//
// Header only, for fuzzers and the tests that replay their corpora. Thread: the one with the event loop.

#include <capnp/dynamic.h>
#include <capnp/schema.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <cstdlib>
#include <string_view>

namespace rauha::fuzz {

inline void must(bool truth) {
  if (!truth) std::abort();
}

// Refusals of messages are ordinary here; KJ's own log of them would be all that there is to read.
inline void quiet() { kj::_::Debug::setLogLevel(kj::LogSeverity::FATAL); }

// Follows every pointer and touches every value, as deep as the limits of the message allow. Returns how many values it met. The
// capabilities among them are called back: their first method, without parameters.
class Walk final {
 public:
  size_t value(const capnp::DynamicValue::Reader& v) {
    switch (v.getType()) {
      case capnp::DynamicValue::TEXT:
        return bytes(v.as<capnp::Text>().begin(), v.as<capnp::Text>().size());
      case capnp::DynamicValue::DATA:
        return bytes(reinterpret_cast<const char*>(v.as<capnp::Data>().begin()), v.as<capnp::Data>().size());
      case capnp::DynamicValue::LIST: {
        size_t n = 1;
        for (const auto item : v.as<capnp::DynamicList>()) n += value(item);
        return n;
      }
      case capnp::DynamicValue::STRUCT:
        return structure(v.as<capnp::DynamicStruct>());
      case capnp::DynamicValue::ENUM:
        return v.as<capnp::DynamicEnum>().getRaw() < 65535 ? 1 : 2;
      case capnp::DynamicValue::CAPABILITY:
        capabilities_.add(v.as<capnp::DynamicCapability>());
        return 1;
      default:
        return 1;
    }
  }
  size_t structure(const capnp::DynamicStruct::Reader& s) {
    size_t n = 1;
    for (const auto field : s.getSchema().getNonUnionFields())
      if (s.has(field)) n += value(s.get(field));
    KJ_IF_MAYBE (field, s.which()) n += value(s.get(*field));
    return n;
  }
  // Resolves when all that were called have answered, well or badly.
  kj::Promise<void> callBack() {
    auto calls = kj::heapArrayBuilder<kj::Promise<void>>(capabilities_.size());
    for (auto& capability : capabilities_) {
      const auto methods = capability.getSchema().getMethods();
      if (methods.size() == 0) {
        calls.add(kj::READY_NOW);
        continue;
      }
      calls.add(capability.newRequest(methods[0]).send().ignoreResult().catch_([](kj::Exception&&) {}));
    }
    return kj::joinPromises(calls.finish());
  }

 private:
  size_t bytes(const char* data, size_t size) {
    size_t sum = 0;
    for (size_t i = 0; i < size; ++i) sum += static_cast<unsigned char>(data[i]);
    return sum == SIZE_MAX ? 2 : 1;
  }
  kj::Vector<capnp::DynamicCapability::Client> capabilities_;
};

class AnyServer final : public capnp::DynamicCapability::Server {
 public:
  explicit AnyServer(capnp::InterfaceSchema type) : Server(type) {}
  kj::Promise<void> call(capnp::InterfaceSchema::Method method,
                         capnp::CallContext<capnp::DynamicStruct, capnp::DynamicStruct> context) override {
    auto walk = kj::heap<Walk>();
    must(walk->structure(context.getParams()) > 0);
    auto results = context.getResults();
    for (const auto field : method.getResultType().getFields())
      if (field.getType().isInterface()) {
        const auto interface = field.getType().asInterface();
        results.set(field, capnp::DynamicCapability::Client(kj::heap<AnyServer>(interface)));
      }
    auto done = walk->callBack();
    return done.attach(kj::mv(walk));
  }
};

template <typename Interface>
typename Interface::Client anyServer() {
  return capnp::DynamicCapability::Client(kj::heap<AnyServer>(capnp::Schema::from<Interface>())).template castAs<Interface>();
}

// Writes `bytes` in pieces of `step` (0: at once), then shuts its side down.
class Feeder final {
 public:
  Feeder(kj::AsyncOutputStream& to, std::string_view bytes, size_t step) : to_(to), bytes_(bytes), step_(step == 0 ? bytes.size() : step) {}
  kj::Promise<void> run() {
    if (at_ == bytes_.size()) return kj::READY_NOW;
    const size_t n = std::min(step_, bytes_.size() - at_);
    at_ += n;
    return to_.write(bytes_.data() + at_ - n, n).then([this] { return run(); });
  }

 private:
  kj::AsyncOutputStream& to_;
  const std::string_view bytes_;
  const size_t step_;
  size_t at_ = 0;
};

// Reads until the end and keeps nothing.
class Drain final {
 public:
  explicit Drain(kj::AsyncInputStream& from) : from_(from) {}
  kj::Promise<void> run() {
    return from_.tryRead(buffer_, 1, sizeof buffer_).then([this](size_t n) -> kj::Promise<void> {
      if (n == 0) return kj::READY_NOW;
      return run();
    });
  }

 private:
  kj::AsyncInputStream& from_;
  char buffer_[4096];
};

}  // namespace rauha::fuzz
