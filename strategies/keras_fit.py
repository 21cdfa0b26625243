"""Workarounds for faults of Keras 3's `fit` under a `tf.distribute` strategy, applied to one model at a time.

Faults of Keras 3.15 make the result depend on the number of replicas, or prevent `fit` from running with several
workers. `prepared` temporarily replaces private methods of the model and its optimizer, and for several replicas the
random functions of Keras' backend (`strategies.draws`).
Tests fail when a new version of Keras makes a workaround unnecessary.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from strategies import collective, draws


@contextlib.contextmanager
def prepared(model: keras.Model, batches: Any) -> Iterator[None]:
    """Build a compiled model and apply the workarounds, so that `fit` gives the same result on any number of replicas.

    Enter this context inside the strategy's scope, before `fit` or `evaluate`. On exit the methods of the model are
    restored. On JAX no workaround is needed, and the model is only built, so that a checkpoint finds all variables.

    Args:
        model: Compiled model with a Keras optimizer.
        batches: Training dataset: a `tf.data.Dataset` of (x, y) or (x, y, weight), on JAX a `PyDataset` of them.
    """
    if keras.backend.backend() != "tensorflow":
        build_for_fit(model, batches[0])
        yield
        return
    strategy = model.distribute_strategy
    with contextlib.ExitStack() as undo:
        build_for_fit(model, batches.element_spec)
        _replace(model, "_maybe_symbolic_build", lambda *args, **kwargs: None, undo)
        _clip_after_all_reduce(model.optimizer, undo)
        undo.enter_context(_reads_before_updates())
        if strategy.num_replicas_in_sync > 1:
            _normalise_the_whole_batch(model, undo)
            _replace(model, "train_step", draws.sharing(model.train_step), undo)
            undo.enter_context(draws.of_the_whole_batch())
        if collective.workers(strategy) > 1:
            for name in ("train_step", "test_step"):
                _replace(model, name, _as_vectors(getattr(model, name)), undo)
        try:
            yield
        finally:
            model.train_function = model.test_function = None  # they were traced with the workarounds


@contextlib.contextmanager
def _reads_before_updates() -> Iterator[None]:
    """Keep all control dependencies of a training step.

    Grappler's dependency optimizer (TensorFlow 2.21) drops some dependencies between the read of a variable and its
    update. If no gradient of the variable needs the value read, the update may then run first: in 1 of 100 steps of a
    GAN, the generator learnt from the discriminator of the next step.
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get("dependency_optimization", True)
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"dependency_optimization": before})


def _replace(target: Any, name: str, value: Callable, undo: contextlib.ExitStack) -> None:
    """Replace a method of an instance until `undo` is closed."""
    undo.callback(setattr, target, name, getattr(target, name))
    setattr(target, name, value)


def build_for_fit(model: keras.Model, batch: Any) -> None:
    """Build variables, metrics, loss and optimizer from the shapes of a batch, without reading data.

    Under a strategy, `fit` takes a batch from the training iterator to build the model (`_maybe_symbolic_build`), and
    therefore trains on other batches than without a strategy: the weights of a Dense model differed by 0.33 after one
    epoch. With several workers it fails, because `tf.distribute` cannot reduce nested structures.

    Args:
        model: Compiled model.
        batch: Structure of tensors or tensor specs with the shapes and types of a batch.
    """

    def symbolic(spec: Any) -> keras.KerasTensor:
        return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))

    model._symbolic_build(data_batch=keras.tree.map_structure(symbolic, batch))


def _clip_after_all_reduce(optimizer: keras.optimizers.Optimizer, undo: contextlib.ExitStack) -> None:
    """Clip the sum of the replicas' gradients, which is the gradient of the whole batch.

    Keras clips the share of each replica before the sum. With two replicas, nothing is clipped until the gradient is
    twice the limit, and the weights of a Dense model differed by 0.05 after one epoch.
    """
    clip, all_reduce = optimizer._clip_gradients, optimizer._all_reduce_sum_gradients

    def all_reduce_and_clip(grads_and_vars: list) -> list:
        reduced = all_reduce(grads_and_vars)
        return list(zip(clip([gradient for gradient, _ in reduced]), [v for _, v in reduced], strict=True))

    _replace(optimizer, "_clip_gradients", lambda grads: grads, undo)
    _replace(optimizer, "_all_reduce_sum_gradients", all_reduce_and_clip, undo)


def _normalise_the_whole_batch(model: keras.Model, undo: contextlib.ExitStack) -> None:
    """Synchronise batch normalization over all replicas.

    By default each replica normalises its own share of the batch and keeps its own moving averages: after two epochs on
    two workers, the moving means differed by 0.03.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
            undo.callback(setattr, layer, "synchronized", False)
            layer.synchronized = True


def _as_vectors(step: Callable) -> Callable:
    """Return a step whose logs have shape (1,), because `fit` averages them over workers along the first axis."""
    import tensorflow as tf

    return lambda data: {name: tf.reshape(value, (1,)) for name, value in step(data).items()}
