"""How long a pull with unpacking takes, from Debian's docker-registry on loopback, with empty stores each time and in turns; beside podman and
containerd where they are installed, and beside the two limits: decompressing the layers on these cores, and writing the bytes.
"""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import timing  # noqa: E402
from python_image import python_image  # noqa: E402
from support.docker_registry import PROGRAM, DockerRegistry  # noqa: E402
from support.instance import RAUHA, Instance  # noqa: E402
from support.waiting import eventually  # noqa: E402

ROUNDS = 5  # a pull takes seconds


def timed(work, *words, **options):
    os.sync()
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, **options)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stderr}")
    return seconds


def peak_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def pull_rauha(work, reference, facts, after):
    instance = Instance(parent=work)
    try:
        instance.ensure_daemon()
        pid = instance.daemon_pid()
        before = peak_kib(pid)
        seconds = timed(work, RAUHA, "image", "pull", "--json", reference, env=instance.environment())
        facts["daemon_peak_mib"] = max(facts.get("daemon_peak_mib", 0), peak_kib(pid) / 1024)
        facts["daemon_idle_mib"] = before / 1024
        facts["again_ms"] = 1000 * timed(work, RAUHA, "image", "pull", "--json", reference, env=instance.environment())
        return seconds
    finally:
        instance.stop()
        after.callback(instance.remove)


def pull_podman(work, reference, facts, after):
    root = pathlib.Path(tempfile.mkdtemp(dir=work, prefix="podman-"))
    run = pathlib.Path(tempfile.mkdtemp(dir="/run", prefix="rauha-bench-"))  # podman takes no path of more than 50 characters
    words = ["podman", "--root", str(root / "root"), "--runroot", str(run), "--storage-driver", "overlay"]
    settings = root / ".config" / "containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {**os.environ, "HOME": str(root), "TMPDIR": str(root)}
    try:
        return timed(work, *words, "pull", "--quiet", "--tls-verify=false", reference, env=env)
    finally:
        after.callback(shutil.rmtree, run, ignore_errors=True)
        after.callback(subprocess.run, [*words, "system", "reset", "--force"], capture_output=True, env=env)  # it leaves a mount


def pull_ctr(work, reference, facts, after):
    root = pathlib.Path(tempfile.mkdtemp(dir=work, prefix="ctr-"))
    (root / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    socket = root / "s"
    with (root / "log").open("wb") as log:
        daemon = subprocess.Popen(["containerd", "--config", str(root / "config.toml"), "--root", str(root / "root"), "--state", str(root / "state"), "--address", str(socket)],
                                  stdout=log, stderr=log)
    try:
        eventually(socket.exists, 20, "containerd listens")
        return timed(work, "ctr", "--address", str(socket), "images", "pull", "--plain-http", reference)
    finally:
        daemon.terminate()
        daemon.wait()


def floors(work, layout, program):
    index = json.loads((layout / "index.json").read_text())
    blob = lambda digest: layout / "blobs" / "sha256" / digest.split(":")[1]  # noqa: E731
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    layers = [blob(layer["digest"]) for layer in manifest["layers"]]
    packed = sum(path.stat().st_size for path in layers)
    said = json.loads(subprocess.run([program, *layers], check=True, capture_output=True, text=True).stdout)
    target = pathlib.Path(work) / "bytes"
    block = os.urandom(1 << 20)
    os.sync()
    began = time.monotonic()
    with target.open("wb") as out:
        for _ in range((said["bytes"] + packed) >> 20):  # the trees, and the blobs that the store keeps
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    write = time.monotonic() - began
    target.unlink()
    return {"layers": len(layers), "packed_mb": packed / 1e6, "unpacked_mb": said["bytes"] / 1e6, "decompress_s": said["seconds"], "write_s": write}


def measure(runs, program):
    layout = python_image()
    tools = {"rauha": pull_rauha}
    if shutil.which("podman"):
        tools["podman"] = pull_podman
    if shutil.which("containerd") and shutil.which("ctr"):
        tools["ctr"] = pull_ctr
    # Not below /tmp when that is memory: writing is part of it.
    with tempfile.TemporaryDirectory(dir=layout.parent, prefix="pulling-") as work, DockerRegistry(pathlib.Path(work) / "registry", tls=False, auth=False) as registry:
        reference = f"{registry.name}/python:1"
        copied = registry.skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:python", f"docker://{reference}")
        if copied.returncode != 0:
            raise SystemExit(copied.stderr)
        facts, limits = {}, []
        seconds = {name: [] for name in tools}
        # Nothing is removed in between: before ext4 makes an inode it looks at each one that went in the last seconds, and whoever comes after
        # a removed store would be measured by that.
        with contextlib.ExitStack() as after:
            for _ in range(runs):
                limits.append(floors(work, layout, program))  # in turns too: a disk is not equally fast all the time
                for name, pull in tools.items():
                    seconds[name].append(pull(work, reference, facts, after))
    facts |= limits[0] | {key: statistics.median(one[key] for one in limits) for key in ("decompress_s", "write_s")}
    return {**facts, "runs": runs, "cores": os.cpu_count(), "pulls": {name: {"median_s": statistics.median(values), "least_s": min(values)} for name, values in seconds.items()}}


def pull(figures, options):
    """an image of several layers and >100 MB from a registry on loopback, pulled and unpacked into an empty store"""
    if PROGRAM is None or shutil.which("skopeo") is None:
        raise RuntimeError("docker-registry and skopeo are needed: ./dev setup")
    d = measure(min(options.runs, ROUNDS), timing.PROGRAMS / "unpack_floor")
    limit, ours = max(d["decompress_s"], d["write_s"]), d["pulls"]["rauha"]["median_s"]
    rows = [(name, one["median_s"], one["least_s"], one["median_s"] / limit) for name, one in d["pulls"].items()]
    rows += [("decompressing alone", d["decompress_s"], None, None), ("writing alone, trees and blobs", d["write_s"], None, None)]
    figures.table(f"pull and unpack: {d['layers']} layers, {d['packed_mb']:.0f} MB, unpacked {d['unpacked_mb']:.0f} MB", ["s, median", "least", "x limit"], rows)
    for name, one in d["pulls"].items():
        figures.add(f"pull/{name}", one["median_s"] * 1000, "ms")
    for key in ("decompress_s", "write_s"):
        figures.add(f"pull/{key[:-2]}", d[key] * 1000, "ms")
    figures.add("pull/again", d["again_ms"], "ms")
    figures.add("pull/daemon_idle", d["daemon_idle_mib"], "MiB")
    figures.note(f"the daemon has {d['daemon_idle_mib']:.0f} MiB before, {d['daemon_peak_mib']:.0f} MiB at its peak; the same image once more: {d['again_ms']:.0f} ms")
    figures.target("pull/limit", "pull and unpack, x the larger limit", ours / limit, "<=", 1.5)
    figures.target("pull/peak", "peak memory of the daemon, MiB", figures.add("pull/daemon_peak", d["daemon_peak_mib"], "MiB"), "<=", 64)
    for name in ("podman", "ctr"):
        if name in d["pulls"]:
            figures.target(f"pull/{name}_ratio", f"{name} pull / rauha image pull", d["pulls"][name]["median_s"] / ours, ">=", 2)
        else:
            figures.note(f"{name} is not installed")
