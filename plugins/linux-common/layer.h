#pragma once
// One layer of protection as it was found or armed: the C++ value behind rauha_layer. Names are those of a policy's `require`.

#include <string>

namespace rauha {

enum class Armed { missing, partial, full };  // same order as RAUHA_LAYER_*

struct Layer {
  std::string name;
  Armed state = Armed::missing;
  std::string detail;  // what was found or armed
  std::string reason;  // why it is not full; empty when it is
  std::string remedy;  // what an operator can do; empty when nothing
};

}  // namespace rauha
