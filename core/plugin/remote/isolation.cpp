#include "core/plugin/remote/isolation.h"

#include <dirent.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/base/error.h"

namespace rauha::plugin {
namespace {

struct Capability {
  std::string_view name;
  unsigned number;
};

constexpr std::array kGrantable = {
    Capability{"chown", CAP_CHOWN},       Capability{"dac_override", CAP_DAC_OVERRIDE},
    Capability{"fowner", CAP_FOWNER},     Capability{"fsetid", CAP_FSETID},
    Capability{"ipc_lock", CAP_IPC_LOCK}, Capability{"lease", CAP_LEASE},
    Capability{"mknod", CAP_MKNOD},       Capability{"net_bind_service", CAP_NET_BIND_SERVICE},
    Capability{"setfcap", CAP_SETFCAP},   Capability{"setgid", CAP_SETGID},
    Capability{"setuid", CAP_SETUID},     Capability{"sys_nice", CAP_SYS_NICE},
};
constexpr std::array<unsigned, 6> kDefault = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP};
constexpr uint64_t kMemory = 2ull << 30;

constexpr std::array<std::string_view, 4> kTrees = {"/usr", "/opt", "/bin", "/sbin"};
// As image-oci's list of what a zone of the image "host" sees (plugins/image-oci/source_host.cpp): it cannot offer what it does not see.
constexpr std::array<std::string_view, 42> kEtc = {"alternatives",
                                                   "bash.bashrc",
                                                   "ca-certificates",
                                                   "ca-certificates.conf",
                                                   "debian_version",
                                                   "default/locale",
                                                   "fonts",
                                                   "gai.conf",
                                                   "group",
                                                   "host.conf",
                                                   "inputrc",
                                                   "ld.so.cache",
                                                   "ld.so.conf",
                                                   "ld.so.conf.d",
                                                   "locale.alias",
                                                   "locale.conf",
                                                   "localtime",
                                                   "lsb-release",
                                                   "magic",
                                                   "magic.mime",
                                                   "mailcap",
                                                   "manpath.config",
                                                   "mime.types",
                                                   "networks",
                                                   "nsswitch.conf",
                                                   "os-release",
                                                   "passwd",
                                                   "perl",
                                                   "pki/ca-trust/extracted",
                                                   "pki/tls/certs",
                                                   "profile",
                                                   "protocols",
                                                   "rpc",
                                                   "services",
                                                   "shells",
                                                   "ssl/cert.pem",
                                                   "ssl/certs",
                                                   "ssl/openssl.cnf",
                                                   "terminfo",
                                                   "timezone",
                                                   "xattr.conf",
                                                   "xml"};
constexpr std::array<std::string_view, 3> kEtcPrefixes = {"java", "python3", "ImageMagick-"};

bool startsWith(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

void addNames(const char* directory, std::string_view prefix, std::vector<std::string>& out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory), closedir);
  while (const dirent* entry = dir ? readdir(dir.get()) : nullptr)
    if (startsWith(entry->d_name, prefix)) out.push_back((directory[1] == '\0' ? "" : std::string(directory)) + "/" + entry->d_name);
}

}  // namespace

ProcessIsolation defaultIsolation() {
  ProcessIsolation out;
  for (const unsigned number : kDefault) out.capabilities |= 1ull << number;
  out.memoryBytes = kMemory;
  return out;
}

unsigned isolationCapability(std::string_view name) {
  std::string known;
  for (const auto& c : kGrantable) {
    if (c.name == name) return c.number;
    known += (known.empty() ? "" : ", ") + std::string(c.name);
  }
  throw Error("plugin", Code::denied, "a plugin's process cannot have the capability " + std::string(name),
              "what leaves the process confined: " + known, std::string(name));
}

std::string capabilityNames(uint64_t mask) {
  std::string out;
  for (const auto& c : kGrantable)
    if ((mask >> c.number & 1) != 0) out += (out.empty() ? "" : ", ") + std::string(c.name);
  return out.empty() ? "none" : out;
}

std::vector<std::string> hostFiles() {
  std::vector<std::string> wanted(kTrees.begin(), kTrees.end()), out;
  addNames("/", "lib", wanted);
  for (const auto name : kEtc) wanted.push_back("/etc/" + std::string(name));
  for (const auto prefix : kEtcPrefixes) addNames("/etc", prefix, wanted);
  for (auto& path : wanted) {
    struct stat st {};
    if (lstat(path.c_str(), &st) == 0) out.push_back(std::move(path));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

bool isBeneath(std::string_view path, const std::vector<std::string>& roots) noexcept {
  return std::any_of(roots.begin(), roots.end(), [&](const std::string& root) {
    return startsWith(path, root) && (path.size() == root.size() || path[root.size()] == '/');
  });
}

}  // namespace rauha::plugin
