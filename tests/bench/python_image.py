"""A Python image of several layers and more than 100 MB, from the Debian archive by mmdebstrap; built once, kept below ~/.cache/rauha-dev.

python_image() -> path of an OCI layout whose tag is "python". Three layers: the base system, Python with numpy and its kin on top, a program.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.make_oci_image import File, Image, Layer  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rauha-dev" / "python-image-1"
PACKAGES = "python3,python3-numpy,python3-pytest,python3-requests,python3-yaml,python3-lxml,ca-certificates"


def _system(directory, include):
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", "--quiet", *(["--include=" + include] if include else []), "bookworm", str(directory)]
    subprocess.run(command, check=True)


def _stamp(path):
    st = path.lstat()
    content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return st.st_mode, st.st_uid, st.st_gid, content


def _upper(base, whole):
    """What `whole` has that `base` has not, as paths that are then moved into a tree of their own (removed files do not matter here)."""
    for path in sorted(whole.rglob("*"), reverse=True):
        other = base / path.relative_to(whole)
        if not os.path.lexists(other):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif _stamp(path) == _stamp(other):
            path.unlink()


def python_image():
    if (CACHE / "index.json").exists():
        return CACHE
    if shutil.which("mmdebstrap") is None:
        raise SystemExit("the Python image is built with mmdebstrap: apt-get install mmdebstrap")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="building-") as temporary:
        work = pathlib.Path(temporary)
        _system(work / "base", "")
        _system(work / "whole", PACKAGES)
        for tree in ("base", "whole"):
            shutil.rmtree(work / tree / "var/cache/apt", ignore_errors=True)
            shutil.rmtree(work / tree / "var/lib/apt/lists", ignore_errors=True)
        base = Layer.from_directory(work / "base")
        _upper(work / "base", work / "whole")
        image = Image([base, Layer.from_directory(work / "whole"), Layer([File("app/main.py", b"print('hello')\n")])],
                      {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["python3", "/app/main.py"]})
        image.write_layout(work / "layout", "python")
        os.rename(work / "layout", CACHE)
    return CACHE


if __name__ == "__main__":
    print(python_image())
