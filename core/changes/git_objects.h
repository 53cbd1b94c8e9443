#pragma once
// git's store of objects: it names each by the digest of its content and never changes one, so a task that did has put something else under
// a name that the host trusts: the next checkout writes it. Only new objects that are what their names say are harmless; packs and what
// points to other stores cannot be checked at such a price. Worker thread.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/changes/change.h"

namespace rauha::changes {

// How many bytes of new objects, unpacked, are read to check them; beyond it they count as not checked.
inline constexpr uint64_t kObjectBytes = 256ULL << 20;

class ObjectCheck final {
 public:
  // layer: the kept one, which has the new contents; borrowed.
  explicit ObjectCheck(int layer) : layer_(layer) {}
  // inner: the change's path, relative to "objects". Why it is protected: a static text; empty: harmless.
  std::string_view reason(const Change& change, std::string_view inner);

 private:
  std::string_view added(const Change& change, std::string_view inner);
  bool isWhatItsNameSays(const std::string& path, std::string_view id, bool& unread);

  const int layer_;
  uint64_t left_ = kObjectBytes;
};

}  // namespace rauha::changes
