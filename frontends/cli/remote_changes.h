#pragma once
// A kept change set, from the daemon: its description, all its changes as checked values, and new contents as descriptors.
//
// Owner: a command; the client outlives it. What the daemon sends is checked like everything from outside: a path that leads out of the
// tree, or a page that never ends, is an error.

#include <schemas/client.capnp.h>

#include <memory>
#include <string>
#include <vector>

#include "frontends/cli/changes/change.h"
#include "frontends/cli/client.h"

namespace rauha::cli {

class RemoteChanges final : public ContentSource {
 public:
  // task: an id, a unique beginning of one, or "last". Throws Error.
  RemoteChanges(Client& client, const std::string& task);
  ~RemoteChanges() noexcept override;  // what KJ's own may throw ends the program

  const std::string& taskId() const { return taskId_; }
  // Without its changes.
  schema::ChangeSet::Reader info() const { return info_->getSet(); }
  ChangeSet all();
  // The whole set, as the one JSON document of `rauha diff --json`; `paths` as in selectChanges.
  std::string json(const std::vector<std::string>& paths);
  UniqueFd open(const std::string& path) override;

 private:
  using Page = capnp::Response<schema::ChangeSetReader::ChangesResults>;
  const std::vector<Page>& pages();

  Client& client_;
  std::string taskId_;
  schema::ChangeSetReader::Client reader_;
  std::unique_ptr<capnp::Response<schema::ChangeSetReader::InfoResults>> info_;
  std::vector<Page> pages_;
  bool read_ = false;
};

// One change. Throws Error "repository" (corrupt) for a path that is none of a tree, an unknown kind or type.
Change readChange(schema::Change::Reader in);
BaseTree readBase(schema::BaseTree::Reader in);

}  // namespace rauha::cli
