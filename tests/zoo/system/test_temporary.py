"""Temporary files and folders: those of killed processes are removed, all others are left."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from tests.conftest import ROOT
from zoo.system import temporary
from zoo.system.files import replacing, write_text

MADE_AND_KILLED = """
import os, pathlib, sys
from zoo.system import temporary
from zoo.system.files import replacing
place = pathlib.Path(sys.argv[1])
with temporary.folder(), temporary.folder(place) as inner, replacing(place / "model.keras") as writing:
    (inner / "file").write_text("half")
    writing.write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """Use a folder of the test's own as the system's folder of temporary files."""
    place = tmp_path / "system"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(temporary, "_SWEPT", set())
    return place


def killed(place, system):
    """Leave temporary files in a folder and in the system's, by a process that is killed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(system)}
    done = subprocess.run([sys.executable, "-c", MADE_AND_KILLED, str(place)], env=environment)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path, system):
    run = tmp_path / "run"
    run.mkdir()
    killed(run, system)
    assert len(list(run.iterdir())) == 2 and len(list(system.iterdir())) == 1
    write_text(run / "other.txt", "whole")
    assert [p.name for p in run.iterdir()] == ["other.txt"]
    assert temporary.sweep_system() == f"removed 1 temporary folder of killed processes from {system}"
    assert list(system.iterdir()) == [] and temporary.sweep_system() == ""


def test_what_a_running_process_writes_is_left(tmp_path, system):
    with temporary.folder() as ours, temporary.folder(tmp_path) as inner, replacing(tmp_path / "a.txt") as writing:
        writing.write_text("half")
        temporary._SWEPT.clear()
        assert temporary.sweep(tmp_path) == temporary.sweep(system) == 0
        assert ours.is_dir() and inner.is_dir() and writing.is_file()
    assert (tmp_path / "a.txt").read_text() == "half" and not ours.exists() and not inner.exists()


def test_temporary_files_of_libraries_go_into_the_folder_of_the_process(system, monkeypatch):
    with temporary.home():
        made = tempfile.mkdtemp()
        assert temporary.mark() in made and os.path.dirname(os.path.dirname(made)) == str(system)  # noqa: PTH120
    assert list(system.iterdir()) == [] and tempfile.gettempdir() == str(system)
    monkeypatch.setattr(tempfile, "tempdir", str(system / "absent"))
    with temporary.home():  # work that needs none goes on
        assert tempfile.gettempdir() == str(system / "absent")


def test_a_number_that_another_process_has_now_counts_as_ended(system):
    mine = temporary.mark()
    pid, start, machine, _ = mine.split("-")
    reused, foreign = (system / f"{temporary.SYSTEM}{text}-x" for text in (
        f"{pid}-{int(start) + 1}-{machine}", f"{pid}-{int(start) + 1}-{'0' * 8}"))  # fmt: skip
    reused.mkdir()
    foreign.mkdir()
    assert temporary.sweep(system) == (1 if start != "0" else 0)
    assert foreign.is_dir()  # of another machine


def test_of_another_machine_only_what_is_old_is_removed_from_a_shared_folder(tmp_path):
    new, old = (tmp_path / f".writing-1-1-{'0' * 8}-{name}" for name in ("new", "old"))
    new.write_text("half")
    old.write_text("half")
    os.utime(old, (time.time() - 2 * temporary.OLD,) * 2)
    assert temporary.sweep(tmp_path) == 1
    assert new.exists() and not old.exists()


def test_links_are_not_followed_and_other_names_are_left(tmp_path, system):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    pid, start, machine, _ = temporary.mark().split("-")
    (system / f"{temporary.SYSTEM}999999999-{start}-{machine}-link").symlink_to(kept)
    for name in ("tmpabc", f"{temporary.SYSTEM}notes", ".writing-1234-model.keras"):
        (system / name).mkdir()
    assert temporary.sweep(system) == 1
    assert (kept / "file").read_text() == "kept" and len(list(system.iterdir())) == 3


def test_the_entries_of_other_users_are_left(system, monkeypatch):
    _, start, machine, _ = temporary.mark().split("-")
    (system / f"{temporary.SYSTEM}999999999-{start}-{machine}-x").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert temporary.sweep(system) == 0


def test_a_folder_that_cannot_be_removed_does_not_stop_work(system, monkeypatch):
    def fails(*_):
        raise PermissionError("read-only")

    _, start, machine, _ = temporary.mark().split("-")
    (system / f"{temporary.SYSTEM}999999999-{start}-{machine}-x").mkdir()
    monkeypatch.setattr(shutil, "rmtree", fails)
    assert temporary.sweep_system() == ""


def test_every_temporary_folder_of_the_packages_says_whose_it_is():
    for package in ("zoo", "strategies", "compression"):
        for path in (ROOT / package).rglob("*.py"):
            calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
            anonymous = calls & {"tempfile.mkdtemp", "tempfile.TemporaryDirectory", "tempfile.NamedTemporaryFile"}
            assert not anonymous or path.name == "temporary.py", path
