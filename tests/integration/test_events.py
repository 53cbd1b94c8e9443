"""Events as docs/events.md lists them: every name that comes is there, with the attributes that are there."""

import re
import signal
import sqlite3

from support.images import busybox
from support.instance import REPOSITORY
from support.waiting import eventually


def documented():
    """name -> (required keys, further keys). In parentheses stands what is not always there."""
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \|[^\n]*\|([^|\n]*)\|$", (REPOSITORY / "docs/events.md").read_text(), re.MULTILINE)
    out = {}
    for name, cell in rows:
        optional = set(re.findall(r"\(([a-z_]+)\)", cell))
        out[name] = (set(re.findall(r"[a-z_]+", cell)) - optional, optional)
    return out


def recorded(instance):
    """Every event of core in the instance's log, with its attributes."""
    with sqlite3.connect(instance.root / "state/rauha.db") as store:
        attributes = {}
        for sequence, key, value in store.execute("SELECT sequence, key, value FROM event_attribute"):
            attributes.setdefault(sequence, {})[key] = value
        return [(name, attributes.get(sequence, {})) for sequence, name in store.execute("SELECT sequence, name FROM event WHERE source = 'core' ORDER BY sequence")]


def one(events, name):
    found = [attributes for other, attributes in events if other == name]
    assert found, f"{name} did not come: {sorted({other for other, _ in events})}"
    return found[0]


def live(instance, policy_file, tmp_path):
    """Makes most things happen that there are events of."""
    instance.sandbox("true").task("succeeded", 0)
    instance.sandbox("sh", "-c", "kill -SEGV $$").task("killed")
    instance.sandbox("sleep", "60", options=["--timeout", "300ms"]).task("timed_out", 124)
    instance.sandbox("no-such-command").task("runtime_error", 127)
    instance.sandbox("python3", "-c", "x = bytearray(256 << 20)", options=policy_file(resources={"memory": "64MiB"})).task("out_of_memory", 137)
    forks = "import os\nfor _ in range(64):\n  try:\n    os.fork() or os._exit(os.system('sleep 1') and 0)\n  except OSError: pass"
    refused = instance.sandbox("python3", "-c", forks, options=policy_file(resources={"pids": 24}))
    assert refused.json["usage"]["pids_refused"] > 0 and any("limit of 24 processes" in note for note in refused.json["notes"]), refused.explain()
    instance.sandbox("python3", "-c", "print('x' * 4096)", options=policy_file(resources={"output": "1KiB"})).task("succeeded", 0)
    instance.sandbox("true", options=[*policy_file(), "--timeout", "24h"]).task("succeeded", 0)
    instance.sandbox("true", options=policy_file(require=["enforcer"])).refused(125, "policy")
    instance.sandbox("true", options=[*policy_file(require=["enforcer"]), "--allow-degraded", "enforcer"]).task("succeeded", 0)
    privileged = instance.sandbox("true", options=["--policy", "privileged"]).task("succeeded", 0)
    assert any("can take over this machine" in note for note in privileged["notes"]), privileged
    cancelled = instance.start_sandbox("sh", "-c", "echo up; sleep 60", json_output=False)
    eventually(lambda: b"up" in cancelled.output(), 20, "the task that is to be cancelled")
    cancelled.process.send_signal(signal.SIGTERM)
    cancelled.wait(20)
    instance.run("zone", "create", "--name", "web", "--json").exited(0)
    more = tmp_path / "more.toml"
    more.write_text((REPOSITORY / "policies/standard.toml").read_text().replace('memory = "4GiB"', 'memory = "3GiB"'))
    instance.run("policy", "apply", "--zone", "web", str(more), "--json").exited(0)
    instance.run("image", "import", f"oci:{busybox().oci(tmp_path / 'oci')}", "--name", "bb:1", "--json").exited(0)
    instance.run("image", "remove", "bb:1", "--json").exited(0)


def test_events_are_those_of_the_page(fresh, policy_file, tmp_path):
    live(fresh, policy_file, tmp_path)
    left = fresh.start_sandbox("sh", "-c", "echo up; sleep 60", json_output=False)
    eventually(lambda: b"up" in left.output(), 20, "the task whose daemon is killed")
    fresh.kill_daemon()
    left.wait(60)
    fresh.run("zone", "delete", "web", "--json").exited(0)
    fresh.stop()

    events, page = recorded(fresh), documented()
    assert len(page) > 30
    for name, attributes in events:
        assert name in page, f"{name} is not in docs/events.md"
        required, optional = page[name]
        keys = set(attributes) - {"truncated"}
        assert required <= keys <= required | optional, f"{name} has {sorted(keys)}, documented are {sorted(required)} and perhaps {sorted(optional)}"
    for name in ("daemon.started", "daemon.stopping", "zone.creating", "zone.created", "zone.deleted", "zone.policy_applied", "task.started", "task.finished",
                 "task.cancelled", "task.timed_out", "task.out_of_memory", "task.failed", "task.pids_refused", "task.output_truncated", "policy.refused",
                 "policy.warning", "policy.degraded", "policy.timeout_cut", "reconcile.started", "reconcile.finished", "reconcile.zone_adopted",
                 "reconcile.zone_removed", "reconcile.task_closed", "plugin.loaded", "image.imported", "image.removed"):
        one(events, name)
    assert one(events, "task.finished")["exit_code"] == "0"
    assert one(events, "task.timed_out")["timeout_ms"] == "300" and one(events, "task.out_of_memory")["memory_bytes"] == str(64 << 20)
    assert one(events, "task.cancelled")["reason"] == "signal 15" and one(events, "task.failed")["class"] == "command"
    assert one(events, "policy.refused") == {"object": "enforcer", "allowing_line": "a `require` without \"enforcer\""}
    assert one(events, "image.removed") == one(events, "image.imported")
    assert "signal" in [attributes for name, attributes in events if name == "task.finished"][1]
