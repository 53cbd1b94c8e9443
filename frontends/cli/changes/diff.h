#pragma once
// What `rauha diff` prints: both sides of each change loaded within limits, as text for people, a patch for git, counts, or names.
//
// Old content is the host's file, as the caller may read it now; when that is not what the task saw, the text says so and the comparison is
// with what is there. Output that goes to a terminal has its control characters escaped; elsewhere bytes are what they are.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/cli/changes/change.h"
#include "frontends/cli/changes/loading.h"
#include "frontends/cli/changes/patch.h"
#include "frontends/cli/changes/tree.h"
#include "frontends/cli/output.h"

namespace rauha::cli {

class DiffPrinter final {
 public:
  using Write = std::function<void(std::string_view)>;
  // note: lines for standard error. terminal: escape what could steer it. meanwhile: what is said of a file that changed on the host's
  // side (hostChangedText). paths: those that were named; what of them is noise is shown.
  DiffPrinter(const Tree* tree, ContentSource& source, Write out, Write note, bool terminal, const Style& style,
              std::string meanwhile = "the host's file changed while the task ran", std::vector<std::string> paths = {})
      : tree_(tree),
        source_(source),
        out_(std::move(out)),
        note_(std::move(note)),
        terminal_(terminal),
        style_(style),
        meanwhile_(std::move(meanwhile)),
        paths_(std::move(paths)) {}

  void text(const std::vector<const Change*>& changes, bool all);
  // False: a change's content is missing in it; named in a note. caches: with what the task put into caches, which is else left out and
  // named.
  bool patch(const std::vector<const Change*>& all, bool caches);
  void stat(const std::vector<const Change*>& changes, bool all);
  void names(const std::vector<const Change*>& changes, bool all);

 private:
  bool grouped(const Change& change, bool all) const;
  std::vector<const Change*> worthALook(const std::vector<const Change*>& changes, bool all);
  void oneText(const Change& change, Loader& loader);
  std::string tooManyLines(const Loaded& sides) const;
  std::string shown(const std::string& path) const;
  void putDiff(std::string_view rest) const;
  void noiseLines(const std::vector<const Change*>& changes, bool all);

  const Tree* tree_;
  ContentSource& source_;
  Write out_, note_;
  bool terminal_;
  const Style& style_;
  LineWork work_;
  const std::string meanwhile_;
  const std::vector<std::string> paths_;
};

// Protected ones first, else as they are.
std::vector<const Change*> protectedFirst(std::vector<const Change*> changes);
// "A", "M", "D", "T", "R"
char letterOf(ChangeKind kind);
// "mode 0644 -> 0755, owner 0:0 -> 1000:1000": what differs beside content.
std::string metadataText(const Change& change);

}  // namespace rauha::cli
