"""Contrastive learning: which caption is of which image, and which image of a caption (Radford et al., 2021)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import captions as batches
from zoo.data.images import scaled
from zoo.data.sources.captions import NONE
from zoo.objectives.pair_loss import Head, PairAccuracy, PairLoss, pair_scores
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.scores import intervals
from zoo.tasks.base import callbacks, gathered, measured_with, remarks
from zoo.tasks.classification import confusion_matrix, per_class

__all__ = ["callbacks", "gathered", "measured_with", "remarks"]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.predict", "IMAGE")
# Pairs whose scores a loss compares in evaluation, and images that are in memory as float32 at once.
BATCH = 256
RANKS = (1, 5, 10)
# Numbers in memory at once, of scores or of what they are sums of.
CELLS = 1 << 24


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a model of images and captions."""
    return {**config.settings, "vocabulary_size": spec.vocabulary_size}


def build_shape(spec: DataSpec) -> list[tuple[int | None, ...]]:
    """Return what such a model is built for: images, and captions."""
    return [(None, *spec.input_shape), (None, *spec.target_shape)]


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss and the metric of `fit`, over the pairs of all replicas where training lets them `gather`."""
    head = config.settings.get("head", "cosine")
    return {"loss": PairLoss(head), "weighted_metrics": [PairAccuracy(head)]}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`."""
    return batches.training_batches(
        data.train,
        data.captions.ids,
        batch_size=batch_size,
        seed=config.seed,
        start=start,
        stop=stop,
        shift=config.shift,
    )


def validation_batches(data: Dataset, stride: int) -> Any:
    """Return every validation image once, with the first of its captions."""
    return batches.evaluation_batches(data.validation, data.captions.ids, batch_size=BATCH, stride=stride)


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: how often an image's best caption in the batch was right, then the loss."""
    return row["val_accuracy"], -row["val_loss"]


@dataclass(frozen=True)
class Embedded:
    """What two towers give, of Keras or of a file.

    Args:
        images: (images, width) float32.
        texts: (captions, width) float32, of every caption of a set.
        weights: (width,), of `pair_scores`.
        head: how a pair is scored.
    """

    images: np.ndarray
    texts: np.ndarray
    weights: np.ndarray
    head: Head

    def scores(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Return the score of each of some images with each of some texts, (images, texts)."""
        wide = self.weights.size * len(texts) if self.head == "fusion" else len(texts)
        step = max(1, CELLS // max(wide, 1))
        parts = [
            ops.convert_to_numpy(pair_scores(images[i : i + step], texts, self.weights, self.head))
            for i in range(0, len(images), step)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(texts)), np.float32)

    def class_scores(self, of_class: tuple[tuple[int, ...], ...]) -> np.ndarray:
        """Return the score of each image with each class, (images, classes): of what its captions are on average.

        Of the cosine head with the mean of their vectors, brought to length 1 again (Radford et al., 2021, 3.1.4); of
        the fusion head the mean of their scores.
        """
        if self.head == "fusion":
            texts = [self.scores(self.images, self.texts[list(group)]).mean(axis=1) for group in of_class]
            return np.stack(texts, axis=1)
        means = np.stack([self.texts[list(group)].mean(axis=0) for group in of_class])
        return self.scores(self.images, means / np.linalg.norm(means, axis=1, keepdims=True))


def embedded(model: keras.Model, images: np.ndarray, ids: np.ndarray) -> Embedded:
    """Return what a model makes of images, bytes or pixels in [0, 1], and of captions, (captions, time) ids."""
    weights = ops.convert_to_numpy(model.pair_weights())
    return Embedded(_in_batches(model.encode_image, images), _in_batches(model.encode_text, ids), weights, model.head)


def _in_batches(encode: Callable, x: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(ops.convert_to_numpy(encode(ops.convert_to_tensor(scaled(x[i : i + BATCH])))), np.float32)
        for i in range(0, len(x), BATCH)
    ]
    return np.concatenate(parts)


def measure(model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a split, the embeddings that they come from, their intervals, and what is of classes."""
    examples, of_class = data.split(split), data.captions.of_class
    found = embedded(model, examples.x, data.captions.ids)
    result = scores(found, examples, data)
    shown = {"embedded": found, "intervals": intervals_of(result)}
    if of_class:
        shown["confusion"] = confusion_matrix(found.class_scores(of_class), examples.y[:, 0])
        shown["per_class"] = per_class(shown["confusion"], data.spec.class_names)
    return result, shown


def intervals_of(found: dict[str, Any]) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of shares of queries, images or captions; the loss is of batches, and has none."""
    totals = {"zero_shot_accuracy": found["examples"]}
    for name, queries in (("image_to_caption", found["examples"]), ("caption_to_image", found["captions"])):
        totals |= {f"{name}_recall_at_{k}": queries for k in RANKS}
    return intervals.of_shares(found, totals)


def scores(found: Embedded, split: Split, data: Dataset) -> dict[str, Any]:
    """Return the numbers of a split.

    Recall at k is the share of queries with an answer among the k best. A caption's answers are the images that it is
    said of, which are all of its class where captions are made from classes; an image's answers are its captions. Of
    equal scores the wrong ones come first. Zero-shot accuracy, of classes, is the share of images whose class has the
    best score.

    Args:
        found: of the images of the split, and of every caption of the set.
        split: with the captions of each image.
        data: its captions.
    """
    known = data.captions
    rows, columns = np.nonzero(split.y[:, 1:] != NONE)
    said = split.y[rows, 1 + columns]
    # Captions of classes are all to be chosen from; of one's own, those of this split.
    offered = np.arange(len(known.texts)) if known.of_class else np.unique(said)
    queries, place = np.unique(said), np.searchsorted(offered, said)
    texts = found.texts[offered]
    to_text = first_hits(lambda a, b: found.scores(found.images[a:b], texts), len(split), len(offered), rows, place)
    asked = found.texts[queries]
    to_image = first_hits(
        lambda a, b: found.scores(found.images, asked[a:b]).T,
        len(queries),
        len(split),
        np.searchsorted(queries, said),
        rows,
    )
    result = {"loss": _loss(found, split)}
    if known.of_class:
        chosen = found.class_scores(known.of_class).argmax(axis=1)
        result["zero_shot_accuracy"] = float((chosen == split.y[:, 0]).mean())
    for name, ranks in (("image_to_caption", to_text), ("caption_to_image", to_image)):
        result |= {f"{name}_recall_at_{k}": float((ranks < k).mean()) for k in RANKS}
    answers = "class" if known.of_class else "caption"
    scale = {"temperature": float(1 / found.weights[0])} if found.head == "cosine" else {}
    return result | scale | {"answers_by": answers, "captions": len(queries), "examples": len(split)}


def first_hits(
    score: Callable[[int, int], np.ndarray], queries: int, items: int, query: np.ndarray, answer: np.ndarray
) -> np.ndarray:
    """Return how many wrong items come before the first right one, of each query, (queries,).

    Args:
        score: of queries from one to before another, (queries, items).
        queries: how many there are, each with an answer.
        items: how many there are.
        query: of each pair that belongs together, its query.
        answer: and its item.
    """
    order = np.argsort(query, kind="stable")
    query, answer = query[order], answer[order]
    ranks = []
    for start, stop in _chunks(queries, items):
        first, last = np.searchsorted(query, [start, stop])
        right = np.zeros((stop - start, items), bool)
        right[query[first:last] - start, answer[first:last]] = True
        values = score(start, stop)
        best = np.where(right, values, -np.inf).max(axis=1, keepdims=True)
        ranks.append((~right & ~(values < best)).sum(axis=1))  # what is no number comes first as well
    return np.concatenate(ranks)


def _chunks(count: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CELLS // width)
    return ((start, min(start + step, count)) for start in range(0, count, step))


def _loss(found: Embedded, split: Split) -> float:
    """Return the loss over batches as `fit` takes them, with the first caption of each image."""
    loss, total = PairLoss(found.head, reduction=None), 0.0
    weights = np.broadcast_to(found.weights, found.images[:BATCH].shape)
    for start in range(0, len(split), BATCH):
        images, y = found.images[start : start + BATCH], split.y[start : start + BATCH]
        outputs = np.stack([images, found.texts[y[:, 1]], weights[: len(images)]], axis=1)
        total += float(ops.sum(loss(y[:, 0], outputs)))
    return total / len(split)


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write confusion_matrix.csv into a run's folder, of the zero-shot classes, where there are any."""
    if "confusion" in shown:
        from zoo.tasks.pages import classes as class_page

        class_page.write_confusion(run.confusion_file, shown["confusion"], data.spec.class_names)


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    from zoo.tasks.pages import contrastive as contrastive_page

    return contrastive_page.page(data, found, shown)


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    zero_shot = "zero_shot_accuracy"
    parts = [f"zero-shot accuracy {written(test, zero_shot, within)}"] if zero_shot in test else []
    for name, title in (("caption_to_image", "caption to image"), ("image_to_caption", "image to caption")):
        each = " / ".join(written(test, f"{name}_recall_at_{k}", within) for k in RANKS)
        parts.append(f"{title} recall@{'/'.join(map(str, RANKS))} {each}")
    how = "by class" if test["answers_by"] == "class" else "by caption"
    return f"{', '.join(parts)} ({how}), loss {test['loss']:.4f}, {test['examples']:,} examples"
