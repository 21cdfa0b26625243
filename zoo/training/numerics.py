"""Seed, precision and determinism, set for one run and restored after it."""

import contextlib
from collections.abc import Iterator

import keras

from strategies import backend
from zoo.config.train_config import TrainConfig
from zoo.data.batches.pipeline import on_tensorflow


@contextlib.contextmanager
def numerics(config: TrainConfig) -> Iterator[None]:
    """Set the random seed, the precision and the determinism of one run.

    Args:
        config: Configuration of the run.
    """
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    with backend.quiet():  # on JAX it also imports TensorFlow, if that is installed
        keras.utils.set_random_seed(config.seed)
    if config.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    elif config.precision == "float64":
        keras.config.set_floatx("float64")  # the dtype of losses and metrics
        keras.config.set_dtype_policy("float64")
        if not on_tensorflow():
            import jax

            jax.config.update("jax_enable_x64", True)  # otherwise JAX computes in float32
    undo = contextlib.ExitStack()
    if config.deterministic and on_tensorflow():  # JAX is deterministic
        undo.enter_context(_deterministic())
    try:
        with undo:
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Make the operations of TensorFlow deterministic, for a while only: XLA then refuses the gradient of a pooling."""
    import tensorflow as tf
    from tensorflow.python.framework import config  # there is no public way to disable it

    before = config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()
