"""Run of online learning: reading the stream, checkpoints for bit-exact resumption, and the final run folder."""

import contextlib
import csv
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.console.cli import say
from zoo.console.errors import Interrupted, UsageError
from zoo.data import Dataset, Split, digests, load
from zoo.online import records, streams
from zoo.online.learning import Learner, falls
from zoo.online.page import draw, sections
from zoo.online.prequential import WINDOW
from zoo.online.records import Record
from zoo.online.settings import Settings
from zoo.online.streams import Position
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec
from zoo.system.files import replacing
from zoo.system.signals import stopped_by_signals
from zoo.training.finishing import finish
from zoo.training.numerics import numerics

# Number of rejected lines reported on standard error; further ones are only counted.
NAMED = 5


@dataclass(frozen=True, kw_only=True)
class StreamSource:
    """Source of examples: a file, a TFDS set, or standard input if neither is given.

    Args:
        path: File to read.
        named: Configuration and split of a TFDS set.
        follow: Whether to wait for more data at the end of the file.
        idle: Seconds without new data after which the stream ends.
        endless: Whether a signal ends the stream instead of interrupting the run.
    """

    path: Path | None = None
    named: tuple[TrainConfig, str] | None = None
    follow: bool = False
    idle: float | None = None
    endless: bool = False


class Journal:
    """File that lines are appended to, truncated on resume to the size recorded in a checkpoint.

    Args:
        path: File to append to.
        size: Size in bytes to truncate the file to.
    """

    def __init__(self, path: Path, size: int):
        self.file = path.open("ab")
        self.file.truncate(min(size, path.stat().st_size))

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.file.seek(0, io.SEEK_END)

    def add(self, line: str) -> None:
        self.file.write(line.encode() + b"\n")
        self.file.flush()

    def keep(self) -> None:
        """Flush the file to disk."""
        os.fsync(self.file.fileno())


class Session:
    """Learning from a stream within one process.

    Args:
        run: Run folder to write.
        learner: Learner in its initial state.
        source: Source of examples.
        snapshot: Checkpoint to resume from, or None.
        origin: What the checkpoints belong to.

    Raises:
        UsageError: If the stream, or prequential.csv, is not as it was when the checkpoint was written.
    """

    def __init__(
        self,
        run: RunFolder,
        learner: Learner,
        source: StreamSource,
        snapshot: checkpoints.Snapshot | None,
        origin: checkpoints.Origin,
    ):
        self.run, self.learner, self.source, self.origin = run, learner, source, origin
        self.signal = 0  # set by a signal handler
        self.position, self.rejected, self.seconds, self.row_at = Position(), 0, 0.0, 0
        sizes = {"rows": 0, "rejected": 0}
        if snapshot is not None:
            state = snapshot.state
            self.position, self.rejected = Position(*state["position"]), state["rejected"]
            self.seconds, self.row_at, sizes = state["seconds"], state["row_at"], state["sizes"]
            if source.path is not None:
                streams.check_same(source.path, self.position, state["known_by"])
            if (known := state.get("rows_sha256")) and _beginning(run.prequential_file, sizes["rows"]) != known:
                raise UsageError(
                    f"{run.prequential_file} was truncated or altered: its rows are not those of the checkpoint of"
                    f" step {snapshot.step}"
                )
            try:
                learner.restore(snapshot.arrays, state["learner"])
            except (ValueError, KeyError) as error:
                raise UsageError(f"{run.checkpoints}: expected checkpoints of this model: {error}") from None
        self.began, self.first, self.named = time.perf_counter(), learner.examples, 0
        self.rows = Journal(run.prequential_file, sizes["rows"])
        self.aside = Journal(run.rejected_file, sizes["rejected"])
        if not self.rows.size:
            self.rows.add(",".join([*learner.row(), "line"]))
        self._mark()

    def close(self) -> None:
        """Close the journal files."""
        self.rows.file.close()
        self.aside.file.close()

    def _mark(self) -> None:
        """Remember the state before the batch that is being collected."""
        self.before = self.position, self.rejected, self.aside.size

    def learn(self, found: Iterator[Record]) -> None:
        """Learn from records until they end.

        Raises:
            Interrupted: If a signal arrived. A checkpoint was written.
        """
        size, batch = self.learner.settings.batch_size, []
        with _progress() as show:
            for record in found:
                if self.signal:
                    break
                self.position = record.position
                if record.reason:
                    self._reject(record)
                    continue
                batch.append(record)
                if len(batch) == size:
                    self._step(batch)
                    show(self)
                    batch = []
        if self.signal and not self.source.endless:
            # The lines of the incomplete batch, including rejected ones, are read again on resume.
            self.position, self.rejected, aside = self.before
            self._save(aside)
            raise Interrupted(f"interrupted after line {self.position.line:,}, {self.learner.examples:,} examples")
        if batch:
            self._step(batch)
        if self.learner.examples > self.row_at:
            self._validate()
        self._save(self.aside.size)

    def _step(self, batch: Sequence[Record]) -> None:
        x = np.stack([record.x for record in batch])
        every, before = self.learner.settings.checkpoint_every, self.learner.examples
        self.learner.step(Split(x, np.array([record.y for record in batch], np.int32)))
        if self.learner.examples // every > before // every:
            self._validate()
            self._save(self.aside.size)
        self._mark()

    def _validate(self) -> None:
        """Validate the weights, and append a row to prequential.csv."""
        learner = self.learner
        learner.validate()
        row = [*learner.row().values(), self.position.line]
        self.rows.add(",".join("" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
                               for value in row))  # fmt: skip
        self.row_at = learner.examples
        held = "" if learner.validated is None else f", held out {learner.validated:.2%}"
        if not sys.stderr.isatty():
            say(f"{told(learner)}{held}")

    def _save(self, aside: int) -> None:
        """Write a checkpoint after flushing the journals, whose sizes it records; on resume later lines are cut off."""
        self.rows.keep()
        self.aside.keep()
        state = {
            "learner": self.learner.state(),
            "position": [self.position.line, self.position.end],
            "known_by": streams.beginning(self.source.path, self.position.end) if self.source.path else "",
            "rejected": self.rejected,
            "sizes": {"rows": self.rows.size, "rejected": aside},
            "rows_sha256": _beginning(self.run.prequential_file, self.rows.size),
            "seconds": self.elapsed,
            "row_at": self.row_at,
        }
        snapshot = checkpoints.Snapshot(self.learner.examples, self.learner.arrays(), state, self.origin)
        path = checkpoints.save(self.run.checkpoints, snapshot)
        for other in checkpoints.listed(self.run.checkpoints):
            if other != path and other.name.rpartition("-")[0] == path.name.rpartition("-")[0]:
                other.unlink()  # older checkpoint of the same example

    @property
    def elapsed(self) -> float:
        """Seconds of learning, including those of earlier processes."""
        return self.seconds + time.perf_counter() - self.began

    def _reject(self, record: Record) -> None:
        self.rejected += 1
        self.named += 1
        if self.named <= NAMED:
            say(f"line {record.position.line:,} is rejected: {record.reason}")
        if self.named == NAMED + 1:
            say(f"further rejected lines are only counted; all are in {self.run.rejected_file}")
        content = record.content.decode("utf-8", "backslashreplace")
        self.aside.add(json.dumps({"line": record.position.line, "reason": record.reason, "content": content}))


def _beginning(path: Path, size: int) -> str:
    """Return the SHA-256 of the first bytes of a file in hexadecimal; of nothing if there is no such file."""
    content = path.read_bytes()[:size] if path.is_file() else b""
    return hashlib.sha256(content).hexdigest()


def told(learner: Learner) -> str:
    """Return the progress of learning as one line of text."""
    found = learner.prequential
    return (
        f"{found.examples:,} examples  accuracy {found.accuracy:.2%}, last {len(found.recent):,} {found.windowed:.2%}"
    )


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Yield a function that shows the progress of a session on a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("waiting for examples")
        yield lambda session: bar.update(task, description=told(session.learner))


def learn(
    base: RunFolder,
    run: RunFolder,
    config: TrainConfig,
    settings: Settings,
    data: Dataset,
    source: StreamSource,
    *,
    resume: bool,
    begun_with: Mapping[str, Any],
    command: list[str],
) -> dict[str, Any]:
    """Train a run further on a stream, write the folder of a new run, and return its metrics.

    Args:
        base: Trained run to start from.
        run: Run folder to write.
        config: Configuration of the new run.
        settings: Settings of online learning.
        data: Dataset of the trained run. Its training split fills the rehearsal buffer, and the result is evaluated on
            its test split.
        source: Source of examples.
        resume: Whether to resume from the newest checkpoint of `run`, if there is one.
        begun_with: Record of the starting point for config.json.
        command: Command line recorded in config.json.

    Raises:
        UsageError: If a resumed run is given a different stream, if its checkpoints belong to another run or to other
            data, or if the stream contains no example.
        Interrupted: If a signal arrived before the end of a finite stream. A checkpoint was written.
    """
    with numerics(config):
        model = base.load_model()
        learner = Learner(model, config, data.spec, data.train, settings)
        origin = {
            "config": config.deciding(),
            "data": digests.of_data(data, ("train",)),
            "online": {**settings.to_json(), "model_sha256": base.read_metrics()["model_sha256"]},
        }
        snapshot, found = checkpoints.newest(run.checkpoints, origin) if resume else (None, [])
        for sentence in found:
            say(sentence)
        if resume:
            say(
                f"resuming after line {snapshot.state['position'][0]:,}" if snapshot else "resuming from the first line"
            )
        else:
            data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
            run.write_config(config, data.spec.to_json(), command, begun_with)
        session = Session(run, learner, source, snapshot, origin)
        with contextlib.closing(session), stopped_by_signals(session):
            session.learn(_records(base, source, session))
    if not learner.examples:
        raise UsageError(f"--stream: expected an example, found none; {session.rejected:,} lines were rejected")
    return _finish(base, run, config, data, learner, session)


def _records(base: RunFolder, source: StreamSource, session: Session) -> Iterator[Record]:
    """Yield the records of the source after the session's position."""
    spec, vocabulary = read_spec(base)
    if source.named is not None:
        config, split = source.named
        return records.of_split(load(config, like=spec, vocabulary=vocabulary).split(split), session.position)
    found = streams.lines(
        source.path,
        session.position,
        follow=source.follow,
        idle=source.idle,
        stopped=lambda: bool(session.signal),
    )
    return records.of_lines(found, records.parser(spec, vocabulary, source.path.parent if source.path else Path()))


def _finish(
    base: RunFolder, run: RunFolder, config: TrainConfig, data: Dataset, learner: Learner, session: Session
) -> dict[str, Any]:
    """Write the files of a finished run, and return its metrics."""
    found = learner.prequential
    numbers = {
        "examples": found.examples,
        "learnt": learner.learnt,
        "held_out": learner.held_out,
        "rejected": session.rejected,
        "lines": session.position.line,
        "accuracy": found.accuracy,
        "window": WINDOW,
        "windowed": found.windowed,
        "drifts": falls(learner.changes),
        "rises": [change for change in learner.changes if change not in falls(learner.changes)],
        "rollbacks": learner.rollbacks,
        "test_accuracy_before": base.read_metrics()["test"]["accuracy"],
    }
    with run.prequential_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = draw(rows, numbers)
    with replacing(run.prequential_picture) as temporary:
        drawn.savefig(temporary, dpi=120)
    more = {
        "prequential": numbers,
        "epoch": 0,
        "epochs": 0,
        "seconds": round(session.elapsed, 2),
        "examples_per_second": round((learner.examples - session.first) / (time.perf_counter() - session.began)),
    }
    return finish(run, config, data, tasks.of(data.spec.task), learner.model, more, sections=sections(numbers, drawn))
