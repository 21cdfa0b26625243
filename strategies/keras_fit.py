"""What Keras 3's `fit` gets wrong under a `tf.distribute` strategy, mended on the one model that is trained.

Faults of Keras 3.15 make the result depend on the number of replicas, or keep `fit` from running with several workers.
Nothing is patched in Keras itself: the repairs replace private methods of the instances that `prepared` is given, for
as long as it lasts, and tests notice when Keras has made one of them unnecessary.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from strategies import collective


@contextlib.contextmanager
def prepared(model: keras.Model, batches: Any) -> Iterator[None]:
    """Build a compiled model for `fit`, which trains it inside the same on one replica and on several.

    Enter it inside the strategy's scope, before `fit` or `evaluate`; the model is afterwards what it was. On JAX it is
    built, so that a snapshot finds all its variables, and nothing needs mending.

    Args:
        model: compiled, with an optimizer of Keras.
        batches: the training dataset: a `tf.data.Dataset` of (x, y) or (x, y, weight), on JAX a `PyDataset` of them.
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
        if collective.workers(strategy) > 1:
            for name in ("train_step", "test_step"):
                _replace(model, name, _as_vectors(getattr(model, name)), undo)
        try:
            yield
        finally:
            model.train_function = model.test_function = None  # they were traced with the repairs


@contextlib.contextmanager
def _reads_before_updates() -> Iterator[None]:
    """Keep every control edge of a training step.

    Grappler's dependency optimizer (TensorFlow 2.21) drops some of those that lead from the read of a variable to its
    update. Where no gradient of that variable needs what was read, the update may come first: in 1 of 100 steps of a
    GAN the generator learnt from the discriminator of one step later.
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get("dependency_optimization", True)
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"dependency_optimization": before})


def _replace(target: Any, name: str, value: Callable, undo: contextlib.ExitStack) -> None:
    """Give an instance another method until `undo` is closed."""
    undo.callback(setattr, target, name, getattr(target, name))
    setattr(target, name, value)


def build_for_fit(model: keras.Model, batch: Any) -> None:
    """Build variables, metrics, loss and optimizer from the shapes of a batch alone.

    Under a strategy, `fit` builds by taking a batch from the training iterator (`_maybe_symbolic_build`), and so
    trains on other batches than without one: a Dense model's weights were 0.33 away after one epoch. With several
    workers it fails: it reduces a nested structure, which `tf.distribute` does not.
    """

    def symbolic(spec: Any) -> keras.KerasTensor:
        return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))

    model._symbolic_build(data_batch=keras.tree.map_structure(symbolic, batch))


def _clip_after_all_reduce(optimizer: keras.optimizers.Optimizer, undo: contextlib.ExitStack) -> None:
    """Clip the sum of the replicas' gradients, which is the batch's gradient.

    Keras clips each replica's share before summing them: with two replicas nothing is clipped until the gradient is
    twice the limit, and a Dense model's weights were 0.05 away after one epoch.
    """
    clip, all_reduce = optimizer._clip_gradients, optimizer._all_reduce_sum_gradients

    def all_reduce_and_clip(grads_and_vars: list) -> list:
        reduced = all_reduce(grads_and_vars)
        return list(zip(clip([gradient for gradient, _ in reduced]), [v for _, v in reduced], strict=True))

    _replace(optimizer, "_clip_gradients", lambda grads: grads, undo)
    _replace(optimizer, "_all_reduce_sum_gradients", all_reduce_and_clip, undo)


def _normalise_the_whole_batch(model: keras.Model, undo: contextlib.ExitStack) -> None:
    """Let batch normalisations take mean and variance over all replicas.

    By default each normalises its own share, and keeps averages of its own that no other replica has: after two epochs
    on two workers they evaluated with moving means 0.03 apart.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
            undo.callback(setattr, layer, "synchronized", False)
            layer.synchronized = True


def _as_vectors(step: Callable) -> Callable:
    """Return a step whose logs have an axis, which `fit` takes the mean over workers along (`reduce_per_replica`)."""
    import tensorflow as tf

    return lambda data: {name: tf.reshape(value, (1,)) for name, value in step(data).items()}
