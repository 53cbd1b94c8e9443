#include "core/base/protected_paths.h"

#include <algorithm>

#include "core/base/ascii_case.h"

namespace rauha {
namespace {

struct Rule {
  std::string_view name, reason;
};

constexpr std::string_view kHook = "git hook", kGitConfig = "git configuration", kAttributes = "git attributes";
constexpr std::string_view kReplacement = "git object replacement";
constexpr std::string_view kEditor = "editor settings", kAgent = "agent settings", kCi = "continuous integration";
constexpr std::string_view kStart = "debugger or interpreter start-up file", kTool = "tool settings";
constexpr std::string_view kVersions = "version control settings";
constexpr std::string_view kShell = "shell start-up file", kContainer = "development container";

// Compared with every component: a directory of this name protects what is below it, and a file put in its place is as suspicious.
constexpr Rule kComponents[] = {
    {".vscode", kEditor},
    {".idea", kEditor},
    {".vs", kEditor},
    {".zed", kEditor},
    {".fleet", kEditor},
    {".exrc", kEditor},
    {".vimrc", kEditor},
    {".nvimrc", kEditor},
    {".lvimrc", kEditor},
    {".nvim.lua", kEditor},
    {".gvimrc", kEditor},
    {"_vimrc", kEditor},
    {"_gvimrc", kEditor},
    {".helix", kEditor},
    {".ycm_extra_conf.py", kEditor},
    {".dir-locals.el", kEditor},
    {".dir-locals-2.el", kEditor},
    {".claude", kAgent},
    {".cursor", kAgent},
    {".codex", kAgent},
    {".gemini", kAgent},
    {".mcp.json", kAgent},
    {".aider.conf.yml", kAgent},
    {".windsurf", kAgent},
    {".windsurfrules", kAgent},
    {".cursorrules", kAgent},
    {".clinerules", kAgent},
    {"claude.md", kAgent},
    {"claude.local.md", kAgent},
    {".roo", kAgent},
    {".roorules", kAgent},
    {".kiro", kAgent},
    {"agents.md", kAgent},
    {"gemini.md", kAgent},
    {"copilot-instructions.md", kAgent},
    {".gdbinit", kStart},
    {".lldbinit", kStart},
    {".pdbrc", kStart},
    {".irbrc", kStart},
    {".pryrc", kStart},
    {".perldb", kStart},
    {".rprofile", kStart},
    {".ghci", kStart},
    {".iex.exs", kStart},
    {".ocamlinit", kStart},
    {".octaverc", kStart},
    {".yarnrc", kTool},
    {".yarnrc.yml", kTool},
    {".npmrc", kTool},
    {".cargo", kTool},
    {".bazelrc", kTool},
    {".pnpmfile.cjs", kTool},
    {".pylintrc", kTool},
    {"pylintrc", kTool},
    {".rvmrc", "directory environment"},
    {".mise.toml", "directory environment"},
    {"mise.toml", "directory environment"},
    {".mise", "directory environment"},
    {"mise.local.toml", "directory environment"},
    {".mise.local.toml", "directory environment"},
    {".devcontainer", kContainer},
    {".devcontainer.json", kContainer},
    {".gitlab-ci.yml", kCi},
    {".gitlab-ci.yaml", kCi},
    {".circleci", kCi},
    {".buildkite", kCi},
    {".woodpecker", kCi},
    {".woodpecker.yml", kCi},
    {".woodpecker.yaml", kCi},
    {".azure-pipelines", kCi},
    {".teamcity", kCi},
    {".travis.yml", kCi},
    {".drone.yml", kCi},
    {".cirrus.yml", kCi},
    {".appveyor.yml", kCi},
    {"appveyor.yml", kCi},
    {"azure-pipelines.yml", kCi},
    {"bitbucket-pipelines.yml", kCi},
    {"jenkinsfile", kCi},
    {".build.yml", kCi},
    {".builds", kCi},
    {".tekton", kCi},
    {".husky", kHook},
    {".githooks", kHook},
    {".pre-commit-config.yaml", kHook},
    {"lefthook.yml", kHook},
    {".lefthook.yml", kHook},
    {"lefthook.yaml", kHook},
    {".lefthook.yaml", kHook},
    {"lefthook-local.yml", kHook},
    {".lefthook-local.yml", kHook},
    {"lefthook-local.yaml", kHook},
    {".lefthook-local.yaml", kHook},
    {".lefthook", kHook},
    {".gitmodules", "git submodules"},
    {".gitattributes", kAttributes},
    {".gitconfig", kGitConfig},
    {".envrc", "directory environment"},
    {".bashrc", kShell},
    {".bash_profile", kShell},
    {".bash_login", kShell},
    {".bash_logout", kShell},
    {".profile", kShell},
    {".zshrc", kShell},
    {".zshenv", kShell},
    {".zprofile", kShell},
    {".zlogin", kShell},
    {".zlogout", kShell},
    {".ssh", kShell},
};

// A name in a directory, which may have two components itself.
constexpr struct {
  std::string_view parent, name, reason;
} kPairs[] = {
    {".github", "workflows", kCi},   {".github", "actions", kCi},       {".gitea", "workflows", kCi},
    {".gitea", "actions", kCi},      {".forgejo", "workflows", kCi},    {".forgejo", "actions", kCi},
    {".gitlab", "ci", kCi},          {".mvn", "extensions.xml", kTool}, {".mvn", "jvm.config", kTool},
    {".mvn", "maven.config", kTool}, {".mvn", "wrapper", kTool},        {".yarn", "plugins", kTool},
    {".yarn", "releases", kTool},    {".hg", "hgrc", kVersions},        {".jj/repo", "config.toml", kVersions},
};

constexpr std::string_view kEditorSuffixes[] = {".code-workspace", ".sublime-project"};

bool endsWith(std::string_view text, std::string_view suffix) noexcept {
  return text.size() >= suffix.size() && sameButCase(text.substr(text.size() - suffix.size()), suffix);
}

// Are these the path's last components?
bool isAtEnd(std::string_view path, std::string_view components) noexcept {
  return endsWith(path, components) && (path.size() == components.size() || path[path.size() - components.size() - 1] == '/');
}

// The first component, taken off the path.
std::string_view take(std::string_view& path) noexcept {
  const size_t slash = path.find('/');
  const std::string_view out = path.substr(0, slash);
  path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  return out;
}

// What git goes on with when it is told to.
bool isUnderWay(std::string_view name) noexcept {
  static constexpr std::string_view kHeads[] = {"cherry_pick_head", "revert_head",     "rebase_head",
                                                "merge_head",       "merge_autostash", "bisect_run"};
  return std::any_of(std::begin(kHeads), std::end(kHeads), [&](std::string_view head) { return sameButCase(name, head); });
}

// "*" and "?" within one component. Linear but for the last star, which is all that backtracking needs.
bool glob(std::string_view pattern, std::string_view text) noexcept {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool matches(std::string_view pattern, std::string_view path) noexcept {
  if (pattern.find('/') == std::string_view::npos) {
    while (!path.empty())
      if (glob(pattern, take(path))) return true;
    return false;
  }
  while (!pattern.empty()) {
    if (path.empty() || !glob(take(pattern), take(path))) return false;
  }
  return true;
}

// Has the pattern more components than the path, and do the path's match?
bool matchesBegin(std::string_view pattern, std::string_view path) noexcept {
  while (!path.empty())
    if (pattern.empty() || !glob(take(pattern), take(path))) return false;
  return !pattern.empty();
}

}  // namespace

std::string_view gitDirectoryReason(std::string_view inner) noexcept {
  bool nested = false;  // below modules/ and worktrees/, whose names may have several components
  std::string_view previous;
  while (!inner.empty()) {
    const std::string_view name = take(inner);
    const bool last = inner.empty();
    if (sameButCase(name, "hooks")) return kHook;
    if (last && (sameButCase(name, "config") || sameButCase(name, "config.worktree") || sameButCase(name, "commondir") ||
                 sameButCase(name, "gitdir")))
      return kGitConfig;
    if (last && sameButCase(previous, "info") && sameButCase(name, "attributes")) return kAttributes;
    if (last && ((sameButCase(previous, "info") && sameButCase(name, "grafts")))) return kReplacement;
    if (sameButCase(previous, "refs") && sameButCase(name, "replace")) return kReplacement;
    if (sameButCase(name, "rebase-merge") || sameButCase(name, "rebase-apply") || sameButCase(name, "sequencer"))
      return "git rebase script";  // its "exec" lines run on --continue
    if (last && isUnderWay(name)) return "git operation under way";
    nested = nested || sameButCase(name, "modules") || sameButCase(name, "worktrees");
    // Outside of these, only two levels matter: a branch called "hooks" or "config" is no danger.
    if (!nested && !sameButCase(name, "info") && !(previous.empty() && sameButCase(name, "refs"))) return {};
    previous = name;
  }
  return {};
}

std::string_view protectedReason(std::string_view path) noexcept {
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::string_view name = take(rest);
    if (endsWith(name, ".git")) {
      // The directory itself, or a file or link in its place, says where the repository's data is. "x.git" is a bare repository by custom;
      // the entry itself is nothing special.
      if (rest.empty() && name.size() == 4) return kGitConfig;
      if (const auto reason = gitDirectoryReason(rest); !reason.empty()) return reason;
    }
    for (const auto& rule : kComponents)
      if (sameButCase(name, rule.name)) return rule.reason;
    const auto at = static_cast<size_t>(name.data() - path.data());
    for (const auto& pair : kPairs)
      if (sameButCase(name, pair.name) && at > 0 && isAtEnd(path.substr(0, at - 1), pair.parent)) return pair.reason;
    for (const auto suffix : kEditorSuffixes)
      if (endsWith(name, suffix)) return kEditor;
  }
  return {};
}

std::string_view protectedReason(std::string_view path, std::span<const std::string> patterns) noexcept {
  if (const auto reason = protectedReason(path); !reason.empty()) return reason;
  for (const auto& pattern : patterns)
    if (matches(pattern, path)) return "build file";
  return {};
}

std::string_view ancestorReason(std::string_view path, std::span<const std::string> patterns) noexcept {
  for (std::string_view rest = path; !rest.empty();)
    if (endsWith(take(rest), ".git") && !rest.empty()) return kGitConfig;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  for (const auto& pair : kPairs) {
    const std::string_view first = pair.parent.substr(0, pair.parent.find('/'));
    if (sameButCase(name, first) || isAtEnd(path, pair.parent)) return pair.reason;
  }
  for (const auto& pattern : patterns)
    if (matchesBegin(pattern, path)) return "build file";
  return {};
}

bool linkLeavesTree(std::string_view path, std::string_view target) noexcept {
  if (target.starts_with('/')) return true;
  auto levels = std::count(path.begin(), path.end(), '/');
  bool named = false;
  while (!target.empty()) {
    const auto name = take(target);
    if (name == "..") {
      if (named || levels-- == 0) return true;
    } else if (!name.empty() && name != ".") {
      named = true;
    }
  }
  return false;
}

bool isAtOrBelow(std::string_view path, std::string_view top) noexcept {
  return path.starts_with(top) && (path.size() == top.size() || top.empty() || path[top.size()] == '/');
}

bool isProtectedPattern(std::string_view pattern) noexcept {
  if (pattern.empty() || pattern.size() > 255 || pattern.find('\0') != std::string_view::npos || pattern.back() == '/') return false;
  while (!pattern.empty()) {
    const auto name = take(pattern);
    if (name.empty() || name == "." || name == "..") return false;
  }
  return true;
}

}  // namespace rauha
