#include "core/rpc/change_set_reader.h"

#include <fcntl.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "core/changes/change_set_message.h"
#include "core/changes/tree.h"
#include "core/zone/agent_client.h"

namespace rauha::rpc {
namespace {

constexpr uint32_t kMostChanges = 1000;
constexpr uint64_t kMostWords = (4 << 20) / sizeof(capnp::word);  // of one answer, but for one change at least
constexpr unsigned kMostFiles = 4;                                // descriptors that one message carries

class ChangeSetReaderServer final : public schema::ChangeSetReader::Server {
 public:
  explicit ChangeSetReaderServer(changes::ChangeStore::Opened opened) : opened_(std::move(opened)), manifest_(opened_.directory.get()) {}

  kj::Promise<void> info(InfoContext context) override {
    const auto set = manifest_.get();
    auto out = context.getResults().initSet();
    out.setTotals(set.getTotals());
    out.setTruncated(set.getTruncated());
    out.setNoise(set.getNoise());
    out.setHostTree(set.getHostTree());
    out.setHostChanges(set.getHostChanges());
    if (set.hasHostNote()) out.setHostNote(set.getHostNote());
    out.setKept(set.getKept());
    if (set.hasKeptNote()) out.setKeptNote(set.getKeptNote());
    out.setBase(set.getBase());
    if (set.hasFrom()) out.setFrom(set.getFrom());
    out.setNotes(set.getNotes());
    context.getResults().setCount(set.getChanges().size());
    return kj::READY_NOW;
  }

  kj::Promise<void> changes(ChangesContext context) override {
    const auto params = context.getParams();
    const auto all = manifest_.get().getChanges();
    const uint64_t first = std::min<uint64_t>(params.getFirst(), all.size());
    const uint32_t asked = params.getLimit() == 0 ? kMostChanges : std::min(params.getLimit(), kMostChanges);
    auto count = static_cast<unsigned>(std::min<uint64_t>(asked, all.size() - first));
    // Attributes and paths are as long as a task made them.
    uint64_t words = 0;
    for (unsigned i = 0; i < count; ++i) {
      words += all[static_cast<unsigned>(first) + i].totalSize().wordCount;
      if (words > kMostWords) count = std::max(i, 1U);
    }
    auto out = context.getResults().initChanges(count);
    for (unsigned i = 0; i < count; ++i) out.setWithCaveats(i, all[static_cast<unsigned>(first) + i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> open(OpenContext context) override {
    const auto paths = context.getParams().getPaths();
    const unsigned count = std::min(paths.size(), kMostFiles);
    auto files = context.getResults().initFiles(paths.size());
    auto errors = context.getResults().initErrors(paths.size());
    for (unsigned i = 0; i < paths.size(); ++i) {
      if (i >= count) {
        errors.set(i, "at most " + std::to_string(kMostFiles) + " files are opened at once");
        continue;
      }
      try {
        files.set(i, kj::heap<DescriptorServer>(openFile(paths[i])));
      } catch (const Error& e) {
        errors.set(i, e.text());
      }
    }
    return kj::READY_NOW;
  }

 private:
  UniqueFd openFile(capnp::Data::Reader bytes) const {
    const std::string path(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
    if (path.empty() || path.size() > 4095 || path.find('\0') != std::string::npos)
      throw Error("repository", Code::invalid, "a path has 1 to 4095 bytes, none of them NUL");
    UniqueFd fd = changes::openRegularBeneath(opened_.layer.get(), path);
    if (!fd) throw Error("repository", Code::notFound, "the task left no regular file " + toUtf8(path), "", toUtf8(path));
    return fd;
  }

  changes::ChangeStore::Opened opened_;
  changes::Manifest manifest_;
};

}  // namespace

schema::ChangeSetReader::Client makeChangeSetReader(changes::ChangeStore::Opened opened) {
  return kj::heap<ChangeSetReaderServer>(std::move(opened));
}

}  // namespace rauha::rpc
