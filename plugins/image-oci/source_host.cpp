#include "plugins/image-oci/source_host.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/library.h"

namespace rauha::oci {
namespace {

// Directories of programs: bound as they are, or the link that they are on machines with a merged /usr.
constexpr std::array<std::string_view, 2> kTrees = {"/usr", "/opt"};
constexpr std::array<std::string_view, 2> kProgramDirs = {"/bin", "/sbin"};

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
// Folders whose name carries a version.
constexpr std::array<std::string_view, 3> kEtcPrefixes = {"java", "python3", "ImageMagick-"};

struct DirClose {
  void operator()(DIR* d) const noexcept { closedir(d); }
};

std::string linkText(const std::string& path) {
  std::string out(PATH_MAX, '\0');
  const ssize_t n = readlink(path.c_str(), out.data(), out.size());
  out.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return out;
}

std::vector<std::string> namesBy(const std::string& directory, bool (*wanted)(std::string_view)) {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, DirClose> dir(opendir(directory.c_str()));
  while (const dirent* entry = dir ? readdir(dir.get()) : nullptr)
    if (wanted(entry->d_name)) out.emplace_back(entry->d_name);
  std::sort(out.begin(), out.end());
  return out;
}

bool isEtcVersioned(std::string_view name) {
  return std::any_of(kEtcPrefixes.begin(), kEtcPrefixes.end(), [&](std::string_view p) { return name.substr(0, p.size()) == p; });
}
bool isLib(std::string_view name) { return name.substr(0, 3) == "lib"; }

class HostList final {
 public:
  explicit HostList(std::string root) : root_(std::move(root)) {}
  std::vector<HostEntry> make();

 private:
  void directory(std::string target, uint32_t mode) {
    out_.push_back({HostEntry::Kind::directory, std::move(target), {}, mode, false, false});
  }
  void file(std::string target, std::string content) {
    out_.push_back({HostEntry::Kind::file, std::move(target), std::move(content), 0, false, false});
  }
  // A link is shown as the same link, anything else is bound; what the machine does not have is left out.
  void programs(const std::string& path);
  void etc(const std::string& name);

  std::string root_;
  std::vector<HostEntry> out_;
};

void HostList::programs(const std::string& path) {
  struct stat meta {};
  if (lstat((root_ + path).c_str(), &meta) != 0) return;
  if (S_ISLNK(meta.st_mode))
    out_.push_back({HostEntry::Kind::symlink, path, linkText(root_ + path), 0, false, false});
  else if (S_ISDIR(meta.st_mode))
    out_.push_back({HostEntry::Kind::bind, path, root_ + path, 0, true, true});
}

void HostList::etc(const std::string& name) {
  const std::string path = "/etc/" + name;
  struct stat meta {};
  if (lstat((root_ + path).c_str(), &meta) != 0) return;
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) {
    const std::string folder = "/etc/" + name.substr(0, slash);
    for (size_t at = folder.find('/', 5); at != std::string::npos; at = folder.find('/', at + 1))
      if (std::none_of(out_.begin(), out_.end(), [&](const HostEntry& e) { return e.target == folder.substr(0, at); }))
        directory(folder.substr(0, at), 0755);
    if (std::none_of(out_.begin(), out_.end(), [&](const HostEntry& e) { return e.target == folder; })) directory(folder, 0755);
  }
  if (S_ISLNK(meta.st_mode)) {
    const std::string text = linkText(root_ + path);
    // Into /usr it leads to the same thing in the zone; anywhere else the thing itself is shown, if it is a file or directory.
    if (text.rfind("/usr/", 0) == 0 || text.rfind("../usr/", 0) == 0) {
      out_.push_back({HostEntry::Kind::symlink, path, text, 0, false, false});
      return;
    }
    if (stat((root_ + path).c_str(), &meta) != 0) return;
  }
  // Readable by everybody, or it is not meant for programs of a zone.
  const bool open = S_ISDIR(meta.st_mode) ? (meta.st_mode & 05) == 05 : S_ISREG(meta.st_mode) && (meta.st_mode & 04) != 0;
  if (open) out_.push_back({HostEntry::Kind::bind, path, root_ + path, 0, false, true});
}

std::vector<HostEntry> HostList::make() {
  for (std::string_view tree : kTrees) programs(std::string(tree));
  for (std::string_view dir : kProgramDirs) programs(std::string(dir));
  for (const std::string& lib : namesBy(root_ + "/", isLib)) programs("/" + lib);
  directory("/etc", 0755);
  for (std::string_view name : kEtc) etc(std::string(name));
  for (const std::string& name : namesBy(root_ + "/etc", isEtcVersioned)) etc(name);
  file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
  file("/etc/hostname", "localhost\n");
  file("/etc/resolv.conf", "");
  // /tmp is not here: the agent makes it, of the policy's tmp_size.
  for (const char* dir : {"/var", "/var/cache", "/var/lib", "/var/log", "/var/spool"}) directory(dir, 0755);
  directory("/var/tmp", 01777);
  out_.push_back({HostEntry::Kind::symlink, "/var/run", "../run", 0, false, false});
  for (const char* dir : {"/home", "/mnt", "/run", "/srv", "/workspace"}) directory(dir, 0755);
  directory("/run/lock", 01777);
  directory("/root", 0700);
  return std::move(out_);
}

}  // namespace

std::vector<HostEntry> hostEntries(const std::string& root) { return HostList(root).make(); }

std::string hostConfig() {
  const nlohmann::json doc = {
      {"os", "linux"},
      {"architecture", hostPlatform().architecture},
      {"config",
       {{"Env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}}, {"WorkingDir", "/"}}},
      {"rootfs", {{"type", "layers"}, {"diff_ids", nlohmann::json::array()}}}};
  return doc.dump();
}

Resolved hostImage() {
  Resolved out;
  out.reference = "host";
  out.source = "host";
  out.configJson = hostConfig();
  out.mounts = hostEntries();
  return out;
}

}  // namespace rauha::oci
