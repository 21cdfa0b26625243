"""Commands whose standard output or error is closed, full or read by nobody: work goes on, and the status says how."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A command that prints more than a pipe holds, opens a file, and writes another at its end.
COMMAND = """
import sys
from dataclasses import dataclass
from pathlib import Path
from zoo.config.options import option
from zoo.console import cli

@dataclass(frozen=True)
class Options:
    fail: bool = option("fail at the end", False)
    printed: bool = option("the result is what is printed", False)

def run(given):
    with open("other.txt", "w") as opened:  # must not get the number of a closed standard stream
        for number in range(4000):
            cli.say(f"step {number} of the work")
        opened.write("mine")
    if given.get("fail"):
        raise RuntimeError("at the end")
    Path("done.txt").write_text("done")
    return {"answer": 1} if given.get("printed") else {"path": "done.txt"}

def show(result):
    print("\\n".join(map(str, range(40_000))))

sys.exit(cli.command(Options, run, show, prog="python -m zoo.try", description=""))
"""
# What a shell does with the streams; the words in braces are the command.
REDIRECTIONS = [
    "{command} 2>&1 >/dev/null | head -1",
    "{command} 2>/dev/null | head -1",
    "{command} >&- 2>&-",
    "{command} 2>&- >/dev/null",
    "{command} >&- 2>/dev/null",
    "{command} <&- >&- 2>&-",
    "{command} 2>/dev/full >/dev/full",
    "{command} >/dev/full",
]


def status_of(folder, redirection, *words):
    """Run the command by a shell, and return its exit status and what the shell printed."""
    command = f'("{sys.executable}" -c "$COMMAND" {" ".join(words)}; echo $? > status)'
    env = os.environ | {"PYTHONPATH": str(ROOT), "COMMAND": COMMAND}
    line = redirection.format(command=command)
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    return int((folder / "status").read_text()), done


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_work_is_finished_whoever_reads(redirection, tmp_path):
    status, _ = status_of(tmp_path, redirection)
    assert status == 0
    assert (tmp_path / "done.txt").read_text() == "done" and (tmp_path / "other.txt").read_text() == "mine"


@pytest.mark.parametrize("redirection", REDIRECTIONS[:4])
def test_a_failure_is_a_failure_whoever_reads(redirection, tmp_path):
    status, _ = status_of(tmp_path, redirection, "--fail")
    assert status == 1 and not (tmp_path / "done.txt").exists()


def test_a_result_that_is_only_printed_and_lost_is_a_failure(tmp_path):
    status, done = status_of(tmp_path, "{command} >/dev/full", "--printed")
    assert status == 1
    assert done.stderr.splitlines()[-1] == "zoo.try: finished, but standard output: No space left on device"
    status, _ = status_of(tmp_path, "{command} 2>/dev/null | head -1", "--printed")
    assert status == 0  # the reader had seen enough


# Commands with a `main` of their own, and what each does without importing a backend.
OWN = {
    "zoo": "-m zoo",
    "compression": "-m compression --json",
    "strategies": "-m strategies --help",
    "benchmarks": "-m benchmarks --help",
    "strategies.launch": "-m strategies.launch --workers 2 -- python -c 'print(1)'",  # its status is that of the work
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("name", OWN)
def test_every_other_main_lasts_as_well(name, tmp_path):
    line = f'"{sys.executable}" {OWN[name]}'
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    for redirection, status in (
        ("{command} >/dev/full", int(name != "strategies.launch")),
        ("{command} >&- 2>&-", 0),
        ("{command} 2>/dev/full | head -c 1", 0),
    ):  # fmt: skip
        command = redirection.format(command=f"({line}; echo $? > status)")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (tmp_path / "status").read_text() == f"{status}\n", (redirection, done.stderr)
        assert "Traceback" not in done.stderr
        if status:
            assert done.stderr.splitlines()[-1] == f"{name}: standard output: No space left on device"


def test_workers_of_a_launcher_outlast_its_readers(tmp_path):
    code = "import os, sys; [print(i, file=f) for i in range(4_000) for f in (sys.stdout, sys.stderr)]"
    code += "; import pathlib, json; index = json.loads(os.environ['TF_CONFIG'])['task']['index']"
    code += "; pathlib.Path(f'done-{index}').write_text('done')"
    line = f'("{sys.executable}" -m strategies.launch -- python -c "$CODE"; echo $? > status) 2>&1 | head -1'
    env = os.environ | {"PYTHONPATH": str(ROOT), "CODE": code}
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "status").read_text() == "0\n"
    assert sorted(p.name for p in tmp_path.glob("done-*")) == ["done-0", "done-1"]


def test_characters_that_a_terminal_lacks_become_escapes(tmp_path):
    code = "import sys; from strategies import streams\n"
    code += "with streams.lasting(): print('a \u2265 b'); sys.stdout.writelines(['c'])"
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "a \\u2265 b\nc"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_whose_reader_leaves_ends_with_a_model_and_a_compression_with_a_file(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    train = "zoo.train --model simplenet --epochs 2 --output run"
    compress = "compression.compress run --recipe float32 --output"
    for words, reader, made in (
        (train, "2>&1 >/dev/null | head -1", "run/model.keras"),
        (f"{compress} one", "2>&1 | head -1", "one/float32.tflite"),
        (f"{compress} two", "2>&1 | timeout -s KILL 1 tee log", "two/float32.tflite"),
        (f"{compress} three", ">&- 2>&-", "three/float32.tflite"),
    ):
        line = f'("{sys.executable}" -m {words}; echo $? > status) {reader}'
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, timeout=200)
        assert (tmp_path / "status").read_text() == "0\n" and (tmp_path / made).is_file(), (words, reader)
