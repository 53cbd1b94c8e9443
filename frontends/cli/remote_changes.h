#pragma once
// A kept change set, from the daemon: its description, all its changes as checked values, and new contents as descriptors.
//
// Owner: a command; the client outlives it. What the daemon sends is checked like everything from outside: a path that leads out of the
// tree, or a page that never ends, is an error.

#include <schemas/client.capnp.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
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
  void expect(std::vector<std::string> paths) override;

 private:
  using Opening = capnp::RemotePromise<schema::ChangeSetReader::OpenResults>;
  // Requests that are on their way: some files each, and some of these at a time, so that a set of thousands does not wait for each of
  // them, and no more descriptors are open than these.
  struct Ahead {
    struct Batch {
      explicit Batch(Opening opening) : promise(kj::mv(opening)) {}
      kj::Maybe<Opening> promise;
      kj::Maybe<capnp::Response<schema::ChangeSetReader::OpenResults>> response;
    };
    struct Place {
      std::shared_ptr<Batch> batch;
      unsigned index = 0;
    };
    std::vector<std::string> paths;
    size_t next = 0;  // the first one that was not asked for
    std::unordered_map<std::string, Place> coming;
  };
  std::optional<Ahead::Place> takeAhead(const std::string& path);
  Opening ask(const std::string* paths, size_t count);
  UniqueFd descriptor(schema::ChangeSetReader::OpenResults::Reader results, unsigned index, const std::string& path);
  void askAhead();
  using Page = capnp::Response<schema::ChangeSetReader::ChangesResults>;
  const std::vector<Page>& pages();

  Client& client_;
  std::string taskId_;
  schema::ChangeSetReader::Client reader_;
  std::unique_ptr<capnp::Response<schema::ChangeSetReader::InfoResults>> info_;
  std::vector<Page> pages_;
  bool read_ = false;
  std::unique_ptr<Ahead> ahead_;
};

}  // namespace rauha::cli
