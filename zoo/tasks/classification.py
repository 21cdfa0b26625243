"""Classification: one label an example, or one a step."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.config import attacks, registry
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec
from zoo.data.batches import attacked as attacked_batches
from zoo.data.batches import pipeline as batches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.objectives.losses import CrossEntropy
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, logits_of, probabilities
from zoo.scores import intervals
from zoo.tasks.base import callbacks, measured_with, remarks

__all__ = ["callbacks", "measured_with", "remarks"]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.predict", "INPUT")
# Top-5 accuracy says something only where there are clearly more than five classes.
TOP = 5
TOP_ABOVE_CLASSES = 10


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a classifier."""
    known = registry.arguments(config.model)
    found = {**config.settings, "num_classes": spec.num_classes}
    if "vocabulary_size" in known:
        found["vocabulary_size"] = spec.vocabulary_size
    if spec.per_step and "return_sequences" in known:
        found["return_sequences"] = True
    return found


def build_shape(spec: DataSpec) -> tuple[int | None, ...]:
    """Return what a classifier is built for."""
    return (None, *spec.input_shape)


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss and the metrics of `fit`."""
    metrics: list[keras.metrics.Metric] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if spec.num_classes > TOP_ABOVE_CLASSES:
        metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(TOP, name="top_5_accuracy"))
    # Weights of classes are for the loss alone; those that are zero are for all: on JAX, and of
    # private steps, they fill batches up.
    weighted = config.private or not on_tensorflow()
    return {"loss": CrossEntropy(config.label_smoothing), "weighted_metrics" if weighted else "metrics": metrics}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`."""
    options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
    options |= {"class_weights": _weights(config, data), "shift": config.shift}
    if config.adversarial:
        return attacked_batches.training_batches(data.train, attacks.parse(config.adversarial), **options)
    return batches.training_batches(data.train, **options)


def gathered(config: TrainConfig, data: Dataset, batch_size: int) -> batches.Gathered | None:
    """Return the same steps to gather from memory; None where images are moved or attacked."""
    if config.adversarial or config.shift:
        return None
    options = {"batch_size": batch_size, "seed": config.seed, "class_weights": _weights(config, data)}
    return batches.gathered(data.train, **options)


def _weights(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    return class_weights(data.train.y, data.spec.num_classes) if config.class_weights == "balanced" else None


def validation_batches(data: Dataset, stride: int) -> Any:
    """Return every validation example once."""
    return batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride)


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: the validation accuracy, then the loss."""
    return row["val_accuracy"], -row["val_loss"]


def measure(model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a split, and its logits, confusion matrix, classes and intervals."""
    examples = data.split(split)
    logits = logits_of(model, examples)
    found, confusion = scores(logits, examples.y), confusion_matrix(logits, examples.y)
    return found, {
        "logits": logits,
        "confusion": confusion,
        "per_class": per_class(confusion, data.spec.class_names),
        "intervals": intervals_of(found, logits, examples.y),
    }


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write confusion_matrix.csv into a run's folder."""
    from zoo.tasks.pages import classes as class_page

    class_page.write_confusion(run.confusion_file, shown["confusion"], data.spec.class_names)


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    from zoo.tasks.pages import classes as class_page

    return class_page.page(data, found, shown)


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    return (
        f"accuracy {written(test, 'accuracy', within)}, macro F1 {written(test, 'f1', within)},"
        f" loss {written(test, 'loss', within)}, {test['examples']:,} examples"
    )


def class_weights(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the weight of each class, (classes,) float32: inverse frequency, 1 on average over the examples."""
    counts = np.bincount(y.reshape(-1), minlength=num_classes)
    return (y.size / (num_classes * np.maximum(counts, 1))).astype(np.float32)


def scores(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the numbers of a split: loss, accuracy, macro precision, recall and F1, and top-5 where it applies.

    Args:
        logits: (examples, classes) or (examples, time, classes).
        y: (examples,) or (examples, time).
    """
    classes = logits.shape[-1]
    rows = per_class(confusion_matrix(logits, y), range(classes))
    p, y = probabilities(logits.reshape(-1, classes)), y.reshape(-1)
    result = {
        "loss": float(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny)).mean()),
        "accuracy": float((p.argmax(-1) == y).mean()),
        **{name: float(np.mean([row[name] for row in rows])) for name in ("precision", "recall", "f1")},
        "examples": len(y),
    }
    if classes > TOP_ABOVE_CLASSES:
        from sklearn.metrics import top_k_accuracy_score  # whose import takes longer than all else here

        result["top_5_accuracy"] = float(top_k_accuracy_score(y, p, k=TOP, labels=np.arange(classes)))
    return result


def intervals_of(found: dict[str, Any], logits: np.ndarray, y: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the numbers of a split; of one label a step, the steps of an example stay together.

    Args:
        found: what `scores` returns of it.
        logits: (examples, classes) or (examples, time, classes).
        y: (examples,) or (examples, time).
    """
    from scipy import sparse

    classes, steps, labels = logits.shape[-1], y[0].size, y.reshape(-1)
    p = probabilities(logits.reshape(-1, classes))
    each, answers = np.arange(len(labels)), p.argmax(-1)
    right = answers == labels
    # Of each example: the loss, and of each class how often it is right, true and predicted.
    row, columns = each // steps, (labels[right], classes + labels, 2 * classes + answers)
    places = (np.concatenate([row, row[right], row, row]), np.concatenate([0 * row, *(1 + c for c in columns)]))
    losses = -np.log(np.maximum(p[each, labels], np.finfo(np.float64).tiny))
    values = np.concatenate([losses, np.ones(len(places[0]) - len(losses))])
    terms = sparse.coo_array((values, places), shape=(len(y), 1 + 3 * classes)).tocsr()

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        hits, true, predicted = (sums[:, 1 + i * classes : 1 + (i + 1) * classes] for i in range(3))
        return {
            "accuracy": hits.sum(1) / true.sum(1),
            "precision": (hits / np.maximum(predicted, 1)).mean(1),
            "recall": (hits / np.maximum(true, 1)).mean(1),
            "f1": (2 * hits / np.maximum(true + predicted, 1)).mean(1),
            "loss": sums[:, 0] / true.sum(1),
        }

    drawn = intervals.of_sums(terms, figures)
    if y.ndim > 1:
        return drawn
    return drawn | intervals.of_shares(found, dict.fromkeys(("accuracy", "top_5_accuracy"), len(y)))


def confusion_matrix(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return counts, (classes, classes): a row for each true class, a column for each predicted one."""
    classes = logits.shape[-1]
    cells = classes * y.reshape(-1).astype(np.int64) + logits.argmax(-1).reshape(-1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class(confusion: np.ndarray, class_names: Sequence[Any]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and the number of examples of each class."""
    right, true, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    rows = []
    for i, name in enumerate(class_names):
        total = true[i] + predicted[i]
        rows.append(
            {
                "class": name,
                "precision": float(right[i] / predicted[i]) if predicted[i] else 0.0,
                "recall": float(right[i] / true[i]) if true[i] else 0.0,
                "f1": float(2 * right[i] / total) if total else 0.0,
                "examples": int(true[i]),
            }
        )
    return rows


def worst_mistakes(logits: np.ndarray, y: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Return the examples that a model was most surely wrong about: index, true class, predicted class, probability."""
    p = probabilities(logits)
    wrong = np.flatnonzero(p.argmax(-1) != y)
    order = wrong[np.argsort(p[wrong, y[wrong]])][:count]
    return [
        {
            "index": int(i),
            "true": int(y[i]),
            "predicted": int(p[i].argmax()),
            "probability": float(p[i].max()),
        }
        for i in order
    ]
