#include "frontends/cli/changes/apply_report.h"

#include <algorithm>
#include <array>
#include <map>

#include "core/base/utf8.h"
#include "core/evidence/json_writer.h"
#include "frontends/cli/changes/diff.h"
#include "frontends/cli/changes/patch.h"

namespace rauha::cli {
namespace {

constexpr std::array kVerdicts = {Verdict::apply,   Verdict::already,  Verdict::protection, Verdict::cache,
                                  Verdict::skipped, Verdict::conflict, Verdict::failed,     Verdict::undone};

const char* verdictName(Verdict verdict, const ApplySummary& summary) {
  switch (verdict) {
    case Verdict::apply:
      return summary.refused || summary.dryRun ? "pending" : "applied";
    case Verdict::already:
      return "already";
    case Verdict::protection:
      return "protected";
    case Verdict::cache:
      return "cache";
    case Verdict::skipped:
      return "skipped";
    case Verdict::conflict:
      return "conflict";
    case Verdict::failed:
      return "failed";
    case Verdict::undone:
      break;
  }
  return "undone";
}

const char* kindName(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::added:
      return "added";
    case ChangeKind::modified:
      return "modified";
    case ChangeKind::deleted:
      return "deleted";
    case ChangeKind::typeChanged:
      return "type_changed";
    case ChangeKind::renamed:
      break;
  }
  return "renamed";
}

size_t count(const ApplySummary& summary, Verdict verdict) {
  return static_cast<size_t>(
      std::count_if(summary.items->begin(), summary.items->end(), [&](const Item& i) { return i.verdict == verdict; }));
}

void member(std::string& out, const char* name, const std::string& value) {
  out += out.back() == '{' ? "\"" : ",\"";
  out += name;
  out += "\":" + value;
}
std::string quoted(const std::string& text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}
const char* boolean(bool value) { return value ? "true" : "false"; }

void path(std::string& out, const char* name, const char* bytesName, const std::string& value) {
  member(out, name, quoted(value));
  if (!isUtf8(value)) member(out, bytesName, quoted(base64(value)));
}

std::string itemJson(const Item& item, const ApplySummary& summary) {
  std::string out = "{";
  path(out, "path", "path_bytes", item.change->path);
  if (!item.change->from.empty()) path(out, "from", "from_bytes", item.change->from);
  member(out, "kind", quoted(kindName(item.change->kind)));
  member(out, "verdict", quoted(verdictName(item.verdict, summary)));
  if (!item.reason.empty()) member(out, "reason", quoted(item.reason));
  if (!item.protection.empty()) member(out, "protected", quoted(item.protection));
  if (item.verdict == Verdict::conflict) member(out, "forceable", boolean(item.forceable));
  if (item.forced) member(out, "forced", "true");
  return out + "}";
}

std::string line(const Item& item, const ApplySummary& summary) {
  std::string out = std::string("  ") + letterOf(item.change->kind) + " ";
  if (!item.change->from.empty()) out += quotePath(item.change->from) + " => ";
  out += quotePath(item.change->path);
  if (item.verdict == Verdict::protection) return out + "  [" + item.protection + "]";
  if (!item.protection.empty()) out += "  [" + item.protection + "]";
  if (!item.reason.empty()) out += (item.forced ? "  (forced: " : "  (") + item.reason + ")";
  if (item.verdict == Verdict::conflict && !item.forceable) out += " (not even with --force)";
  (void)summary;
  return out;
}

void section(std::string& out, const ApplySummary& summary, Verdict verdict, const std::string& title) {
  bool first = true;
  for (const bool wantProtected : {true, false}) {
    for (const auto& item : *summary.items) {
      if (item.verdict != verdict || item.protection.empty() == wantProtected) continue;
      if (first) out += title + "\n";
      first = false;
      out += line(item, summary) + "\n";
    }
  }
}

// One line a group: nobody wants to read them one by one.
void caches(std::string& out, const ApplySummary& summary) {
  std::map<std::string, size_t> groups;
  for (const auto& item : *summary.items)
    if (item.verdict == Verdict::cache) ++groups[item.reason];
  if (groups.empty()) return;
  out += "not applied, because tools run what is in these caches (name one, or --include-protected, applies them):\n";
  for (const auto& [name, changes] : groups)
    out += "  " + printable(name) + ": " + std::to_string(changes) + (changes == 1 ? " change" : " changes") + "\n";
}

std::string conflictRemedy(const ApplySummary& summary) {
  const bool forceable = std::any_of(summary.items->begin(), summary.items->end(),
                                     [](const Item& i) { return i.verdict == Verdict::conflict && i.forceable; });
  return std::string("  try: --skip-conflicts applies the rest") + (forceable ? ", --force replaces yours" : "") + "\n";
}

std::string applyTitle(const ApplySummary& summary) {
  if (summary.refused) return "not applied, because of the conflicts:";
  return summary.dryRun ? "would be applied:" : "applied:";
}

}  // namespace

bool succeeded(const ApplySummary& summary) {
  return count(summary, Verdict::conflict) == 0 && count(summary, Verdict::failed) == 0 && count(summary, Verdict::undone) == 0;
}

std::string applyJson(const ApplySummary& summary) {
  std::string out = "{";
  member(out, "task_id", quoted(summary.taskId));
  path(out, "tree", "tree_bytes", summary.tree);
  member(out, "dry_run", boolean(summary.dryRun));
  member(out, "ok", boolean(succeeded(summary)));
  member(out, "refused", boolean(summary.refused));
  member(out, "undone", boolean(summary.undone));
  std::string counts = "{";
  for (const Verdict verdict : kVerdicts) member(counts, verdictName(verdict, summary), std::to_string(count(summary, verdict)));
  member(out, "counts", counts + "}");
  std::string list, notes;
  for (const bool wantProtected : {true, false})
    for (const auto& item : *summary.items)
      if (item.protection.empty() != wantProtected) list += (list.empty() ? "" : ",") + itemJson(item, summary);
  for (const auto& note : summary.notes) notes += (notes.empty() ? "" : ",") + quoted(note);
  member(out, "changes", "[" + list + "]");
  member(out, "notes", "[" + notes + "]");
  return out + "}";
}

std::string applyText(const ApplySummary& summary) {
  std::string out;
  section(out, summary, Verdict::protection, "not applied, because they can run code on this machine (--include-protected applies them):");
  caches(out, summary);
  section(out, summary, Verdict::conflict, "conflicts:");
  if (summary.refused) out += conflictRemedy(summary);
  section(out, summary, Verdict::failed, "failed:");
  section(out, summary, Verdict::undone, "taken back or not begun, because of the failure:");
  section(out, summary, Verdict::skipped, "left out:");
  section(out, summary, Verdict::apply, applyTitle(summary));
  if (const size_t n = count(summary, Verdict::already); n > 0)
    out += std::to_string(n) + (n == 1 ? " change is" : " changes are") + " there already\n";
  if (summary.items->empty()) out += "the task changed nothing\n";
  return out;
}

}  // namespace rauha::cli
