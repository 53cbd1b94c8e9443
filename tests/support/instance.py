"""A private Rauha instance and its command line, seen only from outside.

Owner: a fixture of conftest.py. Everything goes through build/bin/rauha (RAUHA_BIN) with RAUHA_ROOT set to a directory of our own;
the daemon is started by the command line itself, as for any user.
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from . import procs
from .waiting import eventually, patient

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("RAUHA_BIN") or pathlib.Path(os.environ.get("RAUHA_BUILD", REPOSITORY / "build")) / "bin").resolve()
RAUHA = BIN / "rauha"

# Of every result document of `rauha sandbox --json` (the contract of the main command).
RESULT_FIELDS = {"schema_version", "task_id", "zone_id", "command", "status", "exit_code", "duration_ms", "started_at", "finished_at",
                 "stdout", "stderr", "events", "enforcement_events", "stdout_stats", "stderr_stats", "event_counters", "image", "image_digest",
                 "policy", "policy_digest", "zone_name", "zone_kept", "repo_mode", "notes"}
STATUSES = {"succeeded", "failed", "timed_out", "out_of_memory", "killed", "cancelled", "runtime_error"}


def clip(data, limit=4000):
    """Bytes or text for a failure message: readable and short."""
    text = data.decode("utf-8", "backslashreplace") if isinstance(data, (bytes, bytearray)) else str(data)
    return text if len(text) <= limit else f"{text[:limit // 2]}\n… {len(text) - limit} characters …\n{text[-limit // 2:]}"


def _no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"an object names a key twice: {keys}")
    return dict(pairs)


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def one_document(data):
    """Parses bytes that must be exactly one JSON document in UTF-8, with nothing beside it."""
    return json.loads(data.decode("utf-8", "strict"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


class Result:
    """What one run of the command line gave. `explain()` is what a failed assertion should print."""

    def __init__(self, instance, argv, returncode, stdout, stderr, seconds):
        self.instance, self.argv, self.returncode = instance, argv, returncode
        self.stdout, self.stderr, self.seconds = stdout, stderr, seconds
        self._json = None

    def explain(self, why=""):
        command = " ".join(clip(part, 300) for part in self.argv)
        return (f"{why}\n--- command: {command}\n--- root: {self.instance.root}\n--- exit {self.returncode} after {self.seconds:.2f} s\n"
                f"--- stdout: {clip(self.stdout)}\n--- stderr: {clip(self.stderr)}\n--- daemon log: {self.instance.log_tail()}")

    @property
    def json(self):
        if self._json is None:
            try:
                self._json = one_document(self.stdout)
            except (ValueError, UnicodeDecodeError) as error:
                raise AssertionError(self.explain(f"standard output is not exactly one JSON document: {error}")) from None
        return self._json

    def check(self, condition, why):
        assert condition, self.explain(why)
        return self

    def exited(self, code):
        return self.check(self.returncode == code, f"exit code is not {code}")

    def task(self, status, code=None):
        """Checks the result document's shape, its status and the command's exit code; returns the document."""
        document = self.json
        missing = RESULT_FIELDS - document.keys()
        self.check(not missing, f"the result lacks {sorted(missing)}")
        self.check(document["schema_version"] == 1, "schema_version is not 1")
        self.check(document["status"] in STATUSES, "status is none of the contract's")
        self.check(document["status"] == status, f"status is {document['status']}, expected {status}")
        self.check(isinstance(document["duration_ms"], int) and isinstance(document["events"], list), "a field has another type")
        for stream in ("stdout", "stderr"):
            self.check(isinstance(document[stream], str), f"{stream} is not text")
        if code is not None:
            self.exited(code)
        if status == "succeeded":
            self.check(document["exit_code"] == 0, "succeeded without exit code 0")
        elif status == "failed":
            self.check(document["exit_code"] == self.returncode != 0, "failed, but exit_code is not the command's exit code")
        elif status != "out_of_memory":
            # runtime_error with 126/127 may carry the number too; every other status has none.
            allowed = {None, 126, 127} if status == "runtime_error" else {None}
            self.check(document["exit_code"] in allowed, f"exit_code must be null with status {status}")
        return document

    def refused(self, code=125, error_class=None, error_code=None, mentions=()):
        """Checks that Rauha did not run it, with a complete error; returns the error."""
        self.exited(code)
        document = self.json
        error = document.get("error")
        self.check(isinstance(error, dict), "there is no error object")
        for field in ("class", "code", "text"):
            self.check(isinstance(error.get(field), str) and error[field], f"the error lacks {field}")
        self.check("\n" not in error["text"], "the error's text is more than one line")
        if error_class is not None:
            allowed = {error_class} if isinstance(error_class, str) else set(error_class)
            self.check(error["class"] in allowed, f"the error's class is not {sorted(allowed)}")
        if error_code is not None:
            allowed = {error_code} if isinstance(error_code, str) else set(error_code)
            self.check(error["code"] in allowed, f"the error's code is not {sorted(allowed)}")
        everything = " ".join(str(error.get(field) or "") for field in ("text", "object", "hint"))
        for word in [mentions] if isinstance(mentions, str) else mentions:
            self.check(word in everything, f"the error does not mention {word!r}")
        return error

    def exact(self, stream):
        """The exact bytes of a task's stream."""
        coded = self.json.get(stream + "_base64")
        return base64.b64decode(coded, validate=True) if coded else self.json[stream].encode()


class Running:
    """A command that was started and not yet waited for. Its output goes to files, so that it never blocks."""

    def __init__(self, instance, argv, process, out, err):
        self.instance, self.argv, self.process, self._out, self._err = instance, argv, process, out, err
        self._started = time.monotonic()

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        self._out.seek(0)
        return self._out.read()

    def wait(self, timeout=60):
        timeout = patient(timeout)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            partial = Result(self.instance, self.argv, None, self.output(), b"", time.monotonic() - self._started)
            self.process.kill()
            self.process.wait()
            raise AssertionError(partial.explain(f"the command did not end within {timeout} s")) from None
        self._err.seek(0)
        result = Result(self.instance, self.argv, self.process.returncode, self.output(), self._err.read(), time.monotonic() - self._started)
        self._out.close()
        self._err.close()
        return result


def configuration(text=""):
    """The text of a rauha.toml. Who counts what there is wants nothing that waits for the next task; who wants it says so in [daemon]."""
    return text if "[daemon]" in text else text + "\n[daemon]\nprepared_zones = 0\n"


class Instance:
    def __init__(self, parent=None, root=None, config=""):
        # The random part of the directory's name is how census.py recognizes what is ours.
        self.root = pathlib.Path(root or tempfile.mkdtemp(prefix="rauha-test-", dir=parent)).resolve()
        self.name = "rauha-" + hashlib.sha256(os.fsencode(str(self.root))).hexdigest()[:8]
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="rauha-files-", dir=parent)).resolve()
        self.files.chmod(0o755)
        self._started = []
        if root is None:
            self.configure(config)

    def configure(self, text):
        path = self.root / "rauha.toml"
        path.write_text(configuration(text))
        path.chmod(0o600)

    # --- running commands

    def environment(self, extra=None):
        env = {key: value for key, value in os.environ.items() if not key.startswith("RAUHA_")}
        env["RAUHA_ROOT"] = str(self.root)
        env.update(extra or {})
        return env

    def start(self, *args, stdin=subprocess.DEVNULL, env=None, program=RAUHA, **popen):
        argv = [os.fspath(program), *[os.fspath(a) if isinstance(a, pathlib.Path) else a for a in args]]
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        popen.setdefault("stdout", out)
        popen.setdefault("stderr", err)
        process = subprocess.Popen(argv, stdin=stdin, env=self.environment(env), **popen)
        self._started = [other for other in self._started if other.poll() is None] + [process]
        return Running(self, argv, process, out, err)

    def end_clients(self):
        """After a test that failed half-way: its commands do not run on into the next one."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, *args, input=None, timeout=60, **options):
        if input is None:
            return self.start(*args, **options).wait(timeout)
        with tempfile.TemporaryFile() as source:
            source.write(input)
            source.seek(0)
            return self.start(*args, stdin=source, **options).wait(timeout)

    def sandbox(self, *command, image="host", options=(), json_output=True, **run):
        return self.run(*self.sandbox_args(*command, image=image, options=options, json_output=json_output), **run)

    def start_sandbox(self, *command, image="host", options=(), json_output=True, **start):
        return self.start(*self.sandbox_args(*command, image=image, options=options, json_output=json_output), **start)

    @staticmethod
    def sandbox_args(*command, image="host", options=(), json_output=True):
        return ["sandbox", *(["--json"] if json_output else []), "--image", image, *options, "--", *command]

    # --- the daemon

    def daemon_pid(self):
        """Host pid of this instance's daemon, or None. Found in /proc, not asked for."""
        found = [p for p in procs.of_root(self.root) if p.program == "rauhad"]
        # A child of the daemon looks like it until it has executed its own program.
        found = [p for p in found if p.ppid not in [other.pid for other in found]]
        assert len(found) <= 1, f"several daemons on one root: {found}"
        return found[0].pid if found else None

    def shim_pids(self):
        # The zone's init is the same program under another name.
        return [p.pid for p in procs.of_root(self.root, self.name) if p.cmdline.startswith(b"rauha-shim\0")]

    def init_pids(self):
        return [p.pid for p in procs.of_root(self.root, self.name) if p.cmdline.startswith(b"rauha-init\0")]

    def ensure_daemon(self):
        self.run("zone", "list", "--json").exited(0)
        return eventually(self.daemon_pid, 5, "a daemon after `rauha zone list`")

    def kill_daemon(self, number=signal.SIGKILL):
        pid = self.daemon_pid()
        if pid is None:
            return
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, number)
            procs.wait_dead(handle, 30, f"rauhad {pid} after signal {int(number)}")
        finally:
            os.close(handle)

    def stop(self):
        self.kill_daemon(signal.SIGTERM)

    def log_tail(self, lines=12):
        texts = []
        for path in sorted(self.root.rglob("*.log")):
            try:
                texts.append(f"[{path}]\n" + "\n".join(path.read_bytes().decode("utf-8", "backslashreplace").splitlines()[-lines:]))
            except OSError as error:
                texts.append(f"[{path}] {error}")
        return "\n".join(texts) or "(no *.log file below the root)"

    def zones(self):
        return zones_of(self.run("zone", "list", "--json"))

    # --- the end

    def remove(self):
        """Removes the files. Kernel objects are the product's job: census.py looks for them before this."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.files, ignore_errors=True)


def zones_of(result):
    result.exited(0)
    document = result.json
    zones = document["zones"] if isinstance(document, dict) else document
    result.check(isinstance(zones, list), "zone list gave no list")
    return zones
