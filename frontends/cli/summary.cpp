#include "frontends/cli/summary.h"

#include <cstring>
#include <string_view>

#include "core/base/units.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

constexpr kj::uint kRefusalsShown = 5;

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
  std::string details = " in " + formatDuration(result.getDurationMs());
  if (result.hasZoneName() || result.hasZoneId())
    details += ", zone " + printable(str(result.hasZoneName() ? result.getZoneName() : result.getZoneId()));
  if (result.getZoneKept()) details += " (kept)";
  if (result.hasUsage() && result.getUsage().getMemoryPeakBytes() > 0)
    details += ", memory peak " + formatBytes(result.getUsage().getMemoryPeakBytes());
  return line + style.paint(Colour::dim, details) + "\n";
}

// One line, as the contract wants it.
std::string weakerLine(schema::TaskResult::Reader result, const Style& style) {
  if (!result.hasPosture()) return {};
  std::string layers;
  auto add = [&](const std::string& text) { layers += (layers.empty() ? "" : ", ") + text; };
  for (const auto layer : result.getPosture().getLayers()) {
    if (!layer.getWeaker()) continue;
    const std::string detail = printable(str(layer.getDetail()));
    add(printable(str(layer.getName())) + (detail.empty() ? "" : " (" + detail + ")"));
  }
  for (const auto waived : result.getPosture().getDegraded()) add(printable(str(waived)) + " (required, waived by --allow-degraded)");
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
    if (isRefusal(event)) addRefusal(event, style, shown, all, out);
  for (const auto event : result.getEnforcementEvents()) addRefusal(event, style, shown, all, out);
  if (all > shown) out += style.paint(Colour::yellow, "rauha: refused: ") + "and " + std::to_string(all - shown) + " more (see --json)\n";
  return out;
}

std::string notes(schema::TaskResult::Reader result, const Style& style) {
  std::string out;
  for (const auto note : result.getNotes()) out += style.paint(Colour::yellow, "rauha: warning: ") + printable(str(note)) + "\n";
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
  std::string out = style.paint(Colour::red, "rauha:") + " " + printable(str(result.getError().getText())) + "\n";
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

std::string summaryOf(schema::TaskResult::Reader result, const Style& style) {
  return errorLines(result, style) + endLine(result, style) + weakerLine(result, style) + notes(result, style) + refusals(result, style) +
         evidenceGaps(result, style) + stages(result, style);
}

}  // namespace rauha::cli
