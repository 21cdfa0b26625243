"""What Keras 3's `fit` gets wrong under a `tf.distribute` strategy, mended on the one model that is trained."""

from typing import Any

import keras


def build_from_spec(model: keras.Model, element_spec: Any) -> None:
    """Build a compiled model's variables, metrics, loss and optimizer without reading any data.

    Under a strategy, `fit` builds by taking a batch from the training iterator (Keras 3.15,
    `_maybe_symbolic_build`), and so trains on other batches than without one: the weights of a Dense model were
    0.33 away after one epoch. Building from the shapes alone leaves the data as they are, and they agree to 1e-7.

    Call it inside the strategy's scope, before `fit` or `evaluate`.

    Args:
        model: compiled.
        element_spec: of the training dataset: (x, y) or (x, y, weight) of `tf.TensorSpec`.
    """

    def symbolic(spec: Any) -> keras.KerasTensor:
        return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))

    model._symbolic_build(data_batch=keras.tree.map_structure(symbolic, element_spec))
    model._maybe_symbolic_build = lambda *args, **kwargs: None
