"""The outputs of a model of one's own: what each one means, its loss and its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from zoo.console.errors import UsageError
from zoo.data.dataset import leaves
from zoo.scores import classes, intervals, numbers
from zoo.scores import labels as several

# classes: an index, or a one-hot row, chooses one of the last axis. binary: one number that is above 0.5, or 0 for
# logits, for yes. labels: any number of the last axis may hold. numbers: values as they are.
Kind = Literal["classes", "binary", "labels", "numbers"]

_LOSSES = {
    "classes": keras.losses.SparseCategoricalCrossentropy,
    "binary": keras.losses.BinaryCrossentropy,
    "labels": keras.losses.BinaryCrossentropy,
}


@dataclass(frozen=True)
class Output:
    """An output of a model.

    Args:
        name: Name of the output.
        kind: What the output means.
        probabilities: Whether its values are probabilities, and not logits.
        one_hot: Whether the labels of classes are one-hot rows.
    """

    name: str
    kind: Kind
    probabilities: bool = False
    one_hot: bool = False

    def loss(self) -> keras.losses.Loss:
        """Return the usual loss of such an output."""
        if self.one_hot:
            return keras.losses.CategoricalCrossentropy(from_logits=not self.probabilities)
        if self.kind == "numbers":
            return keras.losses.MeanSquaredError()
        return _LOSSES[self.kind](from_logits=not self.probabilities)

    def truth(self, y: np.ndarray) -> np.ndarray:
        """Return labels as the scores take them: class indices without a last axis of 1, or numbers."""
        if self.one_hot:
            return y.argmax(-1)
        if self.kind != "classes":
            return y
        return (y[..., 0] if y.ndim > 1 and y.shape[-1] == 1 else y).astype(np.int32)

    def logits(self, outputs: np.ndarray) -> np.ndarray:
        """Return logits of outputs that are probabilities or logits of classes; 0 counts as in the losses of Keras."""
        return np.log(np.maximum(outputs, keras.config.epsilon())) if self.probabilities else outputs

    def answers(self, outputs: np.ndarray) -> np.ndarray | None:
        """Return the answers that outputs stand for: classes, or yes and no; None for numbers."""
        if self.kind == "classes":
            return outputs.argmax(-1)
        if self.kind in ("binary", "labels"):
            return outputs > (0.5 if self.probabilities else 0)
        return None

    def scores(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the scores of outputs, the most important first."""
        truth = self.truth(y)
        if self.kind == "classes":
            outputs = self.logits(outputs).reshape(-1, outputs.shape[-1])
            found = classes.scores(outputs, truth.reshape(-1))
            return {"accuracy": found.pop("accuracy"), **{k: v for k, v in found.items() if k != "examples"}}
        if self.kind == "numbers":
            return numbers.scores(outputs, truth)
        return _decisions(self.answers(outputs), outputs, truth, self.kind)

    def intervals(self, scores: Mapping[str, float], outputs: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """Return the 95 % intervals of the scores of one class or one decision for each example; none for others."""
        truth = self.truth(y)
        if self.kind == "classes" and truth.ndim == 1:
            return classes.intervals_of(dict(scores), self.logits(outputs), truth)
        if self.kind == "binary":
            return intervals.of_shares(dict(scores), {"accuracy": truth.size})
        return {}


def _decisions(answers: np.ndarray, outputs: np.ndarray, y: np.ndarray, kind: Kind) -> dict[str, float]:
    from sklearn.metrics import f1_score, roc_auc_score

    y, answers = y.reshape(len(y), -1) > 0, answers.reshape(len(y), -1)
    if kind == "binary":
        found = {"accuracy": float((answers == y).mean()), "f1": float(f1_score(y.ravel(), answers.ravel()))}
        both = 0 < y.sum() < y.size
        return found | ({"auc": float(roc_auc_score(y.ravel(), outputs.ravel()))} if both else {})
    return several.scores(answers, y)


def meanings(
    names: Sequence[str], outputs: Any, y: Any, class_names: Sequence[str] = (), losses: Sequence[Any] = ()
) -> list[Output]:
    """Return what each output of a model means, from its values, the labels and the compiled losses.

    Args:
        names: Names of the outputs.
        outputs: Outputs for a few examples, in the structure of the model.
        y: Labels of a split in the same structure or in that order; None without labels, where the meaning is guessed.
        class_names: Names of the classes, if the data have them.
        losses: Compiled loss of each output, None where there is none.

    Raises:
        UsageError: Labels whose number or shape does not fit the outputs.
    """
    values = [np.asarray(output) for output in leaves(outputs)]
    losses = losses or [None] * len(names)
    named = len(class_names) if len(names) == 1 else 0
    if y is None:
        return [guess(*row, named) for row in zip(names, values, losses, strict=True)]
    labels = leaves(y)
    if len(labels) != len(values):
        raise UsageError(
            f"data: expected labels for each of {len(values)} outputs ({', '.join(names)}), received {len(labels)}"
        )
    return [
        _meaning(name, value, label, loss, named)
        for name, value, label, loss in zip(names, values, labels, losses, strict=True)
    ]


def guess(name: str, value: np.ndarray, loss: Any = None, classes: int = 0) -> Output:
    """Return what an output means as far as it can be told without labels; otherwise it is numbers.

    Args:
        name: Name of the output.
        value: Output for a few examples.
        loss: Compiled loss of the output, if there is one.
        classes: Number of classes, if names of classes are known.
    """
    several = value.ndim > 1 and value.shape[-1] > 1
    if several and (_sums_to_one(value) or _chooses(loss) or classes == value.shape[-1]):
        return Output(name, "classes", _sums_to_one(value))
    within = bool((value >= 0).all() and (value <= 1).all())
    if not several and (_decides(loss) or (classes == 2 and within)):
        return Output(name, "binary", within)
    return Output(name, "numbers")


def _sums_to_one(value: np.ndarray) -> bool:
    return bool((value >= 0).all()) and bool(np.allclose(value.sum(-1), 1, atol=1e-3))


def _chooses(loss: Any) -> bool:
    known = (keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)
    return isinstance(loss, known) or loss in ("sparse_categorical_crossentropy", "categorical_crossentropy")


def _meaning(name: str, value: np.ndarray, y: np.ndarray, loss: Any, classes: int) -> Output:
    if y.dtype.kind not in "iubf":
        raise UsageError(f"data: output {name}: expected numbers as labels, received {y.dtype}")
    one, shape = value.shape[1:], y.shape[1:]
    several = bool(one) and one[-1] > 1
    sums = several and _sums_to_one(value)
    if several and shape in (one[:-1], (*one[:-1], 1)):
        return _chosen(name, y, one[-1], classes, sums)
    if not (shape == one or (one == (1,) and shape == ()) or (one == () and shape == (1,))):
        expected = f"{one}, or class indices of shape {one[:-1]}," if several else f"{one}"
        raise UsageError(
            f"data: output {name}: expected labels of shape {expected} for each example, received {y.dtype} of shape"
            f" {shape}"
        )
    yes_or_no = bool(np.isin(y, (0, 1)).all())
    if yes_or_no and several and bool((y.sum(-1) == 1).all()):
        return Output(name, "classes", sums, one_hot=True)
    within = bool((value >= 0).all() and (value <= 1).all())
    if yes_or_no and (within or _decides(loss)):
        return Output(name, "labels" if several or len(one) > 1 else "binary", within)
    return Output(name, "numbers")


def _chosen(name: str, y: np.ndarray, last: int, classes: int, sums: bool) -> Output:
    """Return an output of classes whose labels are indices, after checking them."""
    if y.dtype.kind == "f" and (y != np.round(y)).any():
        raise UsageError(
            f"data: output {name}: expected whole numbers from 0 to {last - 1} as class indices, received"
            f" {y[y != np.round(y)].flat[0]:g}"
        )
    low, high = int(y.min(initial=0)), max(int(y.max(initial=0)), classes - 1)
    if low < 0 or high >= last:
        raise UsageError(
            f"data: output {name}: the model tells {last} classes apart; expected labels from 0 to {last - 1}, received"
            f" {low} to {high}"
        )
    return Output(name, "classes", sums)


def _decides(loss: Any) -> bool:
    known = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
    return isinstance(loss, known) or loss in ("binary_crossentropy", "bce", "binary_focal_crossentropy")
