"""Alterations of the files of finished runs, before each command that reads them."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drilling import altering
from benchmarks.drilling.altering import EXPECTED, Attempt, Place
from benchmarks.drilling.outcome import Outcome
from compression import compress, search
from zoo import api, calibrate, card, evaluate, predict
from zoo.attack import __main__ as attack
from zoo.console.errors import UsageError
from zoo.ensemble import __main__ as ensemble
from zoo.explain import __main__ as explain
from zoo.online import __main__ as online


def read(place: Place, count: int) -> Outcome:
    """Alter a file of a finished run, and give a command that reads it.

    Args:
        place: Runs and data, see `altering.made`.
        count: Number of attempts.
    """
    found = Outcome("alter files of a finished run before a command reads it", EXPECTED)
    for number in range(count):
        alter = FINISHED[number % len(FINISHED)]
        run = place.work / f"read-{number}"
        shutil.copytree(place.texts if alter is _alter_vocabulary else place.run, run)
        attempt = Attempt(place, run, np.random.default_rng(number))
        alter(attempt)
        name, command = _command(attempt, number)
        status, said = altering.done(command[0], command[1:])
        found.attempts += 1
        fault = altering.refused(said, attempt.file) if status == 2 else f"status {status}: {said.strip()[-300:]}"
        if not status:
            fault = "accepted silently"
        if fault:
            found.faults.append(f"attempt {number}, {attempt.did}, then {name}: {fault}")
        shutil.rmtree(run)
    return found


def _command(attempt: Attempt, number: int) -> tuple[str, list[Any]]:
    """Return a command that reads the altered file, by its name, and its words."""
    run, place = attempt.run, attempt.place
    if attempt.file == "history.csv":
        return "api.Run.history", [_history, run]
    if attempt.file == "vocabulary.json":
        return "zoo.predict", [predict.main, run, "a good film"]
    if attempt.file in ("groups.csv", "fgsm.json"):
        return "zoo.card", [card.main, run]
    output = run.with_name("output")
    commands = {
        "zoo.evaluate": [evaluate.main, run],
        "zoo.card": [card.main, run],
        "zoo.predict": [predict.main, run, place.data],
        "zoo.calibrate": [calibrate.main, run, "--output", output],
        "zoo.explain": [explain.main, run, place.data, "--output", output],
        "zoo.ensemble": [ensemble.main, run, place.run, "--output", output],
        "zoo.attack": [attack.main, run, "--attack", "fgsm", "--examples", 5],
        "zoo.online": [online.main, run, "--stream", place.data, "--output", output],
        "compression.compress": [compress.main, run, "--recipe", "float32", "--output", output],
        "compression.search": [search.main, run, "--max-bytes", "5k", "--output", output],
    }
    if attempt.file == "model.keras":  # the others refuse this run for another reason first, or do not read its weights
        commands = {name: commands[name] for name in ("zoo.evaluate", "zoo.predict", "zoo.calibrate", "zoo.ensemble")}
    name = list(commands)[number % len(commands)]
    return name, commands[name]


def _history(words: list[str]) -> int:
    """Read the history through the Python functions, with the status of a command."""
    try:
        assert api.Run(words[0]).history
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _json(attempt: Attempt) -> Path:
    return attempt.run / ("metrics.json", "config.json")[attempt.random.integers(2)]


def _edit_json(attempt: Attempt) -> None:
    altering.edit(attempt, _json(attempt))


def _edit_early(attempt: Attempt) -> None:
    """Edit a run of version 0.1, whose metrics.json has no hash, so that it contradicts itself."""
    for name in ("metrics.json", "config.json"):
        content = json.loads((attempt.run / name).read_text(encoding="utf-8"))
        del content["sha256"]
        (attempt.run / name).write_text(json.dumps(content), encoding="utf-8")
    path = attempt.run / "metrics.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    examples = content["test"]["examples"]
    changes: list[tuple[str, Callable[[], Any]]] = [
        ("accuracy outside its interval", lambda: content["test"].update(accuracy=0.0)),
        ("accuracy above 1", lambda: content["test"].update(accuracy=1.5)),
        ("accuracy no share of the examples", lambda: content["test"].update(accuracy=0.5 / examples)),
        ("accuracy a text", lambda: content["test"].update(accuracy="high")),
        ("no test scores", lambda: content.pop("test")),
        ("test scores a list", lambda: content.update(test=[1])),
        ("parameters a text", lambda: content.update(parameters="many")),
        ("an interval of one end", lambda: content["intervals"].update(accuracy=[0.5])),
        ("a class without precision", lambda: content["per_class"][0].pop("precision")),
        ("no hash of the model", lambda: content.pop("model_sha256")),
    ]
    what, change = changes[attempt.random.integers(len(changes))]
    change()
    path.write_text(json.dumps(content), encoding="utf-8")
    attempt.did, attempt.file = f"edited metrics.json of version 0.1: {what}", path.name


def _cut_json(attempt: Attempt) -> None:
    path = _json(attempt)
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: attempt.random.integers(len(content))])
    attempt.did, attempt.file = f"cut {path.name}", path.name


def _flip_json(attempt: Attempt) -> None:
    path = _json(attempt)
    content = path.read_bytes()
    start = content.index(b'"data"') if path.name == "config.json" else 0  # paths come before
    altering.flip(path, attempt.random, start, content.index(b'"sha256"'))
    attempt.did, attempt.file = f"flipped a bit of {path.name}", path.name


def _replace_json(attempt: Attempt) -> None:
    path = _json(attempt)
    contents = (b"", b"[]", b"null", b"{}", b"\xff\xfe{", b"[" * 100_000, b'{"test": NaN', b"x = 1\n", b'"text"')
    content = contents[attempt.random.integers(len(contents))]
    path.write_bytes(content)
    attempt.did, attempt.file = f"replaced {path.name} by {content[:20]!r}", path.name


def _exchange_json(attempt: Attempt) -> None:
    path, other = _json(attempt), attempt.place.others[attempt.random.integers(2)]
    shutil.copy(other / path.name, path)
    attempt.did, attempt.file = f"exchanged {path.name} with that of {other.name}", path.name


def _exchange_results(attempt: Attempt) -> None:
    other = attempt.place.others[attempt.random.integers(2)]
    for name in ("metrics.json", "model.keras"):
        shutil.copy(other / name, attempt.run)
    attempt.did, attempt.file = f"exchanged metrics.json and model.keras with those of {other.name}", "metrics.json"


def _alter_model(attempt: Attempt) -> None:
    path = attempt.run / "model.keras"
    how = attempt.random.choice(["cut", "flip", "exchange", "delete"])
    if how == "cut":
        path.write_bytes(path.read_bytes()[: attempt.random.integers(path.stat().st_size)])
    elif how == "flip":
        altering.flip(path, attempt.random, 0, path.stat().st_size)
    elif how == "exchange":
        shutil.copy(attempt.place.others[attempt.random.integers(2)] / path.name, path)
    else:
        path.unlink()
    attempt.did, attempt.file = f"{how} model.keras", "model.keras"


def _alter_table(attempt: Attempt, name: str) -> None:
    """Give one number of a table another value, cut the table inside a row, or put bytes that are no text into it."""
    path = attempt.run / name
    lines = path.read_text(encoding="utf-8").splitlines()
    how = attempt.random.choice(["number", "cut", "bytes"])
    if how == "number":
        i = int(attempt.random.integers(1, len(lines)))
        cells = lines[i].split(",")
        numbers = [j for j, cell in enumerate(cells) if cell.replace(".", "", 1).isdigit() and 0 < float(cell) < 1]
        j = numbers[attempt.random.integers(len(numbers))]
        cells[j] = f"{float(cells[j]) * 0.9:.6f}"
        lines[i] = ",".join(cells)
    elif how == "cut":
        lines[-1] = lines[-1].rpartition(",")[0]
    path.write_bytes("\n".join(lines).encode() + (b"\n\xff\n" if how == "bytes" else b"\n"))
    attempt.did, attempt.file = f"altered {name} ({how})", name


def _alter_history(attempt: Attempt) -> None:
    _alter_table(attempt, "history.csv")


def _alter_groups(attempt: Attempt) -> None:
    _alter_table(attempt, "groups.csv")


def _alter_attack(attempt: Attempt) -> None:
    altering.edit(attempt, attempt.run / "attack" / "fgsm.json")


def _alter_vocabulary(attempt: Attempt) -> None:
    path = attempt.run / "vocabulary.json"
    if attempt.random.random() < 0.5:
        altering.flip(path, attempt.random, 0, path.stat().st_size)
    else:
        path.write_bytes(path.read_bytes()[: attempt.random.integers(path.stat().st_size)])
    attempt.did, attempt.file = "altered vocabulary.json", path.name


FINISHED = (
    _edit_json, _edit_early, _alter_model, _cut_json, _exchange_json, _flip_json, _alter_history, _replace_json,
    _exchange_results, _alter_groups, _alter_attack, _alter_vocabulary,
)  # fmt: skip
