"""Training throughput by batch size: the real training, stopped after a few steps, with batches of 16, 32, 64, ..."""

import contextlib
import dataclasses
import gc
import statistics
import time
from collections.abc import Callable

import keras

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.sizing import adaptation
from zoo.system import temporary
from zoo.training.loop import train

# Untimed executions for each batch size, because the first ones compile.
WARM_UP = 3
# Timing of a batch size ends after this many executions or this many seconds, whichever comes first.
STEPS = 25
SECONDS = 3.0
# Seconds for one execution above which no larger batch is tried.
SLOW = 5.0
# Share of the highest throughput; two batch sizes in a row below it end the search.
FALLEN = 0.85
# Minimum number of steps in an epoch, which limits the batch size.
STEPS_OF_EPOCH = 10


class _EnoughError(Exception):
    """Enough steps have been timed."""


class _Watch(keras.callbacks.Callback):
    """Time each execution, from the end of one to the end of the next, and stop training after enough of them."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []
        self._calls, self._since = 0, None

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        float(logs["loss"])  # waits until the device has finished the step
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._calls += 1
        slow = self._calls > 1 and seconds > SLOW
        if self._calls > WARM_UP or slow:
            self.seconds.append(seconds)
        if slow or len(self.seconds) >= STEPS or sum(self.seconds) >= SECONDS:
            raise _EnoughError

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._since = None  # excludes validation from the next measurement


def sizes(examples: int, replicas: int) -> list[int]:
    """Return the batch sizes to try, each twice the previous one, as long as an epoch has at least ten steps."""
    first = adaptation.first_size(replicas)
    found = [min(first, max(examples // replicas, 1) * replicas)]
    while 2 * found[-1] <= examples // STEPS_OF_EPOCH:
        found.append(2 * found[-1])
    return found


def measure(config: TrainConfig, data: Dataset, replicas: int, say: Callable[..., None]) -> None:
    """Time batches from small to large until one does not fit, is too slow, or throughput has fallen twice in a row.

    Args:
        config: Configuration of the training.
        data: Dataset to train on.
        replicas: Number of replicas of the strategy, which must be built already.
        say: Function that receives `trying` before each size, then `timed` with the median of its steps, or `ended`
            with the reason.

    Raises:
        UsageError: If `train` refuses the smallest batch.
    """
    rates: list[float] = []
    for size in sizes(len(data.train), replicas):
        say("trying", batch_size=size)
        try:
            seconds, examples = _timed(dataclasses.replace(config, batch_size=size), data)
        except UsageError as error:
            if not rates:
                raise
            say("ended", batch_size=size, reason=str(error))
            return
        except Exception as error:  # native libraries raise various exception classes
            say("ended", batch_size=size, reason=_reason(error))
            return
        rates.append(examples / seconds)
        say("timed", batch_size=size, examples_per_second=round(rates[-1], 1), milliseconds=round(1000 * seconds, 3))
        if seconds > SLOW or max(rates[-2:]) < FALLEN * max(rates):
            return


def _timed(config: TrainConfig, data: Dataset) -> tuple[float, int]:
    """Return the median seconds of an execution and the number of examples it processes."""
    watch = _Watch()
    with temporary.folder() as folder:
        long = {"epochs": max(config.epochs, WARM_UP + STEPS), "early_stopping": 0}  # enough even with one-step epochs
        if config.strategy != "tpu":  # elsewhere every step is timed by itself
            long["steps_per_execution"] = 1
        config = dataclasses.replace(config, output=folder / "run", resume=False, checkpoint_every=0, **long)
        with contextlib.suppress(_EnoughError):
            train(config, data=data, callbacks=[watch], verbose=False)
    strides = watch.model.steps_per_execution
    watch.set_model(None)
    gc.collect()  # frees the memory of this batch size before the next one is tried
    return statistics.median(watch.seconds), config.batch_size * strides


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    memory = isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__
    if memory or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return "does not fit in memory"
    return f"{type(error).__name__}: {text[:200]}"
