"""Trees as tests of change sets need them: what they hold, whether they were touched, and file systems of their own to put them on."""

import contextlib
import os
import stat
import subprocess

from .waiting import eventually

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
       "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_EDITOR": "true", "GIT_TERMINAL_PROMPT": "0"}
GIT_OPTIONS = [word for name, value in GIT.items() for word in ("--env", f"{name}={value}")]


def git(top, *words, check=True):
    return subprocess.run(["git", "-c", "protocol.file.allow=always", *words], cwd=top, check=check, env={**os.environ, **GIT},
                          capture_output=True, text=True).stdout


def listing(top, times=True, owners=True, ignore=()):
    """Everything below `top` that apply promises to reproduce, the top itself left out."""
    found = {}
    top = os.fsencode(top)
    for directory, children, names in os.walk(top):
        for name in children + names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            entry = {"kind": kind, "mode": 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)}
            if owners:
                entry["owner"] = (status.st_uid, status.st_gid)
            if times:
                entry["mtime"] = status.st_mtime_ns
            if kind == stat.S_IFLNK:
                entry["target"] = os.readlink(path)
            elif kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    entry["content"] = file.read()
            if kind != stat.S_IFLNK:
                entry["xattrs"] = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith(("user.", "system.posix_acl"))}
            found[os.path.relpath(path, top)] = entry
    return {path: entry for path, entry in found.items() if path not in ignore}


def snapshot(top):
    """Also what must not change at all: inodes and change times."""
    top = os.fsencode(top)
    paths = [top] + [os.path.join(directory, name) for directory, children, names in os.walk(top) for name in children + names]
    return {path: (os.lstat(path).st_ino, os.lstat(path).st_ctime_ns) for path in paths}


@contextlib.contextmanager
def mounted(at, *words):
    """`mount WORDS… at`, taken down at the end; a zone that is still ending may hold it for a moment."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", *words, str(at)], check=True)
    try:
        yield at
    finally:
        eventually(lambda: subprocess.run(["umount", str(at)], check=False, capture_output=True).returncode == 0, 20, f"{at} is still in use")


@contextlib.contextmanager
def on_tmpfs(tmp_path):
    with mounted(tmp_path / "mounted", "-t", "tmpfs", "rauha-test") as top:
        yield top


@contextlib.contextmanager
def on_ext4(tmp_path):
    image = tmp_path / "disk.img"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted(tmp_path / "mounted", "-o", "loop", str(image)) as top:
        yield top


@contextlib.contextmanager
def on_overlay(tmp_path):
    """An overlay: overlayfs itself cannot be id-mapped, so a repository on it has to be copied."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted(tmp_path / "mounted", "-t", "overlay", "rauha-test", "-o", layers) as top:
        yield top


FILE_SYSTEMS = {"tmpfs": on_tmpfs, "ext4": on_ext4, "overlay": on_overlay}
