"""The loss of every task, registered beside the models: a saved model names what it was compiled with."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits and class indices, with label smoothing (Szegedy et al., 2016).

    A `keras.losses.Loss`, so that it is scaled right under several replicas.

    Args:
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not self.label_smoothing:
            return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        # One fused operation of the whole target: on a vocabulary, half the time of sums of the parts.
        classes = y_pred.shape[-1]
        even = self.label_smoothing / classes
        right = ops.equal(ops.expand_dims(y_true, -1), ops.arange(classes, dtype=y_true.dtype))
        shares = (ops.convert_to_tensor(share, y_pred.dtype) for share in (1 - self.label_smoothing + even, even))
        target = ops.where(right, *shares)
        return ops.categorical_crossentropy(target, y_pred, from_logits=True)

    def get_config(self) -> dict:
        return super().get_config() | {"label_smoothing": self.label_smoothing}
