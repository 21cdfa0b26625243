"""Alterations of checkpoints, config.json and data between a kill and `--resume`."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drilling import altering
from benchmarks.drilling.altering import EXPECTED, Attempt, Place
from benchmarks.drilling.outcome import Outcome
from zoo import train
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder


def resumed(place: Place, count: int) -> Outcome:
    """Alter what a killed training left, resume it, and compare the result with that of an undisturbed one.

    Args:
        place: Runs and data, see `altering.made`.
        count: Number of attempts.
    """
    found = Outcome("alter checkpoints, config.json or data between a kill and --resume", EXPECTED)
    reference = _end(place.run)
    found.facts = {"refused": 0, "continued exactly": 0}
    original = place.data.read_bytes()
    for number in range(count):
        alter = BEFORE_RESUME[number % len(BEFORE_RESUME)]
        run = place.work / f"resume-{number}"
        shutil.copytree(place.broken, run)
        attempt = Attempt(place, run, np.random.default_rng(number))
        intact = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
        alter(attempt)
        altered = {path.name: _content(path) for path in (run / "checkpoints").iterdir()}
        status, said = altering.done(train.main, ["--resume", "--output", run])
        place.data.write_bytes(original)
        found.attempts += 1
        fault = ""
        if status == 2:
            found.facts["refused"] += 1
            fault = altering.refused(said, attempt.file)
            left = {path.name for path in (run / "checkpoints").iterdir()}
            if lost := [name for name in intact if altered.get(name) == intact[name] and name not in left]:
                fault = f"removed the intact {', '.join(lost)}"
        elif status:
            fault = f"status {status}: {said.strip().splitlines()[-1]}"
        elif _end(run) != reference:
            fault = "accepted, with another result"
        else:
            found.facts["continued exactly"] += 1
            kept = [_content(path) for path in (run / "checkpoints").iterdir()]
            damaged = [name for name, content in altered.items() if name in intact and content != intact[name]]
            if lost := [name for name in damaged if altered[name] not in kept]:
                fault = f"removed the damaged {', '.join(lost)}"
            elif unsaid := [name for name in damaged if name not in said]:
                fault = f"did not name the damaged {', '.join(unsaid)}"
        if fault:
            found.faults.append(f"attempt {number}, {attempt.did}: {fault}")
        shutil.rmtree(run)
    return found


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _end(run: Path) -> tuple[Any, ...]:
    """Return the last checkpoint's variables, the history and the scores of a finished run, to compare them."""
    snapshot = checkpoints.load(checkpoints.listed(run / "checkpoints")[-1])
    arrays = {name: value.tobytes() for name, value in snapshot.arrays.items()}
    return snapshot.step, arrays, (run / "history.csv").read_bytes(), RunFolder(run).read_metrics()["test"]


def _cut_checkpoint(attempt: Attempt) -> None:
    path = attempt.any_checkpoint()
    content = path.read_bytes()
    path.write_bytes(content[: attempt.random.integers(len(content))])
    attempt.did = f"cut {path.name}"


def _flip_checkpoint(attempt: Attempt) -> None:
    path = attempt.any_checkpoint()
    altering.flip(path, attempt.random, 0, path.stat().st_size)
    attempt.did = f"flipped a bit of {path.name}"


def _cut_all(attempt: Attempt) -> None:
    for path in checkpoints.listed(attempt.run / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-30])
    attempt.did = "cut all checkpoints"


def _delete_checkpoint(attempt: Attempt) -> None:
    path = attempt.newest()
    path.unlink()
    attempt.did = f"deleted {path.name}"


def _rename_checkpoint(attempt: Attempt) -> None:
    path = attempt.newest()
    step = int(path.name.split("-")[1]) + int(attempt.random.choice([-5, -3, -1, 1, 2]))
    path = path.rename(path.with_name(f"step-{step:010d}-{path.name.split('-')[2]}"))
    attempt.did, attempt.file = f"renamed the newest checkpoint to {path.name}", path.name


def _copy_in(attempt: Attempt, which: int) -> None:
    path = checkpoints.listed(attempt.place.others[which] / "checkpoints")[attempt.random.integers(3)]
    if attempt.random.random() < 0.5:
        for mine in checkpoints.listed(attempt.run / "checkpoints"):
            mine.unlink()
    shutil.copy(path, attempt.run / "checkpoints")
    attempt.did, attempt.file = f"copied {path.name} of {attempt.place.others[which].name} in", path.name


def _copy_of_other_seed(attempt: Attempt) -> None:
    _copy_in(attempt, 0)


def _copy_of_other_model(attempt: Attempt) -> None:
    _copy_in(attempt, 1)


def _exchange_content(attempt: Attempt) -> None:
    path = attempt.newest()
    shutil.copy(checkpoints.listed(attempt.place.others[0] / "checkpoints")[-2], path)
    attempt.did = f"gave {path.name} the content of another run's"


def _duplicate_checkpoint(attempt: Attempt) -> None:
    path = attempt.any_checkpoint()
    shutil.copy(path, path.with_name(f"copy of {path.name}"))
    attempt.did = f"duplicated {path.name}"


def _folder_as_checkpoint(attempt: Attempt) -> None:
    path = attempt.newest()
    path.unlink()
    path.mkdir()
    attempt.did = f"put a folder in the place of {path.name}"


def _exchange_config(attempt: Attempt) -> None:
    other = attempt.place.others[attempt.random.integers(2)]
    shutil.copy(other / "config.json", attempt.run)
    attempt.did, attempt.file = f"exchanged config.json with that of {other.name}", "checkpoints"


def _relabel(attempt: Attempt) -> None:
    with np.load(attempt.place.data) as found:
        x, y = found["x"], found["y"].copy()
    i = int(attempt.random.integers(len(y)))
    y[i] = (y[i] + 1) % 3
    np.savez(attempt.place.data, x=x, y=y)
    attempt.did, attempt.file = f"relabelled example {i}", "checkpoints"


def _redraw(attempt: Attempt) -> None:
    with np.load(attempt.place.data) as found:
        x, y = found["x"].copy(), found["y"]
    where = tuple(int(attempt.random.integers(size)) for size in x.shape)
    x[where] ^= 1
    np.savez(attempt.place.data, x=x, y=y)
    attempt.did, attempt.file = f"changed pixel {where}", "checkpoints"


def _reorder(attempt: Attempt) -> None:
    with np.load(attempt.place.data) as found:
        x, y = found["x"], found["y"]
    np.savez(attempt.place.data, x=x[::-1], y=y[::-1])
    attempt.did, attempt.file = "reversed the examples", "checkpoints"


def _edit_config_before_resume(attempt: Attempt) -> None:
    altering.edit(attempt, attempt.run / "config.json")


def _damage_history(attempt: Attempt) -> None:
    (attempt.run / "history.csv").write_bytes(b"epoch,loss\n\xff\n")
    attempt.did = "damaged history.csv"


BEFORE_RESUME = (
    _cut_checkpoint, _flip_checkpoint, _rename_checkpoint, _copy_of_other_seed, _exchange_config, _relabel, _cut_all,
    _copy_of_other_model, _edit_config_before_resume, _exchange_content, _redraw, _reorder, _folder_as_checkpoint,
    _damage_history, _delete_checkpoint, _duplicate_checkpoint,
)  # fmt: skip
