#pragma once
// How a task sees a repository, as a word: that of --repo-mode, of the result's JSON and of the store's records.

#include <schemas/task.capnp.h>

#include <string_view>

namespace rauha {

// A static text.
inline std::string_view repoModeName(schema::RepoMode mode) {
  switch (mode) {
    case schema::RepoMode::NONE:
      return "none";
    case schema::RepoMode::RO:
      return "ro";
    case schema::RepoMode::RW:
      return "rw";
    case schema::RepoMode::OVERLAY:
      return "overlay";
  }
  return "of a mode that this version does not know";
}

}  // namespace rauha
