#include "process_state.h"

#include <dirent.h>
#include <limits.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace rauha::conformance {
namespace {
namespace fs = std::filesystem;

constexpr size_t kMaxContent = 256;  // a claim file is small; whatever is larger is not searched for a name
constexpr int kGroupDepth = 8;

std::vector<std::string> namesIn(const std::string& directory) {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr)
    if (entry->d_name != std::string(".") && entry->d_name != std::string("..")) out.emplace_back(entry->d_name);
  std::sort(out.begin(), out.end());
  return out;
}

std::string linkText(const std::string& path) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return {text, n < 0 ? 0 : static_cast<size_t>(n)};
}

std::string contentOf(const std::string& path, size_t most) {
  std::ifstream in(path, std::ios::binary);
  std::string out(most, '\0');
  in.read(out.data(), static_cast<std::streamsize>(most));
  out.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
  return out;
}

std::string signalState() {
  std::ostringstream out;
  for (int s = 1; s < NSIG; ++s) {
    struct sigaction action {};
    if (::sigaction(s, nullptr, &action) != 0) continue;
    const auto handler = reinterpret_cast<uintptr_t>((action.sa_flags & SA_SIGINFO) != 0 ? reinterpret_cast<void*>(action.sa_sigaction)
                                                                                         : reinterpret_cast<void*>(action.sa_handler));
    if (handler != 0) out << "signal " << s << " has the handler " << std::hex << handler << std::dec << "; ";
  }
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (int s = 1; s < NSIG; ++s)
    if (sigismember(&mask, s) == 1) out << "signal " << s << " is blocked; ";
  return out.str();
}

bool isNumber(const std::string& s) { return !s.empty() && s.find_first_not_of("0123456789") == std::string::npos; }

// Mount points of /proc/self/mountinfo with their type.
std::vector<std::pair<std::string, std::string>> mounts() {
  std::vector<std::pair<std::string, std::string>> out;
  std::ifstream in("/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string word, point, type;
    for (int i = 0; i < 5 && fields >> word; ++i) point = word;
    while (fields >> word && word != "-") {
    }
    fields >> type;
    out.emplace_back(point, type);
  }
  return out;
}

void addGroups(const std::string& directory, const std::string& instance, int depth, std::set<std::string>& out) {
  if (depth == 0) return;
  for (const std::string& name : namesIn(directory)) {
    const std::string path = directory + "/" + name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) continue;
    if (name.find(instance) != std::string::npos || directory.find(instance) != std::string::npos) out.insert("cgroup " + path);
    addGroups(path, instance, depth - 1, out);
  }
}

void addProcesses(const std::string& instance, std::set<std::string>& out) {
  for (const std::string& name : namesIn("/proc")) {
    if (!isNumber(name) || std::stoi(name) == ::getpid()) continue;
    std::string line = contentOf("/proc/" + name + "/cmdline", 4096);
    std::replace(line.begin(), line.end(), '\0', ' ');
    if (line.find(instance) != std::string::npos) out.insert("process " + name + " (" + line.substr(0, 80) + ")");
  }
}

void addRunFiles(const std::string& directory, const std::string& instance, int depth, std::set<std::string>& out) {
  for (const std::string& name : namesIn(directory)) {
    const std::string path = directory + "/" + name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) continue;
    const bool named = name.find(instance) != std::string::npos;
    const bool says = S_ISREG(st.st_mode) && static_cast<size_t>(st.st_size) <= kMaxContent &&
                      contentOf(path, kMaxContent).find(instance) != std::string::npos;
    if (named || says) out.insert("file " + path);
    if (S_ISDIR(st.st_mode) && depth > 1) addRunFiles(path, instance, depth - 1, out);
  }
}

void compare(std::vector<std::string>& out, const char* what, const std::string& before, const std::string& after) {
  if (before != after) out.push_back(std::string(what) + " changed from \"" + before + "\" to \"" + after + "\"");
}

}  // namespace

ProcessState processState() {
  ProcessState out;
  for (const std::string& name : namesIn("/proc/self/fd")) {
    const std::string target = linkText("/proc/self/fd/" + name);
    // Not the directory that is being read here: it is closed by now, or shows /proc.
    if (isNumber(name) && !target.empty() && target.rfind("/proc/", 0) != 0) out.descriptors[std::stoi(name)] = target;
  }
  for (const std::string& name : namesIn("/proc/self/task")) {
    out.threads.insert(std::stoi(name));
    std::istringstream children(contentOf("/proc/self/task/" + name + "/children", 4096));
    for (int pid = 0; children >> pid;) out.children.insert(pid);
  }
  for (char** e = environ; e != nullptr && *e != nullptr; ++e) out.environment.emplace_back(*e);
  std::sort(out.environment.begin(), out.environment.end());
  out.signals = signalState();
  const char* locale = ::setlocale(LC_ALL, nullptr);
  out.locale = locale == nullptr ? "" : locale;
  out.workingDirectory = linkText("/proc/self/cwd");
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("Umask:", 0) == 0) out.umask = line.substr(7);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++out.mappings;
  return out;
}

std::vector<std::string> differences(const ProcessState& before, const ProcessState& after) {
  std::vector<std::string> out;
  for (const auto& [fd, what] : after.descriptors)
    if (before.descriptors.count(fd) == 0) out.push_back("descriptor " + std::to_string(fd) + " (" + what + ") was left open");
  for (const auto& [fd, what] : before.descriptors)
    if (after.descriptors.count(fd) == 0) out.push_back("descriptor " + std::to_string(fd) + " (" + what + ") was closed");
  if (after.threads.size() > before.threads.size())
    out.push_back(std::to_string(after.threads.size() - before.threads.size()) + " thread(s) were left running");
  for (const int pid : after.children)
    if (before.children.count(pid) == 0) out.push_back("the child process " + std::to_string(pid) + " was left");
  for (const std::string& e : after.environment)
    if (!std::binary_search(before.environment.begin(), before.environment.end(), e)) out.push_back("the environment got " + e);
  for (const std::string& e : before.environment)
    if (!std::binary_search(after.environment.begin(), after.environment.end(), e)) out.push_back("the environment lost " + e);
  compare(out, "the signal state", before.signals, after.signals);
  compare(out, "the locale", before.locale, after.locale);
  compare(out, "the working directory", before.workingDirectory, after.workingDirectory);
  compare(out, "the umask", before.umask, after.umask);
  return out;
}

std::set<std::string> objectsOf(const std::string& instance, const std::vector<std::string>& roots) {
  std::set<std::string> out;
  std::set<std::string> seen;
  for (const auto& [point, type] : mounts()) {
    if ((type == "cgroup" || type == "cgroup2") && seen.insert(point).second) addGroups(point, instance, kGroupDepth, out);
    const bool below =
        std::any_of(roots.begin(), roots.end(), [&p = point](const std::string& r) { return p == r || p.rfind(r + "/", 0) == 0; });
    if (below || point.find(instance) != std::string::npos) out.insert("mount " + point);
  }
  addProcesses(instance, out);
  for (const std::string& name : namesIn("/sys/class/net"))
    if (name.find(instance) != std::string::npos) out.insert("link " + name);
  addRunFiles("/run", instance, 2, out);
  for (const std::string& root : roots) {
    std::error_code error;
    for (fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, error), end; it != end;
         it.increment(error))
      out.insert("file " + it->path().string());
  }
  return out;
}

}  // namespace rauha::conformance
