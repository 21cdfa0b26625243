"""The loss of images and captions, registered beside the models: every image of a batch against every caption of it."""

from typing import Any, Literal

import keras
from keras import ops

Head = Literal["cosine", "fusion"]
# Places in an output of zoo.models.CrossModal.
IMAGE, TEXT, WEIGHTS = range(3)
# The score of a caption that is not there: it takes no share of a softmax.
ABSENT = -1e9


def pair_scores(image: Any, text: Any, weights: Any, head: Head) -> Any:
    """Return the score of each image with each text, (images, texts).

    Args:
        image: (images, width), what `encode_image` gives.
        text: (texts, width), what `encode_text` gives.
        weights: (width,), what `pair_weights` gives.
        head: cosine sums the products of both; fusion sums what a relu leaves of their sums.
    """
    if head == "cosine":
        return ops.matmul(image * weights, ops.transpose(text))
    return ops.sum(ops.relu(image[:, None] + text[None]) * weights, axis=-1)


def alone(*tensors: Any) -> tuple[Any, ...]:
    """Return what one replica knows: its own."""
    return tensors


def _all_scores(y_true: Any, y_pred: Any, head: Head, gather: Any) -> tuple[Any, ...]:
    """Return this replica's ids, those of all, and the scores of its images and of its texts with all others'."""
    own = ops.cast(y_true, "int32")  # Keras gives them in the dtype of the loss
    outputs, ids = gather(y_pred, own)
    weights = outputs[0, WEIGHTS]  # the same in every row
    of_images = pair_scores(y_pred[:, IMAGE], outputs[:, TEXT], weights, head)
    of_texts = ops.transpose(pair_scores(outputs[:, IMAGE], y_pred[:, TEXT], weights, head))
    hidden = ops.cast(ids < 0, of_images.dtype) * ABSENT
    return own, ids, of_images + hidden, of_texts + hidden


@keras.saving.register_keras_serializable("zoo")
class PairLoss(keras.losses.Loss):
    """Symmetric cross-entropy of the scores of all pairs of a batch, with every pair of one target as a positive.

    The contrastive loss of Radford et al. (2021) where every target is in a batch once. Captions made from classes
    repeat: then the target is spread evenly over all that are of it (UniCL, Yang et al., 2022; Khosla et al., 2020),
    and its entropy taken off, which no model could go below. So 0 is perfect in every batch, and the gradient is that
    of the cross-entropy.

    Args:
        head: how a pair is scored, see `pair_scores`.

    Call arguments:
        y_true: (batch,) the target of each pair, whole numbers; below 0 a pair that is none.
        y_pred: (batch, 3, width), the output of `zoo.models.CrossModal`.

    Attributes:
        gather: returns tensors of every replica, one after the other along the first axis, where several share a batch.
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
    """Share of images whose best caption in the batch is of their own target.

    Args:
        head: how a pair is scored, see `pair_scores`.

    Arguments of a batch and `gather`: those of `PairLoss`.
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
