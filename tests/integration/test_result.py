"""One task, one result: statuses, exit codes, output, environment and arguments of `rauha sandbox`."""

import base64
import datetime
import hashlib
import json
import os
import signal
import subprocess

import pytest

from support import procs
from support.instance import RAUHA
from support.waiting import eventually, patient

PYTHON = ("python3", "-c")


def shell(script):
    return ("sh", "-c", script)


# --- statuses and exit codes

def test_success(rauha):
    document = rauha.sandbox(*shell("echo out; echo err >&2")).task("succeeded", 0)
    assert (document["stdout"], document["stderr"]) == ("out\n", "err\n")
    assert document["command"] == ["sh", "-c", "echo out; echo err >&2"]
    assert document["task_id"].startswith("task_") and document["zone_id"].startswith("zone_")
    assert document.get("error") in (None, {}) and document.get("stdout_base64") is None and document.get("signal") is None
    started, finished = (datetime.datetime.fromisoformat(document[key].replace("Z", "+00:00")) for key in ("started_at", "finished_at"))
    assert started <= finished and abs((finished - started).total_seconds() * 1000 - document["duration_ms"]) < 1000
    assert abs((datetime.datetime.now(datetime.timezone.utc) - finished).total_seconds()) < 60


def test_ids_are_unique(rauha):
    first, second = (rauha.sandbox("true").task("succeeded", 0) for _ in range(2))
    assert first["task_id"] != second["task_id"] and first["zone_id"] != second["zone_id"]


@pytest.mark.parametrize("code", [1, 7, 124, 125, 126, 127, 137, 255])
def test_own_exit_code(rauha, code):
    document = rauha.sandbox(*shell(f"exit {code}")).task("failed", code)
    assert document.get("error") in (None, {}), "a task's own exit code is not an error of Rauha"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGUSR1, signal.SIGPIPE])
def test_killed_by_a_signal(rauha, number):
    document = rauha.sandbox(*PYTHON, f"import os, signal; signal.signal({int(number)}, 0) if {int(number)} != 9 else 0; os.kill(os.getpid(), {int(number)})"
                             ).task("killed", 128 + number)
    assert document["signal"] == number


def test_no_stdin_reads_nothing(rauha):
    """A loop that reads lines keeps those that a task would have read."""
    script = f'while read -r line; do "{RAUHA}" sandbox --no-stdin --image host -- sh -c "echo got-$line; cat"; done'
    for option, expected in (("--no-stdin", ["got-1", "got-2"]), ("", ["got-1", "2"])):
        result = rauha.run("-c", script.replace("--no-stdin", option), program="/bin/sh", input=b"1\n2\n")
        assert result.exited(0).stdout.decode().split() == expected, result.explain(option)


def test_timeout(rauha):
    result = rauha.sandbox("sleep", "60", options=["--timeout", "500ms"])
    document = result.task("timed_out", 124)
    assert 450 <= document["duration_ms"] < 5000 and result.seconds < patient(10)


def test_timeout_keeps_what_was_printed(rauha):
    document = rauha.sandbox(*shell("echo before; sleep 60"), options=["--timeout", "1s"]).task("timed_out", 124)
    assert document["stdout"] == "before\n"


def test_out_of_memory(rauha, policy_file):
    document = rauha.sandbox(*PYTHON, "x = bytearray(512 << 20)", options=policy_file(resources={"memory": "64MiB"})).task("out_of_memory", 137)
    assert document["usage"]["oom_kills"] >= 1


def test_command_not_found(rauha):
    rauha.sandbox("no-such-command-anywhere").task("runtime_error", 127)


def test_command_not_found_by_path(rauha):
    result = rauha.sandbox("/no/such/command")
    result.task("runtime_error", 127)
    result.refused(127, "command", "not_found", "/no/such/command")


@pytest.mark.parametrize("path", ["/etc/passwd", "/usr", "/dev/null"])
def test_not_executable(rauha, path):
    result = rauha.sandbox(path)
    result.task("runtime_error", 126)
    result.refused(126, "command", mentions=path)


def test_broken_interpreter(rauha, tmp_path):
    """A script whose interpreter is missing is found, but the kernel says ENOENT: 127 as in a shell, and the error names the script."""
    repo = tmp_path / "repo"
    repo.mkdir()
    script = repo / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    result = rauha.sandbox("/workspace/script", options=["--repo-path", str(repo), "--repo-mode", "ro"])
    result.check(result.returncode in (126, 127), "neither 126 nor 127").refused(result.returncode, "command")


def test_binary_garbage_is_not_executable(rauha, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "garbage").write_bytes(b"\x00\x01\x02 not a program")
    (repo / "garbage").chmod(0o755)
    rauha.sandbox("/workspace/garbage", options=["--repo-path", str(repo), "--repo-mode", "ro"]).refused(126, "command")


# --- output

def test_live_output_and_summary(rauha):
    result = rauha.sandbox(*shell("echo out; echo err >&2; exit 3"), json_output=False).exited(3)
    assert result.stdout == b"out\n", result.explain("the task's own output, unchanged")
    assert b"err\n" in result.stderr and len(result.stderr) > len(b"err\n"), result.explain("a summary goes to standard error")


def test_output_streams_live(rauha):
    running = rauha.start_sandbox(*shell("echo first; sleep 30"), json_output=False)
    try:
        eventually(lambda: running.output() == b"first\n", 15, lambda: f"live output; so far {running.output()!r}")
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.wait(20)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_is_not_utf8(rauha, stream):
    raw = b"ok \xff\xfe \xc3\x28 \xed\xa0\x80 end\x80"
    result = rauha.sandbox(*PYTHON, f"import sys; sys.{stream}.buffer.write({raw!r})")
    document = result.task("succeeded", 0)
    assert base64.b64decode(document[stream + "_base64"], validate=True) == raw
    assert "\ufffd" in document[stream] and document[stream].startswith("ok ") and " end" in document[stream]


@pytest.mark.parametrize("size", [1 << 20, 4 << 20])
def test_output_filled_with_bytes_that_are_no_text(rauha, policy_file, size):
    """As text each byte becomes three: the result must still come, with all bytes in base64."""
    code = f"import sys; sys.stdout.buffer.write(b'\\xff' * {size}); sys.stderr.buffer.write(b'\\xfe' * {size})"
    document = rauha.sandbox(*PYTHON, code, options=policy_file(resources={"output": f"{size >> 20}MiB"})).task("succeeded", 0)
    for stream, byte in (("stdout", b"\xff"), ("stderr", b"\xfe")):
        assert base64.b64decode(document[stream + "_base64"], validate=True) == byte * size
        assert document[stream + "_stats"] == {"bytes": size, "kept": size, "truncated": False}
        assert any(stream + "_base64 has all" in note for note in document["notes"]), "the text is cut, and that is said"
    shown = rauha.run("task", "show", "--json", document["task_id"]).exited(0).json
    assert shown.get("result", shown)["stdout_base64"] == document["stdout_base64"]


def test_nul_bytes_and_control_characters(rauha):
    raw = bytes(range(128))
    result = rauha.sandbox(*PYTHON, "import sys; sys.stdout.buffer.write(bytes(range(128)))")
    result.task("succeeded", 0)
    assert result.exact("stdout") == raw and result.json["stdout"].encode() == raw, "ASCII is text, also with NUL"


def test_one_gibibyte_of_output(rauha):
    result = rauha.sandbox("head", "-c", "1G", "/dev/zero", options=["--timeout", "100s"], timeout=110)
    document = result.task("succeeded", 0)
    stats = document["stdout_stats"]
    assert stats["bytes"] == 1 << 30 and stats["truncated"] is True and 0 < stats["kept"] <= 4 << 20
    assert len(result.exact("stdout")) == stats["kept"]
    assert document.get("stderr_stats", {}).get("truncated", False) is False


def test_one_gibibyte_streams_through(rauha):
    with subprocess.Popen(["sha256sum"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as consumer:
        running = rauha.start_sandbox("head", "-c", "256M", "/dev/zero", json_output=False, stdout=consumer.stdin)
        consumer.stdin.close()
        running.wait(60).exited(0)
        digest = consumer.stdout.read().split()[0].decode()
    assert digest == hashlib.sha256(bytes(256 << 20)).hexdigest(), "bytes were lost or changed on the way"


def test_output_limit_of_the_policy(rauha, policy_file):
    result = rauha.sandbox(*PYTHON, "print('é' * 5000, end='')", options=policy_file(resources={"output": "1025B"}), env={"LC_ALL": "C.UTF-8"})
    document = result.task("succeeded", 0)
    stats = document["stdout_stats"]
    assert (stats["bytes"], stats["kept"], stats["truncated"]) == (10000, 1025, True)
    assert document["stdout"].startswith("é" * 500)


def test_output_below_the_limit_is_not_truncated(rauha):
    document = rauha.sandbox("echo", "short").task("succeeded", 0)
    assert document["stdout_stats"]["truncated"] is False and document["stdout_stats"]["bytes"] == document["stdout_stats"]["kept"] == 6


def test_grandchild_that_keeps_the_pipe(rauha):
    """A daemonized grandchild holds stdout open: the result comes soon all the same, and the grandchild is gone afterwards."""
    marker = "86399.25"
    result = rauha.sandbox(*shell(f"setsid sleep {marker} & echo done"))
    document = result.task("succeeded", 0)
    assert document["stdout"] == "done\n" and result.seconds < patient(10), result.explain("slow")
    eventually(lambda: not procs.with_marker(marker), 5, "the grandchild is dead")


def test_closed_standard_output(rauha):
    """`rauha … >&-`: no hang, no signal, and never the task's output somewhere else."""
    for arguments in (["--json"], []):
        command = [str(RAUHA), "sandbox", *arguments, "--image", "host", "--", "echo", "hello"]
        done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                              env=rauha.environment())
        assert done.returncode >= 0 and done.stdout == b"", done
        if arguments:
            assert done.returncode == 125, f"the document could not be written, and nobody is told: {done}"


def test_reader_goes_away(rauha):
    """`rauha … | head -c1`: the task ends instead of writing into nothing for ever."""
    running = rauha.start_sandbox("yes", json_output=False, stdout=subprocess.PIPE)
    assert running.process.stdout.read(1) == b"y"
    running.process.stdout.close()
    running.wait(20)


# --- environment, working directory, arguments, input

def test_environment(rauha):
    document = rauha.sandbox("env", options=["--env", "A=1", "--env", "EMPTY=", "--env", "EQ=a=b=c", "--env", "UTF=grüße"],
                             env={"SECRET_OF_THE_CALLER": "x"}).task("succeeded", 0)
    lines = document["stdout"].splitlines()
    for expected in ("A=1", "EMPTY=", "EQ=a=b=c", "UTF=grüße"):
        assert expected in lines
    assert not [line for line in lines if "SECRET" in line or line.startswith("RAUHA_ROOT")], "the caller's environment leaked"
    assert any(line.startswith("PATH=") for line in lines)


def test_later_env_wins(rauha):
    lines = rauha.sandbox("env", options=["--env", "A=1", "--env", "A=2"]).task("succeeded", 0)["stdout"].splitlines()
    assert [line for line in lines if line.startswith("A=")] == ["A=2"]


@pytest.mark.parametrize("bad", ["NOEQUALS", "=value", ""])
def test_malformed_env(rauha, bad):
    rauha.sandbox("true", options=["--env", bad]).refused(125, "usage", "invalid")


def test_workdir(rauha):
    assert rauha.sandbox("pwd", options=["--workdir", "/tmp"]).task("succeeded", 0)["stdout"] == "/tmp\n"


@pytest.mark.parametrize("bad", ["relative", ""])
def test_bad_workdir(rauha, bad):
    rauha.sandbox("pwd", options=["--workdir", bad]).refused(125, "usage", "invalid")


def test_workdir_with_dots_stays_inside(rauha):
    assert rauha.sandbox("pwd", options=["--workdir", "/tmp/../../../usr"]).task("succeeded", 0)["stdout"] == "/usr\n"


def test_arguments_arrive_unchanged(rauha):
    words = ["", " ", "a b", "*", "$HOME", "\"'\\", "-x", "--json", "--", "grüße", "日本", "\u202e", "line\nbreak", "\x7f\x01"]
    document = rauha.sandbox(*PYTHON, "import sys, json; print(json.dumps(sys.argv[1:]))", *words).task("succeeded", 0)
    assert json.loads(document["stdout"]) == words and document["command"][3:] == words


def test_arguments_that_are_not_utf8(rauha):
    """Bytes as argv may be refused, but then clearly; if they run, they arrive exactly, and the document stays valid."""
    result = rauha.sandbox(b"printf", b"%s", b"a\xff\xfeb")
    if result.returncode == 0:
        result.task("succeeded", 0)
        assert result.exact("stdout") == b"a\xff\xfeb"
    else:
        result.refused(125)


def test_large_arguments(rauha):
    script = "import sys, hashlib; print(len(sys.argv) - 1, sum(map(len, sys.argv[1:])))"
    document = rauha.sandbox(*PYTHON, script, *["x" * 100_000] * 6).task("succeeded", 0)
    assert document["stdout"] == "6 600000\n"


def test_arguments_beyond_the_limit(rauha):
    """More than a message may hold (1 MiB) but less than the kernel's own limit."""
    result = rauha.sandbox("true", *["x" * 100_000] * 15)
    if result.returncode != 0:
        result.refused(125, error_code=("invalid", "limit"))
    rauha.sandbox("true").task("succeeded", 0)


def test_many_arguments(rauha):
    document = rauha.sandbox(*PYTHON, "import sys; print(len(sys.argv) - 1)", *["a"] * 20_000).task("succeeded", 0)
    assert document["stdout"] == "20000\n"


def test_standard_input_is_forwarded(rauha):
    data = os.urandom(1 << 20)
    document = rauha.sandbox("sha256sum", input=data).task("succeeded", 0)
    assert document["stdout"].split()[0] == hashlib.sha256(data).hexdigest()
    result = rauha.sandbox("cat", input=data, json_output=False).exited(0)
    assert result.stdout == data, "stdin to stdout is not exact"


def test_end_of_input(rauha):
    document = rauha.sandbox("cat", input=b"").task("succeeded", 0)
    assert document["stdout"] == ""


def test_input_that_nobody_reads(rauha):
    result = rauha.sandbox("true", input=bytes(8 << 20))
    result.task("succeeded", 0)
    assert result.seconds < patient(20)


def test_input_that_never_ends(rauha):
    """A caller whose stdin stays open does not keep a finished task waiting."""
    reader, writer = os.pipe()
    try:
        running = rauha.start_sandbox("head", "-c", "3", stdin=reader)
        os.write(writer, b"abcdef")
        assert running.wait(20).task("succeeded", 0)["stdout"] == "abc"
    finally:
        os.close(reader)
        os.close(writer)


def test_closed_standard_input(rauha):
    done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", str(RAUHA), "sandbox", "--json", "--image", "host", "--", "cat"],
                          capture_output=True, timeout=60, env=rauha.environment())
    assert done.returncode == 0, done


# --- evidence in the result

def test_usage_and_posture(rauha):
    document = rauha.sandbox(*PYTHON, "x = bytearray(64 << 20); [i for i in range(3_000_000)]").task("succeeded", 0)
    usage, posture = document["usage"], document["posture"]
    assert usage["memory_peak_bytes"] > 64 << 20 and usage["cpu_user_us"] > 10_000 and usage["pids_peak"] >= 1
    layers = {layer["name"]: layer for layer in posture["layers"]}
    for name in ("user_namespace", "seccomp", "capabilities", "cgroup_memory", "cgroup_pids", "network"):
        assert layers[name]["armed"] is True, f"{name} is not armed: {layers[name]}"
    assert layers["enforcer"]["armed"] is False and posture["enforcer"] == "none"
    assert posture["network"] == "isolated" and posture["cgroup_layout"] in ("v2", "hybrid")
    assert posture["user_namespace"].startswith("private ") and posture["kernel"] == os.uname().release
    assert document["policy"] == "task" and document["policy_digest"].startswith("sha256:") and document["image"] == "host"


def test_weaker_layers_are_said_on_standard_error(rauha):
    """Rule 1, never weaker in silence. That no enforcer is configured is in each posture and no line of each run: nobody could do anything about it."""
    weaker = [layer["name"] for layer in rauha.sandbox("true").task("succeeded", 0)["posture"]["layers"] if not layer["armed"] or layer["weaker"]]
    assert "enforcer" in weaker
    result = rauha.sandbox("true", json_output=False).exited(0)
    for name in weaker:
        assert (name.encode() in result.stderr) == (name != "enforcer"), result.explain(f"{name}: {weaker}")


def test_events_tell_the_life_of_the_task(rauha):
    document = rauha.sandbox("true").task("succeeded", 0)
    names = [event["name"] for event in document["events"]]
    assert names and all(event["time"].endswith("Z") and event["message"] and "\n" not in event["message"] for event in document["events"])
    assert any(name.startswith("task.") for name in names), names
    assert document["event_counters"]["dropped"] == 0 and document["enforcement_events"] == []
    sequences = [event["sequence"] for event in document["events"]]
    assert sequences == sorted(sequences) and len(set(sequences)) == len(sequences)


def test_concurrent_tasks(rauha):
    running = [rauha.start_sandbox(*shell(f"echo {index}; exit {index}")) for index in range(8)]
    for index, task in enumerate(running):
        result = task.wait(60)
        document = result.task("succeeded" if index == 0 else "failed", index)
        assert document["stdout"] == f"{index}\n"
