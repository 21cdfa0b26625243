"""What drills that alter runs share: small runs, a copy to alter, and a look at how a command refused it."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo import card, evaluate, train
from zoo.attack import __main__ as attack
from zoo.runs import checkpoints
from zoo.runs.folder import MOVING

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


def made(folder: Path) -> Place:
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
    status, said = done(command, words)
    if status:
        raise RuntimeError(f"{' '.join(words)}: status {status}: {said}")


def done(command: Callable[[list[str]], int], words: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its status and what it wrote to standard error."""
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            status = command([str(word) for word in words])
        except BaseException as error:  # what a command lets through is what the drill looks for
            return 1, f"{type(error).__name__}: {error}"
    return status, err.getvalue()


def refused(said: str, file: str) -> str:
    """Return what is wrong with a refusal; nothing if it is one sentence about the file."""
    lines = said.strip().splitlines()
    if len(lines) != 1:
        return f"refused with {len(lines)} lines"
    return "" if file in lines[0] else f"refused without naming {file}: {lines[0]}"


def flip(path: Path, random: np.random.Generator, start: int, stop: int) -> None:
    """Flip a random bit of a file, in its bytes from `start` to before `stop`."""
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


def edit(attempt: Attempt, path: Path) -> None:
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
