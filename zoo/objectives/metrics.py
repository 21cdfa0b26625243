"""Metrics of `fit` that Keras has not, registered beside the models."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
def reciprocal_rank(y_true: Any, y_pred: Any) -> Any:
    """Return 1 / rank of each true class among the scores, (batch,); of classes that tie, the mean of their ranks.

    Args:
        y_true: (batch,) class indices.
        y_pred: (batch, classes) scores.
    """
    own = ops.take_along_axis(y_pred, ops.reshape(ops.cast(y_true, "int32"), (-1, 1)), axis=-1)
    above = ops.sum(ops.cast(y_pred > own, y_pred.dtype), axis=-1)
    tied = ops.sum(ops.cast(y_pred == own, y_pred.dtype), axis=-1)  # itself among them
    return 1 / (above + (tied + 1) / 2)
