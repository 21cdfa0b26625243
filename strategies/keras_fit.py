"""What Keras 3's `fit` gets wrong under a `tf.distribute` strategy, mended on the one model that is trained.

Two faults of Keras 3.15 make the result depend on the number of replicas. Nothing is patched in Keras itself: the
repairs replace private methods of the instances that `prepare` is given, and tests notice when Keras has made one
of them unnecessary.
"""

from typing import Any

import keras


def prepare(model: keras.Model, element_spec: Any) -> None:
    """Build a compiled model for `fit` so that it trains the same on one replica and on several.

    Call it inside the strategy's scope, before `fit` or `evaluate`.

    Args:
        model: compiled, with an optimizer of Keras.
        element_spec: of the training dataset: (x, y) or (x, y, weight) of `tf.TensorSpec`.
    """
    _build_from_spec(model, element_spec)
    _clip_after_all_reduce(model.optimizer)


def _build_from_spec(model: keras.Model, element_spec: Any) -> None:
    """Build variables, metrics, loss and optimizer from shapes alone.

    Under a strategy, `fit` builds by taking a batch from the training iterator (`_maybe_symbolic_build`), and so
    trains on other batches than without one: a Dense model's weights were 0.33 away after one epoch.
    """

    def symbolic(spec: Any) -> keras.KerasTensor:
        return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))

    model._symbolic_build(data_batch=keras.tree.map_structure(symbolic, element_spec))
    model._maybe_symbolic_build = lambda *args, **kwargs: None


def _clip_after_all_reduce(optimizer: keras.optimizers.Optimizer) -> None:
    """Clip the sum of the replicas' gradients, which is the batch's gradient.

    Keras clips each replica's share before summing them: with two replicas nothing is clipped until the gradient is
    twice the limit, and a Dense model's weights were 0.05 away after one epoch.
    """
    clip, all_reduce = optimizer._clip_gradients, optimizer._all_reduce_sum_gradients

    def all_reduce_and_clip(grads_and_vars: list) -> list:
        reduced = all_reduce(grads_and_vars)
        return list(zip(clip([gradient for gradient, _ in reduced]), [v for _, v in reduced], strict=True))

    optimizer._clip_gradients = lambda grads: grads
    optimizer._all_reduce_sum_gradients = all_reduce_and_clip
