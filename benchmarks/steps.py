"""The compiled training steps of a model, as `fit` calls them, for benchmarks that time them by themselves."""

from collections.abc import Callable, Iterator
from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.data.dataset import DataSpec


def compiled(config: TrainConfig, spec: DataSpec) -> tuple[Any, Callable[[Any, int], dict[str, Any]]]:
    """Return a built and compiled Keras model, and what trains it on so many batches of an iterator.

    Args:
        config: resolved.
        spec: of the data.
    """
    from zoo import tasks
    from zoo.training import executions, optimization
    from zoo.training.building import built, maker

    task = tasks.of(spec.task)
    model = built(maker(config, spec, task), spec, task)
    model.compile(optimization.optimizer(config, 1000), **task.compiled_with(config, spec))
    return model, executions.steps_of(model)


def over_and_over(batch: Any) -> Iterator[Any]:
    """Return an iterator of one batch, which costs no input."""
    import tensorflow as tf

    return iter(tf.data.Dataset.from_tensors(batch).repeat())
