"""What a task may leave that `diff` shows as harmless, or `apply` takes for the task's: git's own data, links above protected paths, and what
the host moved into the tree meanwhile."""

import os
import subprocess

import pytest

from support.repositories import GIT_OPTIONS, git, snapshot
from support.waiting import eventually


def shell(script):
    return ("sh", "-ec", script)


@pytest.fixture
def repo(tmp_path):
    top = tmp_path / "repo"
    (top / "src").mkdir(parents=True)
    (top / "README").write_text("one\ntwo\n")
    (top / "src" / "a.c").write_text("int a;\n")
    return top


@pytest.fixture
def versioned(repo):
    (repo / "Makefile").write_text("all:\n\techo mine\n")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first"), ("branch", "release")):
        git(repo, *words)
    return repo


def task(rauha, repo, script, status="succeeded"):
    before = snapshot(repo)
    document = rauha.sandbox(*shell(script), options=["--repo-path", str(repo), *GIT_OPTIONS]).task(status)
    assert snapshot(repo) == before, "the host's tree was touched"
    return document


def by_path(document):
    return {change["path"]: change for change in document["changes"]["changes"]}


def apply(rauha, task_id, *options, code=0):
    # Not from within this checkout: what `last` was may not be meant from within another repository.
    return rauha.run("apply", task_id, "--json", *options, cwd="/").exited(code).json


def test_an_object_under_another_ones_name_is_not_applied(rauha, versioned):
    repo = versioned
    (repo / "Makefile").write_text("all:\n\techo newer\n")
    git(repo, "commit", "-qam", "second")
    identifier = task(rauha, repo, """
id=$(git rev-parse release:Makefile); at=.git/objects/$(echo $id | cut -c1-2)/$(echo $id | cut -c3-)
printf 'all:\\n\\ttouch /tmp/pwned\\n' > evil; evil=$(git hash-object -w evil); rm evil
chmod u+w $at; cp .git/objects/$(echo $evil | cut -c1-2)/$(echo $evil | cut -c3-) $at
echo more >> README""")["task_id"]
    shown = rauha.run("diff", identifier).exited(0).stdout.decode()
    assert "protected: git object replaced" in shown
    outcome = apply(rauha, identifier)
    assert [c["path"] for c in outcome["changes"] if c["verdict"] == "protected"][0].startswith(".git/objects/")
    assert (repo / "README").read_text().endswith("more\n"), "the rest is applied"
    git(repo, "checkout", "-q", "--", "README")
    git(repo, "checkout", "-q", "release")
    assert (repo / "Makefile").read_text() == "all:\n\techo mine\n"
    git(repo, "fsck", "--strict")


def test_protected_paths_in_the_index_are_not_applied(rauha, versioned):
    repo = versioned
    document = task(rauha, repo, """
mkdir -p .github/workflows .vscode; echo 'on: push' > .github/workflows/x.yml; echo '{}' > .vscode/tasks.json
git add .github .vscode; rm -r .github .vscode; echo more >> README""")
    assert by_path(document)[".git/index"]["protected"] == "protected path in git's index"
    outcome = apply(rauha, document["task_id"])
    assert [c["path"] for c in outcome["changes"] if c["verdict"] == "protected"] == [".git/index"]
    git(repo, "commit", "-qam", "mine")
    assert git(repo, "ls-files").split() == ["Makefile", "README", "src/a.c"]


def test_an_index_is_noise_only_while_it_says_the_same(rauha, versioned):
    repo = versioned
    looked = task(rauha, repo, "touch -d @1000000000 README src/a.c; git update-index --refresh")
    assert "protected" not in by_path(looked)[".git/index"] and by_path(looked)[".git/index"]["noise"] == ".git/index"
    committed = task(rauha, repo, "echo more >> README; mkdir sub; echo x > sub/x; git add -A; git commit -qm second; git status > /dev/null")
    index = by_path(committed)[".git/index"]
    assert "noise" not in index and "protected" not in index, index
    assert {c.get("protected") for p, c in by_path(committed).items() if p.startswith(".git/objects/")} == {None}
    apply(rauha, committed["task_id"])
    assert git(repo, "status", "--porcelain") == "" and git(repo, "log", "--format=%s").split() == ["second", "first"]
    git(repo, "fsck", "--strict")


def test_links_above_protected_paths_are_not_applied(rauha, versioned):
    repo = versioned
    (repo / "tools" / "hooks").mkdir(parents=True)
    (repo / "scripts").mkdir()
    for name in ("tools/hooks/pre-push", "scripts/pre-commit.sh"):
        (repo / name).write_text("#!/bin/sh\n")
        (repo / name).chmod(0o755)
    git(repo, "config", "core.hooksPath", "tools/hooks")
    os.symlink("../../scripts/pre-commit.sh", repo / "tools" / "hooks" / "pre-commit")
    changes = by_path(task(rauha, repo, """
mkdir -p t2/hooks gh/workflows docs.git; echo 'touch /tmp/pwned' > t2/hooks/pre-push; echo 'on: push' > gh/workflows/x.yml
rm -r tools; ln -s t2 tools; ln -s gh .github; rm -r .git/info; ln -s ../inf .git/info
echo 'touch /tmp/pwned' >> scripts/pre-commit.sh
git init -q --bare docs.git/r; git -C docs.git/r config core.fsmonitor 'touch /tmp/pwned'
mkdir .git/sequencer; echo 'exec touch /tmp/pwned' > .git/sequencer/todo; git rev-parse HEAD > .git/CHERRY_PICK_HEAD
mkdir open; chmod 777 open; echo x > open/x; chmod 666 open/x"""))
    expected = {"tools": "git hook", "scripts/pre-commit.sh": "git hook", ".github": "continuous integration", "docs.git/r/config": "git configuration",
                "docs.git/r/HEAD": "git repository", ".git/sequencer/todo": "git rebase script", ".git/CHERRY_PICK_HEAD": "git operation under way",
                "open": "writable by everybody", "open/x": "writable by everybody"}
    assert {path: changes[path].get("protected") for path in expected} == expected
    assert "protected" in changes[".git/info"]
    apply(rauha, "last")
    assert (repo / "tools").is_dir() and not (repo / "tools").is_symlink() and not (repo / ".github").exists()
    assert (repo / "scripts" / "pre-commit.sh").read_text() == "#!/bin/sh\n" and not (repo / "open").exists()
    assert "mode 0777" in rauha.run("diff", "last").exited(0).stdout.decode()


def meanwhile(rauha, repo, first, host, then):
    """A task that does `first`, waits while the host does something, and does `then`."""
    running = rauha.start_sandbox(*shell(f"{first}; echo ready; cat > /dev/null; {then}"), options=["--repo-path", str(repo)], json_output=False,
                                  stdin=subprocess.PIPE)
    eventually(lambda: b"ready" in running.output(), 30, "the task does not begin")
    host()
    running.process.stdin.close()
    running.wait().exited(0)


def test_a_directory_moved_into_the_tree_is_not_deleted(rauha, repo, tmp_path):
    thesis = tmp_path / "thesis"
    (thesis / "part").mkdir(parents=True)
    (thesis / "part" / "one").write_text("years of work\n")
    meanwhile(rauha, repo, "rm -r src", lambda: thesis.rename(repo / "src" / "thesis"), "mkdir src; echo new > src/n")
    assert apply(rauha, "last", code=1)["refused"]
    assert (repo / "src" / "thesis" / "part" / "one").read_text() == "years of work\n"
    apply(rauha, "last", "--skip-conflicts", code=1)
    assert (repo / "src" / "thesis" / "part" / "one").read_text() == "years of work\n"


def test_a_directory_put_in_anothers_place_is_not_written_over(rauha, repo, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.c").write_text("mine\n")

    def swap():
        (repo / "src").rename(tmp_path / "away")
        other.rename(repo / "src")
    meanwhile(rauha, repo, "echo more >> src/a.c", swap, "true")
    assert apply(rauha, "last", code=1)["refused"] and (repo / "src" / "a.c").read_text() == "mine\n"


def test_a_directory_that_got_files_meanwhile_is_no_conflict(rauha, repo):
    (repo / "src" / "gone.c").write_text("x\n")
    meanwhile(rauha, repo, "echo more >> src/a.c; rm src/gone.c", lambda: (repo / "src" / "new.c").write_text("of the host\n"), "true")
    outcome = apply(rauha, "last")
    assert outcome["counts"]["conflict"] == 0 and (repo / "src" / "a.c").read_text() == "int a;\nmore\n" and not (repo / "src" / "gone.c").exists()
