#include "frontends/cli/change_set_fuzz_target.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstdlib>
#include <cstring>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/evidence/json_writer.h"
#include "frontends/cli/change_reader.h"
#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

void staysInside(const std::string& path) {
  must(!path.empty() && path[0] != '/' && path.find('\0') == std::string::npos);
  const std::string framed = "/" + path + "/";
  for (const char* bad : {"//", "/./", "/../"}) must(framed.find(bad) == std::string::npos);
}

void check(const Change& change) {
  staysInside(change.path);
  if (change.kind == ChangeKind::renamed)
    staysInside(change.from);
  else
    must(change.from.empty());
  for (const FileState* state : {&change.before, &change.after})
    must((state->mode & ~07777u) == 0 && (state->digest.empty() || isSha256(state->digest)));
  (void)protectionOf(change);
}

void readAll(schema::ChangeSet::Reader in) {
  ChangeSet set;
  set.base = readBase(in.getBase());
  for (const auto change : in.getChanges()) {
    set.changes.push_back(readChange(change));
    check(set.changes.back());
  }
  must(selectChanges(set, {}).size() == set.changes.size());
  JsonWriter writer(false);
  writer.value(capnp::DynamicValue::Reader(in));
  must(!writer.take().empty());
}

}  // namespace

bool fuzzChangeSet(std::string_view bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  if (words.size() > 0) std::memcpy(static_cast<void*>(words.begin()), bytes.data(), words.asBytes().size());
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 1 << 16;
  options.nestingLimit = 32;
  try {
    capnp::FlatArrayMessageReader message(words, options);
    readAll(message.getRoot<schema::ChangeSet>());
    return true;
  } catch (const Error& e) {
    must(e.errorClass() == "repository" && e.code() == Code::corrupt);
  } catch (const kj::Exception&) {
    // The command line turns it into an Error at its one border (report.h).
  }
  return false;
}

}  // namespace rauha::cli
