#pragma once
// What the exit status of `rauha` means. One place, so that help, code and tests agree.
//
// `rauha sandbox` ends as the task ended; every other command ends with ok, failure or usage.

#include <schemas/task.capnp.h>

#include <string_view>

namespace rauha::cli {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;  // other commands: it could not be done; doctor: something is missing
inline constexpr int kUsage = 2;    // other commands: the command line is wrong
inline constexpr int kTimedOut = 124;
inline constexpr int kNotRun = 125;  // Rauha could not run the task, wrong options included
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;
inline constexpr int kSignalBase = 128;
inline constexpr int kOutOfMemory = kSignalBase + 9;

// The exit status of `rauha sandbox`. clientSignal: the signal that made this client cancel the task, 0 when there was none; a task that
// was cancelled without one (by the daemon) counts as interrupted (130).
int exitCodeOf(schema::TaskResult::Reader result, int clientSignal);
// The same for a task that never got a result: the command's own errors are 126 and 127, everything else 125.
int exitCodeOfError(std::string_view errorClass, schema::ErrorCode code);

// The text of `rauha help exit-codes`.
std::string_view exitCodeHelp();

}  // namespace rauha::cli
