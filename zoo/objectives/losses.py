"""Losses, registered with Keras because a saved model refers to the loss that it was compiled with."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops


def is_soft(y_true: Any, y_pred: Any) -> bool:
    """Return whether labels are probabilities of the classes, as logits are, instead of class indices."""
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1]


def as_probabilities(y_true: Any, y_pred: Any) -> Any:
    """Return labels as probabilities of the classes, (..., classes), in the dtype of the logits."""
    if is_soft(y_true, y_pred):
        return ops.cast(y_true, y_pred.dtype)
    return ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)


@keras.saving.register_keras_serializable("zoo")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits and labels, with label smoothing (Szegedy et al., 2016).

    Labels are class indices, or probabilities of the classes (batch, classes) where images were mixed. It is a
    `keras.losses.Loss` so that Keras scales it correctly under several replicas.

    Args:
        label_smoothing: Share of the target distribution that is spread evenly over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes, kept = y_pred.shape[-1], 1 - self.label_smoothing
        soft = is_soft(y_true, y_pred)
        # Keras casts the labels to the dtype of the loss.
        labels = y_true if soft else ops.cast(y_true, "int32")
        even = self.label_smoothing / classes

        # Sharing one softmax between value and gradient takes half the time of TensorFlow's fused operator, which
        # matters for a large vocabulary. The largest probability is 1 / sum(exp(logits - max(logits))).
        @ops.custom_gradient
        def loss(logits: Any) -> Any:
            p = ops.softmax(logits)
            log_sum = ops.max(logits, axis=-1) - ops.log(ops.max(p, axis=-1))
            if soft:
                right = ops.sum(ops.cast(labels, logits.dtype) * logits, axis=-1)
            else:
                right = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1), -1)

            def gradient(*args: Any, upstream: Any = None) -> Any:
                target = kept * as_probabilities(labels, logits) + even
                return (p - target) * ops.expand_dims(args[0] if upstream is None else upstream, -1)

            return log_sum - kept * right - even * ops.sum(logits, axis=-1), gradient

        return loss(y_pred)

    def get_config(self) -> dict:
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("zoo")
class FocalLoss(keras.losses.Loss):
    """Focal loss of logits and labels (Lin et al., 2017): -sum of y (1 - p)^gamma log(p) over the classes.

    Args:
        gamma: Exponent; with 0 it is the cross-entropy.
        label_smoothing: Share of the target distribution that is spread evenly over all classes, in [0, 1).
    """

    def __init__(self, gamma: float = 2.0, label_smoothing: float = 0.0, name: str = "focal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        target = as_probabilities(y_true, y_pred)
        target = (1 - self.label_smoothing) * target + self.label_smoothing / y_pred.shape[-1]
        log_p = ops.log_softmax(y_pred)
        # Away from 0, where the gradient of a power below 1 is infinite.
        missing = ops.maximum(1 - ops.exp(log_p), keras.config.epsilon())
        return -ops.sum(target * ops.power(missing, self.gamma) * log_p, axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"gamma": self.gamma, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("zoo")
class Adversarial(keras.losses.Loss):
    """Loss of one side of a GAN, computed from the discriminator's logits. Targets are ignored.

    Args:
        kind: "non_saturating" (Goodfellow et al., 2014), "hinge" (Lim & Ye, 2017) or "wasserstein" (Arjovsky et al.,
            2017).
        side: "real" for the discriminator on real images, "fake" for the discriminator on generated images, or
            "generator".

    Raises:
        ValueError: If the kind or the side is unknown.
    """

    def __init__(
        self,
        kind: Literal["non_saturating", "hinge", "wasserstein"],
        side: Literal["real", "fake", "generator"],
        name: str = "adversarial",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if kind not in ("non_saturating", "hinge", "wasserstein") or side not in ("real", "fake", "generator"):
            raise ValueError(
                "adversarial: expected kind non_saturating, hinge or wasserstein and side real, fake or generator,"
                f" received {kind!r} and {side!r}"
            )
        self.kind = kind
        self.side = side

    def call(self, y_true: Any, y_pred: Any) -> Any:
        wanted = y_pred if self.side == "fake" else -y_pred  # minimised by this side
        if self.kind == "non_saturating":
            wanted = ops.softplus(wanted)
        elif self.kind == "hinge" and self.side != "generator":
            wanted = ops.relu(1 + wanted)
        return ops.mean(wanted, axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"kind": self.kind, "side": self.side}


@keras.saving.register_keras_serializable("zoo")
class Mean(keras.losses.Loss):
    """Mean of a model output that is a loss already. Targets are ignored."""

    def __init__(self, name: str = "mean", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class Reconstruction(keras.losses.Loss):
    """Mean squared difference of an output from the standardised input, (x - mean) / std.

    Args:
        mean: What is subtracted from the inputs: one number, or one for each feature (the last axis).
        std: What the difference is divided by, likewise.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        name: str = "reconstruction",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.mean = tuple(mean)
        self.std = tuple(std)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        x = ops.cast(y_true, y_pred.dtype)
        if set(self.mean) != {0.0} or set(self.std) != {1.0}:
            mean, std = (ops.convert_to_tensor(values, y_pred.dtype) for values in (self.mean, self.std))
            x = (x - mean) / std
        return ops.mean(ops.square(x - y_pred), axis=tuple(range(1, len(y_pred.shape))))

    def get_config(self) -> dict:
        return super().get_config() | {"mean": self.mean, "std": self.std}


@keras.saving.register_keras_serializable("zoo")
class NumberLoss(keras.losses.Loss):
    """Squared error of numbers in units of their deviations, and the pinball loss of their quantiles.

    The pinball loss is that of Koenker & Bassett (1978).

    Args:
        deviations: Standard deviation of each target, so that targets of different units count alike.
        quantiles: Quantiles that are predicted besides each target, between 0 and 1.

    Labels have shape (batch, targets), predictions (batch, targets + targets * quantiles): the targets first, then the
    quantiles of the first target and so on.
    """

    def __init__(
        self,
        deviations: tuple[float, ...] = (1.0,),
        quantiles: tuple[float, ...] = (),
        name: str = "number_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.deviations, self.quantiles = tuple(deviations), tuple(quantiles)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        targets = len(self.deviations)
        factors = ops.convert_to_tensor([1 / deviation for deviation in self.deviations], y_pred.dtype)
        truth = ops.cast(y_true, y_pred.dtype) * factors
        loss = ops.mean(ops.square(y_pred[:, :targets] * factors - truth), axis=-1)
        if not self.quantiles:
            return loss
        levels = ops.convert_to_tensor(self.quantiles, y_pred.dtype)
        asked = ops.reshape(y_pred[:, targets:], (-1, targets, len(self.quantiles)))
        above = truth[:, :, None] - asked * factors[:, None]
        return loss + ops.mean(ops.maximum(levels * above, (levels - 1) * above), axis=(-2, -1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"deviations": self.deviations, "quantiles": self.quantiles}


@keras.saving.register_keras_serializable("zoo")
class OrdinalLoss(keras.losses.Loss):
    """Cross-entropy of ordered classes, and the ranked probability score (Epstein, 1969): how far a miss is counts.

    The ranked probability score is the squared difference of the cumulative probabilities from those of the label. Both
    parts are proper: on average the true probabilities are best. Labels are class indices (batch,), or probabilities of
    the classes (batch, classes) where images were mixed.

    Args:
        label_smoothing: Share of the target distribution that is spread evenly over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "ordinal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth = as_probabilities(y_true, y_pred)
        truth = (1 - self.label_smoothing) * truth + self.label_smoothing / y_pred.shape[-1]
        log_p = ops.log_softmax(y_pred)
        miss = ops.cumsum(ops.exp(log_p) - truth, axis=-1)
        return ops.sum(ops.square(miss), axis=-1) - ops.sum(truth * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"label_smoothing": self.label_smoothing}
