"""Kills of commands at random moments and at every kind of file that they write, after which they are given again."""

import importlib.util
import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.drilling import dying
from benchmarks.drilling.children import Command, bits, leftovers, surplus
from benchmarks.drilling.outcome import Outcome

SEED = 0
KILLS, QUICK = 60, 6
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
_TRAINING = "zoo.train --model simplenet --dataset digits --epochs 3 --deterministic --checkpoint-every 10 --output out"


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Args:
        name: Name in the report.
        words: Module and words, which write into the folder `out`.
        again: Words that are added to go on, once the command has written what it goes on from.
        run: Whether it needs the folder `run` of a trained model.
        package: Package that it needs.
    """

    name: str
    words: str
    again: str = ""
    run: bool = False
    package: str = "keras"


KINDS = (
    Kind("training", _TRAINING, "--resume"),
    Kind("compress", "compression.compress run --recipe prune(0.5,epochs=1)+int8 --output out", run=True),
    Kind("private", f"{_TRAINING} --private dp(3)", "--resume", package="dp_accounting"),
    Kind(
        "online",
        "zoo.online run --stream stream.jsonl --checkpoint-every 200 --hold-out 0.1 --rehearsal 50 --output out",
        "--resume",
        run=True,
        package="river",
    ),
    Kind(
        "search",
        "compression.search run --max-bytes 12k --min-accuracy 0.1 --trials 2 --jobs 1 --space epochs=1 --space rate=2"
        " --space precision=int8 --output out",
        run=True,
    ),
    Kind(
        "sweep",
        "zoo.sweep --model simplenet --dataset digits --set units=8|16 --epochs 2 --deterministic --output out",
        "--resume",
    ),
    Kind("JAX", f"{_TRAINING} --strategy data_parallel --virtual-devices 2", "--resume", package="jax"),
)


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Kill each kind of command, give it again, and compare it with one that was not disturbed.

    Args:
        folder: Folder for the runs.
        quick: Whether to kill 6 times instead of 60.
    """
    kinds = [kind for kind in KINDS if importlib.util.find_spec(kind.package)]
    total = QUICK if quick else KILLS
    counts = {kind.name: total // len(kinds) + (i < total % len(kinds)) for i, kind in enumerate(kinds)}
    given = folder / "given"
    given.mkdir()
    _made(given)
    for order, kind in enumerate(kinds):
        if not counts[kind.name]:
            continue
        outcome = Outcome(f"kills of {kind.name}", "given again, it ends with the same bits and leaves nothing behind")
        reference = _placed(kind, given, folder / f"{kind.name}-whole")
        began = time.monotonic()
        whole = Command(_dying(kind, 0, "never"), reference, reference / "said")
        if fault := whole.end():
            outcome.faults.append(f"without a kill: {fault}")
            yield outcome
            continue
        seconds, written = time.monotonic() - began, (reference / "log").read_text().splitlines()
        dice = random.Random(SEED + order)
        names = dice.sample(sorted(set(written)), len(set(written)))
        outcome.facts = {"files written": len(written), "of them different": len(names)}
        for attempt in range(counts[kind.name]):
            outcome.attempts += 1
            place = _placed(kind, given, folder / f"{kind.name}-{attempt}")
            if (attempt + order) % 2:
                which = [i for i, name in enumerate(written, 1) if name == names[attempt // 2 % len(names)]]
                at = dice.choice(which), dying.MOMENTS[attempt // 2 % len(dying.MOMENTS)]
                how = f"{at[1]} of {written[at[0] - 1]} ({at[0]})"
                words, moment, number = _dying(kind, *at), MOST_SECONDS, signal.SIGKILL
            else:
                moment, number = dice.uniform(0.2, seconds), dice.choice(SIGNALS)
                how = f"{signal.Signals(number).name} after {moment:.2f} of {seconds:.2f} s"
                words = kind.words.split()
            faults = _attempt(kind, words, moment, number, place)
            faults += [f"more than without a kill: {name}" for name in surplus(place / "out", reference / "out")]
            faults += [] if bits(place / "out") == bits(reference / "out") else ["its bits differ"]
            outcome.faults += [f"{kind.name} {attempt}, {how}: {fault}" for fault in faults]
            if not faults:
                shutil.rmtree(place)
        yield outcome


MOST_SECONDS = 600.0


def _attempt(kind: Kind, words: list[str], moment: float, number: int, place: Path) -> list[str]:
    """Kill a command and give it again; return what is wrong."""
    faults = []
    child = Command(words, place, place / "killed")
    deadline = time.monotonic() + moment
    while child.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.process.send_signal(number)
    status = child.process.wait(120)
    if status not in (0, -number, INTERRUPTED):
        faults.append(f"the killed command ended with status {status}: {child.last_line()}")
    if child.has_traceback() and status == INTERRUPTED:
        faults.append("the killed command showed a traceback")
    faults += [f"a process was left: {words}" for words in child.orphans()]
    if status == 0 and not kind.again:
        shutil.rmtree(place / "out")  # it was faster than the signal
    begun = any((place / "out" / name).is_file() for name in ("config.json", "sweep.json"))
    again = Command([*kind.words.split(), *(kind.again.split() if begun else ())], place, place / "again")
    if fault := again.end():
        faults.append(f"given again, {fault}")
    if again.has_traceback():
        faults.append("given again, it showed a traceback")
    faults += [f"a process was left: {words}" for words in again.orphans()]
    left = leftovers(place / "out") + sorted(path.name for path in again.temporary.iterdir())
    return faults + ([f"left behind: {', '.join(left[:5])}"] if left else [])


def _dying(kind: Kind, number: int, moment: str) -> list[str]:
    return ["benchmarks.drilling.dying", "log", str(number), moment, *kind.words.split()]


def _placed(kind: Kind, given: Path, place: Path) -> Path:
    """Make a folder with what a command needs."""
    place.mkdir()
    if kind.run:
        shutil.copytree(given / "run", place / "run")
        shutil.copy(given / "stream.jsonl", place)
    return place


def _made(given: Path) -> None:
    """Train the run that others begin with, and write a stream of digits."""
    from sklearn.datasets import load_digits

    words = ["zoo.train", "--model", "simplenet", "--dataset", "digits", "--epochs", "3", "--output", "run"]
    if fault := Command(words, given, given / "said").end():
        raise RuntimeError(f"the run of the drill could not be trained: {fault}")
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))[:1200]
    shape = json.loads((given / "run" / "config.json").read_text())["data"]["input_shape"]
    pictures = np.uint8(np.clip(digits.images[order] * 255 / 16, 0, 255))
    pictures = np.pad(pictures, ((0, 0), *((0, size - 8) for size in shape[:2])))
    lines = [json.dumps({"x": x.tolist(), "y": int(y)}) for x, y in zip(pictures, digits.target[order], strict=True)]
    (given / "stream.jsonl").write_text("\n".join(lines) + "\n")
