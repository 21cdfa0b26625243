"""The loss of a detector: which places learn which object, and what they learn."""

from typing import Any

import keras
from keras import ops

from zoo.objectives import boxes
from zoo.objectives.priors import Priors

# Task-aligned assignment (Feng et al., 2021) with the exponents and the number of places of YOLOv8.
SCORE_POWER, OVERLAP_POWER, PLACES = 0.5, 6.0, 10
# Weight of the boxes; that of the scores is 1.
BOX_WEIGHT = 2.5


@keras.saving.register_keras_serializable("zoo")
class DetectionLoss(keras.losses.Loss):
    """Quality focal loss of the scores (Li et al., 2020) and complete IoU of the boxes, by image.

    Each object is learnt by the places whose score and box suit it best (`assigned`); their score is to be the quality
    of their box, and all others are to be 0.

    Args:
        priors: What raw boxes are relative to.
        gamma: Exponent of the quality focal loss; 0 is binary cross-entropy.

    Call arguments:
        y_true: Objects (batch, most, 5): x1, y1, x2, y2 in pixels and the class, -1 where there is none.
        y_pred: Raw boxes and logits of the scores, (batch, places, 4 + classes).
    """

    def __init__(self, priors: Priors, gamma: float = 0.0, name: str = "detection", **kwargs):
        super().__init__(name=name, **kwargs)
        self.priors, self.gamma = priors, gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        found, logits = self.priors.decoded(y_pred[..., :4]), y_pred[..., 4:]
        matched, quality = assigned(y_true, ops.stop_gradient(found), ops.stop_gradient(logits), self.priors)
        weight = ops.sum(quality, axis=-1)  # (batch, places)
        total = ops.maximum(ops.sum(weight, axis=-1), 1.0)
        entropy = ops.maximum(logits, 0) - logits * quality + ops.log1p(ops.exp(-ops.abs(logits)))
        if self.gamma:
            entropy = entropy * ops.power(ops.abs(quality - ops.sigmoid(logits)), self.gamma)
        overlap = ops.sum(weight * (1 - boxes.ciou(found, matched)), axis=-1)
        return (ops.sum(entropy, axis=(1, 2)) + BOX_WEIGHT * overlap) / total

    def get_config(self):
        return super().get_config() | {"priors": self.priors.to_json(), "gamma": self.gamma}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"priors": Priors.from_json(config["priors"])})


def assigned(objects: Any, found: Any, logits: Any, priors: Priors) -> tuple[Any, Any]:
    """Return the box that each place learns, (batch, places, 4), and the scores, (batch, places, classes).

    The places of an object are those within it whose score^0.5 IoU^6 is largest. A place of several objects learns the
    one that its box overlaps most. Within an object the largest target score is the largest IoU (Feng et al., 2021).

    Args:
        objects: Objects (batch, most, 5), class -1 where there is none.
        found: Boxes of the places, (batch, places, 4).
        logits: Logits of their scores, (batch, places, classes).
        priors: What the boxes of the places are relative to.
    """
    true, classes = objects[..., :4], objects[..., 4]
    exists = ops.cast(classes >= 0, "float32")  # (batch, most)
    one_hot = ops.one_hot(ops.cast(ops.maximum(classes, 0), "int32"), logits.shape[-1], dtype="float32")
    overlap = boxes.iou(true[:, :, None], found[:, None])  # (batch, most, places)
    scores = ops.matmul(one_hot, ops.transpose(ops.sigmoid(logits), (0, 2, 1)))
    reach = priors.strides / 2
    # A small object may lie between the centres of all cells; the nearest cell counts as within it.
    apart = [
        ops.abs(priors.boxes[:, i] - (true[..., None, i] + true[..., None, i + 2]) / 2)
        <= ops.maximum((true[..., None, i + 2] - true[..., None, i]) / 2, reach)
        for i in (0, 1)
    ]
    within = ops.cast(ops.logical_and(*apart), "float32") * exists[..., None]
    suits = (ops.power(scores, SCORE_POWER) * ops.power(overlap, OVERLAP_POWER) + EPSILON) * within
    least = ops.top_k(suits, min(PLACES, suits.shape[-1]))[0][..., -1:]
    chosen = within * ops.cast(suits >= ops.maximum(least, EPSILON / 2), "float32")
    best = ops.one_hot(ops.argmax(overlap * chosen, axis=1), objects.shape[1], axis=1, dtype="float32")
    chosen = chosen * best  # one object for each place
    suits = suits * chosen
    most = ops.max(overlap * chosen, axis=-1, keepdims=True) / (ops.max(suits, axis=-1, keepdims=True) + EPSILON**2)
    quality = ops.matmul(ops.transpose(suits * most, (0, 2, 1)), one_hot)
    return ops.matmul(ops.transpose(chosen, (0, 2, 1)), true), quality


# Suitability of a place within an object at least, so that ties have an order and no object is without a place.
EPSILON = 1e-9
