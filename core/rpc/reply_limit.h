#pragma once
// How large the daemon's answers may be. Both ends know these numbers: a message beyond what the reader takes is lost, and with it the
// answer.
//
// What a peer sends to the daemon is bounded much tighter: Limits::messageWords of connection.h.

#include <cstddef>
#include <cstdint>

namespace rauha::rpc {

// What one list in an answer may take (tasks of `task list`); the rest is left out.
constexpr size_t kMostListBytes = 16u << 20;
// What a task's result may take. Two streams of at most 4 MiB, each as text and as base64, are 19 MiB; what else does not fit is left out,
// and the result says so.
constexpr size_t kMostResultBytes = 32u << 20;
// The largest message that the daemon sends.
constexpr uint64_t kMostReplyWords = (64u << 20) / 8;
// What a client reads of one message, going over parts of it more than once.
constexpr uint64_t kClientReadsWords = 4 * kMostReplyWords;

}  // namespace rauha::rpc
