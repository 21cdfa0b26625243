"""Compiled training steps of a model, as `fit` calls them, for benchmarks that time steps directly."""

from collections.abc import Callable, Iterator
from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.data.dataset import DataSpec


def compiled(config: TrainConfig, spec: DataSpec) -> tuple[Any, Callable[[Any, int], dict[str, Any]]]:
    """Return a compiled Keras model, and a function that trains it on a number of batches of an iterator.

    Args:
        config: Resolved configuration.
        spec: Description of the data.
    """
    from zoo import tasks
    from zoo.training import executions, optimization
    from zoo.training.building import built, maker

    task = tasks.of(spec.task)
    model = built(maker(config, spec, task), spec, task)
    model.compile(optimization.optimizer(config, 1000), **task.compiled_with(config, spec))
    return model, executions.steps_of(model)


def over_and_over(batch: Any) -> Iterator[Any]:
    """Return an iterator that repeats one batch without input cost."""
    import tensorflow as tf

    return iter(tf.data.Dataset.from_tensors(batch).repeat())
