#pragma once
// What a valid policy asks for although this version cannot do it: its text is right, and a later version runs it. `rauha policy validate`
// warns of it with its line; making a zone refuses it. Whoever adds the missing part removes its lines here.

#include <schemas/policy.capnp.h>

#include <string>
#include <vector>

#include "core/policy/section.h"

namespace rauha::policy {

struct Notice {
  uint32_t line = 0;
  std::string text;  // "network.mode: …"
};

// In the order of their lines. `root` must be without problems.
std::vector<Notice> unavailable(Section& root, schema::Policy::Reader policy);

}  // namespace rauha::policy
