#!/usr/bin/env python3
"""Makes OCI image layouts, OCI archives and docker archives for tests. Standard library only (zstd through the program `zstd`).

As a module:
    layer = Layer([Dir("etc", 0o755), File("etc/motd", b"hi\n", mode=0o644, uid=0, gid=0, mtime=1), Symlink("bin", "usr/bin"),
                   Hardlink("etc/motd2", "etc/motd"), Fifo("pipe"), Whiteout("etc/old"), Opaque("var"), Device("dev/x", "c", 1, 3)],
                  compression="gzip")            # or "none", "zstd"
    layer = Layer.from_directory("/some/tree")   # everything below it, owners kept
    layer = Layer(raw=b"...tar bytes...")        # anything at all, for hostile content
    image = Image([layer, ...], config={"Cmd": ["/bin/sh"], "Env": ["A=b"]})
    image.write_layout("DIR", tag="latest")      # several images may be written into one layout with different tags
    image.write_oci_archive("FILE", tag="latest")
    image.write_docker_archive("FILE", names=["name:tag"])

Every entry takes `name=` as it is: '..', absolute and overlong names are written without a look. Image options for hostile images:
    wrong_layer_digest, wrong_layer_size, wrong_diff_id (index of the layer), manifest_override / config_override / index_override (dict merged
    over the document, or bytes that replace it), layer_media_type.

As a program:
    make_oci_image.py busybox OUT [--tag TAG] [--format layout|oci-archive|docker-archive] [--compression gzip|zstd|none] [--layers N]
        an image of /bin/busybox (package busybox-static) with links for its applets; N layers, the further ones each with a file /layer-N
    make_oci_image.py tree DIRECTORY... --out OUT [--tag TAG] [--format ...] [--cmd ARG]... [--env K=V]...
        one layer for each directory, lowest first
Prints the manifest's digest.
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile

OCI_LAYER = {"none": "application/vnd.oci.image.layer.v1.tar", "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
             "zstd": "application/vnd.oci.image.layer.v1.tar+zstd"}
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
ARCH = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}.get(platform.machine(), platform.machine())
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- entries -----------------------------------------------------------------------------------------------------------------------

def _entry(name, kind, mode, uid, gid, mtime, xattrs, **more):
    info = tarfile.TarInfo()
    info.name, info.type, info.mode, info.uid, info.gid, info.mtime = name, kind, mode, uid, gid, mtime
    for key, value in more.items():
        setattr(info, key, value)
    for key, value in (xattrs or {}).items():
        value = value if isinstance(value, bytes) else value.encode()
        info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
    return info


def Dir(name, mode=0o755, uid=0, gid=0, mtime=1_000_000_000, xattrs=None):
    return _entry(name, tarfile.DIRTYPE, mode, uid, gid, mtime, xattrs), None


def File(name, content=b"", mode=0o644, uid=0, gid=0, mtime=1_000_000_000, xattrs=None):
    content = content if isinstance(content, bytes) else content.encode()
    return _entry(name, tarfile.REGTYPE, mode, uid, gid, mtime, xattrs, size=len(content)), content


def Symlink(name, target, uid=0, gid=0, mtime=1_000_000_000):
    return _entry(name, tarfile.SYMTYPE, 0o777, uid, gid, mtime, None, linkname=target), None


def Hardlink(name, target):
    return _entry(name, tarfile.LNKTYPE, 0o644, 0, 0, 1_000_000_000, None, linkname=target), None


def Fifo(name, mode=0o644, uid=0, gid=0, mtime=1_000_000_000):
    return _entry(name, tarfile.FIFOTYPE, mode, uid, gid, mtime, None), None


def Device(name, kind="c", major=1, minor=3, mode=0o666):
    return _entry(name, tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE, mode, 0, 0, 1_000_000_000, None, devmajor=major, devminor=minor), None


def Whiteout(path):
    """Hides `path` of the layers below."""
    folder, _, base = path.rpartition("/")
    return File((folder + "/" if folder else "") + ".wh." + base)


def Opaque(directory):
    """Hides everything that the layers below have in `directory` ("" for the root)."""
    return File((directory + "/" if directory else "") + ".wh..wh..opq")


def tar_bytes(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape", encoding="utf-8") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return out.getvalue()


def compress(data, how):
    if how == "none":
        return data
    if how == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    raise ValueError(f"unknown compression {how!r}")


class Layer:
    def __init__(self, entries=(), compression="gzip", raw=None):
        """raw: the uncompressed tar's bytes instead of entries."""
        self.tar = raw if raw is not None else tar_bytes(entries)
        self.compression = compression
        self.blob = compress(self.tar, compression)
        self.diff_id = digest(self.tar)

    @classmethod
    def from_directory(cls, root, compression="gzip", owner=None):
        """All of a directory's tree. owner: (uid, gid) for everything instead of the files' own."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            def change(info):
                if owner is not None:
                    info.uid, info.gid = owner
                info.uname = info.gname = ""
                try:
                    for name in os.listxattr(os.path.join(root, info.name), follow_symlinks=False):
                        value = os.getxattr(os.path.join(root, info.name), name, follow_symlinks=False)
                        info.pax_headers["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
                except OSError:
                    pass  # a file system without xattrs
                return info
            for name in sorted(os.listdir(root)):
                tar.add(os.path.join(root, name), arcname=name, filter=change)
        return cls(raw=out.getvalue(), compression=compression)

    @classmethod
    def from_paths(cls, paths, compression="gzip", extra=()):
        """Host files by absolute path, at the same path in the layer, with their parents; `extra`: further entries, written first."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            seen = set()
            for info, content in extra:
                tar.addfile(info, io.BytesIO(content) if content is not None else None)
                seen.add(info.name.rstrip("/"))
            wanted = set()
            for path in paths:
                path = path.rstrip("/")
                while path and path != "/":
                    wanted.add(path)
                    path = os.path.dirname(path)
            for path in sorted(wanted):
                if path.lstrip("/") in seen:
                    continue
                info = tar.gettarinfo(path, arcname=path.lstrip("/"))
                if info is None:
                    continue
                info.uname = info.gname = ""
                if info.isreg():
                    with open(path, "rb") as f:
                        tar.addfile(info, f)
                else:
                    tar.addfile(info)
        return cls(raw=out.getvalue(), compression=compression)


# --- images ------------------------------------------------------------------------------------------------------------------------

def _document(base, override):
    if isinstance(override, bytes):
        return override
    if override:
        base = {**base, **override}
    return json.dumps(base, separators=(",", ":")).encode()


class Image:
    def __init__(self, layers, config=None, architecture=ARCH, os_name="linux", wrong_layer_digest=None, wrong_layer_size=None, wrong_diff_id=None,
                 manifest_override=None, config_override=None, index_override=None, layer_media_type=None):
        self.layers = list(layers)
        self.index_override = index_override
        diff_ids = [l.diff_id for l in self.layers]
        if wrong_diff_id is not None:
            diff_ids[wrong_diff_id] = digest(b"something else")
        self.config = _document({"architecture": architecture, "os": os_name, "config": config if config is not None else {"Env": [DEFAULT_PATH]},
                                 "rootfs": {"type": "layers", "diff_ids": diff_ids}}, config_override)
        descriptors = []
        self.blobs = {digest(self.config): self.config}
        for i, layer in enumerate(self.layers):
            d = digest(layer.blob)
            if wrong_layer_digest == i:
                d = digest(b"not this layer")
            self.blobs[d] = layer.blob
            size = len(layer.blob) + (1 if wrong_layer_size == i else 0)
            descriptors.append({"mediaType": layer_media_type or OCI_LAYER[layer.compression], "digest": d, "size": size})
        self.manifest = _document({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                                   "config": {"mediaType": OCI_CONFIG, "digest": digest(self.config), "size": len(self.config)},
                                   "layers": descriptors}, manifest_override)
        self.blobs[digest(self.manifest)] = self.manifest
        self.digest = digest(self.manifest)

    def _index(self, tag, before=None):
        entry = {"mediaType": OCI_MANIFEST, "digest": self.digest, "size": len(self.manifest)}
        if tag:
            entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        entries = [e for e in (before or []) if e.get("annotations", {}).get("org.opencontainers.image.ref.name") != tag] + [entry]
        return _document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, self.index_override)

    def write_layout(self, directory, tag="latest"):
        """Adds to a layout that is there. The directory's files belong to the caller."""
        blobs = os.path.join(directory, "blobs", "sha256")
        os.makedirs(blobs, exist_ok=True)
        with open(os.path.join(directory, "oci-layout"), "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        index, before = os.path.join(directory, "index.json"), None
        if os.path.exists(index) and not isinstance(self.index_override, bytes):
            with open(index) as f:
                before = json.load(f)["manifests"]
        for name, data in self.blobs.items():
            with open(os.path.join(blobs, name.split(":")[1]), "wb") as f:
                f.write(data)
        with open(index, "wb") as f:
            f.write(self._index(tag, before))
        return self.digest

    def write_oci_archive(self, path, tag="latest", compression="none"):
        entries = [File("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), File("index.json", self._index(tag))]
        entries += [File("blobs/sha256/" + name.split(":")[1], data) for name, data in self.blobs.items()]
        with open(path, "wb") as f:
            f.write(compress(tar_bytes(entries), compression))
        return self.digest

    def write_docker_archive(self, path, names=("test:latest",), compression="none", manifest_json=None):
        """As `docker save` writes it: configuration and layers as files, layers uncompressed. manifest_json: replaces that file's content."""
        config_name = digest(self.config).split(":")[1] + ".json"
        layer_names = [l.diff_id.split(":")[1] + "/layer.tar" for l in self.layers]
        document = manifest_json if manifest_json is not None else json.dumps([{"Config": config_name, "RepoTags": list(names), "Layers": layer_names}]).encode()
        entries = [File(config_name, self.config)]
        entries += [File(name, layer.tar) for name, layer in dict(zip(layer_names, self.layers)).items()]
        entries += [File("manifest.json", document)]
        with open(path, "wb") as f:
            f.write(compress(tar_bytes(entries), compression))
        return digest(self.config)

    def write(self, out, kind="layout", tag="latest"):
        if kind == "layout":
            return self.write_layout(out, tag)
        if kind == "oci-archive":
            return self.write_oci_archive(out, tag)
        return self.write_docker_archive(out, ["test:" + tag])


ROOT_SKELETON = [Dir("dev"), Dir("proc"), Dir("sys"), Dir("tmp", 0o1777), Dir("root", 0o700), Dir("etc"), Dir("var"), Dir("var/tmp", 0o1777), Dir("run"), Dir("home"),
                 File("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
                 File("etc/group", "root:x:0:\nnogroup:x:65534:\n"), File("etc/hosts", "127.0.0.1\tlocalhost\n"), File("etc/resolv.conf", "")]


def busybox_entries(busybox="/bin/busybox"):
    """Entries of bin/ with busybox and a hard link for each applet."""
    with open(busybox, "rb") as f:
        program = f.read()
    applets = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    return [Dir("bin"), File("bin/busybox", program, 0o755)] + [Hardlink("bin/" + a, "bin/busybox") for a in applets if a != "busybox"]


def busybox_image(layers=1, compression="gzip", busybox="/bin/busybox"):
    stack = [Layer(ROOT_SKELETON + busybox_entries(busybox), compression)]
    stack += [Layer([File(f"layer-{i}", f"{i}\n")], compression) for i in range(1, layers)]
    return Image(stack, {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "WorkingDir": "/"})


def main():
    parser = argparse.ArgumentParser(description="makes images for tests")
    sub = parser.add_subparsers(dest="what", required=True)
    for name in ("busybox", "tree"):
        p = sub.add_parser(name)
        p.add_argument("--tag", default="latest")
        p.add_argument("--format", default="layout", choices=["layout", "oci-archive", "docker-archive"])
        p.add_argument("--compression", default="gzip", choices=["gzip", "zstd", "none"])
        if name == "busybox":
            p.add_argument("out")
            p.add_argument("--layers", type=int, default=1)
            p.add_argument("--busybox", default="/bin/busybox")
        else:
            p.add_argument("directories", nargs="+")
            p.add_argument("--out", required=True)
            p.add_argument("--cmd", action="append", default=[])
            p.add_argument("--env", action="append", default=[])
    args = parser.parse_args()
    if args.what == "busybox":
        image = busybox_image(args.layers, args.compression, args.busybox)
    else:
        image = Image([Layer.from_directory(d, args.compression) for d in args.directories], {"Env": args.env or [DEFAULT_PATH], "Cmd": args.cmd or ["/bin/sh"]})
    print(image.write(args.out, args.format, args.tag))
    return 0


if __name__ == "__main__":
    sys.exit(main())
