#!/usr/bin/env python3
"""How long a pull with unpacking takes, from Debian's docker-registry on loopback, empty stores each time, in turns; beside podman and containerd
where they are installed, and beside the two limits: decompressing the layers on these cores, and writing the bytes.

    RAUHA_BIN=build-release/bin python3 tests/bench/pull_figures.py [--runs N] [--output FILE]

Prints a table and writes build/bench/pull_figures.json. A missed target is said, and no failure: how busy the machine is decides too.
"""

import argparse
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

from bench.python_image import python_image  # noqa: E402
from support.docker_registry import PROGRAM, DockerRegistry  # noqa: E402
from support.instance import BIN, RAUHA, Instance  # noqa: E402
from support.waiting import eventually  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMES_LIMIT, TIMES_PEER, PEAK_MIB = 1.5, 2, 64


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


def pull_rauha(work, reference, facts):
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
        instance.remove()


def pull_podman(work, reference, facts):
    root = pathlib.Path(tempfile.mkdtemp(dir=work, prefix="podman-"))
    words = ["podman", "--root", str(root / "root"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]
    settings = root / ".config" / "containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {**os.environ, "HOME": str(root), "TMPDIR": str(root)}
    try:
        return timed(work, *words, "pull", "--quiet", "--tls-verify=false", reference, env=env)
    finally:
        subprocess.run([*words, "system", "reset", "--force"], capture_output=True, env=env)
        shutil.rmtree(root, ignore_errors=True)


def pull_ctr(work, reference, facts):
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
        shutil.rmtree(root, ignore_errors=True)


def floors(work, layout, program):
    index = json.loads((layout / "index.json").read_text())
    blob = lambda digest: layout / "blobs" / "sha256" / digest.split(":")[1]  # noqa: E731
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    layers = [blob(layer["digest"]) for layer in manifest["layers"]]
    packed = sum(path.stat().st_size for path in layers)
    said = json.loads(subprocess.run([program, *layers], check=True, capture_output=True, text=True).stdout)
    target = pathlib.Path(work) / "bytes"
    block = os.urandom(1 << 20)
    began = time.monotonic()
    with target.open("wb") as out:
        for _ in range(said["bytes"] >> 20):
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
        facts = floors(work, layout, program)
        seconds = {name: [] for name in tools}
        for _ in range(runs):
            for name, pull in tools.items():
                seconds[name].append(pull(work, reference, facts))
    return {**facts, "runs": runs, "cores": os.cpu_count(), "pulls": {name: {"median_s": statistics.median(values), "least_s": min(values)} for name, values in seconds.items()}}


def show(d):
    limit, ours = max(d["decompress_s"], d["write_s"]), d["pulls"]["rauha"]["median_s"]
    print(f"image: {d['layers']} layers, {d['packed_mb']:.0f} MB, unpacked {d['unpacked_mb']:.0f} MB; {d['cores']} cores; {d['runs']} runs, median (least)")
    print(f"limits: decompress {d['decompress_s']:.2f} s, write and sync {d['write_s']:.2f} s")
    for name, one in d["pulls"].items():
        print(f"{name:8} {one['median_s']:6.2f} s ({one['least_s']:.2f})  {one['median_s'] / limit:.2f} x the larger limit, {one['median_s'] / ours:.2f} x rauha")
    print(f"rauha: daemon {d['daemon_idle_mib']:.0f} MiB idle, {d['daemon_peak_mib']:.0f} MiB at its peak; the same image once more {d['again_ms']:.0f} ms")
    missing = [name for name in ("podman", "ctr") if name not in d["pulls"]]
    if missing:
        print(f"not installed, so not compared with: {', '.join(missing)}")
    wanted = [(ours / limit <= TIMES_LIMIT, f"within {TIMES_LIMIT} x the larger limit"), (d["daemon_peak_mib"] < PEAK_MIB, f"under {PEAK_MIB} MiB"),
              *((one["median_s"] / ours >= TIMES_PEER, f"{TIMES_PEER} x as fast as {name}") for name, one in d["pulls"].items() if name != "rauha")]
    for met, what in wanted:
        print(f"{'met' if met else 'MISSED'}: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "bench" / "pull_figures.json")
    parser.add_argument("--floor", type=pathlib.Path, default=BIN.parent / "test" / "unpack_floor", help="the program that only decompresses")
    options = parser.parse_args()
    if PROGRAM is None or shutil.which("skopeo") is None:
        raise SystemExit("docker-registry and skopeo are needed: ./dev setup")
    document = measure(options.runs, options.floor)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    show(document)


if __name__ == "__main__":
    main()
