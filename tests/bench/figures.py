"""What a benchmark found: figures with their unit, targets, a table for people, and the comparison with a run that was kept.

Pure values; nothing here measures. The JSON document of a run is {"machine", "figures": {key: {"value", "unit"}}, "targets": [...]}; keys are
"scenario/what/which" and stay the same between versions, so that two runs can be compared.
"""

import json
import os
import platform
import statistics
import time

LIMITS = {"<=": lambda value, limit: value <= limit, ">=": lambda value, limit: value >= limit}
MORE_IS_BETTER = ("/s",)
NOISE = 0.05  # what two runs on a quiet machine may differ by


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def text_of(value):
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"


class Figures:
    def __init__(self, say=print):
        self.figures, self.targets, self.notes, self.say = {}, [], [], say

    def add(self, key, value, unit):
        self.figures[key] = {"value": round(value, 3), "unit": unit}
        return value

    def note(self, text):
        self.notes.append(text)
        self.say(f"  {text}")

    def target(self, key, what, value, relation, limit):
        """A number of the project's promises. A missed one is said, and no failure: how busy the machine is decides too."""
        reached = LIMITS[relation](value, limit)
        self.targets.append({"key": key, "what": what, "value": round(value, 3), "relation": relation, "limit": limit, "reached": reached})
        self.say(f"  target: {what}: {text_of(value)} {relation} {limit}: {'reached' if reached else 'MISSED'}")

    def spread(self, key, times_us):
        """Median, p95 and p99 of microseconds, kept as milliseconds; returns the median in milliseconds."""
        median = statistics.median(times_us) / 1000
        self.add(f"{key}/median", median, "ms")
        self.add(f"{key}/p95", percentile(times_us, 0.95) / 1000, "ms")
        self.add(f"{key}/p99", percentile(times_us, 0.99) / 1000, "ms")
        return median

    def table(self, title, columns, rows):
        """rows: a name, then a cell a column; numbers are shown as such, None as nothing."""
        width = max([len(title), *(len(str(row[0])) for row in rows)])
        self.say("\n" + title.ljust(width) + "".join(f"{column:>13}" for column in columns))
        for name, *cells in rows:
            shown = ["" if cell is None else cell if isinstance(cell, str) else text_of(cell) for cell in cells]
            self.say(str(name).ljust(width) + "".join(f"{cell:>13}" for cell in shown))

    def document(self, machine, options):
        return {"schema_version": 1, "machine": machine, "options": options, "figures": self.figures, "targets": self.targets, "notes": self.notes}

    def summary(self):
        if not self.targets:
            return
        missed = [target for target in self.targets if not target["reached"]]
        self.say(f"\ntargets: {len(self.targets) - len(missed)} reached, {len(missed)} missed")
        for target in missed:
            self.say(f"  missed: {target['what']}: {text_of(target['value'])}, not {target['relation']} {target['limit']}")


def machine(load_before):
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "cgroups": "hybrid" if os.path.ismount("/sys/fs/cgroup/unified") else "v2",
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20, "load_before": round(load_before, 2),
            "load_after": round(os.getloadavg()[0], 2), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def compare(old, new, say=print):
    """Two documents, figure by figure. Ratios between tools of one run travel better than milliseconds: both are there."""
    before, after = old["figures"], new["figures"]
    say(f"\ncompared with the run of {old['machine']['at']} (load {old['machine']['load_before']}, now {new['machine']['load_before']})")
    rows = []
    for key, figure in after.items():
        earlier = before.get(key)
        if earlier is None or earlier["unit"] != figure["unit"] or earlier["value"] == 0:
            continue
        ratio = figure["value"] / earlier["value"]
        gain = ratio - 1 if figure["unit"] in MORE_IS_BETTER else 1 - ratio
        word = "better" if gain > NOISE else "worse" if gain < -NOISE else ""
        rows.append((key, earlier["value"], figure["value"], figure["unit"], f"{ratio:.2f}", word))
    if rows:
        Figures(say).table("figure", ["then", "now", "unit", "now/then", ""], rows)
    lost = sorted(before.keys() - after.keys())
    if lost:
        say(f"not measured this time: {len(lost)} figures")
    return rows


def load(path):
    with open(path, encoding="utf-8") as source:
        document = json.load(source)
    if document.get("schema_version") != 1 or "figures" not in document:
        raise SystemExit(f"bench: {path} is no result of ./dev bench")
    return document
