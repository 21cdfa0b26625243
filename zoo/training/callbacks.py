"""What `fit` calls while it trains: memory of the run, snapshots, and a word to whoever watches."""

import csv
import io
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from strategies import collective
from zoo.console.errors import Diverged, Interrupted
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.system.files import write_text
from zoo.training.executions import Executions


@dataclass
class Memory:
    """What a run remembers from one epoch to the next; saved in every snapshot.

    Args:
        history: one row an epoch: loss, metrics, validation, learning rate.
        best_epoch: index of the best epoch by validation, as its task ranks them; -1 before the first.
        waited: epochs since then.
        stopped: whether early stopping has ended the run.
        train_seconds: time spent in training steps, first step and validation left out.
        timed_examples: examples of those steps.
        averaged: epochs that the mean of weights is over.
        best_weights: of the best epoch.
        mean_weights: the mean of those that are trained, float64.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    waited: int = 0
    stopped: bool = False
    train_seconds: float = 0.0
    timed_examples: int = 0
    averaged: int = 0
    best_weights: list[np.ndarray] = field(default_factory=list, repr=False)
    mean_weights: list[np.ndarray] = field(default_factory=list, repr=False)

    def to_snapshot(self, step: int, arrays: dict[str, np.ndarray]) -> checkpoints.Snapshot:
        state = asdict(self)
        kept = {f"{name}/{i}": w for name in ("best", "mean") for i, w in enumerate(state.pop(f"{name}_weights"))}
        return checkpoints.Snapshot(step, arrays | kept, state)

    @classmethod
    def from_snapshot(cls, snapshot: checkpoints.Snapshot) -> "Memory":
        kept = {}
        for name in ("best", "mean"):
            count = sum(key.startswith(f"{name}/") for key in snapshot.arrays)
            kept[f"{name}_weights"] = [snapshot.arrays[f"{name}/{i}"] for i in range(count)]
        return cls(**snapshot.state, **kept)


class Recorder(keras.callbacks.Callback):
    """Write history.csv, keep the best weights, stop early.

    Args:
        run: where history.csv goes.
        memory: is updated.
        patience: epochs without a better validation result before training stops, 0: never.
        keep_best: keep a copy of the best epoch's weights.
        rank: of a row of history, what epochs are compared by; more is better.
        plain: the model itself, where what is trained is around it.
    """

    def __init__(
        self,
        run: RunFolder,
        memory: Memory,
        patience: int,
        keep_best: bool,
        rank: Callable[[dict], tuple],
        plain: keras.Model,
    ):
        super().__init__()
        self.run, self.memory, self.patience, self.keep_best, self.rank = run, memory, patience, keep_best, rank
        self.plain = plain

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch, **{k: float(v) for k, v in logs.items()}, "learning_rate": rate}
        self.memory.history.append(row)
        if any(name.startswith("val_") for name in row):
            self._compare(epoch)
        write_history(self.run, self.memory.history)

    def _compare(self, epoch: int) -> None:
        memory = self.memory
        if memory.best_epoch < 0 or self.rank(memory.history[epoch]) > self.rank(memory.history[memory.best_epoch]):
            memory.best_epoch, memory.waited = epoch, 0
            if self.keep_best:
                checkpoints.synchronise(self.model)
                memory.best_weights = checkpoints.weights(self.plain)
            return
        memory.waited += 1
        if self.patience and memory.waited >= self.patience:
            memory.stopped = True
            self.model.stop_training = True


class Checkpointer(keras.callbacks.Callback):
    """Write snapshots, and stop at the first loss that is not a number.

    Args:
        run: where they go.
        memory: goes into them.
        start: global steps done before this call of `fit`.
        steps: in an epoch.
        stride: steps after which this is called.
        executions: of these steps; looks only when none is ahead.
        every: steps between snapshots inside an epoch, 0: at its end only.
        metrics: values of a snapshot inside an epoch, to go on from where its running means stood.
        strategy: that is trained under; its workers stop at the same step, whichever of them a signal came to.
    """

    # Steps from one word between workers about signals to the next: it takes as long as a small model's step.
    LISTEN_EVERY = 10

    def __init__(
        self,
        run: RunFolder,
        memory: Memory,
        *,
        start: int,
        steps: int,
        stride: int,
        executions: Executions,
        every: int,
        metrics: dict[str, np.ndarray] | None,
        strategy: Any,
    ):
        super().__init__()
        self.run, self.memory, self.step, self.steps = run, memory, start, steps
        self.stride, self.executions, self.every, self.seen = stride, executions, every, start
        self.metrics, self.strategy = metrics, strategy
        self.together = collective.workers(strategy) > 1
        self.signal = 0  # set by a signal handler: save at the end of this step, and stop

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.metrics is not None:  # fit has just reset them
            checkpoints.restore_metrics(self.model, self.metrics)
            self.metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += self.stride
        if self.executions.ahead:
            return
        before, self.seen = self.seen, self.step
        if not math.isfinite(logs["loss"]):
            self._diverged(f"the loss is {logs['loss']}", before + 1)
        if self.step % self.steps == 0:
            return  # the epoch's own snapshot follows, with its validation and its row of history
        stopped = self._signalled(self._due(self.LISTEN_EVERY, before))
        if stopped or (self.every and self._due(self.every, before)):
            self._save()
        if stopped:
            raise Interrupted(f"interrupted after step {self.step}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._save()
        if self._signalled(True):
            raise Interrupted(f"interrupted after epoch {epoch + 1}")

    def _due(self, every: int, before: int) -> bool:
        """Whether the steps since `before` passed a multiple of so many."""
        return self.step // every > before // every

    def _signalled(self, listening: bool) -> bool:
        """Whether training ends here: a signal came, with several workers to any of them."""
        if not self.together:
            return bool(self.signal)
        return listening and bool(collective.gather(self.strategy, np.array([self.signal], np.int32)).any())

    def _save(self) -> None:
        try:
            arrays = checkpoints.capture(self.model)
        except checkpoints.NotFinite:
            self._diverged("a weight is not finite")
        checkpoints.save(self.run.checkpoints, self.memory.to_snapshot(self.step, arrays))

    def _diverged(self, what: str, since: int | None = None) -> None:
        good = checkpoints.listed(self.run.checkpoints)
        step = f"step {self.step}" if since in (None, self.step) else f"one of the steps {since} to {self.step}"
        where = f"the last good checkpoint is {good[-1]}" if good else "no checkpoint was written before it"
        raise Diverged(f"{what} at {step}; {where}; try a lower --learning-rate, a longer --warmup or --clip-norm 1")


class Clock(keras.callbacks.Callback):
    """Measure the time of training steps: not the first, which traces the graph, and not validation.

    Args:
        memory: is updated.
        examples: of the steps from one call of this to the next.
    """

    def __init__(self, memory: Memory, examples: int):
        super().__init__()
        self.memory, self.examples = memory, examples
        self._since, self._traced = None, False

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self._traced and self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._traced = True
        if self._since is not None:
            now = time.perf_counter()
            self.memory.train_seconds += now - self._since
            self.memory.timed_examples += self.examples
            self._since = now

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._since = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._since = None


class Progress(keras.callbacks.Callback):
    """Show on standard error how far training is: a bar on a terminal, a line an epoch elsewhere.

    Args:
        epochs: of the whole run.
        steps: in an epoch.
        done: steps of the first epoch that were done before.
        stride: steps from one call of this to the next.
    """

    def __init__(self, epochs: int, steps: int, done: int = 0, stride: int = 1):
        super().__init__()
        self.epochs, self.steps, self.done, self.stride = epochs, steps, done, stride
        self._bar = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._began = time.perf_counter()
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(
            f"epoch {epoch + 1}/{self.epochs}", total=self.steps, completed=self.done, loss=""
        )
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=self.stride, loss=f"loss {logs['loss']:.4f}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.close()
        self.done = 0
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        seconds = time.perf_counter() - self._began
        print(f"epoch {epoch + 1}/{self.epochs}  {numbers}  {seconds:.1f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def write_history(run: RunFolder, rows: list[dict[str, Any]]) -> None:
    """Write history.csv, a row an epoch; only what the seed decides, so that two runs can be compared."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run.history_file, text.getvalue())
