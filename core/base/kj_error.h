#pragma once
// rauha::Error through KJ promises. A kj::Exception carries one text only, so an Error travels encoded in it and comes out whole:
// coroutines (coro.h) encode what leaves a frame and decode what is awaited. At the RPC border errors are written as values
// (schema_error.h) instead.

#include <kj/exception.h>

#include "core/base/error.h"

namespace rauha {

kj::Exception toKj(const Error& error);
// The Error that toKj encoded; for any other exception: code internal (io for a lost peer, limit for a machine that has run out of
// something), class `fallbackClass`, its description.
Error fromKj(const kj::Exception& exception, std::string_view fallbackClass = "daemon");
bool isEncodedError(const kj::Exception& exception);
// The exception that is being handled (inside a catch block) as an Error / as a kj::Exception.
Error currentError(std::string_view fallbackClass = "daemon");
kj::Exception currentKj();

}  // namespace rauha
