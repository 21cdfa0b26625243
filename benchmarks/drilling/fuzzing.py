"""Fuzzing: damaged files are given to every reader of users' files, which must refuse each in one sentence or read it.

Cases are drawn from their number alone: `python -m benchmarks.drilling.fuzzing READER NUMBER` repeats one and shows its
traceback. Readers run in a child process: a case that takes too long is killed with it, and the next child goes on.
"""

import contextlib
import functools
import io
import json
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.drilling.outcome import Outcome
from benchmarks.drilling.readers import READERS
from zoo.console.errors import UsageError

# Limits of one case, which a reader of these small files stays far below: seconds of the processor, bytes, and seconds
# after which a child that says nothing hangs.
SECONDS = 5.0
MEMORY_BYTES = 1 << 30
SECONDS_OF_SILENCE = 60.0
# Time for a child to import what its reader needs.
SECONDS_TO_START = 120.0
SEED = 20260801
EXPECTED = "read, or refused with a sentence that names the file, within 5 s of the processor and 1 GiB"


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Give 100,000 damaged files to the readers, 2,000 of them if `quick`, and yield an outcome for each reader.

    Args:
        folder: Empty folder for the files.
        quick: Whether to try few files.
    """
    for name, reader in READERS.items():
        yield fuzzed(name, folder, reader.share // (50 if quick else 1))


def fuzzed(name: str, folder: Path, cases: int) -> Outcome:
    """Try damaged files on one reader, in child processes.

    Args:
        name: Name of the reader.
        folder: Folder for the files.
        cases: Number of files.
    """
    outcome, next_case = Outcome(f"damaged {name}", EXPECTED, attempts=cases), 0
    counts = {"read": 0, "refused": 0}
    most_bytes = 0
    while next_case < cases:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            said, files = Path(place) / "said", Path(place) / "files"
            files.mkdir()
            command = [
                sys.executable,
                "-m",
                "benchmarks.drilling.fuzzing",
                name,
                str(next_case),
                str(cases),
                str(files),
            ]
            with (
                said.open("wb") as errors,
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as child,
            ):
                ready = False
                for row in _rows(child):
                    if "ready" in row:
                        ready = True
                        continue
                    if "fault" in row:
                        outcome.faults.append(f"{name}, case {row['case']}: {row['fault']}")
                    else:
                        counts[row["end"]] += 1
                    most_bytes = max(most_bytes, row["bytes"])
                    next_case = row["case"] + 1
                child.kill()
                status = child.wait()
            if not ready:
                raise RuntimeError(f"{name}: the whole files are not read: {said.read_text(errors='replace')[-2000:]}")
        if next_case < cases:
            ended = f"hung for {SECONDS_OF_SILENCE:g} s" if status == -9 else f"the process ended with status {status}"
            outcome.faults.append(f"{name}, case {next_case}: {ended}")
            next_case += 1
    outcome.facts = counts | {"most_mib": round(most_bytes / 2**20)}
    return outcome


def _rows(child: subprocess.Popen) -> Iterator[dict[str, Any]]:
    """Yield the rows that a child prints, until it ends or is silent for too long."""
    waiting = SECONDS_TO_START
    while select.select([child.stdout], [], [], waiting)[0]:
        line = child.stdout.readline()
        if not line.endswith(b"\n"):
            return
        yield json.loads(line)
        waiting = SECONDS_OF_SILENCE


def case(name: str, number: int, contents: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name and the damaged content of the file of a case.

    Args:
        name: Name of the reader.
        number: Number of the case.
        contents: Whole files by name.
    """
    rng = Random(f"{SEED} {name} {number}")
    file = rng.choice(sorted(contents))
    return file, READERS[name].mutate(rng, contents[file], [contents[other] for other in sorted(contents)])


def attempt(read: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    """Return how reading a file ended.

    Args:
        read: Function that reads it.
        path: Path of the file.

    Returns:
        `end`, which is "read" or "refused", or `fault`, which says what else happened.
    """
    began = time.process_time()
    try:
        read(path)
        row = {"end": "read"}
    except UsageError as error:
        row = {"end": "refused"} if 0 < len(str(error)) < 4000 else {"fault": f"a message of {len(str(error))} letters"}
    except Exception as error:  # a fault is any of them
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:120]
        row = {"fault": f"{type(error).__name__}: {said} ({Path(frame.filename).name}:{frame.lineno})"}
    seconds = time.process_time() - began
    return {"fault": f"took {seconds:.1f} s of the processor"} if seconds > SECONDS else row


def _child(name: str, first: int, last: int, folder: Path) -> None:
    """Try the cases from `first` to before `last`, and print a row for each."""
    warnings.simplefilter("ignore")  # Pillow warns of odd files that it reads
    contents, read = READERS[name].prepare(folder)
    (path := folder / next(iter(contents))).write_bytes(contents[path.relative_to(folder).as_posix()])
    for file, content in contents.items():  # imports and caches are not the cost of a case
        (folder / file).write_bytes(content)
        read(folder / file)
    output = functools.partial(print, file=sys.__stdout__, flush=True)
    output(json.dumps({"ready": True}))
    high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        file, content = case(name, number, contents)
        (folder / file).unlink()  # some file systems wait for the disk when a file is overwritten
        (folder / file).write_bytes(content)
        row = attempt(read, folder / file)
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if (taken := (now - high) * 1024) > MEMORY_BYTES:
            row = {"fault": f"took {taken / 2**30:.1f} GiB"}
            high = now
        output(json.dumps(row | {"case": number, "bytes": max(taken, 0)}))


def _repeat(name: str, number: int, folder: Path) -> None:
    """Read the file of one case, and show what happens."""
    contents, read = READERS[name].prepare(folder)
    file, content = case(name, number, contents)
    for other, whole in contents.items():
        (folder / other).write_bytes(whole)
    (folder / file).write_bytes(content)
    print(f"{file}: {len(content):,} bytes, {content[:300]!r}")
    read(folder / file)


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) == 4:
        with contextlib.redirect_stdout(io.StringIO()):
            _child(words[0], int(words[1]), int(words[2]), Path(words[3]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _repeat(words[0], int(words[1]), Path(temporary))
