"""The loss of every task, registered beside the models: a saved model names what it was compiled with."""

from typing import Any, Literal

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
        classes, kept = y_pred.shape[-1], 1 - self.label_smoothing
        labels = ops.cast(y_true, "int32")  # Keras gives them in the dtype of the loss
        even = self.label_smoothing / classes

        # With one softmax for the value and the gradient it takes half the time of TensorFlow's fused operator, which
        # counts on a vocabulary: the largest probability is 1 / sum(exp(logits - the largest)).
        @ops.custom_gradient
        def loss(logits: Any) -> Any:
            p = ops.softmax(logits)
            log_sum = ops.max(logits, axis=-1) - ops.log(ops.max(p, axis=-1))
            right = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1), -1)

            def gradient(*args: Any, upstream: Any = None) -> Any:
                target = kept * ops.one_hot(labels, classes, dtype=logits.dtype) + even
                return (p - target) * ops.expand_dims(args[0] if upstream is None else upstream, -1)

            return log_sum - kept * right - even * ops.sum(logits, axis=-1), gradient

        return loss(y_pred)

    def get_config(self) -> dict:
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("zoo")
class Adversarial(keras.losses.Loss):
    """What a discriminator's logits are worth to one side of a game; the targets are not looked at.

    Args:
        kind: "non_saturating" (Goodfellow et al., 2014), "hinge" (Lim & Ye, 2017) or "wasserstein" (Arjovsky et al.,
            2017).
        side: "real", the discriminator given real images; "fake", the discriminator given made ones; "generator", who
            made them.

    Raises:
        ValueError: another kind or side.
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
            raise ValueError(f"adversarial: expected a kind and a side of the game, received {kind!r} and {side!r}")
        self.kind = kind
        self.side = side

    def call(self, y_true: Any, y_pred: Any) -> Any:
        wanted = y_pred if self.side == "fake" else -y_pred  # what this side would have small
        if self.kind == "non_saturating":
            wanted = ops.softplus(wanted)
        elif self.kind == "hinge" and self.side != "generator":
            wanted = ops.relu(1 + wanted)
        return ops.mean(wanted, axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"kind": self.kind, "side": self.side}


@keras.saving.register_keras_serializable("zoo")
class Mean(keras.losses.Loss):
    """The mean of an output that is a loss itself; the targets are not looked at."""

    def __init__(self, name: str = "mean", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred, axis=-1)
