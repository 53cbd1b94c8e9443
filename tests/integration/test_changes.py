"""What a task did to its repository: untouched on the host, shown by `diff`, brought in by `apply`, gone on from with `--from`."""

import base64
import json
import os
import shutil
import stat
import subprocess

import pytest

from support.repositories import listing, snapshot
from support.waiting import eventually

# Which random tasks are played: RAUHA_SEEDS=100-199 for others. A seed is part of its test's name.
FIRST, LAST = (int(number) for number in os.environ.get("RAUHA_SEEDS", "0-11").split("-"))


def shell(script):
    return ("sh", "-ec", script)


def python(script):
    return ("python3", "-c", script)


@pytest.fixture
def repo(tmp_path):
    path = tmp_path / "repo"
    (path / "src" / "deep").mkdir(parents=True)
    (path / "README").write_text("one\ntwo\nthree\n")
    (path / "src" / "a.c").write_text("int a;\n")
    (path / "src" / "deep" / "b.c").write_text("int b;\n")
    (path / "old").mkdir()
    (path / "old" / "x").write_text("x\n")
    (path / "data.bin").write_bytes(bytes(range(256)) * 4)
    (path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (path / "run.sh").chmod(0o755)
    os.symlink("README", path / "link")
    for directory, children, names in os.walk(path):
        for name in [*children, *names]:
            os.utime(os.path.join(directory, name), ns=(10**18, 10**18 + 5), follow_symlinks=False)
    return path


def task(rauha, repo, *command, options=(), status="succeeded"):
    before = snapshot(repo)
    document = rauha.sandbox(*command, options=["--repo-path", str(repo), *options]).task(status)
    assert snapshot(repo) == before, "the host's tree was touched"
    assert document["repo_mode"] == "overlay"
    return document


def by_path(document):
    return {change["path"]: change for change in document["changes"]["changes"]}


def diff(rauha, task_id, *options):
    result = rauha.run("diff", task_id, *options)
    result.exited(0)
    return result


def apply(rauha, task_id, *options, code=0):
    result = rauha.run("apply", task_id, "--json", *options)
    result.exited(code)
    return result.json


def reproduce(rauha, tmp_path, repo, script, name="twin"):
    """The same script run in place, on a copy, is what the applied repository must look like. Times are the task's, so they are compared by
    a second apply that finds nothing to do."""
    twin = tmp_path / name
    subprocess.run(["cp", "-a", str(repo), str(twin)], check=True)
    subprocess.run(["sh", "-ec", script], cwd=twin, check=True)
    document = task(rauha, repo, *shell(script))
    apply(rauha, document["task_id"], "--include-protected", "--owner")
    assert listing(repo, times=False) == listing(twin, times=False)
    again = apply(rauha, document["task_id"], "--include-protected", "--owner")
    assert again["counts"]["applied"] == 0 and again["counts"]["conflict"] == 0, again
    return document


# --- the tree stays untouched, and the result says what was done

def test_overlay_is_the_default(rauha, repo):
    document = task(rauha, repo, *shell("echo more >> README; cat README; rm old/x; ls old"))
    assert document["stdout"] == "one\ntwo\nthree\nmore\n"
    changes = by_path(document)
    assert changes["README"]["kind"] == "modified" and "content" in changes["README"]["fields"]
    assert changes["old/x"]["kind"] == "deleted"
    assert document["changes"]["kept"] is True
    assert (repo / "README").read_text() == "one\ntwo\nthree\n"


def test_every_kind_of_change_is_told(rauha, repo):
    document = task(rauha, repo, *shell("echo new > new; echo x >> README; rm data.bin; chmod 600 src/a.c; rm link; ln -s src link; "
                                        "mv src/deep/b.c src/c.c; rm run.sh; mkdir run.sh"))
    changes = by_path(document)
    assert changes["new"]["kind"] == "added"
    assert changes["data.bin"]["kind"] == "deleted"
    assert "mode" in changes["src/a.c"]["fields"]
    assert changes["link"]["new"]["target"] == "src"
    assert (changes["src/c.c"]["kind"], changes["src/c.c"]["from"]) == ("renamed", "src/deep/b.c")
    assert changes["run.sh"]["kind"] == "type_changed"
    totals = document["changes"]["totals"]
    assert totals["deleted"] == 1 and totals["renamed"] == 1 and totals["type_changed"] == 1 and totals["added"] == 1


def test_nothing_done_is_no_change(rauha, repo):
    document = task(rauha, repo, *shell("cat README > /dev/null"))
    assert document["changes"]["totals"]["added"] == 0 and not document["changes"].get("changes")


def test_summary_says_how_to_go_on(rauha, repo):
    result = rauha.sandbox(*shell("mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; echo x >> README"),
                           options=["--repo-path", str(repo)], json_output=False)
    text = result.exited(0).stderr.decode()
    assert "changes:" in text and ".git/hooks/pre-commit" in text and "rauha diff task_" in text, text


# --- round trip

ROUND_TRIPS = {
    "create": "echo new > new; mkdir -p a/b/c; echo deep > a/b/c/file; mkdir empty; : > nothing",
    "edit": "echo more >> README; printf 'no newline' > src/a.c; printf 'a\\r\\nb\\r\\n' > src/deep/b.c",
    "delete": "rm README link; rm -r src",
    "rename": "mv README READ; mv src lib; mv run.sh lib/",
    "modes": "chmod 600 README; chmod 644 run.sh; chmod 700 src; mkdir closed; chmod 555 closed",
    "links": "rm link; ln -s /etc/passwd link; ln -s loop loop; ln -s ../.. up",
    "types": "rm README; mkdir README; echo x > README/x; rm -r src; echo file > src; rm link; echo file > link",
    "binary": "head -c 5000 /dev/zero > zero; printf 'x\\000y' > data.bin",
    "all": "rm -r old; mkdir old; echo other > old/y; mv data.bin old/; cp run.sh copy; chmod 711 copy; echo x > 'with space'; echo y > ./-rf",
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_round_trip(rauha, tmp_path, repo, name):
    reproduce(rauha, tmp_path, repo, ROUND_TRIPS[name])


def test_round_trip_of_attributes_times_and_odd_names(rauha, repo):
    script = """
import os
os.setxattr("README", "user.note", b"a\\0b")
os.setxattr("src", "user.dir", b"1")
os.utime("src/a.c", ns=(10**18, 123456789123456789))
for name in (b"new\\nline", b"\\xff\\xfe", b"n" * 255, b"-rf", b" ", b"\\x1b[2J", b"CASE", b"case"):
    with open(name, "wb") as file:
        file.write(name)
"""
    document = task(rauha, repo, *python(script))
    apply(rauha, document["task_id"])
    assert os.getxattr(repo / "README", "user.note") == b"a\0b" and os.getxattr(repo / "src", "user.dir") == b"1"
    assert (repo / "src" / "a.c").stat().st_mtime_ns == 123456789123456789
    for name in (b"new\nline", b"\xff\xfe", b"n" * 255, b"-rf", b" ", b"\x1b[2J", b"CASE", b"case"):
        with open(os.path.join(os.fsencode(repo), name), "rb") as file:
            assert file.read() == name
    assert b"\x1b" not in rauha.run("diff", document["task_id"], "--json").exited(0).stdout


def test_times_are_the_tasks(rauha, repo):
    document = task(rauha, repo, *shell("echo new > new; echo more >> README"))
    apply(rauha, document["task_id"])
    changes = by_path(document)
    for name in ("new", "README"):
        assert (repo / name).stat().st_mtime_ns == changes[name]["new"]["mtime_ns"]


def test_owner_of_the_tree_stays(rauha, repo):
    for directory, children, names in os.walk(repo):
        for name in [".", *children, *names]:
            os.lchown(os.path.join(directory, name), 1234, 1235)
    document = task(rauha, repo, *shell("echo new > new; mkdir dir; echo more >> README"))
    assert by_path(document)["new"]["new"]["uid"] == 1234
    apply(rauha, document["task_id"])
    for name in ("new", "dir", "README"):
        assert (repo / name).stat().st_uid == 1234 and (repo / name).stat().st_gid == 1235


def test_large_and_sparse(rauha, repo):
    document = task(rauha, repo, *python("import os; f = open('sparse', 'wb'); os.truncate('sparse', 2 << 30); f.seek(1 << 30); f.write(b'middle')"))
    apply(rauha, document["task_id"])
    found = (repo / "sparse").stat()
    assert found.st_size == 2 << 30 and found.st_blocks * 512 < 1 << 20


# Plays a seed's operations, failing ones included, and prints the tree that comes of them as the task sees it.
RANDOM_TASK = """
import hashlib, json, os, random, shutil, stat, sys
pick = random.Random(int(sys.argv[1]))
NAMES = ["a", "b", "README", "src", "src/a.c", "src/deep", "src/deep/b.c", "old", "old/x", "link", "new/x", "new", "s p", "run.sh", "-rf", "n\\nl", b"\\xff".decode("utf-8", "surrogateescape"), "data.bin"]

def text():
    return "".join(pick.choice(("one\\n", "two\\n", "three", "\\0", "")) for _ in range(pick.randrange(6)))

def write(path, mode):
    with open(path, mode) as file:
        file.write(text())

def remove(path):
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

def link(path, other):
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(other, path)

def act():
    a, b = pick.choice(NAMES), pick.choice(NAMES)
    pick.choice((lambda: write(a, "w"), lambda: write(a, "a"), lambda: os.makedirs(a), lambda: remove(a), lambda: shutil.move(a, b),
                 lambda: shutil.copy2(a, b), lambda: link(a, b), lambda: os.chmod(a, pick.choice((0o600, 0o644, 0o755, 0o700))), lambda: os.rmdir(a),
                 lambda: os.utime(a, ns=(1, pick.randrange(10**18))), lambda: os.setxattr(a, "user." + pick.choice("xy"), text().encode()),
                 lambda: os.removexattr(a, "user.x"), lambda: os.link(a, b), lambda: os.truncate(a, pick.randrange(5000))))()

for _ in range(45):
    try:
        act()
    except (OSError, shutil.Error):
        pass

seen = {}
for directory, children, names in os.walk("."):
    for name in children + names:
        path = os.path.join(directory, name)
        status = os.lstat(path)
        entry = {"kind": stat.S_IFMT(status.st_mode), "mtime": status.st_mtime_ns, "owner": [status.st_uid, status.st_gid]}
        if stat.S_ISLNK(status.st_mode):
            entry["target"] = os.readlink(path)
        else:
            entry["mode"] = stat.S_IMODE(status.st_mode)
            entry["xattrs"] = {n: os.getxattr(path, n).hex() for n in sorted(os.listxattr(path)) if n.startswith("user.")}
        if stat.S_ISREG(status.st_mode):
            entry["digest"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
        seen[os.path.relpath(path)] = entry
print(json.dumps(seen, sort_keys=True))
"""


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_random_operations(rauha, tmp_path, repo, seed):
    """Content, mode, owner, attributes and time of everything are those that the task saw; its patch, applied by git, says the same."""
    twin = tmp_path / "twin"
    subprocess.run(["cp", "-a", str(repo), str(twin)], check=True)
    document = task(rauha, repo, "python3", "-c", RANDOM_TASK, str(seed))
    patch = diff(rauha, document["task_id"], "--patch").stdout
    apply(rauha, document["task_id"], "--include-protected", "--owner")
    print_tree = RANDOM_TASK.replace("range(45)", "range(0)")
    found = subprocess.run(["/usr/bin/python3", "-c", print_tree, str(seed)], cwd=repo, check=True, capture_output=True).stdout
    assert json.loads(found) == json.loads(document["stdout"])
    if patch:
        done = subprocess.run(["git", "apply", "--whitespace=nowarn"], input=patch, cwd=twin, capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr, patch)
    assert git_sees(twin) == git_sees(repo)


# --- diff

def test_diff_forms(rauha, repo):
    identifier = task(rauha, repo, *shell("sed -i s/two/2/ README; printf 'x\\000' > data.bin; rm old/x; echo n > new"))["task_id"]
    text = diff(rauha, identifier).stdout.decode()
    assert "-two\n+2\n" in text and "Binary files a/data.bin and b/data.bin differ" in text
    stats = diff(rauha, identifier, "--stat").stdout.decode()
    assert "README" in stats and "2 +-" in stats
    assert diff(rauha, identifier, "--name-status", "old/x").stdout.splitlines()[0].split(b"\t") == [b"D", b"old/x"]
    assert diff(rauha, "last", "--json", "new").json["changes"][0]["path"] == "new"
    rauha.run("diff", identifier, "--json", "nothing").exited(2)


@pytest.mark.parametrize("name", ["create", "edit", "delete", "rename", "links", "types", "binary", "all"])
def test_patch_is_what_git_applies(rauha, tmp_path, repo, name):
    twin = tmp_path / "twin"
    subprocess.run(["cp", "-a", str(repo), str(twin)], check=True)
    identifier = task(rauha, repo, *shell(ROUND_TRIPS[name]))["task_id"]
    patch = diff(rauha, identifier, "--patch").stdout
    done = subprocess.run(["git", "apply", "--whitespace=nowarn"], input=patch, cwd=twin, capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr, patch)
    apply(rauha, identifier, "--include-protected")
    assert git_sees(repo) == git_sees(twin)


def git_sees(top):
    """Of a tree, what a patch carries: files, whether they are executable, links."""
    return {path: (entry["kind"], entry["mode"] & 0o100, entry.get("content"), entry.get("target"))
            for path, entry in listing(top).items() if entry["kind"] != stat.S_IFDIR}


def test_noise_is_one_line(rauha, repo):
    identifier = task(rauha, repo, *shell("mkdir -p src/__pycache__; for i in 1 2 3; do echo $i > src/__pycache__/m$i.pyc; done; echo x >> README"))["task_id"]
    text = diff(rauha, identifier).stdout.decode()
    assert "__pycache__" in text and "m1.pyc" not in text
    assert "m1.pyc" in diff(rauha, identifier, "--all").stdout.decode()
    assert apply(rauha, identifier)["counts"]["cache"] == 4, "what may run unseen is not applied unasked"
    assert not (repo / "src" / "__pycache__").exists() and (repo / "README").read_text().endswith("x\n")
    apply(rauha, identifier, "src/__pycache__/m1.pyc")
    assert [path.name for path in (repo / "src" / "__pycache__").iterdir()] == ["m1.pyc"]


# --- apply

def test_dry_run_writes_nothing(rauha, repo):
    identifier = task(rauha, repo, *shell("echo x > new; rm old/x"))["task_id"]
    before = snapshot(repo)
    document = apply(rauha, identifier, "--dry-run")
    assert document["counts"]["pending"] >= 2 and snapshot(repo) == before


def test_conflicts(rauha, repo):
    identifier = task(rauha, repo, *shell("echo task > README; echo task > new; echo task > src/a.c"))["task_id"]
    (repo / "README").write_text("user\n")
    (repo / "new").write_text("user\n")
    document = apply(rauha, identifier, code=1)
    assert document["refused"] and document["counts"]["conflict"] == 2
    assert (repo / "src" / "a.c").read_text() == "int a;\n", "nothing is applied beside a conflict"
    assert "host's file changed since the task began" in diff(rauha, identifier).stdout.decode()
    apply(rauha, identifier, "--skip-conflicts", code=1)
    assert (repo / "src" / "a.c").read_text() == "task\n" and (repo / "README").read_text() == "user\n"
    apply(rauha, identifier, "--force")
    assert (repo / "README").read_text() == "task\n" and (repo / "new").read_text() == "task\n"


def test_host_that_changes_meanwhile_is_told(rauha, repo):
    running = rauha.start_sandbox(*shell("echo ready; cat > /dev/null; echo task > new"), options=["--repo-path", str(repo)], json_output=False,
                                  stdin=subprocess.PIPE)
    eventually(lambda: b"ready" in running.output(), 30, "the task does not begin")
    (repo / "README").write_text("user\n")
    running.process.stdin.close()
    assert b"changed while the task ran" in running.wait().exited(0).stderr
    found = diff(rauha, "last", "--json").json
    assert found["host_tree"] == "changed" and "README" in found["host_changes"]


POISON = {
    ".git/hooks/pre-commit": "#!/bin/sh\ntouch /tmp/pwned\n",
    ".git/config": "[core]\n\tfsmonitor = touch /tmp/pwned\n",
    ".gitmodules": "[submodule \"x\"]\n\turl = ext::sh -c touch% /tmp/pwned\n",
    ".gitattributes": "* filter=evil\n",
    ".envrc": "touch /tmp/pwned\n",
    ".vscode/tasks.json": "{}\n",
    ".idea/workspace.xml": "<x/>\n",
    ".github/workflows/ci.yml": "on: push\n",
    ".gitlab-ci.yml": "x: {script: evil}\n",
    ".devcontainer/devcontainer.json": "{}\n",
    "sub/.git/hooks/post-checkout": "#!/bin/sh\n",
    ".GIT/hooks/pre-push": "#!/bin/sh\n",
}


def test_poison_needs_a_word(rauha, repo):
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    config = (repo / ".git" / "config").read_text()
    script = "import os\n" + "".join(
        f"os.makedirs(os.path.dirname({path!r}) or '.', exist_ok=True); open({path!r}, 'w').write({text!r}); os.chmod({path!r}, 0o755)\n"
        for path, text in POISON.items()) + "open('fine', 'w').write('fine')\n"
    document = task(rauha, repo, *python(script))
    changes = by_path(document)
    assert {path for path in POISON if "protected" not in changes[path]} == set()
    first = diff(rauha, document["task_id"], "--name-status").stdout.decode().splitlines()
    at = {line.split("\t")[1]: number for number, line in enumerate(first) if "\t" in line}
    assert all(at[path] < at["fine"] for path in POISON), "what runs code comes first"
    outcome = apply(rauha, document["task_id"])
    assert (repo / "fine").read_text() == "fine" and outcome["counts"]["protected"] >= len(POISON)
    assert (repo / ".git" / "config").read_text() == config
    assert not any((repo / path).exists() for path in POISON if path != ".git/config")
    apply(rauha, document["task_id"], "--include-protected")
    for path, text in POISON.items():
        assert (repo / path).read_text() == text


def test_never_through_a_link(rauha, repo, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    identifier = task(rauha, repo, *shell("echo task > src/new; echo task > src/a.c"))["task_id"]
    shutil.rmtree(repo / "src")
    os.symlink(outside, repo / "src")
    document = apply(rauha, identifier, "--force", code=1)
    assert document["counts"]["conflict"] >= 2
    apply(rauha, identifier, "--force", "--skip-conflicts", code=1)
    assert list(outside.iterdir()) == []


def test_another_directory_is_refused(rauha, repo, tmp_path):
    identifier = task(rauha, repo, *shell("echo task > new"))["task_id"]
    moved = tmp_path / "moved"
    repo.rename(moved)
    repo.mkdir()
    result = rauha.run("apply", identifier, "--json").exited(1)
    assert result.json["error"]["code"] == "conflict"
    apply(rauha, identifier, "--tree", str(moved))
    assert (moved / "new").read_text() == "task\n"


def test_repository_that_is_a_link(rauha, repo, tmp_path):
    alias = tmp_path / "alias"
    os.symlink(repo, alias)
    document = rauha.sandbox(*shell("echo task > new"), options=["--repo-path", str(alias)]).task("succeeded", 0)
    apply(rauha, document["task_id"])
    assert (repo / "new").read_text() == "task\n"


# --- follow-ups

def test_chain_of_three(rauha, repo):
    first = task(rauha, repo, *shell("echo 1 > one; rm old/x; echo a >> README"))
    second = rauha.sandbox(*shell("cat one; [ ! -e old/x ]; echo 2 > two; echo b >> README; mv one uno"), options=["--from", first["task_id"]]).task("succeeded", 0)
    third = rauha.sandbox(*shell("cat uno two; [ ! -e one ]; echo c >> README; rm two"), options=["--from", second["task_id"]]).task("succeeded", 0)
    assert second["stdout"] == "1\n" and third["stdout"] == "1\n2\n"
    assert not (repo / "one").exists() and (repo / "README").read_text() == "one\ntwo\nthree\n"
    assert third["changes"]["from"] == second["task_id"]
    apply(rauha, third["task_id"])
    assert (repo / "uno").read_text() == "1\n" and not (repo / "two").exists() and not (repo / "old" / "x").exists()
    assert (repo / "README").read_text() == "one\ntwo\nthree\na\nb\nc\n"


def test_two_follow_ups_do_not_see_each_other(rauha, repo):
    first = task(rauha, repo, *shell("echo 1 > one"))["task_id"]
    left = rauha.sandbox(*shell("echo left > left; echo left >> one"), options=["--from", first]).task("succeeded", 0)
    right = rauha.sandbox(*shell("ls; cat one"), options=["--from", first]).task("succeeded", 0)
    assert "left" not in right["stdout"].split() and right["stdout"].endswith("1\n")
    assert "one" in by_path(left) and by_path(right).keys() == {"one"}


def test_follow_up_of_last_and_of_another_tree(rauha, repo, tmp_path):
    task(rauha, repo, *shell("echo 1 > one"))
    assert rauha.sandbox("cat", "one", options=["--from", "last"]).task("succeeded", 0)["stdout"] == "1\n"
    other = tmp_path / "other"
    other.mkdir()
    rauha.sandbox("true", options=["--from", "last", "--repo-path", str(other)]).refused(125, "repository", "conflict")
    rauha.sandbox("true", options=["--from", "task_zzzz"]).refused(125, error_code="not_found")


# --- git inside

def test_git_works_inside(rauha, repo):
    environment = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a",
                   "GIT_COMMITTER_EMAIL": "a@example.org"}
    git = lambda *words: subprocess.run(["git", *words], cwd=repo, check=True, env={**os.environ, **environment}, capture_output=True, text=True).stdout
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    script = """
git status --porcelain
printf '#!/bin/sh\\necho hook ran\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
echo change >> README
git commit -qam second 2>&1
git worktree add -q ../tmp/wt HEAD~1 2>/dev/null || git worktree add -q /tmp/wt HEAD~1
git -C /tmp/wt log --oneline | wc -l
git init -q /tmp/other; git -C /tmp/other commit -q --allow-empty -m other
git -c protocol.file.allow=always submodule add -q /tmp/other sub
git log --oneline | wc -l
git fsck --strict
"""
    options = ["--repo-path", str(repo)]
    for name, value in environment.items():
        options += ["--env", f"{name}={value}"]
    before = snapshot(repo)
    document = rauha.sandbox(*shell(script), options=options).task("succeeded", 0)
    assert snapshot(repo) == before
    lines = document["stdout"].split()
    assert "ran" in lines and lines[-1] == "2", document["stdout"]
    assert git("rev-parse", "HEAD") == head
    apply(rauha, document["task_id"], "--include-protected")
    git("fsck", "--strict")
    assert git("rev-parse", "HEAD~1") == head
    assert git("status", "--porcelain", "README") == ""


# --- tasks that are remembered

def test_task_commands(fresh, repo):
    first = task(fresh, repo, *shell("echo 1 > one"))["task_id"]
    second = task(fresh, repo, *shell("echo 2 > two"))["task_id"]
    tasks = fresh.run("task", "list", "--json").exited(0).json["tasks"]
    assert [entry["task_id"] for entry in tasks[:2]] == [second, first] and tasks[0]["kept"] is True
    assert tasks[0]["repo_path"] == str(repo)
    assert fresh.run("task", "show", first, "--json").exited(0).json["task_id"] == first
    fresh.run("task", "delete", first, "--json").exited(0)
    fresh.run("diff", first, "--json").exited(1)
    dry = fresh.run("task", "prune", "--max-size", "1B", "--dry-run", "--json").exited(0).json
    assert [entry["task_id"] for entry in dry["tasks"]] == [second]
    assert diff(fresh, second, "--name-status").stdout == b"A\ttwo\n"
    fresh.run("task", "prune", "--max-size", "1B", "--json").exited(0)
    fresh.run("diff", second, "--json").exited(1)


def test_names_travel_exactly(rauha, repo):
    """A path that is not UTF-8 has its bytes beside it, in the result and in what apply says."""
    document = task(rauha, repo, *python("open(b'\\xff', 'w').write('x')"))
    change = document["changes"]["changes"][0]
    assert change["path"] == "\ufffd" and base64.b64decode(change["path_bytes"]) == b"\xff"
    outcome = apply(rauha, document["task_id"])
    assert base64.b64decode(outcome["changes"][0]["path_bytes"]) == b"\xff"
    assert os.path.exists(os.path.join(os.fsencode(repo), b"\xff"))
