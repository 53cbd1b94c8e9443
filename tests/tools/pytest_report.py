"""pytest plugin that writes what ran as one line of JSON: `-p tests.tools.pytest_report --rauha-report=FILE`.

With --rauha-report-now, a failure is also printed when it happens: a run that is cut off has still said why.
The document has `passed` (a count), `failed` (names) and `skipped` (name and reason); summary.py reads it.
"""

import json


def pytest_addoption(parser):
    parser.addoption("--rauha-report", default=None, metavar="FILE", help="write counts, failures and skips to FILE as JSON")
    parser.addoption("--rauha-report-now", action="store_true", help="print each failure when it happens")


def pytest_configure(config):
    config.addinivalue_line("markers", "guest: also runs inside the QEMU guest (pure cgroup v2, older kernel)")
    path = config.getoption("--rauha-report")
    if path:
        config.pluginmanager.register(Recorder(path, config), "rauha-report")


class Recorder:
    def __init__(self, path, config):
        self.path = path
        self.config = config
        self.passed = 0
        self.failed = []
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        # Set-up and tear-down count only when they fail or skip: a test is one test.
        if report.failed:
            if report.nodeid not in self.failed:
                self.failed.append(report.nodeid)
            if self.config.getoption("--rauha-report-now"):
                reporter = self.config.pluginmanager.get_plugin("terminalreporter")
                text = report.longreprtext
                reporter.write_line(f"\nFAILED {report.nodeid} ({report.when})\n{text if len(text) < 3000 else text[:2000] + ' … ' + text[-1000:]}")
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(getattr(report, "wasxfail", "skipped"))
            self.skipped.append({"name": report.nodeid, "reason": reason})
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid or "collection")
        elif report.skipped:
            self.skipped.append({"name": report.nodeid, "reason": str(report.longrepr[2])})

    def pytest_sessionfinish(self, session):
        with open(self.path, "w", encoding="utf-8") as out:
            json.dump({"passed": self.passed, "failed": self.failed, "skipped": self.skipped}, out)
            out.write("\n")
