#include "frontends/cli/last_task.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <ctime>

#include "core/base/clock.h"
#include "core/base/protected_paths.h"
#include "core/base/schema_error.h"
#include "frontends/cli/change_reader.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr const char* kLast = "last";
constexpr uint32_t kLookedBack = 100;  // as far as the daemon looks for it
constexpr int64_t kSecond = 1'000'000'000;

std::string ageText(int64_t ns) {
  const int64_t seconds = ns / kSecond;
  if (seconds < 60) return std::to_string(seconds) + " s ago";
  if (seconds < 3600) return std::to_string(seconds / 60) + " min ago";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h ago";
  return std::to_string(seconds / 86400) + " days ago";
}

// "2026-01-31T12:00:00.000Z"; 0: it is none.
int64_t fromRfc3339(const std::string& text) {
  struct tm parts {};
  if (strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return 0;
  return static_cast<int64_t>(timegm(&parts)) * kSecond;
}

// A change set counts from the begin of its chain; when the task itself began, the list of tasks says.
int64_t startOf(Client& client, const RemoteChanges& remote) {
  if (remote.info().getFrom().size() == 0) return remote.info().getBase().getStartedNs();
  const auto response = client.call([](schema::Rauha::Client& rauha) {
    auto request = rauha.listTasksRequest();
    request.setLimit(kLookedBack);
    return request.send();
  });
  throwOnError(response.getOutcome());
  for (const auto task : response.getTasks())
    if (str(task.getTaskId()) == remote.taskId()) return fromRfc3339(str(task.getCreatedAt()));
  return 0;
}

std::string parentPath(const std::string& path) { return path.substr(0, std::max<size_t>(path.rfind('/'), 1)); }

std::string repositoryAround(std::string directory) {
  for (;;) {
    struct stat st {};
    if (stat((directory + "/.git").c_str(), &st) == 0) return directory;
    if (directory.size() <= 1) return {};
    directory = parentPath(directory);
  }
}

std::string realPath(const std::string& path) {
  char real[PATH_MAX];
  return realpath(path.c_str(), real) == nullptr ? std::string() : std::string(real);
}

}  // namespace

std::string lastText(const std::string& taskId, int64_t startedNs, int64_t nowNs, const std::string& tree) {
  std::string out = taskId;
  if (startedNs > 0 && nowNs >= startedNs) out += ", " + ageText(nowNs - startedNs);
  if (!tree.empty()) out += ", → " + tree;
  return out;
}

void tellLast(Client& client, const RemoteChanges& remote, const std::string& word, const std::optional<std::string>& tree, bool json) {
  if (word != kLast || json) return;
  const std::string where = tree ? *tree : readBase(remote.info().getBase()).path;
  const std::string line = printable("last: " + lastText(remote.taskId(), startOf(client, remote), realNs(), where)) + "\n";
  try {
    writeFully(STDERR_FILENO, Style(STDERR_FILENO).paint(Colour::dim, "rauha: ") + line, "write to standard error");
  } catch (const Error&) {
    // Nobody listens there.
  }
}

std::string otherRepository(const std::string& workingDirectory, const std::string& tree) {
  if (workingDirectory.empty() || workingDirectory.front() != '/' || tree.empty()) return {};
  if (tree == "/" || isAtOrBelow(workingDirectory, tree)) return {};
  const std::string around = repositoryAround(workingDirectory);
  return around.empty() || around == "/" || isAtOrBelow(tree, around) ? std::string() : around;
}

void requireOwnTree(const std::string& word, const std::string& taskId, const std::string& tree) {
  if (word != kLast) return;
  const std::string other = otherRepository(realPath("."), realPath(tree));
  if (other.empty()) return;
  throw Error("repository", Code::conflict,
              "the last task with changes, " + taskId + ", worked on " + tree + ", and you are in another repository, " + other,
              "rauha task list shows which task you mean; name it, or change to " + tree + ", or name the tree with --tree DIR", tree);
}

}  // namespace rauha::cli
