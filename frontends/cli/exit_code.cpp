#include "frontends/cli/exit_code.h"

#include <csignal>

namespace rauha::cli {

int exitCodeOfError(std::string_view errorClass, schema::ErrorCode code) {
  if (errorClass != "command") return kNotRun;
  return code == schema::ErrorCode::NOT_FOUND ? kNotFound : kNotExecutable;
}

int exitCodeOf(schema::TaskResult::Reader result, int clientSignal) {
  switch (result.getStatus()) {
    case schema::TaskStatus::SUCCEEDED:
      return kOk;
    case schema::TaskStatus::FAILED: {
      const auto code = result.getExitCode();
      // A failed task without a code of its own must not look like success.
      const int status = code.isValue() ? static_cast<int>(code.getValue() & 0xff) : kFailure;
      return status == 0 ? kFailure : status;
    }
    case schema::TaskStatus::TIMED_OUT:
      return kTimedOut;
    case schema::TaskStatus::OUT_OF_MEMORY:
      return kOutOfMemory;
    case schema::TaskStatus::KILLED: {
      const auto signal = result.getSignal();
      return kSignalBase + (signal.isValue() ? static_cast<int>(signal.getValue() & 0x7f) : SIGKILL);
    }
    case schema::TaskStatus::CANCELLED:
      return kSignalBase + (clientSignal == 0 ? SIGINT : clientSignal);
    case schema::TaskStatus::RUNTIME_ERROR: {
      const auto errorClass = result.getError().getClass();
      return exitCodeOfError({errorClass.begin(), errorClass.size()}, result.getError().getCode());
    }
  }
  return kNotRun;  // a status of a later version
}

std::string_view exitCodeHelp() {
  return
      R"(Exit status of `rauha sandbox`: the task's own, and when there is none
  124    the task reached its time limit
  125    Rauha could not run the task; wrong options too (see "error" in the result)
  126    the command was found but cannot be executed
  127    the command was not found
  128+N  the task was ended by signal N: 137 also when it reached its memory limit
  130    the task was cancelled by Ctrl-C (143: by SIGTERM, 129: the terminal was closed,
         141: nobody reads standard output any more)

Exit status of every other command
  0      done; `doctor`: nothing is missing; `daemon status`: it runs
  1      it could not be done; `doctor`: something is missing; `daemon status`: it does not run
  2      the command line is wrong
  141    nobody reads standard output any more

With --json, standard output is exactly one JSON document whatever the exit status is
(`rauha events --json`: one object a line). Errors are in its "error" member.
)";
}

}  // namespace rauha::cli
