#!/usr/bin/python3
"""Writes the seeds of the fuzzers of messages and records into tests/fuzz/corpus: one honest input of each kind, and each lie by itself.

Found inputs stand beside them under other names (found_…); this script does not touch those.
"""

import itertools
import pathlib
import struct
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "oracle")]

from support import capnp  # noqa: E402
from support.instance import REPOSITORY  # noqa: E402

CORPUS = TESTS / "fuzz" / "corpus"
AGENT = capnp.interface_id("agent.capnp", "Agent")
PROCESS = capnp.interface_id("agent.capnp", "Process")


def save(target, name, data):
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def encode(schema, kind, text, flat=True):
    """A message from its text, by the schema compiler's own tool."""
    run = subprocess.run(["capnp", "encode", "-I/usr/include", *(["--flat"] if flat else []), str(REPOSITORY / "schemas" / schema), kind],
                         input=text.encode(), capture_output=True, check=True)
    return run.stdout


def framed(schema, kind, text):
    return encode(schema, kind, text, flat=False)


# --- the daemon's socket

def rpc():
    import test_rpc_hostile
    sandbox = capnp.sandbox(1, capnp.sandbox_request(argv=("true",)), sinks=(1, 2))
    wait = capnp.call(2, capnp.promised(1, 0), 0, capnp.Struct(), interface=capnp.TASK_HANDLE)
    honest = {
        "hello": [capnp.bootstrap(0), capnp.hello(1)],
        "sandbox": [capnp.bootstrap(0), sandbox, wait, capnp.finish(1), capnp.finish(2)],
        "many": [capnp.bootstrap(0)] + [capnp.call(n + 1, capnp.promised(0), n, capnp.Struct(bytes(16), [capnp.Text("x"), capnp.Text("y"), None])) for n in range(21)],
        "imported": [capnp.bootstrap(0), capnp.call(1, capnp.imported(0), "hello", capnp.Struct(b"", [capnp.Text("x")])), capnp.release(0, 1)],
        "events": [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), "events", capnp.Struct(b"", [None])),
                   *[capnp.call(n, capnp.promised(1, 0), 0, capnp.Struct(), interface=capnp.interface_id("client.capnp", "EventStream")) for n in range(2, 6)]],
        "flood": [capnp.bootstrap(0)] + [capnp.hello(n) for n in range(1, 40)],
    }
    for name, parts in honest.items():
        for mode in (0, 1, 2, 8, 16):
            save("rpc_connection", f"{name}-{mode}", bytes([mode]) + b"".join(parts))
    for name, parts in test_rpc_hostile.lies():
        data = b"".join(parts[:100])
        save("rpc_connection", f"lie-{name}", b"\0" + data[:32_000])
    for name, request in test_rpc_hostile.requests():
        data = capnp.bootstrap(0) + capnp.sandbox(1, request)
        if len(data) < 32_000:
            save("rpc_connection", f"request-{name}", b"\0" + data)
    headers = [struct.pack("<II", 0, 0xFFFFFFFF), struct.pack("<II", 511, 0), struct.pack("<IIII", 1, 0x80000000, 0x80000000, 0), struct.pack("<II", 0, 4000) + bytes(40),
               struct.pack("<II", 0, 0), struct.pack("<I", 3), struct.pack("<IIII", 2, 1, 1, 0) + bytes(16)]
    for number, header in enumerate(headers):
        save("rpc_connection", f"bad_header{number}", b"\0" + header)
        save("rpc_connection", f"bad_header_stays{number}", b"\x10" + header)


# --- the agent's answers to core: questions are numbered in the order of the calls (agent_client_fuzz_target.cpp)

def answer(question, content, capabilities=()):
    payload = capnp.Struct(b"", [content, capnp.Structs(capabilities) if capabilities else None])
    return capnp.message(3, capnp.Struct(struct.pack("<IHHQ", question, 1, 0, 0), [payload]))


def failure(question, text):
    return capnp.message(3, capnp.Struct(struct.pack("<IHHQ", question, 1, 1, 0), [capnp.Struct(bytes(8), [capnp.Text(text)])]))


def results(method, text, interface="Agent"):
    """Results are structs without a name: they are written through a schema of one struct with the same fields."""
    return capnp.Flat(encode_results(method, text, interface))


RESULTS = {
    "hello": "version @0 :Text; zoneId @1 :Text; pid @2 :Int32;",
    "create": "process @0 :AnyPointer; pid @1 :Int32; outcome @2 :Agent.Outcome; layers @3 :Agent.Layers; stages @4 :List(Agent.Stage);",
    "wait": "exit @0 :Agent.ExitInfo;",
    "start": "outcome @0 :Agent.Outcome;",
    "usage": "usage @0 :Agent.Usage;",
    "exit": "known @0 :Bool; running @1 :Bool; exit @2 :Agent.ExitInfo;",
}


def encode_results(method, text, _):
    schema = f'@0xd1c5a0f36e2b7aff;\nusing Agent = import "/schemas/agent.capnp";\nstruct Results {{ {RESULTS[method]} }}\n'
    path = REPOSITORY / "schemas" / ".seed.capnp"
    path.write_text(schema)
    try:
        run = subprocess.run(["capnp", "encode", "-I/usr/include", f"-I{REPOSITORY}", "--flat", str(path), "Results"], input=text.encode(), capture_output=True, check=True)
    finally:
        path.unlink()
    return run.stdout


def agent_answers():
    boot = answer(0, capnp.Cap(0), [capnp.sender_hosted(0)])
    hello = answer(1, results("hello", '(version = "0.1.0", zoneId = "zone_x", pid = 7)'))
    # `process` is a capability: pointer 0 of the results. Data: pid; pointers: process, outcome, layers, stages.
    layers = capnp.Struct(struct.pack("<BxxxII4x", 7, 120, 4), [capnp.Texts([capnp.Text("chown")]), capnp.Texts([capnp.Text("weak")])])
    created = answer(2, capnp.Struct(struct.pack("<i", 99), [capnp.Cap(0), capnp.Struct(bytes(8), [None]), layers, capnp.Structs([capnp.Struct(struct.pack("<Q", 5), [capnp.Text("clone")])])]),
                     [capnp.sender_hosted(1)])
    refused = answer(2, results("create", '(outcome = (error = (class = "image", code = corrupt, text = "two\\nlines", hint = "h", object = "o")))'))
    started = answer(4, results("start", "(outcome = (ok = void))"))
    waited = answer(6, results("wait", '(exit = (exited = 3, startedNs = 1, finishedNs = 2, usage = (memoryPeakBytes = 7, partial = ["x"])))'))
    usage = answer(7, results("usage", "(usage = (pidsPeak = 3))"))
    gone = answer(9, results("exit", "(known = true, exit = (signaled = 9))"))
    nothing = [answer(n, capnp.Struct()) for n in range(1, 12)]
    save("agent_client", "life", b"".join([boot, hello, created, started, waited, usage, gone, answer(3, capnp.Struct()), answer(10, capnp.Struct())]))
    save("agent_client", "refused", b"".join([boot, hello, refused, started]))
    save("agent_client", "nothing", b"".join([boot, *nothing]))
    save("agent_client", "failures", b"".join([boot, *[failure(n, "gone") for n in range(1, 12)]]))
    save("agent_client", "encoded", b"".join([boot, failure(1, "rauha-error\x1f99999999999999\x1fzone\x1ftext\nmore\x1fhint\x1f"), failure(2, "rauha-error\x1f"), failure(6, "rauha-error\x1f-1\x1f\x1f\x1f\x1f\x1f\x1f")]))
    save("agent_client", "bootstrap", boot)
    save("agent_client", "calls", b"".join([boot, hello, created] + [capnp.call(n, capnp.imported(n), 0, capnp.Struct(b"", [capnp.Text("chunk")]), interface=capnp.interface_id("common.capnp", "ByteSink")) for n in range(4)]))
    lies = {"empty": b"", "bad_abort": capnp.abort(), "bad_returns": capnp.return_of(0) + capnp.return_of(0), "bad_unknown": capnp.message(99, capnp.Struct(bytes(8))),
            "bad_numbers": answer(77, None), "bad_header": struct.pack("<II", 0, 0xFFFFFFFF), "bad_segments": struct.pack("<I", 5000) + bytes(100), "bad_cut": (boot + hello)[:-9],
            "bad_capability": answer(0, capnp.Cap(9)), "bad_pointer": boot + answer(1, capnp.Raw(0xFFFFFFFC | 1 << 48)), "bad_text": b"GET / HTTP/1.1\r\n\r\n",
            "bad_third": boot + capnp.message(3, capnp.Struct(struct.pack("<IHHQ", 1, 1, 4, 0), [None]))}
    for name, data in lies.items():
        save("agent_client", name, data)


# --- requests to an agent

PLAN = """(id = "task_1", rootfs = (overlay = [(path = "/layers/a", mapping = zone), (descriptor = 0, mapping = owner, hostUid = 5, hostGid = 6)], scratch = memory,
 scratchBytes = 1048576, tmpBytes = 65536, mounts = [(target = "/workspace", bindDescriptor = 1, overlay = true, mapping = owner, hostUid = 1000, lower = [(descriptor = 0)]),
 (target = "/x", tmpfs = 4096), (target = "/l", symlink = "x"), (target = "/f", file = "hello"), (target = "/d", directory = 493), (target = "/b", bindPath = "/usr", readOnly = true)],
 masked = ["/proc/kcore"], readOnly = ["/etc"], devices = [(path = "/dev/null", access = "rw")]),
 process = (argv = ["sh", "-c", "x"], env = ["A=B"], workdir = "/", user = "1000:1000", terminal = true, rows = 24, columns = 80, stdin = true))"""


def agent_requests():
    def create(text, descriptors=2, question=1):
        spec = encode("container.capnp", "ContainerSpec", text)
        return capnp.bootstrap(0) + capnp.call(question, capnp.promised(0), 1, capnp.Struct(b"", [capnp.Flat(spec)]), interface=AGENT)
    simple = '(id = "t", rootfs = (empty = void, scratchBytes = 1, tmpBytes = 1), process = (argv = ["true"]))'
    exec_ = capnp.bootstrap(0) + capnp.call(1, capnp.promised(0), 2, capnp.Struct(b"", [capnp.Text("t"), capnp.Flat(encode("container.capnp", "ProcessSpec", '(argv = ["a"], workdir = "/x")'))]), interface=AGENT)
    save("agent_request", "empty_root", create(simple))
    save("agent_request", "exec", exec_)
    save("agent_request", "paths", create(PLAN.replace("descriptor = 0, mapping = owner, hostUid = 5, hostGid = 6", 'path = "/b"').replace("bindDescriptor = 1", 'bindPath = "/w"').replace("lower = [(descriptor = 0)]", 'lower = [(path = "/c")]')))
    save("agent_request", "twice", create(simple) + exec_[len(capnp.bootstrap(0)):].replace(struct.pack("<I", 1), struct.pack("<I", 2), 1))
    save("agent_request", "bad_descriptors", create(PLAN))
    for name, change in {"bad_relative": ("/workspace", "workspace"), "bad_size": ("scratchBytes = 1048576", "scratchBytes = 0"), "bad_command": ('argv = ["sh", "-c", "x"]', "argv = []"),
                         "bad_device": ("/dev/null", "/etc/passwd"), "bad_target": ('target = "/x"', 'target = "/"')}.items():
        save("agent_request", name, create(PLAN.replace(*change)))
    save("agent_request", "bad_kinds", create(simple).replace(struct.pack("<H", 1), struct.pack("<H", 77)))
    save("agent_request", "bad_cut", create(simple)[:-8])
    save("agent_request", "bad_text", b"GET / HTTP/1.1\r\n\r\n")
    save("agent_request", "others", capnp.bootstrap(0) + b"".join(capnp.call(n, capnp.promised(0), n, capnp.Struct(bytes(8), [None, None]), interface=AGENT) for n in range(12)))


# --- what is printed as JSON

RESULT = """(taskId = "task_1", zoneId = "zone_1", command = ["echo", "hällo\\x01"], status = outOfMemory, exitCode = (none = void), signal = (value = 9), durationMs = 5,
 startedAt = "2026-01-01T00:00:00Z", stdout = "out\\n", stderr = "\\x7f", stdoutStats = (bytes = 18446744073709551615, truncated = true), error = (class = "zone", code = io, text = "t"),
 posture = (layers = [(name = "seccomp", armed = true)], capabilities = ["chown"]), usage = (partial = ["x"], cpuUserUs = 9007199254740993), stages = [(name = "s", ns = 3)],
 changes = (changes = [(path = "a", kind = added, new = (type = regular, mode = 420, xattrs = [(name = "user.x", value = "y")]))]), notes = ["n"])"""
OTHERS = {"z": ("zone.capnp", "ZoneInfo", '(id = "zone_1", name = "n", state = ready)'), "i": ("image.capnp", "ImageInfo", '(reference = "host")'), "p": ("policy.capnp", "Policy", '(name = "p")'),
          "l": ("client.capnp", "PluginInfo", '(name = "x", health = (overruns = 3))'), "d": ("client.capnp", "DoctorReport", '(kernel = "6.1", checks = [(name = "c", status = weaker)])'),
          "e": ("event.capnp", "Event", '(name = "task.started")'), "s": ("client.capnp", "ServerInfo", '(pid = -1)')}


def json_documents():
    whole = framed("task.capnp", "TaskResult", RESULT)
    save("result_json", "result", b"r" + whole)
    save("result_json", "result_empty", b"r" + framed("task.capnp", "TaskResult", "()"))
    for key, (schema, kind, text) in OTHERS.items():
        save("result_json", kind, key.encode() + framed(schema, kind, text))
    save("result_json", "not_utf8", b"r" + whole.replace(b"out\n", b"\xff\xfe\xf0\x9f"))
    for name, data in {"empty": b"", "cut": b"r" + whole[:64], "header": b"r" + struct.pack("<II", 0, 99), "pointer": b"r" + capnp.frame(struct.pack("<Q", 0xFFFFFFFC | 1 << 48)),
                       "far": b"r" + capnp.frame(struct.pack("<Q", 2 | 0xFFFFFFFF << 32)), "text": b"r" + b"{}" * 40, "segments": b"r" + b"\xff" * 64}.items():
        save("result_json", "bad_" + name, data)


# --- change sets, for the command line and as kept

CHANGES = """(totals = (added = 2), changes = [(path = "a/b", kind = added, fields = ["content"], old = (type = none), new = (type = regular, size = 3, mode = 493,
 digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")), (path = "n", from = "o", kind = renamed, new = (type = symlink, target = "../../etc")),
 (path = "", pathBytes = "\\xff/x", kind = deleted, old = (type = fifo))], base = (path = "/repo", device = 1, inode = 2))"""


def change_sets():
    good = {"whole": CHANGES, "empty": "()", "one": '(changes = [(path = "x", kind = modified, new = (type = directory, mode = 65535))])'}
    bad = {"bad_up": '(changes = [(path = "../x", kind = added)])', "bad_absolute": '(changes = [(path = "/x", kind = added)])', "bad_dots": '(changes = [(path = "a/./b", kind = added)])',
           "bad_none": '(changes = [(kind = added)])', "bad_from": '(changes = [(path = "x", from = "y", kind = added)])', "bad_rename": '(changes = [(path = "x", from = "../y", kind = renamed)])',
           "bad_digest": '(changes = [(path = "x", kind = added, new = (type = regular, digest = "sha256:xyz"))])'}
    for name, text in {**good, **bad}.items():
        data = framed("changes.capnp", "ChangeSet", text)
        save("change_set", name, data)
        save("stored_record", "manifest_" + name, b"m" + data)
    kind = framed("changes.capnp", "ChangeSet", good["one"])
    save("change_set", "bad_kind", kind.replace(struct.pack("<H", 1), struct.pack("<H", 300)))
    save("change_set", "bad_cut", kind[:40])
    for name, data in {"manifest_odd": b"m123", "manifest_header": b"m" + struct.pack("<II", 0, 1 << 30), "manifest_none": b"m", "summary": b's{"image":"host","command":["a","b"]}',
                       "summary_types": b's{"image":7,"command":[1,null,{}]}', "summary_list": b"s[]", "summary_cut": b's{"image":"ho', "summary_deep": b"s" + b"[" * 4000, "summary_bytes": b's{"image":"\xff"}'}.items():
        save("stored_record", name, data)


# --- zones

def zones():
    record = b'{"zone":"zone_x","shim_pid":42,"shim_start_ticks":7,"host_id_base":1879048192,"ephemeral":true,"cgroups":[{"controller":"","path":"/a"}],"limits":{"pids":7,"memory_bytes":1}}'
    boundary = '(zoneId = "zone_x", hostname = "h", userNamespace = true, hostIdBase = 1879048192, cgroups = [(controller = "", path = "/a"), (controller = "memory", path = "/b")], seccompProgram = "\\x06\\x00\\x00\\x00\\x00\\x00\\xff\\x7f", capabilities = [0, 5])'
    save("zone_record", "record", b"j" + record)
    for name, data in {"cut": record[:60], "types": record.replace(b"42", b'"x"'), "negative": record.replace(b"1879048192", b"-1"), "huge": record.replace(b":7,", b":99999999999999999999999,"),
                       "list": b"[]", "deep": b"[" * 5000, "groups": record.replace(b'{"controller":""', b'{"controller":1')}.items():
        save("zone_record", "bad_record_" + name, b"j" + data)
    save("zone_record", "boundary", b"m" + framed("boundary.capnp", "Boundary", boundary))
    save("zone_record", "boundary_privileged", b"m" + framed("boundary.capnp", "Boundary", '(cgroups = [(path = "/a")])'))
    for name, change in {"ids": ("1879048192", "0"), "filter": ("seccompProgram", "seccompNoSuid"), "groups": ('(controller = "", path = "/a"), ', ""), "capability": ("[0, 5]", "[0, 64]"),
                         "program": ("\\xff\\x7f", "\\xff")}.items():
        save("zone_record", "bad_boundary_" + name, b"m" + framed("boundary.capnp", "Boundary", boundary.replace(*change)))
    save("zone_record", "bad_boundary_none", b"m")


# --- rauha.toml

def configurations():
    good = {"packaged": (REPOSITORY / "packaging" / "rauha.toml").read_text(), "empty": "",
            "all": '[daemon]\nsocket_group = "x"\nidle_exit = "5s"\nworkers = 2\ntask_history = 10\n[plugins]\nbackend = "b"\nimages = ["image-oci", "dir-snapshot"]\ncall_timeout = "3s"\n'
                   'directories = ["/a"]\nallow_unsafe_directories = true\n[changes]\nkeep = "7d"\nkeep_bytes = "2GiB"\nmax_changes = 5\nprotected = ["Makefile", "*.mk"]\n'
                   '[plugin.dir-snapshot]\nschemes = ["snapshot"]\nisolation = "process"\nx = { y = [1, "two", 1979-05-27T07:32:00Z] }\n[plugin.dir-snapshot.process]\nread = ["/srv"]\nmemory = "2GiB"\n'}
    bad = {"unknown": "[daemon]\nx = 1\n", "type": "daemon = 3\n", "range": "[daemon]\nworkers = 99999999999999999999\n", "float": "[daemon]\nworkers = nan\n", "duration": '[daemon]\nidle_exit = "99999999999999999h"\n',
           "days": '[changes]\nkeep = "18446744073709551615d"\n', "images": "[plugins]\nimages = []\n", "array": "[plugins]\nimages = [1]\n", "twice": "[daemon]\n[daemon]\n", "text": "hello", "bytes": "\xff", "dots": "a.b.c.d.e=1",
           "directories": '[plugins]\ndirectories = ["relative", ""]\n', "plugin": "[plugin]\nx = 1\n", "deep": "x = " + "[" * 3000, "nul": '[daemon]\nsocket_group = "\0"\n'}
    for name, text in good.items():
        save("daemon_config", name, text)
    for name, text in bad.items():
        save("daemon_config", "bad_" + name, text)


if __name__ == "__main__":
    for make in (rpc, agent_answers, agent_requests, json_documents, change_sets, zones, configurations):
        make()
