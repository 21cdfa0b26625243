"""Alterations of run folders and checkpoints: each must be noticed, or make no difference.

Every attempt alters a fresh copy of a small run in one way and runs one command. The seed of an attempt is its number.
Left out by construction are fields that a run only tells, such as the command line of config.json: paths of data, which
may be edited because data may move, and the hashes themselves.
"""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drilling import alterations_of_receipts
from benchmarks.drilling.outcome import Outcome
from compression import compress, search
from zoo import api, calibrate, card, evaluate, predict, train
from zoo.attack import __main__ as attack
from zoo.console.errors import UsageError
from zoo.ensemble import __main__ as ensemble
from zoo.explain import __main__ as explain
from zoo.online import __main__ as online
from zoo.runs import checkpoints
from zoo.runs.folder import MOVING, RunFolder

ATTEMPTS, QUICK = 50, 10
MODEL = ("--model", "simplenet", "--epochs", "2", "--batch-size", "16", "--deterministic", "--checkpoint-every", "2")
EXPECTED = "refused with one sentence that names the file, or without any difference to the result"


@dataclass(frozen=True)
class Place:
    """Runs and data that the attempts copy.

    Args:
        run: Finished run on images.
        broken: The same run as it was two steps before its end, without results.
        others: Runs of the same data and form with another seed, and with other widths of the model.
        texts: Finished run on texts.
        data: File of the images.
        work: Folder for the copies.
    """

    run: Path
    broken: Path
    others: tuple[Path, Path]
    texts: Path
    data: Path
    work: Path


@dataclass
class Attempt:
    """One alteration.

    Args:
        place: Runs and data.
        run: Copy of the run to alter.
        random: Random numbers of the attempt.
        did: What was done, in words.
        file: Name of the altered file, which a refusal has to contain.
    """

    place: Place
    run: Path
    random: np.random.Generator
    did: str = ""
    file: str = ""

    def newest(self) -> Path:
        return checkpoints.listed(self.run / "checkpoints")[-1]

    def any_checkpoint(self) -> Path:
        listed = checkpoints.listed(self.run / "checkpoints")
        return listed[self.random.integers(len(listed))]


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Alter checkpoints and data between a kill and `--resume`, and files of finished runs before a command reads them.

    Args:
        folder: Empty folder for the runs.
        quick: Whether to make 20 alterations instead of 100.
    """
    place = _made(folder)
    count = QUICK if quick else ATTEMPTS
    yield _resumed(place, count)
    yield _read(place, count)
    (folder / "receipts").mkdir()
    yield from alterations_of_receipts.drill(folder / "receipts", quick)


def _made(folder: Path) -> Place:
    """Train the runs."""
    random = np.random.default_rng(0)
    y = np.arange(120, dtype=np.int32) % 3
    x = random.integers(0, 100, (120, 20, 20), np.uint8)
    for i, label in enumerate(y):
        x[i, 6 * label : 6 * label + 6] += 120
    data = folder / "images.npz"
    np.savez(data, x=x, y=y)
    texts = folder / "texts.csv"
    texts.write_text("text,label\n" + "".join(f"a {w} film {i},{w}\n" for i in range(30) for w in ("good", "bad")))
    words = [*MODEL, "--data", str(data)]
    run, seed, wide, of_texts = (folder / name for name in ("run", "seed", "wide", "texts"))
    for given, output in (
        ([*words, "--set", "units=6"], run),
        ([*words, "--set", "units=6", "--seed", "1"], seed),
        ([*words, "--set", "units=7"], wide),
        (
            ["--model", "lstm", "--set", "units=4", "--epochs", "1", "--batch-size", "16", "--data", str(texts)],
            of_texts,
        ),
    ):
        _expect(train.main, [*given, "--output", str(output)])
    broken = folder / "broken"
    shutil.copytree(run, broken)
    for name in ("metrics.json", "model.keras", "report.html"):
        (broken / name).unlink()
    checkpoints.listed(broken / "checkpoints")[-1].unlink()
    groups = folder / "groups.csv"
    groups.write_text("pen\n" + "".join(f"{'ink' if i % 2 else 'chalk'}\n" for i in range(24)))
    _expect(evaluate.main, [str(run), "--groups", str(groups)])
    _expect(attack.main, [str(run), "--attack", "fgsm", "--eps", "0.1", "--examples", "6"])
    _expect(card.main, [str(run)])
    return Place(run, broken, (seed, wide), of_texts, data, folder / "work")


def _expect(command: Callable[[list[str]], int], words: list[str]) -> None:
    status, said = _done(command, words)
    if status:
        raise RuntimeError(f"{' '.join(words)}: status {status}: {said}")


def _done(command: Callable[[list[str]], int], words: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its status and what it wrote to standard error."""
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            status = command([str(word) for word in words])
        except BaseException as error:  # what a command lets through is what the drill looks for
            return 1, f"{type(error).__name__}: {error}"
    return status, err.getvalue()


def _refused(said: str, file: str) -> str:
    """Return what is wrong with a refusal; nothing if it is one sentence about the file."""
    lines = said.strip().splitlines()
    if len(lines) != 1:
        return f"refused with {len(lines)} lines"
    return "" if file in lines[0] else f"refused without naming {file}: {lines[0]}"


# ---- between a kill and --resume


def _resumed(place: Place, count: int) -> Outcome:
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
        status, said = _done(train.main, ["--resume", "--output", run])
        place.data.write_bytes(original)
        found.attempts += 1
        fault = ""
        if status == 2:
            found.facts["refused"] += 1
            fault = _refused(said, attempt.file)
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
    _flip(path, attempt.random, 0, path.stat().st_size)
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
    _edit(attempt, attempt.run / "config.json")


def _damage_history(attempt: Attempt) -> None:
    (attempt.run / "history.csv").write_bytes(b"epoch,loss\n\xff\n")
    attempt.did = "damaged history.csv"


BEFORE_RESUME = (
    _cut_checkpoint, _flip_checkpoint, _rename_checkpoint, _copy_of_other_seed, _exchange_config, _relabel, _cut_all,
    _copy_of_other_model, _edit_config_before_resume, _exchange_content, _redraw, _reorder, _folder_as_checkpoint,
    _damage_history, _delete_checkpoint, _duplicate_checkpoint,
)  # fmt: skip


# ---- before a command reads a finished run


def _read(place: Place, count: int) -> Outcome:
    found = Outcome("alter files of a finished run before a command reads it", EXPECTED)
    for number in range(count):
        alter = FINISHED[number % len(FINISHED)]
        run = place.work / f"read-{number}"
        shutil.copytree(place.texts if alter is _alter_vocabulary else place.run, run)
        attempt = Attempt(place, run, np.random.default_rng(number))
        alter(attempt)
        name, command = _command(attempt, number)
        status, said = _done(command[0], command[1:])
        found.attempts += 1
        fault = _refused(said, attempt.file) if status == 2 else f"status {status}: {said.strip()[-300:]}"
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


def _flip(path: Path, random: np.random.Generator, start: int, stop: int) -> None:
    content = bytearray(path.read_bytes())
    content[random.integers(start, stop)] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def _leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of the numbers, texts and words in a JSON value."""
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, (*at, key))
    else:
        yield at


def _edit(attempt: Attempt, path: Path) -> None:
    """Give one value of a JSON file another value, another type, or remove it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    places = [at for at in _leaves(content) if at[0] != "sha256" and at[-1] not in MOVING]
    at = places[attempt.random.integers(len(places))]
    holder = content
    for key in at[:-1]:
        holder = holder[key]
    was = holder[at[-1]]
    how = attempt.random.choice(["near", "text", "list", "none", "remove", "large"])
    near = was + (was / 1000 or 1e-3) if isinstance(was, float) else was + 1 if type(was) is int else f"{was} "
    made = {"near": near, "text": "x", "list": [was], "none": None if was is not None else 0, "large": 1e300}
    if how == "remove":
        del holder[at[-1]]
    else:
        holder[at[-1]] = made[how]
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    attempt.did, attempt.file = f"edited {'.'.join(map(str, at))} of {path.name} ({how}: was {was!r})", path.name


def _json(attempt: Attempt) -> Path:
    return attempt.run / ("metrics.json", "config.json")[attempt.random.integers(2)]


def _edit_json(attempt: Attempt) -> None:
    _edit(attempt, _json(attempt))


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
    _flip(path, attempt.random, start, content.index(b'"sha256"'))
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
        _flip(path, attempt.random, 0, path.stat().st_size)
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
    _edit(attempt, attempt.run / "attack" / "fgsm.json")


def _alter_vocabulary(attempt: Attempt) -> None:
    path = attempt.run / "vocabulary.json"
    if attempt.random.random() < 0.5:
        _flip(path, attempt.random, 0, path.stat().st_size)
    else:
        path.write_bytes(path.read_bytes()[: attempt.random.integers(path.stat().st_size)])
    attempt.did, attempt.file = "altered vocabulary.json", path.name


FINISHED = (
    _edit_json, _edit_early, _alter_model, _cut_json, _exchange_json, _flip_json, _alter_history, _replace_json,
    _exchange_results, _alter_groups, _alter_attack, _alter_vocabulary,
)  # fmt: skip
