#!/usr/bin/env python3
"""umoci_equal.py IMAGE_TOOL [--seeds N]

Does the image plugin unpack what `umoci unpack` unpacks? For random images of several layers (files, links, hard links, FIFOs, xattrs,
whiteouts, opaque directories, changes of type) the overlay of our layers is compared with umoci's root: names, types, modes, owners,
contents, links, hard-link groups, xattrs, times to the nanosecond. Then archives written by skopeo must give the same layers.

Run as root (overlayfs). Exit code 77: umoci is missing, nothing was compared.
"""
import argparse
import hashlib
import os
import pathlib
import random
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import make_oci_image as oci  # noqa: E402


def inventory(root):
    """path -> everything that must be equal; hard links by the smallest path of their group."""
    out, groups = {}, {}
    for folder, dirs, files in os.walk(root):
        for name in ["."] + sorted(dirs) + sorted(files) if folder == root else sorted(dirs) + sorted(files):
            path = os.path.join(folder, name)
            s = os.lstat(path)
            key = os.path.relpath(path, root)
            item = {"type": stat.S_IFMT(s.st_mode), "mode": stat.S_IMODE(s.st_mode), "owner": (s.st_uid, s.st_gid), "mtime": s.st_mtime_ns,
                    "xattrs": {k: os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)
                               if not k.startswith("trusted.overlay.") and k != "user.rootlesscontainers"}}
            if stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    item["content"] = hashlib.sha256(f.read()).hexdigest()
            if stat.S_ISLNK(s.st_mode):
                item["target"] = os.readlink(path)
                item["mode"] = 0
            if not stat.S_ISDIR(s.st_mode) and s.st_nlink > 1:
                groups.setdefault((s.st_dev, s.st_ino), []).append(key)
            out[key] = item
    for members in groups.values():
        if len(members) > 1:  # overlayfs keeps the count of names that a higher layer hides
            for key in members:
                out[key]["links"] = sorted(members)
    return out


class Maker:
    """Layers of a tree that changes at random. Every entry's folders are in the layer too, as builders write them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tree = {"": "dir"}  # path -> kind, as the image stands after the layers so far
        self.meta = {"": dict(mode=0o755, uid=0, gid=0, mtime=1_000_000_000)}

    def number(self, *args):
        return self.random.randrange(*args)

    def new_meta(self, kind):
        mode = self.random.choice([0o644, 0o755, 0o600, 0o4755, 0o2711, 0o1777, 0o000, 0o444])
        meta = dict(mode=mode if kind != "dir" else self.random.choice([0o755, 0o700, 0o1777, 0o2755]), uid=self.random.choice([0, 1, 1000, 65534]),
                    gid=self.random.choice([0, 5, 65535]), mtime=self.random.choice([0, 1, 1_234_567_890, 1_600_000_000.123456789, 4_000_000_000]))
        if kind in ("file", "dir") and self.number(4) == 0:
            # no empty ones: in PAX an empty value may also mean "none", and umoci takes it so
            meta["xattrs"] = {"user.test": self.random.choice([b"text", b"\x01\xff\x7f" * 20])}
            if kind == "file" and self.number(3) == 0:
                meta["xattrs"]["security.capability"] = bytes.fromhex("0100000200040000000000000000000000000000")
        return meta

    def folders(self):
        return [p for p, k in self.tree.items() if k == "dir"]

    def drop(self, path):
        for p in [p for p in self.tree if p == path or p.startswith(path + "/")]:
            del self.tree[p]
            self.meta.pop(p, None)

    def layer(self, size, changes):
        entries, present = [], set()

        def with_folders(path):
            parts = path.split("/")[:-1]
            for i in range(len(parts)):
                folder = "/".join(parts[:i + 1])
                if folder not in present:
                    present.add(folder)
                    entries.append(oci.Dir(folder, **self.meta[folder]))

        def add(path, kind):
            meta = self.new_meta(kind)
            with_folders(path)
            present.add(path)
            self.tree[path], self.meta[path] = kind, meta
            plain = {k: v for k, v in meta.items() if k in ("uid", "gid", "mtime")}
            if kind == "dir":
                entries.append(oci.Dir(path, **meta))
            elif kind == "file":
                entries.append(oci.File(path, self.random.randbytes(self.random.choice([0, 1, 511, 512, 513, 70_000])), **meta))
            elif kind == "link":
                entries.append(oci.Symlink(path, self.random.choice(["/etc/x", "../up", "nowhere", "a/b/c"]), **plain))
            elif kind == "fifo":
                entries.append(oci.Fifo(path, mode=meta["mode"], **plain))
                self.tree[path] = "fifo"
            elif kind == "hard":
                files = [p for p in present if self.tree.get(p) == "file"]
                self.tree[path] = "file"
                if not files:
                    return add(path, "file")
                entries.append(oci.Hardlink(path, self.random.choice(sorted(files))))

        for i in range(changes):
            victims = sorted(p for p in self.tree if p)
            if not victims:
                break
            path = self.random.choice(victims)
            what = self.random.choice(["delete", "opaque", "chmod", "retype", "retype"])
            kind = self.tree[path]
            if path in present or any(p.startswith(path + "/") for p in present):
                continue
            if what == "delete" or (what == "opaque" and kind != "dir"):
                with_folders(path)
                self.drop(path)
                entries.append(oci.Whiteout(path))
                present.add(path)
            elif what == "opaque":
                with_folders(path)
                present.add(path)
                for p in [p for p in self.tree if p.startswith(path + "/")]:
                    self.drop(p)
                entries.append(oci.Dir(path, **self.meta[path]))
                entries.append(oci.Opaque(path))
            elif what == "chmod" and kind == "dir":
                with_folders(path)
                present.add(path)
                self.meta[path] = self.new_meta("dir")
                entries.append(oci.Dir(path, **self.meta[path]))
            else:
                fresh = self.random.choice(["file", "link", "fifo", "dir"])
                if (kind == "dir") != (fresh == "dir"):
                    with_folders(path)
                    self.drop(path)
                elif kind == "dir":
                    continue
                add(path, fresh)
        names = ["a", "b", "c", "file.txt", "näme", "e\u0301", "with space", "x" * 120, "-dash", "dot.", "..twodots"]
        for i in range(size):
            folder = self.random.choice(sorted(self.folders()))
            path = (folder + "/" if folder else "") + self.random.choice(names) + self.random.choice(["", str(i)])
            if path in self.tree or path in present or path.count("/") > 6:
                continue
            add(path, self.random.choice(["dir", "dir", "file", "file", "file", "link", "fifo", "hard"]))
        return entries


def run(*args, **more):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more).stdout


def our_layers(tool, store, reference):
    lines = run(tool, store, "resolve", reference).splitlines()
    return [line.split(" ", 2)[2] for line in lines if line.startswith("layer ")], [line.split()[1] for line in lines if line.startswith("layer ")]


def compare(ours, theirs, label):
    faults = []
    for path in sorted(set(ours) | set(theirs)):
        if path == ".":  # not an entry of these images
            continue
        a, b = ours.get(path), theirs.get(path)
        if a != b:
            faults.append(f"{label}: {path!r}: ours {a}, umoci's {b}")
    return faults


def one_image(tool, work, layers, label):
    layout, store, mount = work / "layout", work / "state" / "store", work / "merged"
    oci.Image([oci.Layer(e, c) for e, c in layers]).write_layout(str(layout))
    run("umoci", "unpack", "--image", f"{layout}:latest", str(work / "bundle"))
    store.parent.mkdir()
    mount.mkdir()
    paths, diff_ids = our_layers(tool, str(store), f"oci:{layout}:latest")
    if len(paths) == 1:
        mount = pathlib.Path(paths[0])
    else:
        links = []
        for i, path in enumerate(reversed(paths)):  # mount(2) takes one page of options
            os.symlink(path, work / str(i))
            links.append(str(i))
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=" + ":".join(links), str(mount), cwd=work)
    try:
        faults = compare(inventory(str(mount)), inventory(str(work / "bundle" / "rootfs")), label)
    finally:
        if len(paths) > 1:
            run("umount", str(mount))
    if shutil.which("skopeo"):
        for kind, reference in (("oci-archive", f"oci-archive:{work}/a.tar:latest"), ("docker-archive", f"docker-archive:{work}/d.tar:test/x:latest")):
            run("skopeo", "copy", "-q", f"oci:{layout}:latest", reference)
            if our_layers(tool, str(store), reference)[1] != diff_ids:
                faults.append(f"{label}: {kind} of skopeo gives other layers")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=1)
    args = parser.parse_args()
    if shutil.which("umoci") is None:
        print("SKIPPED: umoci is not installed, so nothing was compared: apt-get install umoci", file=sys.stderr)
        return 77
    if os.geteuid() != 0:
        print("SKIPPED: needs root (overlayfs, owners)", file=sys.stderr)
        return 77
    if os.environ.get("UMOCI_EQUAL_INNER") is None:  # mounts in a namespace of their own
        os.execvpe("unshare", ["unshare", "-m", sys.executable, *sys.argv], {**os.environ, "UMOCI_EQUAL_INNER": "1"})
    faults, entries = [], 0
    for seed in range(args.first, args.first + args.seeds):
        maker = Maker(seed)
        compressions = ["gzip", "none"]  # umoci 0.4 reads no zstd; that zstd gives the same is a unit test
        layers = [(maker.layer(40, 0), maker.random.choice(compressions))]
        layers += [(maker.layer(10, 12), maker.random.choice(compressions)) for _ in range(maker.number(1, 5))]
        entries += sum(len(e) for e, _ in layers)
        with tempfile.TemporaryDirectory(prefix="rauha-umoci-") as work:
            faults += one_image(args.tool, pathlib.Path(work), layers, f"seed {seed}")
    for fault in faults[:40]:
        print(fault)
    print(f"{args.seeds} images with {entries} entries compared with {run('umoci', '--version').split()[-1]}: {len(faults)} differences")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
