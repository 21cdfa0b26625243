"""Metrics that Keras does not have, registered with Keras because saved models refer to them."""

from typing import Any

import keras
from keras import ops


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
