#pragma once
// Any Cap'n Proto value as JSON text, by reflection over its schema. The rules are in result_json.h.

#include <capnp/dynamic.h>

#include <string>
#include <string_view>

namespace rauha {

class JsonWriter final {
 public:
  explicit JsonWriter(bool pretty) : pretty_(pretty) {}
  void value(capnp::DynamicValue::Reader value);
  std::string take() { return std::move(out_); }

 private:
  void object(capnp::DynamicStruct::Reader value);
  void member(std::string_view name, bool& first);
  void list(capnp::DynamicList::Reader values);
  void optionalInt(capnp::DynamicStruct::Reader value);
  void real(double value);
  void breakLine();

  bool pretty_;
  int depth_ = 0;
  std::string out_;
};

// Appends `bytes` as a quoted JSON string. What could steer a terminal or turn text around is escaped, also where JSON lets it stand.
void appendJsonString(std::string& out, std::string_view bytes);
// "ioReadBps" -> "io_read_bps".
std::string snakeCase(std::string_view camelCase);

}  // namespace rauha
