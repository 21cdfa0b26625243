"""Metrics that Keras does not have, registered with Keras because saved models refer to them."""

from typing import Any

import keras
from keras import ops

from zoo.objectives.losses import as_probabilities


@keras.saving.register_keras_serializable("zoo")
class MixedAccuracy(keras.metrics.Mean):
    """Accuracy for labels that may be probabilities of the classes, as mixed images have them.

    An example counts by the probability that its label gives to the k classes with the largest logits. For class
    indices that is top-k accuracy.

    Args:
        k: Number of classes that may be right.
    """

    def __init__(self, k: int = 1, name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.k = k

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        _, best = ops.top_k(y_pred, self.k)
        share = ops.sum(ops.take_along_axis(as_probabilities(y_true, y_pred), best, axis=-1), axis=-1)
        super().update_state(share, sample_weight)

    def get_config(self) -> dict:
        return super().get_config() | {"k": self.k}


@keras.saving.register_keras_serializable("zoo")
def reciprocal_rank(y_true: Any, y_pred: Any) -> Any:
    """Return 1 / rank of each true class among the scores, (batch,). Tied classes have the mean of their ranks.

    Args:
        y_true: Class indices (batch,).
        y_pred: Scores (batch, classes).
    """
    own = ops.take_along_axis(y_pred, ops.reshape(ops.cast(y_true, "int32"), (-1, 1)), axis=-1)
    above = ops.sum(ops.cast(y_pred > own, y_pred.dtype), axis=-1)
    tied = ops.sum(ops.cast(y_pred == own, y_pred.dtype), axis=-1)  # including the true class itself
    return 1 / (above + (tied + 1) / 2)
