"""Overlay mode on repositories of every kind: other file systems, other owners, with submodules and worktrees, in the middle of a rebase, and
changed by somebody else while the task runs."""

import os
import shutil
import subprocess

import pytest

from support.repositories import FILE_SYSTEMS, GIT_OPTIONS, git, listing, on_overlay, snapshot
from support.waiting import eventually

SCRIPT = "echo more >> README; rm old/x; mkdir new; echo new > new/file; chmod 700 run.sh; ln -s README link; mv src/a.c src/b.c"


def shell(script):
    return ("sh", "-ec", script)


def fill(top):
    (top / "src").mkdir(parents=True)
    (top / "old").mkdir()
    (top / "README").write_text("one\ntwo\n")
    (top / "src" / "a.c").write_text("int a;\n")
    (top / "old" / "x").write_text("x\n")
    (top / "old" / "y").write_text("y\n")
    (top / "run.sh").write_text("#!/bin/sh\n")
    return top


@pytest.fixture
def repo(tmp_path):
    return fill(tmp_path / "repo")


def task(rauha, repo, script, options=()):
    before = snapshot(repo)
    document = rauha.sandbox(*shell(script), options=["--repo-path", str(repo), *GIT_OPTIONS, *options]).task("succeeded", 0)
    assert snapshot(repo) == before, "the host's tree was touched"
    return document


def apply(rauha, task_id, *options, code=0):
    return rauha.run("apply", task_id, "--json", *options).exited(code).json


def start(rauha, repo, script):
    """A task that does `script` when it is told to go on."""
    running = rauha.start_sandbox(*shell(f"echo ready; read go; {script}"), options=["--repo-path", str(repo), *GIT_OPTIONS], stdin=subprocess.PIPE,
                                  json_output=False)
    eventually(lambda: b"ready" in running.output(), 30, "the task does not begin")
    return running


def last(rauha):
    return rauha.run("task", "list", "--limit", "1", "--json").exited(0).json["tasks"][0]["task_id"]


def go_on(running):
    running.process.stdin.write(b"go\n")
    running.process.stdin.close()
    return running.wait().exited(0)


# --- where it lies

@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_round_trip_on_file_system(rauha, tmp_path, kind):
    """Where it can be mounted nothing is copied; elsewhere it is, and the result says so. The tree that comes of it is the same."""
    with FILE_SYSTEMS[kind](tmp_path) as mount:
        repo, twin = fill(mount / "repo"), tmp_path / "twin"
        subprocess.run(["cp", "-a", str(repo), str(twin)], check=True)
        subprocess.run(["sh", "-ec", SCRIPT], cwd=twin, check=True)
        document = task(rauha, repo, SCRIPT)
        copied = [note for note in document["changes"].get("notes", []) if "copied" in note]
        assert bool(copied) == (kind == "overlay"), document["changes"].get("notes")
        events = {event["name"]: event for event in document["events"]}
        assert ("repository.copying" in events) == (kind == "overlay"), events.keys()
        apply(rauha, document["task_id"])
        assert listing(repo, times=False) == listing(twin, times=False)
        follow_up = rauha.sandbox("cat", "new/file", options=["--from", document["task_id"]]).task("succeeded", 0)
        assert follow_up["stdout"] == "new\n"


def test_a_copy_is_told_while_it_runs(rauha, tmp_path):
    with on_overlay(tmp_path) as mount:
        repo = fill(mount / "repo")
        text = rauha.sandbox("true", options=["--repo-path", str(repo)], json_output=False).exited(0).stderr.decode()
        assert "rauha: copying the repository, which cannot be mounted\n" in text, text
        assert "rauha: copied the repository: 5 files, " in text, text
        quiet = rauha.sandbox("true", options=["--repo-path", str(repo)])
        quiet.task("succeeded", 0)
        assert quiet.stderr == b"", quiet.stderr
    control = rauha.sandbox("true", options=["--repo-path", str(fill(tmp_path / "elsewhere"))], json_output=False).exited(0)
    assert b"copying" not in control.stderr


def test_a_copy_that_does_not_fit_is_refused(rauha, tmp_path, policy_file):
    with on_overlay(tmp_path) as mount:
        repo = fill(mount / "repo")
        (repo / "large").write_bytes(bytes(range(256)) * (24 << 12))
        options = ["--repo-path", str(repo), *policy_file(filesystem={"scratch_size": "16MiB"})]
        error = rauha.sandbox("true", options=options).refused(125, "repository", "limit")
        assert "does not fit" in error["text"] and "scratch_size" in error["hint"]


def test_a_mount_inside_is_not_part_of_it(rauha, tmp_path, repo):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "other").write_text("another file system\n")
    (repo / "mnt").mkdir()
    subprocess.run(["mount", "--bind", str(inner), str(repo / "mnt")], check=True)
    try:
        document = rauha.sandbox(*shell("ls -A mnt; echo task > mnt/new"), options=["--repo-path", str(repo)]).task("succeeded", 0)
        assert document["stdout"] == ""
        outcome = apply(rauha, document["task_id"], code=1)
        assert outcome["counts"]["conflict"] == 1 and "another file system" in str(outcome["changes"])
        assert sorted(path.name for path in inner.iterdir()) == ["other"]
    finally:
        subprocess.run(["umount", str(repo / "mnt")], check=True)


# --- git

def committed(repo):
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    return repo


def test_submodule(rauha, tmp_path, repo):
    library = tmp_path / "library"
    library.mkdir()
    (library / "lib.c").write_text("int lib;\n")
    committed(library)
    git(tmp_path, "clone", "-q", "--bare", str(library), str(repo / "vendor.git"))
    committed(repo)
    git(repo, "submodule", "add", "-q", "./vendor.git", "sub")
    # Where it is in the zone. A plain path would have git make hard links, which it takes for a race when they come from another layer.
    git(repo, "config", "-f", ".gitmodules", "submodule.sub.url", "file:///workspace/vendor.git")
    git(repo, "add", ".gitmodules")
    git(repo, "commit", "-q", "-m", "with a submodule")
    git(repo, "submodule", "deinit", "-q", "-f", "sub")
    shutil.rmtree(repo / ".git" / "modules")
    document = task(rauha, repo, """
git -c protocol.file.allow=always submodule -q update --init
cat sub/lib.c
echo 'int more;' >> sub/lib.c
git -C sub commit -qam more
git add sub; git commit -qm 'sub goes on'
git submodule status""")
    assert document["stdout"].startswith("int lib;\n")
    assert not (repo / "sub" / "lib.c").exists(), "control: on the host the submodule is empty"
    # Its configuration and hooks can run code: without the word they stay away.
    outcome = apply(rauha, document["task_id"], "--dry-run")
    assert {change["path"] for change in outcome["changes"] if change["verdict"] == "protected"} >= {".git/modules/sub/config", "sub/.git"}
    apply(rauha, document["task_id"], "--include-protected")
    assert git(repo, "submodule", "status") == document["stdout"].split("\n", 1)[1]
    assert git(repo / "sub", "log", "--format=%s").split() == ["more", "first"]
    assert git(repo, "status", "--porcelain") == ""
    git(repo, "fsck", "--strict")


def test_worktree_of_the_hosts_survives(rauha, tmp_path, repo):
    committed(repo)
    git(repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    document = task(rauha, repo, "echo more >> README; git commit -qam second; git worktree add -q /tmp/inside HEAD; git -C /tmp/inside log --oneline")
    assert len(document["stdout"].splitlines()) == 2
    apply(rauha, document["task_id"])
    assert git(repo, "log", "--format=%s").split() == ["second", "first"]
    assert git(tmp_path / "linked", "status", "--porcelain") == ""
    assert git(tmp_path / "linked", "rev-parse", "HEAD") == git(repo, "rev-parse", "HEAD~1")


@pytest.mark.parametrize("when", ["after", "meanwhile", "both"])
def test_index_that_the_host_only_refreshed(rauha, repo, when):
    """`git status` of a prompt or an editor rewrites the host's index; the task's commit is applied nevertheless, and again after another look."""
    committed(repo)
    head = git(repo, "rev-parse", "HEAD")

    def look(name="src/a.c"):
        before = (repo / ".git" / "index").read_bytes()
        seen = (repo / name).stat().st_mtime - 10  # git looks at whole seconds
        os.utime(repo / name, (seen, seen))
        git(repo, "status")
        assert (repo / ".git" / "index").read_bytes() != before, "git did not refresh its index"

    running = start(rauha, repo, "echo more >> README; echo new > added; git add -A; git commit -qm second")
    if when != "after":
        look()
    go_on(running)
    identifier = last(rauha)
    if when != "meanwhile":
        look("old/y")
    assert apply(rauha, identifier)["ok"]
    assert git(repo, "rev-parse", "HEAD~1") == head and git(repo, "status", "--porcelain") == ""
    git(repo, "fsck", "--strict")
    look()
    again = apply(rauha, identifier)
    # The other look has changed the time of `.git` itself.
    assert again["counts"]["conflict"] == 0 and {c["path"] for c in again["changes"] if c["verdict"] == "applied"} <= {".git"}, again
    assert git(repo, "status", "--porcelain") == ""


def test_what_the_host_staged_is_a_conflict(rauha, repo):
    committed(repo)
    running = start(rauha, repo, "echo new > added; git add added")
    go_on(running)
    (repo / "mine").write_text("mine\n")
    git(repo, "add", "mine")
    outcome = apply(rauha, last(rauha), code=1)
    assert [change["path"] for change in outcome["changes"] if change["verdict"] == "conflict"] == [".git/index"], outcome
    assert "A  mine" in git(repo, "status", "--porcelain")


def test_task_in_a_linked_worktree(rauha, tmp_path, repo):
    """Its git directory lies outside, so git does not work in the zone; files do, and nothing outside is reached."""
    committed(repo)
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "other", str(linked))
    before = snapshot(repo)
    document = task(rauha, linked, "git status 2> /dev/null && exit 1; echo more >> README")
    apply(rauha, document["task_id"])
    assert (linked / "README").read_text() == "one\ntwo\nmore\n" and snapshot(repo) == before
    assert git(linked, "status", "--porcelain") == " M README\n"
    told = rauha.sandbox("true", options=["--repo-path", str(linked)], json_output=False).exited(0).stderr.decode()
    assert f"the git directory of {linked} is {repo}/.git/worktrees/linked, outside of what the task sees" in told


def conflicting(repo):
    """A rebase that stops in its middle."""
    committed(repo)
    git(repo, "checkout", "-q", "-b", "side")
    (repo / "README").write_text("one\nside\n")
    git(repo, "commit", "-q", "-am", "side")
    git(repo, "checkout", "-q", "main")
    (repo / "README").write_text("one\nmain\n")
    git(repo, "commit", "-q", "-am", "main")
    git(repo, "checkout", "-q", "side")
    return repo


def test_a_rebase_in_its_middle_is_finished_inside(rauha, repo):
    git(conflicting(repo), "rebase", "-q", "main", check=False)
    assert (repo / ".git" / "rebase-merge").is_dir()
    document = task(rauha, repo, "printf 'one\\nmain\\nside\\n' > README; git add README; git rebase --continue > /dev/null; git log --format=%s")
    assert document["stdout"].split() == ["side", "main", "first"]
    outcome = apply(rauha, document["task_id"], "--dry-run")
    protected = {change["path"] for change in outcome["changes"] if change["verdict"] == "protected"}
    assert ".git/rebase-merge/git-rebase-todo" in protected, "its exec lines would run on the host"
    apply(rauha, document["task_id"], "--include-protected")
    assert not (repo / ".git" / "rebase-merge").exists()
    assert git(repo, "log", "--format=%s").split() == ["side", "main", "first"] and git(repo, "status", "--porcelain") == ""
    git(repo, "fsck", "--strict")


def test_host_that_rebases_meanwhile(rauha, repo):
    conflicting(repo)
    running = start(rauha, repo, "echo task >> README; echo task > new")
    git(repo, "rebase", "-q", "-X", "theirs", "main")
    text = go_on(running).stderr.decode()
    assert "changed while the task ran" in text, text
    before = snapshot(repo)
    outcome = apply(rauha, last(rauha), code=1)
    assert outcome["refused"] and [change["path"] for change in outcome["changes"] if change["verdict"] == "conflict"] == ["README"]
    assert snapshot(repo) == before
    found = rauha.run("diff", "last").exited(0).stdout.decode()
    assert "changed while the task ran" in [line for line in found.splitlines() if line.startswith("# README")][0]
    git(repo, "fsck", "--strict")


def test_what_the_host_does_meanwhile_is_told_for_each_kind(rauha, repo):
    os.symlink("README", repo / "link")
    running = start(rauha, repo, "rm link; ln -s src link; echo task >> src/a.c; chmod 600 run.sh; rm old/x; echo task >> old/y")
    (repo / "link").unlink()
    os.symlink("old", repo / "link")
    (repo / "src" / "a.c").write_text("host\n")
    (repo / "run.sh").chmod(0o711)
    (repo / "old" / "x").write_text("host\n")
    go_on(running)
    document = rauha.run("diff", "last", "--json").exited(0).json
    assert document["host_tree"] == "changed" and {"link", "src/a.c", "run.sh", "old/x"} <= set(document["host_changes"])
    changed = {change["path"] for change in document["changes"] if change.get("host_changed")}
    assert changed >= {"link", "src/a.c", "run.sh", "old/x"} and "old/y" not in changed
    outcome = apply(rauha, last(rauha), code=1)
    conflicts = {change["path"] for change in outcome["changes"] if change["verdict"] == "conflict"}
    assert conflicts == {"link", "src/a.c", "run.sh", "old/x"}, outcome


# --- whose it is

def test_a_tree_of_several_owners(rauha, repo):
    """The tree's owner is who the task is; others' files are readable as their mode says, and keep their owner whatever is applied."""
    for directory, children, names in os.walk(repo):
        for name in [".", *children, *names]:
            os.lchown(os.path.join(directory, name), 1234, 1235)
    os.chown(repo / "src" / "a.c", 4321, 4321)
    (repo / "old" / "y").chmod(0o600)
    os.chown(repo / "old" / "y", 4321, 4321)
    document = task(rauha, repo, "cat old/y 2> /dev/null && exit 1; echo more >> README; rm old/x; cat src/a.c; echo no 2> /dev/null >> src/a.c && exit 1; id -u")
    assert document["stdout"].startswith("int a;\n")
    apply(rauha, document["task_id"])
    assert os.stat(repo / "README").st_uid == 1234 and os.stat(repo / "src" / "a.c").st_uid == 4321
    assert (repo / "README").read_text() == "one\ntwo\nmore\n" and not (repo / "old" / "x").exists()
