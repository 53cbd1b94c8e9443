"""The repository at /workspace, in the modes ro and rw: what is seen, what is written, who owns it."""

import ctypes
import os
import stat
import struct
import threading

import pytest

PYTHON = ("python3", "-c")


@pytest.fixture
def repo(tmp_path):
    path = tmp_path / "repo"
    (path / "sub").mkdir(parents=True)
    (path / "README").write_text("hello\n")
    (path / "sub" / "file").write_text("inner\n")
    (path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (path / "run.sh").chmod(0o755)
    return path


def give(path, uid, gid):
    for directory, children, names in os.walk(path):
        for name in [".", *children, *names]:
            os.lchown(os.path.join(directory, name), uid, gid)


def options(repo, mode, *more):
    return ["--repo-path", str(repo), "--repo-mode", mode, *more]


def shell(script):
    return ("sh", "-c", script)


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_no_lease_on_a_file_of_the_host(rauha, repo, mode):
    """Whoever opens a leased file waits for its holder, on the host too."""
    script = """if True:
        import fcntl, os
        fd = os.open("README", os.O_RDONLY)
        top = os.open(".", os.O_RDONLY)
        for at, command in ((fd, fcntl.F_SETLEASE), (top, fcntl.F_NOTIFY), (top, 1040)):
            try:
                fcntl.fcntl(at, command, fcntl.F_RDLCK if at == fd else 1)
                print(command, "worked")
            except OSError as e:
                print(e.errno)
        fcntl.flock(fd, fcntl.LOCK_EX)
        """
    assert rauha.sandbox(*PYTHON, script, options=options(repo, mode)).task("succeeded", 0)["stdout"] == "1\n1\n1\n"


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_seen_at_workspace(rauha, repo, mode):
    document = rauha.sandbox(*shell("pwd; cat README sub/file; ./run.sh"), options=options(repo, mode)).task("succeeded", 0)
    assert document["stdout"] == "/workspace\nhello\ninner\nran\n" and document["repo_mode"] == mode


def test_short_option_name(rauha, repo):
    assert rauha.sandbox("cat", "README", options=["--repo", str(repo), "--repo-mode", "ro"]).task("succeeded", 0)["stdout"] == "hello\n"


def test_relative_path_is_the_callers(rauha, repo):
    result = rauha.sandbox("cat", "README", options=options("repo", "ro"), cwd=repo.parent)
    assert result.task("succeeded", 0)["stdout"] == "hello\n"


def test_workdir_below_the_repository(rauha, repo):
    assert rauha.sandbox("pwd", options=options(repo, "ro", "--workdir", "/workspace/sub")).task("succeeded", 0)["stdout"] == "/workspace/sub\n"


def test_without_a_repository_there_is_no_workspace(rauha):
    assert rauha.sandbox("ls", "-A", "/workspace").json["stdout"] == ""


def test_ro_is_not_writable(rauha, repo):
    script = """
import os, errno
def attempt(what, *arguments):
    try:
        getattr(os, what)(*arguments)
        print(what, "ALLOWED")
    except OSError as error:
        print(what, errno.errorcode[error.errno])
attempt("open", "README", os.O_WRONLY)
attempt("open", "new", os.O_WRONLY | os.O_CREAT)
attempt("open", "README", os.O_WRONLY | os.O_TRUNC)
attempt("unlink", "README")
attempt("mkdir", "directory")
attempt("rename", "README", "OTHER")
attempt("chmod", "README", 0o777)
attempt("chown", "README", 0, 0)
attempt("symlink", "README", "link")
attempt("link", "README", "hard")
attempt("setxattr", "README", b"user.x", b"1")
attempt("utime", "README")
attempt("truncate", "README", 0)
"""
    before = {path: path.stat() for path in repo.rglob("*")}
    document = rauha.sandbox(*PYTHON, script, options=options(repo, "ro")).task("succeeded", 0)
    refused = dict(line.split() for line in document["stdout"].splitlines())
    assert len(refused) >= 10 and set(refused.values()) <= {"EROFS", "EPERM", "EACCES"}, refused
    assert "EROFS" in refused.values()
    after = {path: path.stat() for path in repo.rglob("*")}
    assert before.keys() == after.keys() and all(before[path].st_mtime == after[path].st_mtime and before[path].st_mode == after[path].st_mode for path in before)


def test_rw_writes_through(rauha, repo):
    rauha.sandbox(*shell("echo new > new; echo more >> README; rm sub/file; mkdir made; mv run.sh moved.sh; ln -s README link"),
                  options=options(repo, "rw")).task("succeeded", 0)
    assert (repo / "new").read_text() == "new\n" and (repo / "README").read_text() == "hello\nmore\n"
    assert not (repo / "sub" / "file").exists() and (repo / "made").is_dir() and (repo / "moved.sh").exists()
    assert os.readlink(repo / "link") == "README"


@pytest.mark.parametrize("mode, said", [("rw", "its changes are in the tree"), ("ro", "it could not change the tree")])
def test_how_it_was_given_says_where_the_changes_are(rauha, repo, mode, said):
    document = rauha.sandbox("true", options=["--repo-path", str(repo), "--repo-mode", mode]).task("succeeded", 0)
    error = rauha.run("diff", document["task_id"], "--json").exited(1).json["error"]
    assert f"--repo-mode {mode}: {said}" in error["text"], error
    listed = rauha.run("task", "list", "--json").exited(0).json["tasks"]
    assert [entry["repo_path"] for entry in listed if entry["task_id"] == document["task_id"]] == [str(repo)]


@pytest.mark.parametrize("owner", [(0, 0), (1000, 1000), (54321, 12345)], ids=str)
def test_rw_keeps_the_owner(rauha, repo, owner):
    """Inside the files are the run user's; on the host what the task makes belongs to the directory's owner (the caller is root)."""
    give(repo, *owner)
    document = rauha.sandbox(*shell("id -u; stat -c '%u %g' . README; touch made; mkdir dir; stat -c '%u %g' made"),
                             options=options(repo, "rw")).task("succeeded", 0)
    assert document["stdout"].split("\n")[:4] == ["0", "0 0", "0 0", "0 0"]
    for name in ("made", "dir"):
        found = (repo / name).stat()
        assert (found.st_uid, found.st_gid) == owner


def test_files_of_others_stay_theirs(rauha, repo):
    """Ids other than the owner's are not mapped: the zone's root has no rights over them."""
    give(repo, 1000, 1000)
    other = repo / "other"
    other.write_text("secret")
    os.chown(other, 2000, 2000)
    other.chmod(0o600)
    document = rauha.sandbox(*shell("stat -c %u other; cat other; chown 0 other; chmod 777 other; echo x > other"), options=options(repo, "rw"))
    result = document.json
    assert result["stdout"].splitlines()[0] == "65534" and "secret" not in result["stdout"]
    found = other.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (2000, 0o600) and other.read_text() == "secret"


def test_set_user_id_bits_are_refused(rauha, repo):
    """A set-user-ID file in a shared tree would be the host owner's: no call may set the bits, not even in part."""
    script = """
import os, errno, ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def report(what, code):
    print(what, "ALLOWED" if code == 0 else errno.errorcode[ctypes.get_errno()])
for bits in (0o4755, 0o2755, 0o6755):
    name = b"chmod%o" % bits
    open(name, "w").close()
    report(name.decode(), libc.chmod(name, bits))
    fd = os.open(name, os.O_RDWR)
    report("f" + name.decode(), libc.fchmod(fd, bits))
    report("at" + name.decode(), libc.fchmodat(-100, name, bits, 0))
    report("at2" + name.decode(), 0 if libc.syscall(452, -100, name, bits, 0) == 0 else -1)
    report("creat%o" % bits, min(0, libc.creat(b"creat%o" % bits, bits)))
    report("open%o" % bits, min(0, libc.open(b"open%o" % bits, os.O_CREAT | os.O_WRONLY, bits)))
    report("openat%o" % bits, min(0, libc.openat(-100, b"openat%o" % bits, os.O_CREAT | os.O_WRONLY, bits)))
    report("mknod%o" % bits, libc.mknod(b"mknod%o" % bits, 0o100000 | bits, 0))
    report("mknodat%o" % bits, libc.mknodat(-100, b"mknodat%o" % bits, 0o100000 | bits, 0))
    how = struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, bits, 0)
    report("openat2%o" % bits, min(0, libc.syscall(437, -100, b"openat2%o" % bits, how, 24)))
    for call, fd in (("open", libc.open(b".", os.O_TMPFILE | os.O_RDWR, bits)), ("openat", libc.openat(-100, b".", os.O_TMPFILE | os.O_RDWR, bits))):
        report("%s-tmpfile%o" % (call, bits), min(0, fd))
        if fd >= 0:
            libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"tmpfile-%s%o" % (call.encode(), bits), 0x400)
report("chmod-plain", libc.chmod(b"chmod4755", 0o755))
"""
    document = rauha.sandbox(*PYTHON, script, options=options(repo, "rw")).task("succeeded", 0)
    outcome = dict(line.split() for line in document["stdout"].splitlines())
    assert outcome.pop("chmod-plain") == "ALLOWED", "the control: plain modes work"
    bits = [path for path in repo.rglob("*") if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID) and not path.is_dir()]
    assert not bits, f"set-id files on the host: {bits}; calls: {outcome}"
    assert all(value in ("EPERM", "ENOSYS", "EACCES") for name, value in outcome.items() if "chmod" in name), outcome


@pytest.mark.parametrize("owner", [0, 1000], ids=["of-root", "of-a-user"])
@pytest.mark.parametrize("policy", ["own", "standard"])
def test_file_capabilities_are_refused(rauha, repo, policy_file, owner, policy):
    """A file capability is a set-user-ID bit by another name; the policy's own setfcap does not change that where the tree is written through."""
    give(repo, owner, owner)
    script = """
import os, struct
for value in (struct.pack('<IIIII', 0x02000001, 128, 0, 0, 0), struct.pack('<IIIIII', 0x03000001, 128, 0, 0, 0, 0)):
    try:
        os.setxattr('run.sh', 'security.capability', value)
        print('ALLOWED')
    except OSError as error:
        print(error.strerror)
"""
    chosen = policy_file(capabilities=["setfcap", "chown", "setuid"]) if policy == "own" else ["--policy", "standard"]
    document = rauha.sandbox(*PYTHON, script, options=[*options(repo, "rw"), *chosen]).task("succeeded", 0)
    assert "ALLOWED" not in document["stdout"] and "setfcap" not in document["posture"]["capabilities"]
    assert "security.capability" not in os.listxattr(repo / "run.sh")
    if policy == "own":  # the control: without a shared tree the capability is there and works, on files of the zone
        control = rauha.sandbox(*PYTHON, script.replace("run.sh", "/tmp/file").replace("import os", "open('/tmp/file', 'w').close(); import os"), options=chosen)
        assert "ALLOWED" in control.task("succeeded", 0)["stdout"] and "setfcap" in control.json["posture"]["capabilities"]


def test_host_control_sets_the_bits(repo):
    """The control of the test above: outside, root may do it."""
    (repo / "README").chmod(0o4755)
    assert (repo / "README").stat().st_mode & stat.S_ISUID


def test_links_that_leave_the_repository(rauha, repo, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("outside")
    (repo / "absolute").symlink_to(canary)
    (repo / "relative").symlink_to("../canary")
    document = rauha.sandbox(*shell("cat absolute relative; echo x > absolute; echo x > relative; cat ../canary; ls /workspace/.."),
                             options=options(repo, "rw")).json
    assert "outside" not in document["stdout"] and canary.read_text() == "outside"


def test_repository_with_a_link_as_its_path(rauha, repo, tmp_path):
    """The caller's own link is followed with the caller's rights."""
    (tmp_path / "link").symlink_to(repo)
    assert rauha.sandbox("cat", "README", options=options(tmp_path / "link", "ro")).task("succeeded", 0)["stdout"] == "hello\n"


def test_devices_and_setuid_in_the_repository(rauha, repo):
    os.mknod(repo / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    document = rauha.sandbox(*shell("echo x > null && echo ALLOWED; grep ' /workspace ' /proc/self/mountinfo"), options=options(repo, "rw")).json
    assert "ALLOWED" not in document["stdout"]
    fields = document["stdout"].split()
    assert "nosuid" in fields[5].split(",") and "nodev" in fields[5].split(","), document["stdout"]


def test_pytest_runs_on_a_repository(rauha, repo):
    """The main job."""
    (repo / "test_it.py").write_text("def test_ok():\n    assert 1 + 1 == 2\n\ndef test_bad():\n    assert False\n")
    command = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = rauha.sandbox(*command, options=options(repo, "ro"))
    document = result.task("failed", 1)
    assert "1 failed, 1 passed" in document["stdout"], result.explain()
    assert not (repo / ".pytest_cache").exists() and not (repo / "__pycache__").exists()
    (repo / "test_it.py").write_text("def test_ok():\n    assert 1 + 1 == 2\n")
    rauha.sandbox(*command, options=options(repo, "ro")).task("succeeded", 0)


def test_two_tasks_on_one_repository(rauha, repo):
    running = [rauha.start_sandbox(*shell(f"for i in 1 2 3 4 5; do echo {index} >> log; done"), options=options(repo, "rw")) for index in range(4)]
    for task in running:
        task.wait(60).task("succeeded", 0)
    assert sorted((repo / "log").read_text().split()) == sorted("0123" * 5)


def test_git_works_inside(rauha, repo):
    give(repo, 1000, 1000)
    git = "git -c init.defaultBranch=main -c user.name=x -c user.email=x@example.com"
    document = rauha.sandbox(*shell(f"{git} init -q && {git} add -A && {git} commit -qm first && git status --short && git log --oneline | wc -l"),
                             options=options(repo, "rw")).task("succeeded", 0)
    assert document["stdout"].strip() == "1"


class SilentFileSystem:
    """A directory whose server says nothing when it is asked what the directory is: FUSE's protocol, without a library."""

    INIT, GETATTR, OPENDIR, ACCESS, FORGET, RELEASEDIR, INTERRUPT, BATCH_FORGET = 26, 3, 27, 34, 2, 29, 36, 42

    def __init__(self, mountpoint):
        self.path = mountpoint
        self.asked = threading.Event()
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"silent", os.fsencode(mountpoint), b"fuse.silent", 6, options.encode()) != 0:
            error = ctypes.get_errno()
            os.close(self.fd)
            pytest.skip(f"FUSE cannot be mounted here: {os.strerror(error)}")
        self.libc = libc
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 18)
            except OSError:
                return
            opcode, unique = struct.unpack_from("<xxxxIQ", request)
            if opcode == self.INIT:
                body = struct.pack("<IIIIHHIIHHI7I", 7, 26, 65536, 0, 8, 8, 65536, 1, 0, 0, *[0] * 8)
            elif opcode == self.OPENDIR:
                body = struct.pack("<QII", 1, 0, 0)
            elif opcode in (self.GETATTR, self.FORGET, self.BATCH_FORGET, self.INTERRUPT):
                if opcode == self.GETATTR:
                    self.asked.set()
                continue
            else:
                body = b""
            error = -38 if opcode not in (self.INIT, self.OPENDIR, self.RELEASEDIR) else 0
            os.write(self.fd, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

    def close(self):
        # The end of the connection answers whoever still waits. The thread's read ends with it, and closes nothing of ours.
        self.libc.umount2(os.fsencode(self.path), 1 | 2)  # force: aborts; detach
        self.thread.join(10)
        os.close(self.fd)


def test_repository_whose_file_system_does_not_answer(rauha, tmp_path):
    """The client may be the one who answers for its directory. Then its task waits and fails; nobody else notices."""
    mountpoint = tmp_path / "silent"
    mountpoint.mkdir()
    rauha.ensure_daemon()
    silent = SilentFileSystem(mountpoint)
    try:
        running = rauha.start_sandbox("true", options=["--repo-path", str(mountpoint), "--repo-mode", "ro"])
        assert silent.asked.wait(30), "nobody asked what the repository is"
        for _ in range(3):
            rauha.run("zone", "list", "--json", timeout=8).exited(0)
        rauha.sandbox("true", timeout=60).task("succeeded", 0)
        running.wait(60).refused(125, "repository", "deadline", "does not answer")
    finally:
        silent.close()
