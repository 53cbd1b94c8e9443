#!/usr/bin/env python3
"""make_python_image.py OUTDIR [--tag TAG] [--format layout|oci-archive|docker-archive] [--compression gzip|zstd|none]

An OCI image with Python and pytest, assembled without a network from Debian packages that are installed on this machine
(python3, python3-pytest, busybox-static). Layers, lowest first: busybox as the shell with a root's skeleton and the C library;
Python and its standard library; pytest and what it depends on. Only files of the named packages and the libraries that they link to.
Prints the manifest's digest. Exit code 3, with one line, when a package is missing.
"""
import argparse
import os
import re
import subprocess
import sys

import make_oci_image as oci

PYTHON = ["python3-minimal", "python3", "libpython3-stdlib"]
PYTEST = ["python3-pytest", "python3-attr", "python3-iniconfig", "python3-more-itertools", "python3-packaging", "python3-pkg-resources", "python3-pluggy", "python3-py"]
LEFT_OUT = re.compile(r"^/usr/share/(doc|man|lintian|info|bash-completion|locale|python3/runtime\.d|pixmaps|applications|binfmts)(/|$)|^/usr/share/(doc-base)(/|$)")
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


class Missing(Exception):
    pass


def files_of(package):
    run = subprocess.run(["dpkg", "-L", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if run.returncode != 0:
        raise Missing(package)
    return [line for line in run.stdout.splitlines() if line not in ("/.", "") and not LEFT_OUT.match(line)]


def real(path):
    """The same file by a path without links among its folders: a merged /usr has /lib as a link."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def collect(packages):
    out = set()
    for package in packages:
        for path in files_of(package):
            path = real(path)
            if os.path.isdir(path) and not os.path.islink(path):
                continue
            if not os.path.lexists(path):
                continue
            out.add(path)
            if path.endswith(".py"):  # made at installation; without them every start compiles again
                folder, base = os.path.split(path)
                cache = os.path.join(folder, "__pycache__")
                tag = sys.implementation.cache_tag
                compiled = os.path.join(cache, base[:-3] + f".{tag}.pyc")
                if os.path.exists(compiled):
                    out.add(compiled)
    return out


def libraries(paths):
    """What the ELF files among `paths` link to, links and their targets."""
    out = set()
    for path in sorted(paths):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            if f.read(4) != b"\x7fELF":
                continue
        listing = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for found in re.findall(r"(/\S+) \(0x", listing):
            path = real(found)
            while True:
                out.add(path)
                if not os.path.islink(path):
                    break
                path = real(os.path.join(os.path.dirname(path), os.readlink(path)))
    return out


def packages_of_version():
    version = os.path.basename(os.path.realpath("/usr/bin/python3"))  # "python3.11"
    return PYTHON + [version, version + "-minimal", f"lib{version}-minimal", f"lib{version}-stdlib"]


def build(compression="gzip"):
    python = collect(packages_of_version())
    pytest = collect(PYTEST) - python
    libs = libraries(python | pytest)
    python_libs = libs - libraries(["/usr/bin/env"])  # libc and the loader belong to the base
    base_libs = libs - python_libs
    busybox = real("/bin/busybox")
    if not os.path.exists(busybox):
        raise Missing("busybox-static")
    # What Python itself brings must not be shadowed by an applet.
    taken = {os.path.basename(p) for p in python | pytest if "/bin/" in p}
    applets = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    skeleton = [e for e in oci.ROOT_SKELETON] + [oci.Dir(d) for d in ("usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "workspace", "mnt", "opt", "srv", "var/log", "etc/default")]
    skeleton += [oci.Symlink(name, target) for name, target in LINKS.items()]
    skeleton += [oci.Symlink("usr/bin/" + a, "busybox") for a in applets if a != "busybox" and a not in taken]
    skeleton += [oci.File("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"), oci.File("etc/os-release", 'ID=rauha-test\nNAME="Rauha test image"\n')]
    nss = [p for p in ("/usr/lib/x86_64-linux-gnu/libnss_files.so.2", "/usr/lib/x86_64-linux-gnu/libnss_dns.so.2", "/usr/lib/locale/C.utf8") if os.path.exists(p)]
    nss += [os.path.join(d, f) for p in nss if os.path.isdir(p) for d, _, names in os.walk(p) for f in names]
    layers = [oci.Layer.from_paths([busybox, *base_libs, *nss], compression, skeleton), oci.Layer.from_paths([*python, *python_libs], compression),
              oci.Layer.from_paths(pytest, compression)]
    config = {"Env": [oci.DEFAULT_PATH, "LANG=C.UTF-8", "HOME=/root"], "Cmd": ["python3"], "WorkingDir": "/workspace"}
    return oci.Image(layers, config)


def main():
    parser = argparse.ArgumentParser(description="makes an OCI image with Python and pytest from this machine's Debian packages")
    parser.add_argument("out")
    parser.add_argument("--tag", default="latest")
    parser.add_argument("--format", default="layout", choices=["layout", "oci-archive", "docker-archive"])
    parser.add_argument("--compression", default="gzip", choices=["gzip", "zstd", "none"])
    args = parser.parse_args()
    try:
        image = build(args.compression)
    except Missing as e:
        print(f"make_python_image: package {e} is not installed: apt-get install python3 python3-pytest busybox-static", file=sys.stderr)
        return 3
    print(image.write(args.out, args.format, args.tag))
    return 0


if __name__ == "__main__":
    sys.exit(main())
