import subprocess
import sys


def test_the_command_reads_standard_input():
    done = subprocess.run([sys.executable, "-m", "wordcount"], input="one two\n", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2", "8", "-"]


def test_the_command_reads_files(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b c\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "wordcount", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3", "6", str(path)]
