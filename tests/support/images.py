"""Images as the black-box suites need them: make_oci_image.py with a small busybox, and as a plain directory too."""

import io
import pathlib
import tarfile

from . import make_oci_image
from .make_oci_image import Dir, File, Layer, Symlink, Whiteout

BUSYBOX = "/bin/busybox"
APPLETS = ("sh cat echo ls id true false sleep printf head yes dd stat touch mkdir rm ln chmod chown mount umount env pwd wc sha256sum tty stty "
           "hostname kill test mknod readlink find grep od").split()


def busybox_layer():
    """Entries of a root that can run the applets above, with the users root and user (1000)."""
    return [Dir(path) for path in ("bin", "etc", "tmp", "proc", "sys", "dev", "root")] + [
        File("bin/busybox", pathlib.Path(BUSYBOX).read_bytes(), 0o755), *[Symlink("bin/" + name, "busybox") for name in APPLETS],
        File("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"), File("etc/group", "root:x:0:\nuser:x:1000:\n")]


class Image(make_oci_image.Image):
    """Layers are lists of entries; keywords are the image's config. Each writer returns the path that it wrote."""

    def __init__(self, *layers, wrong_diff_id=None, **config):
        super().__init__([Layer(entries) for entries in layers], config, wrong_diff_id=wrong_diff_id)

    def oci(self, target, tags=("latest",)):
        for tag in tags:
            self.write_layout(target, tag)
        return pathlib.Path(target)

    def oci_archive(self, file):
        self.write_oci_archive(file)
        return pathlib.Path(file)

    def docker_archive(self, file):
        self.write_docker_archive(file)
        return pathlib.Path(file)

    def directory(self, target):
        target = pathlib.Path(target)
        target.mkdir(parents=True)
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer.tar)) as tar:
                tar.extractall(target, numeric_owner=True)
        return target


def busybox(**config):
    """Three layers: busybox, then two that add, replace and remove a file."""
    config.setdefault("Env", ["PATH=/bin", "FROM_IMAGE=yes"])
    return Image(busybox_layer(), [File("etc/second", "lower\n"), File("etc/removed", "x")],
                 [File("etc/second", "upper\n"), Whiteout("etc/removed")], **config)
