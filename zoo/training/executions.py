"""Several steps of training in one execution of TensorFlow: what is between two steps takes longer than a small step.

`fit` of Keras has `steps_per_execution`, of a number that divides the steps of an epoch or lets it run into the next,
and whose execution nothing ends sooner. Here each execution has its own number, so that it ends where an epoch or
a checkpoint does, and is over soon enough for a signal, however long a step takes.
"""

import time
from collections.abc import Callable
from typing import Any

import keras

from zoo.data.batches.pipeline import Gathered

# Of an execution: a signal waits as long, and so does the bar that shows progress.
MOST_SECONDS = 0.5


class Executions:
    """Trains steps ahead of what `fit` counts.

    `fit` calls for one step after the other, and its callbacks are called after each. The first call of an execution
    trains all its steps, the others find theirs done: `ahead` of them were trained that `fit` has not called for.

    Args:
        most: steps of an execution; whatever it is, the weights are the same to the bit.
        steps: of an epoch.
        done: global steps done before.
        every: an execution ends at each multiple of so many steps, 0: at none.
        gathered: the batches, where a step gathers them by itself; default, it takes them from `fit`'s iterator.
    """

    def __init__(self, most: int, *, steps: int, done: int, every: int, gathered: Gathered | None = None):
        self.most, self.steps, self.step, self.every, self.gathered = most, steps, done, every, gathered
        self.ahead = 0
        self._seconds = None  # of a step

    def install(self, model: keras.Model) -> None:
        """Let `fit` of a compiled model train by executions, unless it does already."""
        if model.train_function is not None:
            return
        run, logs = steps_of(model, self.gathered), None
        self._seconds = None

        def train_function(iterator: Any) -> dict[str, Any]:
            nonlocal logs
            if not self.ahead:
                logs = self._run(run, iterator)
            self.ahead -= 1
            self.step += 1
            return logs

        model.train_function, self._traced = train_function, False

    def _run(self, run: Callable[[Any, int], dict[str, Any]], iterator: Any) -> dict[str, Any]:
        self.ahead = self._next()
        began = time.perf_counter()
        batches = self.gathered.indices(self.step, self.ahead) if self.gathered else iterator
        logs = run(batches, self.ahead)
        if self._traced:  # the first call takes as long as its graph
            self._seconds = (time.perf_counter() - began) / self.ahead
        self._traced = True
        return logs

    def _next(self) -> int:
        """Return how many steps the next execution has."""
        if self._seconds is None:
            return 1
        ends = [self.most, int(MOST_SECONDS / self._seconds), self.steps - self.step % self.steps]
        if self.every:
            ends.append(self.every - self.step % self.every)
        return max(min(ends), 1)


def steps_of(model: keras.Model, gathered: Gathered | None = None) -> Callable[[Any, int], dict[str, Any]]:
    """Return a function that trains a compiled model on so many batches, and returns its metrics.

    Args:
        model: compiled.
        gathered: batches, of which the function is given indices; default, it is given an iterator.
    """
    import tensorflow as tf

    step = tf.autograph.experimental.do_not_convert(model.train_step)
    if model.jit_compile:
        step = tf.function(step, jit_compile=True, reduce_retracing=True)

    def run(batch_of: Callable[[tf.Tensor], Any], count: tf.Tensor) -> dict[str, Any]:
        def body(done: tf.Tensor) -> tf.Tensor:
            model.distribute_strategy.run(step, args=(batch_of(done),))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        return model.get_metrics_result()

    if gathered:
        # Of a known batch size: without it, the step of an lstm took 15 % longer.
        indices = tf.TensorSpec((None, gathered.batch_size), tf.int64)
        gathering = tf.function(
            lambda rows: run(lambda done: gathered.take(rows[done]), tf.shape(rows)[0]), [indices], autograph=False
        )
        return lambda rows, count: gathering(tf.constant(rows[:count]))
    taking = tf.function(
        lambda iterator, count: run(lambda done: iterator.get_next(), count), reduce_retracing=True, autograph=False
    )
    return lambda iterator, count: taking(iterator, tf.constant(count))
