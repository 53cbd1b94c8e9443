"""Images in the local formats, made of entries. Honest ones for the contract, broken and hostile ones for the rest.

A layer is a list of entries: (path, content) for a file, or a tarfile.TarInfo (with an optional content) for anything else.
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import tarfile

BUSYBOX = "/usr/bin/busybox"
APPLETS = ("sh cat echo ls id true false sleep printf head yes dd stat touch mkdir rm ln chmod chown mount umount env pwd wc sha256sum tty stty "
           "hostname kill test mknod readlink find grep od").split()


def entry(path, kind=tarfile.REGTYPE, content=b"", **fields):
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    for key, item in fields.items():
        setattr(info, key, item)
    return info, content


def directory(path, **fields):
    return entry(path, tarfile.DIRTYPE, **fields)


def symlink(path, target):
    return entry(path, tarfile.SYMTYPE, linkname=target)


def hardlink(path, target):
    return entry(path, tarfile.LNKTYPE, linkname=target)


def busybox_layer():
    program = pathlib.Path(BUSYBOX).read_bytes()
    return [directory(path) for path in ("bin", "etc", "tmp", "proc", "sys", "dev", "root")] + [
        entry("bin/busybox", content=program, mode=0o755), *[symlink("bin/" + name, "busybox") for name in APPLETS],
        entry("etc/passwd", content=b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"),
        entry("etc/group", content=b"root:x:0:\nuser:x:1000:\n")]


def layer_tar(entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """Layers and a config; written as an OCI layout, an OCI archive, a docker archive or a plain directory."""

    def __init__(self, *layers, **config):
        self.tars = [layer_tar(layer) for layer in layers]
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                                  "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in self.tars]}}).encode()

    def oci(self, target, tags=("latest",), compress=True):
        target = pathlib.Path(target)
        blobs = target / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        kind = "application/vnd.oci.image."

        def put(data, media):
            (blobs / digest(data).split(":")[1]).write_bytes(data)
            return {"mediaType": media, "digest": digest(data), "size": len(data)}

        layers = [put(gzip.compress(tar, 1, mtime=0), kind + "layer.v1.tar+gzip") if compress else put(tar, kind + "layer.v1.tar") for tar in self.tars]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                               "config": put(self.config, kind + "config.v1+json"), "layers": layers}).encode()
        top = put(manifest, kind + "manifest.v1+json")
        manifests = [{**top, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in tags]
        (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": kind + "index.v1+json", "manifests": manifests}))
        (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return target

    def oci_archive(self, file, scratch):
        layout = self.oci(pathlib.Path(scratch) / (pathlib.Path(file).name + ".layout"))
        with tarfile.open(file, "w") as tar:
            for name in sorted(os.listdir(layout)):
                tar.add(layout / name, name)
        shutil.rmtree(layout)
        return pathlib.Path(file)

    def docker_archive(self, file, tag="test:latest"):
        names = [f"{digest(tar).split(':')[1]}/layer.tar" for tar in self.tars]
        config_name = digest(self.config).split(":")[1] + ".json"
        manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode()
        with tarfile.open(file, "w") as tar:
            for name, data in [(config_name, self.config), *zip(names, self.tars), ("manifest.json", manifest)]:
                tar.addfile(*_file(name, data))
        return pathlib.Path(file)

    def directory(self, target):
        target = pathlib.Path(target)
        target.mkdir(parents=True)
        for data in self.tars:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                tar.extractall(target, numeric_owner=True)
        return target


def _file(name, data):
    info, _ = entry(name, content=data)
    return info, io.BytesIO(data)


def busybox(**config):
    config.setdefault("Env", ["PATH=/bin", "FROM_IMAGE=yes"])
    return Image(busybox_layer(), [entry("etc/second", content=b"lower\n"), entry("etc/removed", content=b"x")],
                 [entry("etc/second", content=b"upper\n"), entry("etc/.wh.removed")], **config)
