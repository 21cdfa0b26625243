"""The contrastive loss of images and captions: every image of a batch is scored against every caption of the batch.

Registered with Keras because a saved model refers to the loss and the metrics that it was compiled with.
"""

from typing import Any, Literal

import keras
from keras import ops

Head = Literal["cosine", "fusion"]
# Indices into the second axis of the output of zoo.models.CrossModal.
IMAGE, TEXT, WEIGHTS = range(3)
# Added to the scores of absent pairs; their softmax probability is 0.
ABSENT = -1e9


def pair_scores(image: Any, text: Any, weights: Any, head: Head) -> Any:
    """Return the score of each image with each text, (images, texts).

    Args:
        image: Output of `encode_image`, (images, width).
        text: Output of `encode_text`, (texts, width).
        weights: Output of `pair_weights`, (width,).
        head: "cosine" for a weighted sum of products, "fusion" for a weighted sum of relu(image + text).
    """
    if head == "cosine":
        return ops.matmul(image * weights, ops.transpose(text))
    return ops.sum(ops.relu(image[:, None] + text[None]) * weights, axis=-1)


def alone(*tensors: Any) -> tuple[Any, ...]:
    """Return the tensors unchanged: with a single replica there is nothing to gather."""
    return tensors


def _all_scores(y_true: Any, y_pred: Any, head: Head, gather: Any) -> tuple[Any, ...]:
    """Return this replica's targets, the targets of all replicas, and scores in both directions.

    The scores are those of this replica's images with all texts, and of its texts with all images.
    """
    own = ops.cast(y_true, "int32")  # Keras casts the targets to the dtype of the loss
    outputs, ids = gather(y_pred, own)
    weights = outputs[0, WEIGHTS]  # the same in every row
    of_images = pair_scores(y_pred[:, IMAGE], outputs[:, TEXT], weights, head)
    of_texts = ops.transpose(pair_scores(outputs[:, IMAGE], y_pred[:, TEXT], weights, head))
    hidden = ops.cast(ids < 0, of_images.dtype) * ABSENT
    return own, ids, of_images + hidden, of_texts + hidden


@keras.saving.register_keras_serializable("zoo")
class PairLoss(keras.losses.Loss):
    """Symmetric cross-entropy of the scores of all pairs in a batch; pairs with the same target are all positives.

    If every target occurs once in a batch, this is the contrastive loss of Radford et al. (2021). Captions made from
    classes repeat. The target distribution is then spread evenly over all pairs with the same target (UniCL, Yang et
    al., 2022; Khosla et al., 2020), and its entropy, the lower bound of the cross-entropy, is subtracted. So 0 is a
    perfect loss in every batch, and the gradient is that of the cross-entropy.

    Args:
        head: Scoring function of a pair; see `pair_scores`.

    Call arguments:
        y_true: Target of each pair (batch,), an integer; negative for padding.
        y_pred: Output of `zoo.models.CrossModal` (batch, 3, width).

    Attributes:
        gather: Function that concatenates tensors of all replicas that share a batch along the first axis.
    """

    def __init__(self, head: Head = "cosine", name: str = "pair_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.head = head
        self.gather = alone

    def call(self, y_true: Any, y_pred: Any) -> Any:
        own, ids, of_images, of_texts = _all_scores(y_true, y_pred, self.head, self.gather)
        same = ops.equal(own[:, None], ids[None]) & (ids >= 0)[None]
        same = ops.cast(same, y_pred.dtype)
        count = ops.maximum(ops.sum(same, axis=-1), 1)
        log_p = ops.log_softmax(of_images, axis=-1) + ops.log_softmax(of_texts, axis=-1)
        return -ops.sum(same * log_p, axis=-1) / (2 * count) - ops.log(count) * ops.cast(own >= 0, count.dtype)

    def get_config(self) -> dict:
        return super().get_config() | {"head": self.head}


@keras.saving.register_keras_serializable("zoo")
class PairAccuracy(keras.metrics.Mean):
    """Share of images whose best caption in the batch has the same target.

    Call arguments and `gather` are those of `PairLoss`.

    Args:
        head: Scoring function of a pair; see `pair_scores`.
    """

    def __init__(self, head: Head = "cosine", name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.head = head
        self.gather = alone

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        own, ids, of_images, _ = _all_scores(y_true, y_pred, self.head, self.gather)
        best = ops.take(ids, ops.argmax(of_images, axis=-1))
        super().update_state(ops.cast(best == own, y_pred.dtype), sample_weight)

    def get_config(self) -> dict:
        return super().get_config() | {"head": self.head}
