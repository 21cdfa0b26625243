"""Callbacks of `fit`: the memory of a run, its checkpoints, its progress on the terminal."""

import contextlib
import csv
import importlib
import importlib.util
import io
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import keras
import numpy as np

from strategies import backend, collective
from zoo.console.errors import Diverged, Interrupted
from zoo.console.figures import duration
from zoo.data.batches.pipeline import on_tensorflow
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.system.files import write_text

# Seconds of steps after which the length of an epoch is estimated.
ESTIMATED_AFTER = 5.0


@dataclass
class Memory:
    """State of a run that outlives an epoch; saved in every checkpoint.

    Args:
        history: Rows of history.csv, one for each epoch: loss, metrics, validation, learning rate.
        best_epoch: Index of the best epoch by validation, as the task ranks them; -1 before the first.
        waited: Number of epochs since the best one.
        stopped: Whether early stopping has ended the run.
        train_seconds: Time spent in training steps, without the first step and validation.
        timed_examples: Number of examples of those steps.
        averaged: Number of epochs in the mean of the weights.
        best_weights: Weights of the best epoch.
        mean_weights: Mean of the trainable weights in float64.
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

    def to_snapshot(self, step: int, arrays: dict[str, np.ndarray], origin: checkpoints.Origin) -> checkpoints.Snapshot:
        state = asdict(self)
        kept = {f"{name}/{i}": w for name in ("best", "mean") for i, w in enumerate(state.pop(f"{name}_weights"))}
        return checkpoints.Snapshot(step, arrays | kept, state, origin)

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
        run: Run folder of history.csv.
        memory: Memory of the run, which is updated.
        patience: Number of epochs without a better validation result after which training stops; 0: never.
        keep_best: Whether to keep a copy of the best epoch's weights.
        rank: Function from a row of history to what epochs are compared by; larger is better.
        plain: Model that is saved, which `fit` may train inside another.
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
    """Write checkpoints, and stop at the first loss that is not a number.

    Args:
        run: Run folder of the checkpoints.
        memory: Memory of the run, which is saved in them.
        start: Number of steps done before this call of `fit`.
        steps: Number of steps in an epoch.
        stride: Number of steps between two calls.
        ahead: Function that returns the number of steps trained but not yet counted by `fit`; a checkpoint is written
            when there is none.
        every: Number of steps between checkpoints inside an epoch; 0: only at its end.
        metrics: Values of a checkpoint inside an epoch, from which the running means of metrics continue.
        strategy: Distribution strategy; all its workers stop at the same step, whichever of them received a signal.
        origin: What the checkpoints belong to.
    """

    # Number of steps between two messages between workers about signals; one takes as long as a step of a small model.
    LISTEN_EVERY = 10

    def __init__(
        self,
        run: RunFolder,
        memory: Memory,
        *,
        start: int,
        steps: int,
        stride: int,
        ahead: Callable[[], int],
        every: int,
        metrics: dict[str, np.ndarray] | None,
        strategy: Any,
        origin: checkpoints.Origin,
    ):
        super().__init__()
        self.run, self.memory, self.step, self.steps = run, memory, start, steps
        self.origin = origin
        self.stride, self.ahead, self.every, self.seen = stride, ahead, every, start
        self.metrics, self.strategy = metrics, strategy
        self.together = collective.workers(strategy) > 1
        self.signal = 0  # set by a signal handler: save at the end of this step and stop

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.metrics is not None:  # fit has just reset them
            checkpoints.restore_metrics(self.model, self.metrics)
            self.metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += self.stride
        if self.ahead():
            return
        before, self.seen = self.seen, self.step
        if not math.isfinite(logs["loss"]):
            self._diverged(f"the loss is {logs['loss']}", before + 1)
        if self.step % self.steps == 0:
            return  # the checkpoint of the epoch follows, with its validation and its row of history
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
        """Return whether a multiple of `every` lies among the steps since `before`."""
        return self.step // every > before // every

    def _signalled(self, listening: bool) -> bool:
        """Return whether training ends here because this process, or any of several workers, received a signal."""
        if not self.together:
            return bool(self.signal)
        return listening and bool(collective.gather(self.strategy, np.array([self.signal], np.int32)).any())

    def _save(self) -> None:
        try:
            arrays = checkpoints.capture(self.model)
        except checkpoints.NotFinite:
            self._diverged("a weight is not finite")
        checkpoints.save(self.run.checkpoints, self.memory.to_snapshot(self.step, arrays, self.origin))

    def _diverged(self, what: str, since: int | None = None) -> NoReturn:
        good = checkpoints.listed(self.run.checkpoints)
        step = f"step {self.step}" if since in (None, self.step) else f"one of the steps {since} to {self.step}"
        where = f"the last good checkpoint is {good[-1]}" if good else "no checkpoint was written before it"
        raise Diverged(f"{what} at {step}; {where}; try a lower --learning-rate, a longer --warmup or --clip-norm 1")


class Clock(keras.callbacks.Callback):
    """Measure the time of training steps, without the first, which traces the graph, and without validation.

    Args:
        memory: Memory of the run, which is updated.
        examples: Number of examples between two calls.
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
    """Show progress on standard error: a bar on a terminal, one line for each epoch elsewhere.

    Args:
        epochs: Number of epochs of the whole run.
        steps: Number of steps in an epoch.
        done: Number of steps of the first epoch that were done before.
        stride: Number of steps between two calls.
    """

    def __init__(self, epochs: int, steps: int, done: int = 0, stride: int = 1):
        super().__init__()
        self.epochs, self.steps, self.done, self.stride = epochs, steps, done, stride
        self._bar, self._since, self._counted = None, None, 0
        self._finished, self._seconds, self._said = 0, None, False

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
            TextColumn("{task.fields[whole]}"),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(
            f"epoch {epoch + 1}/{self.epochs}", total=self.steps, completed=self.done, loss="", whole=self._whole(epoch)
        )
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._estimate()
        if self._bar is not None:
            self._bar.update(self._task, advance=self.stride, loss=f"loss {logs['loss']:.4f}")

    def _estimate(self) -> None:
        """Say once how long an epoch will take, after some seconds of steps without the first, which is traced."""
        if self._counted is None:
            return
        if self._since is None:
            self._since = time.perf_counter()
            return
        self._counted += self.stride
        passed = time.perf_counter() - self._since
        if passed < ESTIMATED_AFTER:
            return
        epoch = passed / self._counted * self.steps
        if epoch > 2 * ESTIMATED_AFTER:
            whole = f", {self.epochs} epochs about {duration(epoch * self.epochs)}" if self.epochs > 1 else ""
            said = f"an epoch of {self.steps:,} steps will take about {duration(epoch)}{whole}"
            if self._bar is None:
                print(said, file=sys.stderr, flush=True)
            else:
                self._bar.console.print(said, highlight=False)
            self._said = True
        self._counted = None

    def _whole(self, epoch: int) -> str:
        """Return how long the epochs from this one on will take, once one is done without the tracing of the graph."""
        left = self.epochs - epoch
        return f"all epochs: about {duration(self._seconds * left)} left" if self._seconds and left > 1 else ""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.close()
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        seconds = time.perf_counter() - self._began
        print(f"epoch {epoch + 1}/{self.epochs}  {numbers}  {seconds:.1f} s", file=sys.stderr, flush=True)
        left = (self.epochs - epoch - 1) * seconds
        if self._finished == 1 and not self._said and left > ESTIMATED_AFTER:
            print(
                f"the other {self.epochs - epoch - 1:,} epochs will take about {duration(left)}",
                file=sys.stderr,
                flush=True,
            )
        self._seconds = seconds if self._finished else None  # the first one has traced the graph
        self.done, self._counted, self._finished = 0, None, self._finished + 1

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def write_history(run: RunFolder, rows: list[dict[str, Any]]) -> None:
    """Write history.csv, one row for each epoch; it has no times, so that two runs with one seed can be compared."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run.history_file, text.getvalue())


def tensorboard(run: RunFolder) -> list[keras.callbacks.Callback]:
    """Return the TensorBoard callback of Keras, which writes through TensorFlow; none if that is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        return []
    with backend.quiet(), contextlib.suppress(RuntimeError):  # RuntimeError: TensorFlow has already started
        devices = importlib.import_module("tensorflow").config
        if not on_tensorflow():
            devices.set_visible_devices([], "GPU")  # TensorFlow would take their memory from JAX
        devices.list_logical_devices()
    return [keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False, profile_batch=0)]
