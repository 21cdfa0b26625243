"""The seed, the precision and the determinism of one run, and the end of them."""

import contextlib
from collections.abc import Iterator

import keras

from strategies import backend
from zoo.config.train_config import TrainConfig
from zoo.data.batches.pipeline import on_tensorflow


@contextlib.contextmanager
def numerics(config: TrainConfig) -> Iterator[None]:
    """Seed everything, and set the precision and determinism, for one run."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    with backend.quiet():  # on JAX it imports TensorFlow as well, where that is installed
        keras.utils.set_random_seed(config.seed)
    if config.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    elif config.precision == "float64":
        keras.config.set_floatx("float64")  # losses and metrics take their dtype from it
        keras.config.set_dtype_policy("float64")
        if not on_tensorflow():
            import jax

            jax.config.update("jax_enable_x64", True)  # else it computes in float32 all the same
    undo = contextlib.ExitStack()
    if config.deterministic and on_tensorflow():  # JAX computes the same bits by itself
        undo.enter_context(_deterministic())
    try:
        with undo:
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Let TensorFlow compute the same bits each time; not for ever, as XLA then refuses the gradient of a pooling."""
    import tensorflow as tf
    from tensorflow.python.framework import config  # nothing public ends it

    before = config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()
