"""Losses of recommendation, registered with Keras because saved models refer to them."""

from typing import Any

import keras
from keras import ops


def _items(y_true: Any) -> Any:
    """Return the places of the items among the scores, (batch, 1)."""
    items = y_true[:, :1] if len(y_true.shape) == 2 else ops.expand_dims(y_true, -1)
    return ops.cast(items, "int32")


@keras.saving.register_keras_serializable("zoo")
class PairwiseLoss(keras.losses.Loss):
    """Bayesian personalised ranking (Rendle et al., 2009): mean of -log sigmoid(s_item - s_other) over other items.

    Scores: (batch, 1 + others) in training, the item's own first; (batch, items) otherwise. Targets: places of the
    items (batch,), or (batch, 2) with ratings, which are not used.
    """

    def __init__(self, name: str = "pairwise", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        own = ops.take_along_axis(y_pred, _items(y_true), axis=-1)
        others = ops.softplus(y_pred - own)  # log 2 for the item itself, which is taken off again
        count = y_pred.shape[-1] - 1
        return (ops.sum(others, axis=-1) - ops.log(ops.cast(2.0, y_pred.dtype))) / count


@keras.saving.register_keras_serializable("zoo")
class RatingLoss(keras.losses.Loss):
    """Squared error of the rating of one item.

    Scores: (batch, items). Targets: (batch, 2), the id of the item and its rating.
    """

    def __init__(self, name: str = "rating", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        own = ops.take_along_axis(y_pred, _items(y_true), axis=-1)[:, 0]
        return ops.square(own - y_true[:, 1])


@keras.saving.register_keras_serializable("zoo")
class ItemLoss(keras.losses.Loss):
    """Cross-entropy of the item among all or among sampled items.

    Scores and targets: see `PairwiseLoss`.
    """

    def __init__(self, name: str = "item", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        own = ops.take_along_axis(y_pred, _items(y_true), axis=-1)[:, 0]
        return ops.logsumexp(y_pred, axis=-1) - own
