"""Loss and metrics of masks, registered with Keras because a saved model refers to what it was compiled with."""

from typing import Any

import keras
from keras import ops

# Keeps the Dice coefficient of a class that a picture lacks at 1 (Milletari et al., 2016, leave the case open).
SMOOTH = 1.0


def counted(y_true: Any, ignored: int) -> tuple[Any, Any]:
    """Return which pixels count, and classes in which the others have class 0.

    Args:
        y_true: Class of each pixel, (batch, height, width).
        ignored: Class of pixels that do not count.

    Returns:
        Mask (batch, height, width) bool, and classes int32.
    """
    classes = ops.cast(y_true, "int32")
    counts = ops.not_equal(classes, ignored)
    return counts, ops.where(counts, classes, 0)


@keras.saving.register_keras_serializable("zoo")
class PixelLoss(keras.losses.Loss):
    """Cross-entropy of the pixels that count, and the Dice loss of their classes (Milletari et al., 2016).

    It is the mean over the pixels of a picture, so that each picture weighs as much as any other, on any number of
    replicas.

    Args:
        ignored: Class of pixels that do not count.
        dice: Weight of 1 minus the Dice coefficient, averaged over the classes.
        label_smoothing: Share of the target distribution that is spread evenly over all classes, in [0, 1).
    """

    def __init__(
        self, ignored: int, dice: float = 0.0, label_smoothing: float = 0.0, name: str = "pixel_loss", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.ignored = ignored
        self.dice = dice
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each picture, (batch,).

        Args:
            y_true: Class of each pixel, (batch, height, width).
            y_pred: Logits (batch, height, width, classes).
        """
        counts, classes = counted(y_true, self.ignored)
        weight = ops.cast(counts, y_pred.dtype)
        log_p = ops.log_softmax(y_pred)
        right = ops.squeeze(ops.take_along_axis(log_p, classes[..., None], axis=-1), -1)
        even = self.label_smoothing / y_pred.shape[-1]
        each = -(1 - self.label_smoothing) * right - even * ops.sum(log_p, axis=-1)
        loss = ops.sum(each * weight, axis=(1, 2)) / ops.maximum(ops.sum(weight, axis=(1, 2)), 1)
        if not self.dice:
            return loss
        p = ops.exp(log_p) * weight[..., None]
        truth = ops.one_hot(classes, y_pred.shape[-1], dtype=y_pred.dtype) * weight[..., None]
        both, total = ops.sum(p * truth, axis=(1, 2)), ops.sum(p + truth, axis=(1, 2))
        coefficient = (2 * both + SMOOTH) / (total + SMOOTH)  # (batch, classes)
        return loss + self.dice * ops.mean(1 - coefficient, axis=-1)

    def get_config(self) -> dict:
        own = {"ignored": self.ignored, "dice": self.dice, "label_smoothing": self.label_smoothing}
        return super().get_config() | own


@keras.saving.register_keras_serializable("zoo")
class PixelAccuracy(keras.metrics.Mean):
    """Share of the pixels that count whose class has the largest logit.

    Args:
        ignored: Class of pixels that do not count.
    """

    def __init__(self, ignored: int, name: str = "pixel_accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.ignored = ignored

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        counts, classes = counted(y_true, self.ignored)
        right = ops.equal(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), classes)
        super().update_state(ops.cast(right, "float32"), _of_pixels(counts, sample_weight))

    def get_config(self) -> dict:
        return super().get_config() | {"ignored": self.ignored}


@keras.saving.register_keras_serializable("zoo")
class PixelMeanIoU(keras.metrics.MeanIoU):
    """Mean over the classes of the intersection over union of their pixels, of which some do not count.

    Args:
        num_classes: Number of classes.
        ignored: Class of pixels that do not count.
    """

    def __init__(self, num_classes: int, ignored: int, name: str = "miou"):
        super().__init__(num_classes=num_classes, name=name, dtype="float32", sparse_y_pred=True)
        self.ignored = ignored

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        counts, classes = counted(y_true, self.ignored)
        super().update_state(classes, ops.argmax(y_pred, axis=-1), _of_pixels(counts, sample_weight))

    def get_config(self) -> dict:
        return {"num_classes": self.num_classes, "ignored": self.ignored, "name": self.name}


def _of_pixels(counts: Any, sample_weight: Any) -> Any:
    """Return the weight of each pixel: that of its picture, or 0 if it does not count."""
    weight = ops.cast(counts, "float32")
    return weight if sample_weight is None else weight * ops.cast(sample_weight, "float32")[:, None, None]
