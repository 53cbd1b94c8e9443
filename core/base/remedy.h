#pragma once
// The remedy of an error that was thrown without one: what a caller can do about any error of this class and code. An error's own hint is
// better, because it knows the object; this is what a border shows where there is none, so that no refusal ends without a way out.

#include <string>

#include "core/base/error.h"

namespace rauha {

// The error's hint, else the general one. Never empty.
std::string remedyOf(const Error& error);

}  // namespace rauha
