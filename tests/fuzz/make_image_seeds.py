#!/usr/bin/env python3
"""Writes the seeds of the image fuzzers into tests/fuzz/corpus/image_*; the same bytes each time."""
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import make_oci_image as oci  # noqa: E402

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def save(target, name, data):
    folder = HERE / "corpus" / ("image_" + target)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def references():
    good = ["host", "dir:/srv/x", "oci:dir", "oci:/a/b:c/d:tag", f"oci:/x@{A}", "oci-archive:x.tar:v2", "docker-archive:x.tar:docker.io/library/name:tag", "python:3.12", "a/b-c_d.e/f",
            "localhost:5000/x", f"x@{A}"]
    bad = ["", "host:x", "oci:", "oci::", "oci:d:.t", "Python", "a//b", "../x", "a\x00b", "x:y/z", "docker://x", "docker-daemon:x", "a@b", "-x", "oci:x@sha256:1"]
    for i, text in enumerate(good):
        save("reference", f"good{i}", text)
    for i, text in enumerate(bad):
        save("reference", f"bad{i}", text)


def documents():
    image = oci.Image([oci.Layer([oci.File("a", "b")])], {"Env": ["A=b"], "Cmd": ["x"], "Labels": {"k": "v"}})
    save("document", "manifest", b"m" + image.manifest)
    save("document", "config", b"c" + image.config)
    save("document", "index", b"i" + image._index("latest"))
    save("document", "docker", 'd[{"Config":"c.json","RepoTags":["a:b"],"Layers":[]}]')
    entry = '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":1,"platform":{"os":"%s","architecture":"amd64"}}'
    save("document", "index_platforms", 'i{"schemaVersion":2,"manifests":[' + entry % (A, "plan9") + "," + entry % (B, "linux") + "]}")
    for i, text in enumerate(["m", "m<html>", "m[]", 'm{"schemaVersion":1,"fsLayers":[]}', 'm{"schemaVersion":2,"config":7}', "m" + "[" * 5000, "c{}", 'c{"rootfs":{"type":"layers","diff_ids":[7]}}',
                              'i{"schemaVersion":2,"manifests":[{}]}', 'i{"manifests":{}}', "d{}", 'd[{"Config":7}]', 'm{"schemaVersion":2,"mediaType":"text/html"}', 'm"\\ud800"']):
        save("document", f"bad{i}", text)


def layers():
    plain = [oci.Dir("etc", 0o750, 3, 4), oci.File("etc/motd", "hi", 0o4755, xattrs={"user.x": b"y", "trusted.overlay.opaque": b"y"}), oci.Symlink("l", "etc"), oci.File("l/through", "x"), oci.Hardlink("h", "etc/motd"),
             oci.Fifo("p"), oci.Whiteout("etc/old"), oci.Opaque("var"), oci.Device("dev/null"), oci.File("x" * 150, "long")]
    tar = oci.tar_bytes(plain)
    save("layer", "plain.tar", tar)
    save("layer", "plain.tar.gz", oci.compress(tar, "gzip"))
    save("layer", "plain.tar.zst", oci.compress(tar, "zstd"))
    save("layer", "empty.tar", b"\0" * 1024)
    save("layer", "retype", oci.tar_bytes([oci.File("a", "1"), oci.Dir("a"), oci.File("a/b", "2"), oci.Symlink("a", "/etc"), oci.File("a/c", "3"), oci.Whiteout("a"), oci.Dir("a")]))
    save("layer", "links", oci.tar_bytes([oci.Symlink("up", "../../.."), oci.File("up/x", "1"), oci.Symlink("abs", "/"), oci.File("abs/y", "2"), oci.Symlink("self", "self"), oci.File("self/z", "3")]))
    hostile = {"dotdot": [oci.File("../canary", "evil")], "absolute_link": [oci.Hardlink("h", "/etc/passwd")], "hard_up": [oci.Hardlink("h", "../canary")], "owner": [oci.File("f", uid=100000)],
               "whiteout_root": [oci.File(".wh.")], "whiteout_dots": [oci.File("a/.wh...")], "whiteout_folder": [oci.File(".wh.a/b")], "root_file": [oci.File("/", "x")], "deep": [oci.File("d/" * 300 + "f")],
               "link_no_target": [oci.Symlink("l", "")]}
    for name, entries in hostile.items():
        save("layer", "bad_" + name, oci.tar_bytes(entries))
    save("layer", "bad_truncated.gz", oci.compress(tar, "gzip")[:200])
    save("layer", "bad_truncated.zst", oci.compress(tar, "zstd")[:100])
    save("layer", "bad_bomb.gz", oci.compress(b"\0" * (8 << 20), "gzip"))
    save("layer", "bad_text", b"<html>" * 200)
    save("layer", "bad_xz", b"\xfd7zXZ\0" + b"\0" * 40)


def archives():
    image = oci.Image([oci.Layer([oci.File("a", "b")])])
    with tempfile.TemporaryDirectory() as work:
        for name, compression in (("oci.tar", "none"), ("oci.tar.gz", "gzip"), ("oci.tar.zst", "zstd")):
            image.write_oci_archive(os.path.join(work, name), compression=compression)
            save("archive", name, pathlib.Path(work, name).read_bytes())
        image.write_docker_archive(os.path.join(work, "docker.tar"))
        docker = pathlib.Path(work, "docker.tar").read_bytes()
    save("archive", "docker.tar", docker)
    save("archive", "bad_truncated", docker[:1800])
    save("archive", "bad_empty", b"\0" * 1024)
    save("archive", "bad_text", b"hello " * 200)
    save("archive", "bad_links", oci.tar_bytes([oci.Symlink("manifest.json", "manifest.json"), oci.Symlink("index.json", "../../etc/passwd"), oci.Hardlink("oci-layout", "oci-layout")]))


def plain_tars():
    """What `rauha image export` gets from the daemon: see frontends/cli/export_files.h."""
    whole = oci.tar_bytes([oci.File("oci-layout", "{}"), oci.File("index.json", "{}"), oci.File("blobs/sha256/" + "0" * 64, "x" * 600), oci.File("empty", "")])
    end = b"\0" * 1024
    whole = whole.rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512)
    save("plain_tar", "good_layout", whole + end)
    save("plain_tar", "good_trailing", whole + end + b"behind")
    save("plain_tar", "good_empty", end)
    save("plain_tar", "bad_no_end", whole)
    save("plain_tar", "bad_one_zero_block", whole + b"\0" * 512 + whole[:512])
    save("plain_tar", "bad_cut", whole[:700])
    huge = bytearray(whole[:512])
    huge[124:136] = b"\x80" + b"\xff" * 11
    huge[148:156] = b" " * 8
    huge[148:156] = b"%06o\0 " % sum(huge)
    save("plain_tar", "bad_huge", bytes(huge) + b"x" * 100)
    save("plain_tar", "bad_link", oci.tar_bytes([oci.Symlink("index.json", "/etc/passwd")]))
    save("plain_tar", "bad_folder", oci.tar_bytes([oci.Dir("blobs")]))
    save("plain_tar", "bad_sum", whole[:100] + b"7" + whole[101:] + end)
    save("plain_tar", "bad_text", b"<html>" * 200)


if __name__ == "__main__":
    references()
    documents()
    layers()
    archives()
    plain_tars()
