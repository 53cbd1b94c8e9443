#pragma once
// The image "host": no layers, but a list of what a fresh root shows of this machine. An allow-list: the machine's programs, read-only,
// and those files of /etc that programs need to find names, certificates, libraries and time. Nothing that holds secrets or identity
// (shadow, gshadow, ssh, sudoers, machine-id, private keys), no homes, no /var. Owners are not mapped, so that what only root may read
// stays closed to a zone by plain permissions.

#include <cstdint>
#include <string>
#include <vector>

namespace rauha::oci {

struct HostEntry {
  enum class Kind { bind, symlink, file, directory };
  Kind kind = Kind::bind;
  std::string target;  // absolute, in the zone
  std::string source;  // bind: host path; symlink: text; file: content
  uint32_t mode = 0;   // directory
  bool exec = false;
  bool optional = false;
};

// root: "" for this machine, else a directory that stands for it (tests). Parents come before what is in them.
std::vector<HostEntry> hostEntries(const std::string& root = {});
// OCI image configuration for it.
std::string hostConfig();

struct Resolved;
Resolved hostImage();

}  // namespace rauha::oci
