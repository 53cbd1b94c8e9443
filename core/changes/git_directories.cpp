#include "core/changes/git_directories.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/base/ascii_case.h"
#include "core/base/fd.h"
#include "core/base/protected_paths.h"
#include "core/changes/git_objects.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

constexpr size_t kMostConfig = 256 << 10, kMostHooks = 256;

// What makes a directory a repository.
bool makesRepository(std::string_view inner) { return inner == "HEAD" || inner == "objects" || inner == "refs" || inner == "commondir"; }

std::string_view reasonOf(std::string_view inner) { return makesRepository(inner) ? "git repository" : gitDirectoryReason(inner); }

std::string joined(std::string_view directory, std::string_view name) {
  return directory.empty() ? std::string(name) : std::string(directory) + "/" + std::string(name);
}

class Finder final {
 public:
  Finder(const std::vector<Change>& changes, int base, int layer) : base_(base), objects_(layer) {
    for (const auto& change : changes) {
      if (change.after.type != FileType::none) there_.insert(change.path);
      if (change.kind == Kind::deleted) gone_.insert(change.path);
      if (change.kind == Kind::renamed) gone_.insert(change.from);
    }
  }

  std::string_view reason(const Change& change) {
    if (change.kind == Kind::modified && change.fields == kMtime) return {};
    if (change.kind == Kind::renamed && isObject(change.from)) return "git object removed";
    return byPlace(change, change.path);
  }

 private:
  // What its place makes of it: the directories that it stands in, from the top.
  std::string_view byPlace(const Change& change, std::string_view path) {
    bool inGit = false;  // in one of ".git/modules" or ".git/worktrees", whose files protectedReason knows by their names
    for (size_t at = 0; at < path.size();) {
      const auto directory = path.substr(0, at == 0 ? 0 : at - 1), inner = path.substr(at);
      const bool isNamed = isGitName(directory.substr(directory.rfind('/') + 1));
      if (const auto object = objectOf(inner); !object.empty() && (isNamed || isRepository(directory)))
        if (const auto found = objects_.reason(change, object); !found.empty()) return found;
      if (change.after.type != FileType::none && !inGit && !isNamed)
        if (const auto found = reasonOf(inner); !found.empty() && isRepository(directory)) return found;
      const size_t slash = std::min(path.find('/', at), path.size());
      inGit =
          inGit || (sameButCase(path.substr(at, slash - at), ".git") && isRepositoryOfGits(path.substr(std::min(slash + 1, path.size()))));
      at = slash + 1;
    }
    return {};
  }

  static bool isRepositoryOfGits(std::string_view inner) { return inner.starts_with("modules/") || inner.starts_with("worktrees/"); }
  static bool isGitName(std::string_view name) { return name.size() >= 4 && sameButCase(name.substr(name.size() - 4), ".git"); }

  // "objects/x" -> "x"; else empty.
  static std::string_view objectOf(std::string_view inner) {
    constexpr std::string_view objects = "objects/";
    return inner.size() > objects.size() && sameButCase(inner.substr(0, objects.size()), objects) ? inner.substr(objects.size())
                                                                                                  : std::string_view();
  }

  bool isObject(std::string_view path) {
    for (size_t at = 0; at < path.size(); at = std::min(path.find('/', at), path.size()) + 1) {
      const auto directory = path.substr(0, at == 0 ? 0 : at - 1);
      if (!objectOf(path.substr(at)).empty() && (isGitName(directory.substr(directory.rfind('/') + 1)) || isRepository(directory)))
        return true;
    }
    return false;
  }

  bool isRepository(std::string_view directory) {
    const auto [known, isNew] = repositories_.try_emplace(std::string(directory), false);
    if (isNew)
      known->second = has(directory, "HEAD") && ((has(directory, "objects") && has(directory, "refs")) || has(directory, "commondir"));
    return known->second;
  }

  bool has(std::string_view directory, std::string_view name) const {
    const std::string path = joined(directory, name);
    if (there_.contains(path)) return true;
    if (gone_.contains(path)) return false;
    struct open_how how {};
    how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return static_cast<bool>(UniqueFd(static_cast<int>(syscall(SYS_openat2, base_, path.c_str(), &how, sizeof how))));
  }

  const int base_;
  ObjectCheck objects_;
  std::unordered_set<std::string_view> gone_, there_;
  std::unordered_map<std::string, bool> repositories_;
};

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The value as git reads it, as far as paths need: a comment ends it, quotes are no part of it.
std::string valueOf(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (const char c : trimmed(text)) {
    if (!quoted && (c == '#' || c == ';')) break;
    if (c == '"')
      quoted = !quoted;
    else
      out += c;
  }
  return std::string(trimmed(out));
}

// "" for what is not below the top.
std::string beneath(std::string_view value) {
  std::string out;
  if (value.starts_with('/') || value.starts_with('~')) return out;
  while (!value.empty()) {
    const size_t slash = std::min(value.find('/'), value.size());
    const auto name = value.substr(0, slash);
    value.remove_prefix(std::min(slash + 1, value.size()));
    if (name == "..") return {};
    if (!name.empty() && name != ".") out = joined(out, name);
  }
  return out;
}

}  // namespace

std::vector<std::pair<size_t, std::string_view>> gitDirectoryChanges(const std::vector<Change>& changes, int base, int layer) {
  std::vector<std::pair<size_t, std::string_view>> out;
  Finder finder(changes, base, layer);
  for (size_t i = 0; i < changes.size(); ++i)
    if (const auto reason = finder.reason(changes[i]); !reason.empty()) out.emplace_back(i, reason);
  return out;
}

namespace {

std::string firstOf(int base, const std::string& path, size_t most) {
  const UniqueFd fd = openRegularBeneath(base, path);
  if (!fd) return {};
  std::string text(most, '\0');
  const ssize_t size = pread(fd.get(), text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

// Of core.hooksPath in this configuration.
std::string configuredHooks(const std::string& text) {
  std::string found;
  bool core = false;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    auto line = trimmed(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.starts_with('[')) {
      const size_t close = line.find(']');
      core = sameButCase(trimmed(line.substr(1, close == std::string_view::npos ? close : close - 1)), "core");
      // A section's first variable may stand in its line.
      line = close == std::string_view::npos ? std::string_view() : trimmed(line.substr(close + 1));
    }
    const size_t equals = line.find('=');
    if (core && equals != std::string_view::npos && sameButCase(trimmed(line.substr(0, equals)), "hooksPath"))
      found = beneath(valueOf(line.substr(equals + 1)));
  }
  return found;
}

// Follows links of the tree, as the kernel would, and notes the places that it comes through.
class Resolver final {
 public:
  Resolver(int base, std::vector<std::string>& places) : base_(base), places_(places) {}
  // path: relative to the top. Where it ends, beneath the top; nothing: it leads out, or in circles.
  std::optional<std::string> run(const std::string& path) {
    std::string at;
    std::string rest = path;
    for (int links = 0; !rest.empty();) {
      const size_t slash = std::min(rest.find('/'), rest.size());
      const std::string name = rest.substr(0, slash);
      rest.erase(0, std::min(slash + 1, rest.size()));
      if (name.empty() || name == ".") continue;
      if (name == "..") {
        if (at.empty()) return std::nullopt;
        at.resize(at.rfind('/') == std::string::npos ? 0 : at.rfind('/'));
        continue;
      }
      const std::string next = joined(at, name), target = linkAt(next);
      if (target.empty()) {
        at = next;
        continue;
      }
      places_.push_back(next);
      if (target.starts_with('/') || ++links > kMostLinks || target.size() + rest.size() > kMostPath) return std::nullopt;
      rest = rest.empty() ? target : target + "/" + rest;
    }
    return at;
  }

 private:
  static constexpr int kMostLinks = 40;
  static constexpr size_t kMostPath = 4096;
  std::string linkAt(const std::string& path) const {
    struct open_how how {};
    how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const UniqueFd fd(static_cast<int>(syscall(SYS_openat2, base_, path.c_str(), &how, sizeof how)));
    char target[kMostPath];
    const ssize_t size = fd ? readlinkat(fd.get(), "", target, sizeof target) : -1;
    return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
  }

  const int base_;
  std::vector<std::string>& places_;
};

// Where the host's repository has its data: ".git" may be a file that names it.
std::string gitDirectoryOf(int base) {
  const std::string text = firstOf(base, ".git", kMostConfig);
  constexpr std::string_view key = "gitdir:";
  if (!text.starts_with(key)) return ".git";
  return beneath(trimmed(std::string_view(text).substr(key.size(), text.find('\n') - key.size())));
}

}  // namespace

std::vector<std::string> hookPathsOf(int base) {
  std::vector<std::string> out;
  const std::string git = gitDirectoryOf(base);
  std::vector<std::string> directories;
  if (!git.empty()) {
    const std::string text = firstOf(base, git + "/commondir", kMostConfig);
    const std::string common(trimmed(std::string_view(text).substr(0, text.find('\n'))));
    const auto data = common.empty() || common.starts_with('/') ? git : Resolver(base, out).run(joined(git, common)).value_or(git);
    directories.push_back(joined(data, "hooks"));
    if (const std::string configured = configuredHooks(firstOf(base, joined(data, "config"), kMostConfig)); !configured.empty())
      directories.push_back(configured);
  }
  for (const auto& directory : directories) {
    out.push_back(directory);
    const auto real = Resolver(base, out).run(directory);
    if (!real || real->empty()) continue;
    out.push_back(*real);
    const UniqueFd fd = openDirectoryBeneath(base, *real);
    if (!fd) continue;
    auto hooks = names(fd.get());
    if (hooks.size() > kMostHooks) hooks.resize(kMostHooks);
    for (const auto& hook : hooks)
      if (const auto st = lookup(fd.get(), hook); st && S_ISLNK(st->st_mode))
        if (const auto target = Resolver(base, out).run(joined(*real, hook)); target && !target->empty()) out.push_back(*target);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace rauha::changes
