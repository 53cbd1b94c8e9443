#include "core/base/protected_paths.h"

#include <algorithm>

#include "core/base/ascii_case.h"

namespace rauha {
namespace {

struct Rule {
  std::string_view name, reason;
};

constexpr std::string_view kHook = "git hook", kGitConfig = "git configuration", kAttributes = "git attributes";
constexpr std::string_view kEditor = "editor settings", kAgent = "agent settings", kCi = "continuous integration";
constexpr std::string_view kStart = "debugger or interpreter start-up file", kTool = "tool settings";
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
    {"agents.md", kAgent},
    {"gemini.md", kAgent},
    {"copilot-instructions.md", kAgent},
    {".gdbinit", kStart},
    {".lldbinit", kStart},
    {".pdbrc", kStart},
    {".irbrc", kStart},
    {".pryrc", kStart},
    {".yarnrc", kTool},
    {".yarnrc.yml", kTool},
    {".npmrc", kTool},
    {".cargo", kTool},
    {".bazelrc", kTool},
    {".rvmrc", "directory environment"},
    {".mise.toml", "directory environment"},
    {"mise.toml", "directory environment"},
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
    {".husky", kHook},
    {".githooks", kHook},
    {".pre-commit-config.yaml", kHook},
    {"lefthook.yml", kHook},
    {".lefthook.yml", kHook},
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

// Two components in a row.
constexpr struct {
  std::string_view parent, name, reason;
} kPairs[] = {
    {".github", "workflows", kCi},  {".github", "actions", kCi},  {".gitea", "workflows", kCi}, {".gitea", "actions", kCi},
    {".forgejo", "workflows", kCi}, {".forgejo", "actions", kCi}, {".gitlab", "ci", kCi},
};

constexpr std::string_view kEditorSuffixes[] = {".code-workspace", ".sublime-project"};

bool endsWith(std::string_view text, std::string_view suffix) noexcept {
  return text.size() >= suffix.size() && sameButCase(text.substr(text.size() - suffix.size()), suffix);
}

// The first component, taken off the path.
std::string_view take(std::string_view& path) noexcept {
  const size_t slash = path.find('/');
  const std::string_view out = path.substr(0, slash);
  path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  return out;
}

// What lies in a git directory. `inner` is relative to it.
std::string_view gitReason(std::string_view inner) noexcept {
  if (inner.empty()) return kGitConfig;  // the directory itself, or a file or link in its place: it says where the repository's data is
  bool nested = false;                   // below modules/ and worktrees/, whose names may have several components
  std::string_view previous;
  while (!inner.empty()) {
    const std::string_view name = take(inner);
    const bool last = inner.empty();
    if (sameButCase(name, "hooks")) return kHook;
    if (last && (sameButCase(name, "config") || sameButCase(name, "config.worktree") || sameButCase(name, "commondir") ||
                 sameButCase(name, "gitdir")))
      return kGitConfig;
    if (last && sameButCase(previous, "info") && sameButCase(name, "attributes")) return kAttributes;
    if (sameButCase(name, "rebase-merge") || sameButCase(name, "rebase-apply"))
      return "git rebase script";  // its "exec" lines run on --continue
    nested = nested || sameButCase(name, "modules") || sameButCase(name, "worktrees");
    // Outside of these, only two levels matter: a branch called "hooks" or "config" is no danger.
    if (!nested && !sameButCase(name, "info")) return {};
    previous = name;
  }
  return {};
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

}  // namespace

std::string_view protectedReason(std::string_view path) noexcept {
  std::string_view rest = path, previous;
  while (!rest.empty()) {
    const std::string_view name = take(rest);
    if (endsWith(name, ".git")) {
      // "x.git" is a bare repository by custom; the entry itself is nothing special.
      const bool bare = name.size() > 4;
      if (const auto reason = bare && rest.empty() ? std::string_view() : gitReason(rest); !reason.empty()) return reason;
    }
    for (const auto& rule : kComponents)
      if (sameButCase(name, rule.name)) return rule.reason;
    for (const auto& pair : kPairs)
      if (sameButCase(previous, pair.parent) && sameButCase(name, pair.name)) return pair.reason;
    for (const auto suffix : kEditorSuffixes)
      if (endsWith(name, suffix)) return kEditor;
    previous = name;
  }
  return {};
}

std::string_view protectedReason(std::string_view path, std::span<const std::string> patterns) noexcept {
  if (const auto reason = protectedReason(path); !reason.empty()) return reason;
  for (const auto& pattern : patterns)
    if (matches(pattern, path)) return "build file";
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
