"""The compiled training step of a model, as `fit` calls it, for benchmarks that time it by itself."""

from collections.abc import Iterator
from typing import Any

from zoo.config import TrainConfig
from zoo.data.dataset import DataSpec


def compiled(config: TrainConfig, spec: DataSpec) -> Any:
    """Return a built and compiled Keras model, whose `train_function` takes an iterator of batches.

    Args:
        config: resolved.
        spec: of the data.
    """
    from zoo import optimization, tasks
    from zoo.building import built, maker

    model = built(maker(config, spec, None), spec)
    model.compile(optimization.optimizer(config, 1000), **tasks.of(spec.task).compiled_with(config, spec))
    model.make_train_function()
    return model


def over_and_over(batch: Any) -> Iterator[Any]:
    """Return an iterator of one batch, which costs no input."""
    import tensorflow as tf

    return iter(tf.data.Dataset.from_tensors(batch).repeat())
