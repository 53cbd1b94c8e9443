#include "frontends/cli/remote_changes.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/base/schema_error.h"
#include "core/evidence/json_writer.h"
#include "frontends/cli/change_reader.h"
#include "frontends/cli/changes/apply_plan.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr uint32_t kPage = 1000;
constexpr size_t kBatch = 4;   // as many descriptors as one answer carries
constexpr size_t kAhead = 64;  // that are asked for and not taken yet

}  // namespace

RemoteChanges::RemoteChanges(Client& client, const std::string& task) : client_(client), reader_(nullptr) {
  auto opened = client_.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.openChangesRequest();
    request.setTaskId(task);
    return request.send();
  });
  throwOnError(opened.getOutcome());
  taskId_ = str(opened.getTaskId());
  reader_ = opened.getChanges();
  info_ = std::make_unique<capnp::Response<schema::ChangeSetReader::InfoResults>>(client_.wait(reader_.infoRequest().send()));
}

// NOLINTNEXTLINE(modernize-use-equals-default): a defaulted one would be noexcept(false), as the members are
RemoteChanges::~RemoteChanges() noexcept {}

const std::vector<RemoteChanges::Page>& RemoteChanges::pages() {
  if (read_) return pages_;
  const uint64_t count = info_->getCount();
  for (uint64_t first = 0; first < count;) {
    auto request = reader_.changesRequest();
    request.setFirst(first);
    request.setLimit(kPage);
    auto page = client_.wait(request.send());
    const auto changes = page.getChanges();
    if (changes.size() == 0 || changes.size() > count - first)
      throw corruptChangeSet("it has " + std::to_string(count) + " changes, but the daemon sent " + std::to_string(first + changes.size()));
    first += changes.size();
    pages_.push_back(kj::mv(page));
  }
  read_ = true;
  return pages_;
}

ChangeSet RemoteChanges::all() {
  ChangeSet out;
  out.taskId = taskId_;
  out.from = str(info().getFrom());
  out.base = readBase(info().getBase());
  for (const auto& page : pages())
    for (const auto change : page.getChanges()) out.changes.push_back(readChange(change));
  return out;
}

std::string RemoteChanges::json(const std::vector<std::string>& paths) {
  const ChangeSet set = all();
  std::unordered_set<const Change*> chosen;
  for (const Change* change : selectChanges(set, paths)) chosen.insert(change);
  capnp::MallocMessageBuilder message;
  message.setRoot(info());
  auto list = message.getRoot<schema::ChangeSet>().initChanges(static_cast<kj::uint>(chosen.size()));
  kj::uint to = 0;
  size_t at = 0;
  for (const auto& page : pages())
    for (const auto change : page.getChanges())
      if (chosen.count(&set.changes[at++]) != 0) list.setWithCaveats(to++, change);
  JsonWriter writer(false);
  writer.value(capnp::DynamicValue::Reader(message.getRoot<schema::ChangeSet>().asReader()));
  return writer.take();
}

RemoteChanges::Opening RemoteChanges::ask(const std::string* paths, size_t count) {
  auto request = reader_.openRequest();
  auto list = request.initPaths(static_cast<kj::uint>(count));
  for (kj::uint i = 0; i < list.size(); ++i)
    list.set(i, capnp::Data::Reader(reinterpret_cast<const kj::byte*>(paths[i].data()), paths[i].size()));
  return request.send();
}

void RemoteChanges::expect(std::vector<std::string> paths) {
  ahead_ = std::make_unique<Ahead>();
  ahead_->paths = std::move(paths);
  askAhead();
}

void RemoteChanges::askAhead() {
  Ahead& ahead = *ahead_;
  while (ahead.next < ahead.paths.size() && ahead.coming.size() + kBatch <= kAhead) {
    const size_t count = std::min(kBatch, ahead.paths.size() - ahead.next);
    const auto batch = std::make_shared<Ahead::Batch>(ask(&ahead.paths[ahead.next], count));
    for (size_t i = 0; i < count; ++i) ahead.coming[ahead.paths[ahead.next + i]] = {batch, static_cast<unsigned>(i)};
    ahead.next += count;
  }
}

UniqueFd RemoteChanges::open(const std::string& path) {
  if (auto place = takeAhead(path)) {
    auto& batch = *place->batch;
    KJ_IF_MAYBE (promise, batch.promise) {
      auto opening = kj::mv(*promise);
      batch.promise = nullptr;
      batch.response = client_.wait(kj::mv(opening));
    }
    KJ_IF_MAYBE (response, batch.response) {
      UniqueFd fd = descriptor(*response, place->index, path);
      askAhead();
      return fd;
    }
  }
  const auto response = client_.wait(ask(&path, 1));
  return descriptor(response, 0, path);
}

std::optional<RemoteChanges::Ahead::Place> RemoteChanges::takeAhead(const std::string& path) {
  if (!ahead_) return std::nullopt;
  const auto found = ahead_->coming.find(path);
  if (found == ahead_->coming.end()) return std::nullopt;
  auto out = std::move(found->second);
  ahead_->coming.erase(found);
  return out;
}

UniqueFd RemoteChanges::descriptor(schema::ChangeSetReader::OpenResults::Reader results, unsigned index, const std::string& path) {
  const auto errors = results.getErrors();
  if (errors.size() > index && errors[index].size() > 0)
    throw Error("repository", Code::notFound, "the new content of " + path + " cannot be read: " + str(errors[index]), "", path);
  const auto files = results.getFiles();
  if (files.size() <= index) throw corruptChangeSet("no content of " + path, path);
  auto file = files[index];
  const auto number = client_.wait(file.getFd());
  KJ_IF_MAYBE (fd, number) {
    struct stat st {};
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) throw corruptChangeSet("the content of " + path + " is no file", path);
    return duplicate(*fd);
  }
  throw corruptChangeSet("no content of " + path, path);
}

}  // namespace rauha::cli
