#include "frontends/cli/testing/fake_changes.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha {
namespace {

struct Line {
  char kind = 'M';
  std::string path;
};

std::vector<Line> linesOf(const std::string& root) {
  std::ifstream in(root + "/fake-changes");
  std::vector<Line> out;
  for (std::string text; std::getline(in, text);)
    if (text.size() > 2) out.push_back({text[0], text.substr(2)});
  return out;
}

int64_t ns(const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

void fillState(schema::FileState::Builder out, const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return;
  out.setType(S_ISDIR(st.st_mode) ? schema::FileType::DIRECTORY : schema::FileType::REGULAR);
  out.setMode(static_cast<uint16_t>(st.st_mode & 07777u));
  out.setUid(st.st_uid);
  out.setGid(st.st_gid);
  out.setMtimeNs(ns(st.st_mtim));
  out.setCtimeNs(ns(st.st_ctim));
  out.setInode(st.st_ino);
  if (!S_ISREG(st.st_mode)) return;
  out.setSize(static_cast<uint64_t>(st.st_size));
  out.setDigest(sha256(readFile(path)));
}

void fillChange(schema::Change::Builder out, const Line& line, const std::string& root) {
  out.setPath(line.path);
  if (line.kind == '?') out.setPath("../" + line.path);
  out.setKind(line.kind == 'A' ? schema::ChangeKind::ADDED : line.kind == 'D' ? schema::ChangeKind::DELETED : schema::ChangeKind::MODIFIED);
  if (line.kind != 'A') fillState(out.initOld(), root + "/host/" + line.path);
  if (line.kind != 'D') fillState(out.initNew(), root + "/layer/" + line.path);
  if (line.kind == 'M') out.initFields(1).set(0, "content");
}

class DescriptorServer final : public schema::Descriptor::Server {
 public:
  explicit DescriptorServer(UniqueFd fd) : fd_(std::move(fd)) {}
  kj::Maybe<int> getFd() override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// The set as it was when it was opened.
class ReaderServer final : public schema::ChangeSetReader::Server {
 public:
  explicit ReaderServer(const std::string& root) : root_(root) {
    const auto lines = linesOf(root);
    auto set = message_.initRoot<schema::ChangeSet>();
    struct stat st {};
    if (stat((root + "/host").c_str(), &st) != 0) throwErrno("repository", "look at " + root + "/host");
    auto base = set.initBase();
    base.setPath(root + "/host");
    base.setDevice(st.st_dev);
    base.setInode(st.st_ino);
    base.setUid(st.st_uid);
    base.setGid(st.st_gid);
    set.setKept(true);
    set.initTotals().setModified(lines.size());
    auto list = set.initChanges(static_cast<kj::uint>(lines.size()));
    for (kj::uint i = 0; i < list.size(); ++i) fillChange(list[i], lines[i], root);
  }

  kj::Promise<void> info(InfoContext context) override {
    const auto set = message_.getRoot<schema::ChangeSet>().asReader();
    auto out = context.getResults().initSet();
    out.setBase(set.getBase());
    out.setTotals(set.getTotals());
    out.setKept(true);
    context.getResults().setCount(set.getChanges().size());
    return kj::READY_NOW;
  }
  kj::Promise<void> changes(ChangesContext context) override {
    const auto all = message_.getRoot<schema::ChangeSet>().asReader().getChanges();
    const auto first = static_cast<kj::uint>(context.getParams().getFirst());
    // Three at once, so that a client that takes the first page for everything is found.
    const kj::uint n = std::min<kj::uint>({3, context.getParams().getLimit(), all.size() - first});
    auto out = context.getResults().initChanges(n);
    for (kj::uint i = 0; i < n; ++i) out.setWithCaveats(i, all[first + i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> open(OpenContext context) override {
    const auto paths = context.getParams().getPaths();
    auto files = context.getResults().initFiles(paths.size());
    auto errors = context.getResults().initErrors(paths.size());
    for (kj::uint i = 0; i < paths.size(); ++i) {
      const std::string path(reinterpret_cast<const char*>(paths[i].begin()), paths[i].size());
      UniqueFd fd(::open((root_ + "/layer/" + path).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      if (fd)
        files.set(i, kj::heap<DescriptorServer>(std::move(fd)));
      else
        errors.set(i, "no such file in the layer");
    }
    return kj::READY_NOW;
  }

 private:
  std::string root_;
  capnp::MallocMessageBuilder message_;
};

}  // namespace

void fillSummary(schema::TaskSummary::Builder task, const std::string& root) {
  task.setTaskId(kFakeTask);
  task.setStatus("succeeded");
  auto command = task.initCommand(2);
  command.set(0, "make");
  command.set(1, "evil\x1b[2J");
  task.setCreatedAt("2026-01-31T12:00:00.000Z");
  task.setRepoPath(root + "/host");
  task.initChanges().setAdded(3);
  task.setKept(true);
  task.setKeptBytes(4 << 20);
}

schema::ChangeSetReader::Client fakeChanges(const std::string& root) { return kj::heap<ReaderServer>(root); }

}  // namespace rauha
