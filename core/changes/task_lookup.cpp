#include "core/changes/task_lookup.h"

#include <algorithm>
#include <string>

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "core/store/task_history.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kPrefix = "task_";
constexpr size_t kShortest = 4;
constexpr size_t kLookedBack = 100;    // tasks, for the last one with changes
constexpr size_t kMostCounted = 1000;  // of those that an ambiguous beginning fits

[[noreturn]] void refuse(Code code, const std::string& text, const std::string& object) {
  throw Error("task", code, text, "rauha task list shows your tasks", object);
}

bool changed(const store::ChangeCounts& counts) {
  return counts.added + counts.modified + counts.deleted + counts.typeChanged + counts.renamed > 0;
}

bool looksLikeId(std::string_view rest) {
  return std::all_of(rest.begin(), rest.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'v'); });
}

}  // namespace

std::optional<uint32_t> visibleTo(uint32_t callerUid) { return callerUid == 0 ? std::nullopt : std::optional(callerUid); }

store::TaskRow findTask(store::Store& store, std::string_view text, uint32_t callerUid, Last last) {
  std::string id;
  if (text == "last") {
    const auto newest = store.history().newest(callerUid, last == Last::any ? 1 : kLookedBack);
    if (newest.empty()) refuse(Code::notFound, "uid " + std::to_string(callerUid) + " has no task yet", "last");
    const auto kept = std::find_if(newest.begin(), newest.end(), [&](const store::TaskRow& row) {
      const auto set = last == Last::any ? std::nullopt : store.history().changeSet(row.id);
      return set && set->kept && changed(set->counts);
    });
    id = (kept == newest.end() ? newest.front() : *kept).id;
  } else {
    const std::string shown = toUtf8(text.substr(0, 64));
    const std::string_view rest = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text;
    if (looksLikeId(rest) && rest.size() < kShortest)
      refuse(
          Code::invalid,
          "'" + shown + "' is too short for a task: a beginning has at least " + std::to_string(kShortest) + " characters after \"task_\"",
          shown);
    const auto found = looksLikeId(rest)
                           ? store.history().idsThatBegin(std::string(kPrefix) + std::string(rest), visibleTo(callerUid), kMostCounted)
                           : std::vector<std::string>();
    if (found.empty()) refuse(Code::notFound, "no task '" + shown + "'", shown);
    if (found.size() > 1)
      refuse(Code::invalid,
             "'" + shown + "' is ambiguous: " + std::to_string(found.size()) +
                 (found.size() == kMostCounted ? " tasks or more" : " tasks") + " begin so, " + found[0] + " and " + found[1] +
                 " among them",
             shown);
    id = found[0];
  }
  auto row = store.task(id);
  if (!row) refuse(Code::notFound, "no task '" + id + "'", id);
  return std::move(*row);
}

}  // namespace rauha::changes
