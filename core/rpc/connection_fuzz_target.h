#pragma once
// What is fuzzed: any bytes at the daemon's socket, through the reader of messages with its budget and the RPC system, to a server that
// reads all that it gets and calls back what it is given. Shared by the fuzzer and by the replay of its corpus in ordinary builds.

#include <schemas/client.capnp.h>

#include <functional>
#include <string_view>

namespace rauha::rpc {

// The first byte: bits 0 to 2 how large the pieces are that the peer sends, bit 3 whether it never reads, bit 4 whether it stays after
// its last byte. Aborts when the connection does not end in time, or ends without giving back what it took from the budget.
// true: the peer got far enough to call something.
bool fuzzConnection(std::string_view bytes);

}  // namespace rauha::rpc
