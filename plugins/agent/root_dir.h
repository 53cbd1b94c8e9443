#pragma once
// A root directory that somebody hostile filled. Every path is walked beneath it (RESOLVE_IN_ROOT, no magic links) and every change is made
// through a descriptor of the parent, so that no symbolic link leads outside, whatever it says. Things are only *created* on file systems
// that were declared fresh: an image whose /etc is a link to /workspace must not make the agent write into the repository mounted there.
//
// Used by one single-threaded process before anything of the zone runs. Errors: class "zone", naming the path as the zone sees it.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"

namespace rauha::agent {

class RootDir final {
 public:
  // root: O_PATH descriptor of the directory; its file system counts as fresh. owner: host ids that new things belong to.
  RootDir(UniqueFd root, uid_t ownerUid, gid_t ownerGid);
  int fd() const noexcept { return root_.get(); }
  uid_t ownerUid() const noexcept { return uid_; }
  gid_t ownerGid() const noexcept { return gid_; }

  // Declares the file system of an open descriptor as ours to write.
  void addFresh(int fd);

  // O_PATH descriptor; an empty one when nothing is there (ENOENT, ENOTDIR, a dangling or looping link).
  UniqueFd find(const std::string& path, bool followLinks = true) const;
  // The directory at path, made with its parents (0755) if missing. `links` false: no component may be a symbolic link.
  UniqueFd directory(const std::string& path, bool followLinks = true) const;
  // An empty regular file to mount onto, made if missing; what is there already is taken as it is.
  UniqueFd mountPointFile(const std::string& path) const;

  // Fresh things; what is there under the last name is replaced unless it is a directory.
  void writeFile(const std::string& path, std::string_view content, mode_t mode) const;
  void symlink(const std::string& path, const std::string& text) const;
  void makeNode(const std::string& path, mode_t mode, dev_t number) const;
  // A directory with exactly these mode bits and this owner.
  UniqueFd makeDirectory(const std::string& path, mode_t mode, uid_t uid, gid_t gid) const;

 private:
  struct Place {
    UniqueFd parent;
    std::string name;
  };
  Place place(const std::string& path) const;
  void requireFresh(int fd, const std::string& path) const;
  UniqueFd child(int parent, const std::string& name, const std::string& path) const;
  void clearName(const Place& at, const std::string& path) const;

  UniqueFd root_;
  uid_t uid_;
  gid_t gid_;
  std::vector<dev_t> fresh_;
};

// "/a//b/./c/" -> {"a","b","c"}. ".." is refused: plans are made by core and have no use for it.
std::vector<std::string> splitPath(std::string_view path);

}  // namespace rauha::agent
