"""The launcher with small commands in place of a training; tests/zoo/training/test_multi_worker.py has real ones."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from strategies import launch
from tests.conftest import ROOT, run_module

HELLO = "import os, sys; print('out', os.environ['TF_CONFIG']); print('err', file=sys.stderr)"


def run(*words, code, cwd):
    return run_module("strategies.launch", *words, "--", "python", "-c", code, cwd=cwd)


def test_the_first_workers_output_is_the_commands_and_all_else_has_a_name(tmp_path):
    done = run("--workers", 3, code=HELLO, cwd=tmp_path)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    config = json.loads(line.removeprefix("out "))
    assert config["task"] == {"type": "worker", "index": 0}
    assert len(set(config["cluster"]["worker"])) == 3
    lines = done.stderr.splitlines()
    assert sum(re.fullmatch(r"\[worker [12]\] out .*", line) is not None for line in lines) == 2
    assert {f"[worker {i}] err" for i in range(3)} <= set(lines)


WORKER = "import os, json, sys, time; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


@pytest.mark.parametrize(("ends", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_one_lost_worker_ends_the_others_and_its_status_is_the_commands(ends, status, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    code = WORKER + f"if index: {ends}\nopen('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    assert launch.main(["--", "python", "-c", code]) == status
    assert time.monotonic() - began < 20
    assert "[launch] worker 1 " in capfd.readouterr().err
    if (tmp_path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


def test_all_start_again_with_the_words_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    code = WORKER + (
        "open(f'{index}-{len(sys.argv)}', 'w').write(' '.join(sys.argv[1:]))\n"
        "if index: sys.exit(len(sys.argv) < 3)\ntime.sleep(1)"
    )
    monkeypatch.chdir(tmp_path)
    words = ["--restarts", "2", "--restart-with=--go on", "--", "python", "-c", code]
    assert launch.main(words) == 0
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "0-1": "", "1-1": "", "0-3": "--go on", "1-3": "--go on",
    }  # fmt: skip


@pytest.mark.parametrize(("status", "starts"), [(2, 1), (1, 3)])
def test_a_mistake_is_not_tried_again_and_anything_else_only_so_often(status, starts, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    monkeypatch.chdir(tmp_path)
    code = f"open('starts', 'a').write('x'); import sys; sys.exit({status})"
    assert launch.main(["--workers", "1", "--restarts", "2", "--", "python", "-c", code]) == status
    assert (tmp_path / "starts").read_text() == "x" * starts


def test_the_workers_share_a_token_that_is_new_in_every_cluster(tmp_path):
    code = "import os; print(os.environ['RENDEZVOUS_TOKEN'])"
    seen = []
    for _ in range(2):
        done = run("--workers", 2, code=code, cwd=tmp_path)
        (first,) = done.stdout.split()
        assert f"[worker 1] {first}" in done.stderr.splitlines() and len(first) == 64
        seen.append(first)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_lets_every_worker_save_and_end(number, tmp_path):
    code = WORKER + (
        "import signal\ndef save(*_): open(f'saved-{index}', 'w'); sys.exit(130)\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, save)\n"
        "open(f'ready-{index}', 'w'); time.sleep(60)"
    )
    words = [sys.executable, "-m", "strategies.launch", "--restarts", "1", "--", sys.executable, "-c", code]
    child = subprocess.Popen(words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert sorted(p.name for p in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]
    assert b"interrupted" in err and b"again" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_launcher_leaves_no_worker(tmp_path):
    code = WORKER + "open(f'pid-{index}', 'w').write(str(os.getpid())); time.sleep(60)"
    words = [sys.executable, "-m", "strategies.launch", "--", sys.executable, "-c", code]
    child = subprocess.Popen(words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    while len([p for p in tmp_path.glob("pid-*") if p.read_text()]) < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.communicate()
    for path in tmp_path.glob("pid-*"):
        for _ in range(500):
            try:
                os.kill(int(path.read_text()), 0)
            except ProcessLookupError:
                break
            time.sleep(0.01)
        else:
            raise AssertionError(f"{path.name} is still there")


@pytest.mark.parametrize(("words", "message"), [
    ([], "expected -- followed by the command that every worker runs, received none"),
    (["--workers", "2", "--"], "expected -- followed by the command"),
    (["--workers", "0", "--", "python"], "--workers: expected at least 1, received 0"),
    (["--workers", "two", "--", "python"], "--workers: invalid int value: 'two'"),
    (["--restarts", "-1", "--", "python"], "--restarts: expected at least 0, received -1"),
    (["--", "no-such-command"], "no-such-command: No such file or directory"),
])  # fmt: skip
def test_mistakes_are_told_and_nothing_is_started(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        launch.main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
