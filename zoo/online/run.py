"""A run that learns from a stream: what it reads, its checkpoints, from which it goes on to the bit, and its end."""

import contextlib
import csv
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
from zoo.data import Dataset, Split, load
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

# Malformed lines that are named on standard error, before they are only counted.
NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where examples come from: a file, a set, or else standard input.

    Args:
        path: of a file.
        named: configuration and split of a set.
        follow: wait for more at the end of the file.
        idle: seconds without more after which that ends.
        endless: whether a signal is the stream's end, not an interruption.
    """

    path: Path | None = None
    named: tuple[TrainConfig, str] | None = None
    follow: bool = False
    idle: float | None = None
    endless: bool = False


class Journal:
    """A file that lines are added to, and whose length a checkpoint remembers, so that no line is there twice."""

    def __init__(self, path: Path, size: int):
        self.file = path.open("ab")
        self.file.truncate(min(size, path.stat().st_size))

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.file.seek(0, io.SEEK_END)

    def add(self, line: str) -> None:
        self.file.write(line.encode() + b"\n")
        self.file.flush()

    def keep(self) -> None:
        """Flush it to the disk."""
        os.fsync(self.file.fileno())


class Session:
    """One process that learns from a stream.

    Args:
        run: its folder.
        learner: as it begins.
        source: of the examples.
        snapshot: to go on from.
    """

    def __init__(self, run: RunFolder, learner: Learner, source: Source, snapshot: checkpoints.Snapshot | None):
        self.run, self.learner, self.source = run, learner, source
        self.signal = 0  # set by a signal handler
        self.position, self.rejected, self.seconds, self.row_at = Position(), 0, 0.0, 0
        sizes = {"rows": 0, "rejected": 0}
        if snapshot is not None:
            state = snapshot.state
            self.position, self.rejected = Position(*state["position"]), state["rejected"]
            self.seconds, self.row_at, sizes = state["seconds"], state["row_at"], state["sizes"]
            if source.path is not None:
                streams.check_same(source.path, self.position, state["known_by"])
            learner.restore(snapshot.arrays, state["learner"])
        self.began, self.first, self.named = time.perf_counter(), learner.examples, 0
        self.rows = Journal(run.prequential_file, sizes["rows"])
        self.aside = Journal(run.rejected_file, sizes["rejected"])
        if not self.rows.size:
            self.rows.add(",".join([*learner.row(), "line"]))
        self._mark()

    def close(self) -> None:
        """Close the files that lines are added to."""
        self.rows.file.close()
        self.aside.file.close()

    def _mark(self) -> None:
        """Remember what was put aside before the batch that is being collected."""
        self.before = self.position, self.rejected, self.aside.size

    def learn(self, found: Iterator[Record]) -> None:
        """Learn from records until they end.

        Raises:
            Interrupted: a signal came; a checkpoint was written.
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
            # The batch that was not whole is read again, and what was put aside within it as well.
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
        """Validate, and write a row."""
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
        """Write a checkpoint: all before it is on the disk, and what comes after it will be found there once only."""
        self.rows.keep()
        self.aside.keep()
        state = {
            "learner": self.learner.state(),
            "position": [self.position.line, self.position.end],
            "known_by": streams.beginning(self.source.path, self.position.end) if self.source.path else "",
            "rejected": self.rejected,
            "sizes": {"rows": self.rows.size, "rejected": aside},
            "seconds": self.elapsed,
            "row_at": self.row_at,
        }
        snapshot = checkpoints.Snapshot(self.learner.examples, self.learner.arrays(), state)
        path = checkpoints.save(self.run.checkpoints, snapshot)
        for other in checkpoints.listed(self.run.checkpoints):
            if other != path and other.name.rpartition("-")[0] == path.name.rpartition("-")[0]:
                other.unlink()  # of the same example, and older

    @property
    def elapsed(self) -> float:
        """Seconds of learning, of processes before this one as well."""
        return self.seconds + time.perf_counter() - self.began

    def _reject(self, record: Record) -> None:
        self.rejected += 1
        self.named += 1
        if self.named <= NAMED:
            say(f"line {record.position.line:,} is put aside: {record.reason}")
        if self.named == NAMED + 1:
            say(f"more such lines are only counted; all are in {self.run.rejected_file}")
        content = record.content.decode("utf-8", "backslashreplace")
        self.aside.add(json.dumps({"line": record.position.line, "reason": record.reason, "content": content}))


def told(learner: Learner) -> str:
    """Return how far learning is, in a line."""
    found = learner.prequential
    return (
        f"{found.examples:,} examples  accuracy {found.accuracy:.2%}, last {len(found.recent):,} {found.windowed:.2%}"
    )


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Give a function that shows on a terminal how far a session is."""
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
    source: Source,
    *,
    resume: bool,
    begun_with: Mapping[str, Any],
    command: list[str],
) -> dict[str, Any]:
    """Let a trained run learn from a stream, write the folder of a run, and return its metrics.

    Args:
        base: the run that was trained.
        run: the folder to write.
        config: of the new run.
        settings: how it learns.
        data: of the trained run: what is rehearsed at first, and what is measured on at the end.
        source: of the examples.
        resume: go on from the newest checkpoint of `run`, if there is one.
        begun_with: the record for config.json of what this began with.
        command: the words that started this.

    Raises:
        UsageError: another stream than the one that was begun with, or one without an example.
        Interrupted: a signal came before the end of a stream that has one; a checkpoint was written.
    """
    with numerics(config):
        model = base.load_model()
        learner = Learner(model, config, data.spec, data.train, settings)
        snapshot, damaged = checkpoints.newest(run.checkpoints) if resume else (None, [])
        for sentence in damaged:
            say(f"{sentence}; using the one before it")
        if resume:
            say(
                f"going on behind line {snapshot.state['position'][0]:,}"
                if snapshot
                else "going on from the first line"
            )
        else:
            data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
            run.write_config(config, data.spec.to_json(), command, begun_with)
        session = Session(run, learner, source, snapshot)
        with contextlib.closing(session), stopped_by_signals(session):
            session.learn(_records(base, source, session))
    if not learner.examples:
        raise UsageError(f"--stream: expected an example, found none; {session.rejected:,} lines were put aside")
    return _finish(base, run, config, data, learner, session)


def _records(base: RunFolder, source: Source, session: Session) -> Iterator[Record]:
    """Yield what the source has behind the session's position."""
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
    """Write what a run folder has, from the learner as it is."""
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
