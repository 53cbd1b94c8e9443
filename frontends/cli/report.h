#pragma once
// How commands other than `sandbox` print: one JSON document, or text for people.

#include <capnp/dynamic.h>

#include <string>
#include <string_view>

#include "core/base/error.h"

namespace rauha::cli {

// The text and a line break, to standard output. Throws osError of class "task".
void printDocument(std::string_view json);
void printText(std::string_view text);
// {"<key>":<json>}
std::string document(std::string_view key, std::string_view json);
// {"error":{…}}
std::string errorDocument(const Error& error);

// "network.mode  isolated" and so on, one aligned line a value, for people; absent pointers and empty lists are left out. Works on every
// struct of the schemas; names as in JSON, byte counts and durations with their unit.
std::string fieldLines(capnp::DynamicStruct::Reader value);

std::string str(capnp::Text::Reader text);

}  // namespace rauha::cli
