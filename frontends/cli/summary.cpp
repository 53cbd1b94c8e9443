#include "frontends/cli/summary.h"

#include <cstring>
#include <string>
#include <string_view>

#include "core/base/repo_mode.h"
#include "core/base/units.h"
#include "frontends/cli/change_reader.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

constexpr kj::uint kRefusalsShown = 5;
constexpr uint64_t kProtectedShown = 3;

std::string str(capnp::Text::Reader text) { return std::string(text.begin(), text.size()); }

std::string signalName(int64_t number) {
  const char* name = number > 0 && number < 65 ? sigabbrev_np(static_cast<int>(number)) : nullptr;
  return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(number);
}

struct Ending {
  Colour colour;
  std::string text;
};

Ending endingOf(schema::TaskResult::Reader result) {
  const auto code = result.getExitCode();
  const auto signal = result.getSignal();
  switch (result.getStatus()) {
    case schema::TaskStatus::SUCCEEDED:
      return {Colour::green, "succeeded"};
    case schema::TaskStatus::FAILED:
      return {Colour::red, "failed with exit code " + (code.isValue() ? std::to_string(code.getValue()) : std::string("unknown"))};
    case schema::TaskStatus::TIMED_OUT:
      return {Colour::red, "timed out"};
    case schema::TaskStatus::OUT_OF_MEMORY:
      return {Colour::red, "reached its memory limit"};
    case schema::TaskStatus::KILLED:
      return {Colour::red, "killed by " + (signal.isValue() ? signalName(signal.getValue()) : std::string("a signal"))};
    case schema::TaskStatus::CANCELLED:
      return {Colour::yellow, "cancelled"};
    case schema::TaskStatus::RUNTIME_ERROR:
      return {Colour::red, "not run"};
  }
  return {Colour::red, "ended in a way that this version does not know"};
}

std::string endLine(schema::TaskResult::Reader result, const Style& style) {
  const Ending ending = endingOf(result);
  std::string line = style.paint(Colour::dim, "rauha: ") + style.paint(ending.colour, ending.text);
  // What came to no process has no time of its own, and no zone that anybody could look at.
  if (result.getStatus() == schema::TaskStatus::RUNTIME_ERROR && !result.hasPosture()) return line + "\n";
  std::string details = " in " + formatDuration(result.getDurationMs());
  if (result.hasZoneName() || result.hasZoneId())
    details += ", zone " + printable(str(result.hasZoneName() ? result.getZoneName() : result.getZoneId()));
  if (result.getZoneKept()) details += " (kept)";
  if (result.hasUsage() && result.getUsage().getMemoryPeakBytes() > 0)
    details += ", memory peak " + formatBytes(result.getUsage().getMemoryPeakBytes());
  return line + style.paint(Colour::dim, details) + "\n";
}

bool isWaived(schema::Posture::Reader posture, capnp::Text::Reader layer) {
  for (const auto waived : posture.getDegraded())
    if (waived == layer) return true;
  return false;
}

// One line, as the contract wants it.
std::string weakerLine(schema::TaskResult::Reader result, const Style& style) {
  if (!result.hasPosture()) return {};
  const auto posture = result.getPosture();
  std::string layers;
  auto add = [&](const std::string& text) { layers += (layers.empty() ? "" : ", ") + text; };
  for (const auto layer : posture.getLayers()) {
    if (!layer.getWeaker()) continue;
    const bool waived = isWaived(posture, layer.getName());
    // Nobody could do anything about an enforcer that nobody configured: the posture and `doctor` tell it, not every run.
    if (!waived && layer.getName() == "enforcer" && (posture.getEnforcer().size() == 0 || posture.getEnforcer() == "none")) continue;
    std::string detail = printable(str(layer.getDetail()));
    if (waived) detail += (detail.empty() ? "" : "; ") + std::string("required, waived by --allow-degraded");
    add(printable(str(layer.getName())) + (detail.empty() ? "" : " (" + detail + ")"));
  }
  for (const auto place : posture.getUnsafePlugins()) add("plugin " + printable(str(place)));
  return layers.empty() ? std::string() : style.paint(Colour::yellow, "rauha: weaker than the best: ") + layers + "\n";
}

std::string allowingLine(schema::Event::Reader event) {
  for (const auto attribute : event.getAttributes())
    if (attribute.getKey() == "allowing_line") return printable(str(attribute.getValue()));
  return {};
}

bool isRefusal(schema::Event::Reader event) {
  const auto name = event.getName();
  const std::string_view text(name.begin(), name.size());
  constexpr std::string_view kSuffix = "refused";
  return text.size() >= kSuffix.size() && text.substr(text.size() - kSuffix.size()) == kSuffix;
}

// What an enforcer reports below a warning (sdk/include/rauha/plugin.h, severity) went through: it is in the document, and no refusal.
bool isDenial(schema::Event::Reader event) {
  return event.getSeverity() == schema::Severity::WARNING || event.getSeverity() == schema::Severity::ERROR;
}

// As the error of the run, or at the beginning of a note.
bool isTold(schema::TaskResult::Reader result, schema::Event::Reader event) {
  const std::string message = str(event.getMessage());
  if (result.hasError() && str(result.getError().getText()) == message) return true;
  for (const auto note : result.getNotes())
    if (str(note).starts_with(message)) return true;
  return false;
}

void addRefusal(schema::Event::Reader event, const Style& style, kj::uint& shown, kj::uint& all, std::string& out) {
  if (++all > kRefusalsShown) return;
  ++shown;
  out += style.paint(Colour::yellow, "rauha: refused: ") + printable(str(event.getMessage())) + "\n";
  if (const std::string line = allowingLine(event); !line.empty())
    out += style.paint(Colour::dim, "  policy line that allows it: ") + line + "\n";
}

std::string refusals(schema::TaskResult::Reader result, const Style& style) {
  std::string out;
  kj::uint shown = 0, all = 0;
  for (const auto event : result.getEvents())
    if (isRefusal(event) && !isTold(result, event)) addRefusal(event, style, shown, all, out);
  for (const auto event : result.getEnforcementEvents()) {
    if (isDenial(event)) addRefusal(event, style, shown, all, out);
  }
  if (all > shown) out += style.paint(Colour::yellow, "rauha: refused: ") + "and " + std::to_string(all - shown) + " more (see --json)\n";
  return out;
}

std::string notes(schema::TaskResult::Reader result, const Style& style) {
  std::string out;
  for (const auto note : result.getNotes()) out += style.paint(Colour::yellow, "rauha: warning: ") + printable(str(note)) + "\n";
  return out;
}

std::string countsText(schema::ChangeTotals::Reader totals) {
  std::string out;
  const auto add = [&](uint64_t n, const char* what) {
    if (n > 0) out += (out.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  };
  add(totals.getAdded(), "added");
  add(totals.getModified(), "modified");
  add(totals.getDeleted(), "deleted");
  add(totals.getTypeChanged(), "of another type");
  add(totals.getRenamed(), "renamed");
  if (out.empty()) return "none";
  const uint64_t all = totals.getAdded() + totals.getModified() + totals.getDeleted() + totals.getTypeChanged() + totals.getRenamed();
  if (totals.getNoise() == all) return "only noise (" + out + ")";
  return totals.getNoise() == 0 ? out : out + " (" + std::to_string(totals.getNoise()) + " of them noise)";
}

std::string protectedText(schema::ChangeSet::Reader set) {
  const uint64_t all = set.getTotals().getProtected();
  if (all == 0) return {};
  uint64_t shown = 0;
  std::string paths;
  for (const auto change : set.getChanges()) {
    if (!change.hasProtected() || shown == kProtectedShown) continue;
    paths += (shown++ == 0 ? "" : ", ") + printable(str(change.getPath()));
  }
  if (all > shown) paths += (shown == 0 ? "" : " and ") + std::to_string(all - shown) + (shown == 0 ? "" : " more");
  return " (can run code here: " + paths + ")";
}

// As a shell takes it.
std::string shellWord(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%=,";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// What became of the repository, and how to go on.
std::string changesLines(schema::TaskResult::Reader result, const Style& style, const std::string& root) {
  if (!result.hasChanges()) return {};
  const auto set = result.getChanges();
  const std::string task = printable(str(result.getTaskId())), protectedOnes = protectedText(set), counts = countsText(set.getTotals());
  const std::string instance = root.empty() ? std::string() : " --root " + shellWord(printable(root));
  std::string out = style.paint(Colour::dim, "rauha: changes: ") + counts + style.paint(Colour::yellow, protectedOnes);
  if (set.getKept() && counts != "none")
    out += style.paint(Colour::dim, " — rauha diff " + task + instance + ", rauha apply " + task + instance);
  out += "\n";
  if (!set.getKept())
    out += style.paint(Colour::yellow, "rauha: warning: ") + "the changes were not kept: " + printable(str(set.getKeptNote())) + "\n";
  if (set.getHostTree() == schema::HostTree::CHANGED)
    out += style.paint(Colour::yellow, "rauha: warning: ") + hostTreeChangedText(set) + "\n";
  for (const auto note : set.getNotes()) out += style.paint(Colour::yellow, "rauha: warning: ") + printable(str(note)) + "\n";
  return out;
}

// Live output was whole here; what is cut is the stored result.
std::string evidenceGaps(schema::TaskResult::Reader result, const Style& style) {
  std::string out;
  auto cut = [&](const char* name, schema::OutputStats::Reader stats) {
    if (stats.getTruncated())
      out += style.paint(Colour::dim, std::string("rauha: the result keeps ") + formatBytes(stats.getKept()) + " of " +
                                          formatBytes(stats.getBytes()) + " of " + name) +
             "\n";
  };
  cut("standard output", result.getStdoutStats());
  cut("standard error", result.getStderrStats());
  if (const auto dropped = result.getEventCounters().getDropped(); dropped > 0)
    out += style.paint(Colour::yellow, "rauha: " + std::to_string(dropped) + " events were dropped: the evidence is not complete") + "\n";
  return out;
}

std::string errorLines(schema::TaskResult::Reader result, const Style& style) {
  if (!result.hasError()) return {};
  std::string out = errorLine(str(result.getError().getText()), style);
  if (result.getError().hasHint()) out += style.paint(Colour::dim, "  try: ") + printable(str(result.getError().getHint())) + "\n";
  return out;
}

std::string stages(schema::TaskResult::Reader result, const Style& style) {
  std::string out;
  for (const auto stage : result.getStages())
    out +=
        style.paint(Colour::dim, "rauha: stage " + printable(str(stage.getName())) + " " + std::to_string(stage.getNs() / 1000) + " us") +
        "\n";
  return out;
}

}  // namespace

std::string summaryOf(schema::TaskResult::Reader result, const Style& style, const std::string& root) {
  return errorLines(result, style) + endLine(result, style) + weakerLine(result, style) + notes(result, style) +
         changesLines(result, style, root) + refusals(result, style) + evidenceGaps(result, style) + stages(result, style);
}

std::string taskText(schema::TaskResult::Reader result, const Style& style, const std::string& root) {
  std::string out;
  const auto line = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) out += style.paint(Colour::bold, name) + std::string(12 - name.size(), ' ') + printable(value) + "\n";
  };
  std::string command;
  for (const auto word : result.getCommand()) command += (command.empty() ? "" : " ") + shellWord(str(word));
  const auto set = result.getChanges();
  const std::string tree = set.getBase().hasPath() ? str(set.getBase().getPath()) + " " : std::string();
  line("task", str(result.getTaskId()));
  line("command", command);
  line("image", str(result.getImage()));
  line("policy", str(result.getPolicy()));
  line("started", str(result.getStartedAt()));
  line("finished", str(result.getFinishedAt()));
  line("repository",
       result.getRepoMode() == schema::RepoMode::NONE ? std::string() : tree + "(" + std::string(repoModeName(result.getRepoMode())) + ")");
  line("from", str(set.getFrom()));
  out += summaryOf(result, style, root);
  const std::string instance = root.empty() ? std::string() : " --root " + shellWord(printable(root));
  return out +
         style.paint(Colour::dim, "output and evidence: rauha task show " + printable(str(result.getTaskId())) + " --json" + instance) +
         "\n";
}

}  // namespace rauha::cli
