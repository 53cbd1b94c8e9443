#include "frontends/cli/sandbox_options.h"

#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/base/units.h"

namespace rauha::cli {
namespace {

constexpr const char* kExamples = R"(  rauha sandbox --image host -- python3 --version
  rauha sandbox --image host --repo-path . -- make test      (then: rauha diff last, rauha apply last)
  rauha sandbox --image host --from last -- make install
  rauha sandbox --image oci:./layout:v1 --repo-path . --repo-mode ro -- pytest tests/
  rauha sandbox --image host --timeout 30s --env CI=1 --json -- make test
  rauha sandbox --image dir:/srv/rootfs -t -- /bin/sh
  while read -r name; do rauha sandbox --no-stdin --image host -- make "$name"; done < names
Exit status: the task's own; 124 timed out, 125 not run, 126 not executable, 127 not found,
128+N ended by signal N, 130 cancelled. More: rauha help exit-codes
)";

Error usage(std::string text, std::string hint, std::string object = {}) {
  return Error("usage", Code::invalid, "rauha sandbox: " + text, std::move(hint), std::move(object));
}

struct Words {
  std::optional<std::string> image, pull, repoMode, timeout;
};

RepoMode repoModeOf(const SandboxOptions& options, const std::optional<std::string>& mode) {
  if (!options.repoPath && !options.from) {
    if (mode) throw usage("--repo-mode " + *mode + " without --repo-path", "add --repo-path DIR, or leave --repo-mode out", "--repo-mode");
    return RepoMode::none;
  }
  if (options.repoPath && options.repoPath->empty()) throw usage("--repo-path is empty", "name a directory: --repo-path .", "--repo-path");
  if (options.from && options.from->empty())
    throw usage("--from is empty", "name a task: --from last; `rauha task list` has them", "--from");
  if (options.from && mode && *mode != "overlay")
    throw usage("--from with --repo-mode " + *mode, "leave --repo-mode out: what a task left is continued in a layer of its own", "--from");
  if (!mode || *mode == "overlay") return RepoMode::overlay;
  if (*mode == "ro") return RepoMode::ro;
  if (*mode == "rw") return RepoMode::rw;
  throw Error("repository", Code::invalid, "repository mode '" + *mode + "' is none of overlay, ro, rw",
              "leave --repo-mode out (overlay: the tree stays untouched), or use ro or rw", "--repo-mode");
}

uint64_t timeoutOf(const std::optional<std::string>& text) {
  if (!text) return 0;
  const auto milliseconds = parseDurationMs(*text);
  if (milliseconds && *milliseconds > 0) return *milliseconds;
  throw usage("--timeout '" + *text + "' is no duration above 0", "write a number with its unit: 500ms, 30s, 5m, 2h", "--timeout");
}

void checkEnvironment(const std::vector<std::string>& env) {
  for (const auto& entry : env) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) throw usage("--env '" + entry + "' is not KEY=VALUE", "write --env KEY=VALUE", "--env");
  }
}

void checkCommand(const Invocation& invocation) {
  if (invocation.command.empty() && !invocation.dashes) return;  // the image's own
  if (invocation.command.empty())
    throw usage("no command after --",
                "put the command behind the two dashes: rauha sandbox --image host -- ls -l; without them, the image's own runs",
                "command");
  if (invocation.command.front().empty()) throw usage("the command's name is empty", "name a program after --", "command");
}

}  // namespace

std::optional<SandboxOptions> parseSandboxOptions(const Invocation& invocation) {
  SandboxOptions options;
  Words words;
  Arguments arguments(
      "rauha sandbox",
      "Run one command in a zone of its own and report what happened. Without -- COMMAND, what the image says (entrypoint, then cmd) is run.\n\n"
      "rauha sandbox --image IMAGE [options] [-- COMMAND [ARGUMENT...]]",
      kExamples);
  arguments.option("--image", words.image, "IMAGE",
                   "host, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:PATH, or a name: stored, or fetched from its registry");
  arguments.option("--pull", words.pull, "WHEN",
                   "fetch a named image: missing (default): when it is not stored; always: look it up; never");
  arguments.option("--platform", options.platform, "OS/ARCH", "of an image that is fetched (default: this machine's)");
  arguments.option("--name", options.name, "NAME", "name of the zone (else made from the task's id)");
  arguments.option("--policy", options.policy, "POLICY", "a policy file, or task (default), standard, strict, privileged");
  arguments.option("--repo-path,--repo", options.repoPath, "DIR", "directory that the task sees at /workspace");
  arguments.option("--repo-mode", words.repoMode, "MODE",
                   "overlay (default): changes are kept apart, see rauha diff and apply; ro: it cannot change it; rw: changes go through");
  arguments.option("--from", options.from, "TASK",
                   "go on from what this task left: an id, a beginning of one, or \"last\"; its repository is used");
  arguments.option("--workdir", options.workdir, "DIR", "working directory in the zone (default: /workspace, or the image's)");
  arguments.repeated("--env", options.env, "KEY=VALUE", "set a variable on top of the image's; may be repeated");
  arguments.option("--timeout", words.timeout, "TIME", "wall clock, with its unit: 30s, 5m (can only shorten the policy's)");
  arguments.option("--user", options.user, "USER", "run as this user of the image: name, uid or uid:gid");
  arguments.flag(
      "--keep-zone", options.keepZone,
      "leave the zone when the task has ended, to look at it (rauha zone show) or at what it left running; nothing more can be run in it, and "
      "rauha zone delete removes it");
  arguments.repeated("--allow-degraded", options.allowDegraded, "LAYER",
                     "run although the policy requires LAYER and it cannot be armed; may be repeated");
  arguments.flag("--no-stdin", options.noStdin,
                 "read nothing: the task's standard input is empty (else it gets ours, read to its end whether it wants it or not)");
  arguments.flag("-t,--tty", options.terminal, "give the task a terminal (not with --json)");
  arguments.flag("--trace", options.trace, "report how long each stage of the start took");
  if (!arguments.parse(invocation)) return std::nullopt;

  options.root = arguments.root();
  options.json = invocation.json;
  checkCommand(invocation);
  options.command = invocation.command;
  if (!words.image || words.image->empty())
    throw usage("no image", "add --image host (this machine's programs), --image oci:DIR[:TAG], --image dir:PATH, ...", "--image");
  options.image = *words.image;
  if (words.pull) {
    if (*words.pull != "missing" && *words.pull != "always" && *words.pull != "never")
      throw usage("--pull '" + *words.pull + "' is none of missing, always, never", "leave it out, or use one of them", "--pull");
    options.pull = *words.pull;
  }
  if (options.name && !isName(*options.name))
    throw usage("--name '" + *options.name + "' is no zone name",
                "use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit", "--name");
  options.repoMode = repoModeOf(options, words.repoMode);
  options.timeoutMs = timeoutOf(words.timeout);
  checkEnvironment(options.env);
  if (options.workdir && options.workdir->rfind('/', 0) != 0)
    throw usage("--workdir '" + *options.workdir + "' is not absolute", "write a path of the zone: --workdir /workspace", "--workdir");
  if (options.terminal && options.noStdin) throw usage("--tty and --no-stdin exclude each other", "leave one of them out", "--no-stdin");
  if (options.terminal && options.json) throw usage("--tty and --json exclude each other", "leave one of them out", "--tty");
  return options;
}

}  // namespace rauha::cli
