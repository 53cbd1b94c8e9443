#pragma once
// rauha::Error to and from schema::Error: the RPC side of the one border rule ("each border converts once").

#include <schemas/agent.capnp.h>
#include <schemas/common.capnp.h>

#include "core/base/error.h"
#include "core/base/remedy.h"

namespace rauha {

inline void writeError(schema::Error::Builder out, const Error& e) {
  out.setClass(e.errorClass());
  out.setCode(static_cast<schema::ErrorCode>(static_cast<uint16_t>(e.code())));
  out.setText(e.text());
  if (!e.object().empty()) out.setObject(e.object());
  out.setHint(remedyOf(e));
}

inline Error readError(schema::Error::Reader in) {
  auto text = [](capnp::Text::Reader t) { return std::string(t.begin(), t.size()); };
  return Error(text(in.getClass()), codeFromNumber(static_cast<int32_t>(in.getCode())), text(in.getText()), text(in.getHint()),
               text(in.getObject()));
}

// For the outcome fields of RPC results.
inline void writeOutcome(schema::Outcome::Builder out, const Error& e) { writeError(out.initError(), e); }
inline void throwOnError(schema::Outcome::Reader outcome) {
  if (outcome.isError()) throw readError(outcome.getError());
}

}  // namespace rauha
