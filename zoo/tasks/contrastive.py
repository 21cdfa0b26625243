"""Contrastive learning: match images with captions (Radford et al., 2021)."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config import caption_templates
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.augmentation import augmenter
from zoo.data.batches import captions as batches
from zoo.data.sources.captions import NONE
from zoo.data.text import UNKNOWN_ID, longer
from zoo.objectives.pair_loss import PairAccuracy, PairLoss
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import probabilities, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import intervals
from zoo.scores.classes import confusion_matrix, per_class
from zoo.tasks import base
from zoo.tasks.base import Shape, Task, ranked
from zoo.tasks.pages import classes as class_page
from zoo.tasks.pages import contrastive as contrastive_page
from zoo.tasks.parts.embeddings import BATCH, CELLS, RANKS, Embedded, embedded


class Contrastive(Task):
    """Match images with captions."""

    name = "contrastive"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {**config.settings, "vocabulary_size": spec.vocabulary_size}

    def build_shape(self, spec: DataSpec) -> list[Shape]:
        """Return the shapes of images and of captions."""
        return [(None, *spec.input_shape), (None, *spec.target_shape)]

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        """Return the loss and the metric, which compare the pairs of all replicas."""
        head = config.settings.get("head", "cosine")
        return {"loss": PairLoss(head), "weighted_metrics": [PairAccuracy(head)]}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        options["augment"] = augmenter.of(config, data.spec.num_classes)
        return batches.training_batches(data.train, data.captions.ids, **options)

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        """Return every validation image once, with the first of its captions."""
        return batches.evaluation_batches(data.validation, data.captions.ids, batch_size=BATCH, stride=stride)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_accuracy"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, the embeddings, the intervals and, for data of classes, zero-shot results."""
        examples, of_class = data.split(split), data.captions.of_class
        found = embedded(model, examples.x, data.captions.ids)
        result = scores(found, examples, data)
        shown = {"embedded": found, "intervals": intervals_of(result)}
        if of_class:
            shown["confusion"] = confusion_matrix(found.class_scores(of_class), examples.y[:, 0])
            shown["per_class"] = per_class(shown["confusion"], data.spec.class_names)
        return result, shown

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write confusion_matrix.csv of the zero-shot predictions for data of classes."""
        if "confusion" in shown:
            class_page.write_confusion(run.confusion_file, shown["confusion"], data.spec.class_names)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return contrastive_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        zero_shot = "zero_shot_accuracy"
        parts = [f"zero-shot accuracy {written(test, zero_shot, within)}"] if zero_shot in test else []
        for name, title in (("caption_to_image", "caption to image"), ("image_to_caption", "image to caption")):
            each = " / ".join(written(test, f"{name}_recall_at_{k}", within) for k in RANKS)
            parts.append(f"{title} recall@{'/'.join(map(str, RANKS))} {each}")
        how = "by class" if test["answers_by"] == "class" else "by caption"
        return f"{', '.join(parts)} ({how}), loss {test['loss']:.4f}, {test['examples']:,} examples"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        """Return the probabilities of texts for each image: those of `--labels`, or the run's classes."""
        spec, vocabulary = read_spec(run)
        names, x = read_inputs(options.inputs, spec, None, "")
        if options.labels is None:
            templates = caption_templates.templates(run.read_config()["config"].caption_templates)
            shown, groups = spec.class_names, caption_templates.of_classes(spec.class_names, templates)
        else:
            shown, groups = options.labels, [[text] for text in options.labels]
        texts = [text for group in groups for text in group]
        rows = vocabulary.rows(texts)
        if options.labels is not None:
            _check_known(texts, rows)
        (length,) = spec.target_shape
        if cut := longer(rows, length):
            cli.say(f"--labels: {cut} of {len(rows)} texts are longer than the {length} tokens of this run and are cut")
        found = embedded(run.load_model(), x, vocabulary.padded(rows, length))
        p, top = probabilities(found.class_scores(caption_templates.places(groups))), options.top or len(shown)
        return [{"input": name, **ranked(row, shown, top)} for name, row in zip(names, p, strict=True)]

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        captions = {"target_shape": (16,), "vocabulary_size": size or base.TOKENS}
        return DataSpec("example", "image", input_shape or base.IMAGE, (), task=self.name, **captions)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        images, targets = super().example_batch(config, spec, batch_size)
        return (images, keras.KerasTensor((batch_size, *spec.target_shape), "int32")), targets


def _check_known(texts: list[str], rows: list[list[int]]) -> None:
    """Raise UsageError for a text without any known word, and report unknown words of the others."""
    for text, row in zip(texts, rows, strict=True):
        unknown = row.count(UNKNOWN_ID)
        if unknown == len(row):
            raise UsageError(
                f"--labels {text!r}: expected a text with words of the run's vocabulary, found none of them"
            )
        if unknown:
            cli.say(f"--labels {text!r}: {unknown} of {len(row)} tokens are not in the run's vocabulary")


def intervals_of(found: dict[str, Any]) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of recalls and accuracy, over queries. The loss, of batches, has none."""
    totals = {"zero_shot_accuracy": found["examples"]}
    for name, queries in (("image_to_caption", found["examples"]), ("caption_to_image", found["captions"])):
        totals |= {f"{name}_recall_at_{k}": queries for k in RANKS}
    return intervals.of_shares(found, totals)


def scores(found: Embedded, split: Split, data: Dataset) -> dict[str, Any]:
    """Return the scores of a split.

    Recall at k is the share of queries with an answer among the k best. The answers of a caption are the images that
    have it, the answers of an image are its captions. Captions made from the name of a class belong to all images of
    the class. Among equal scores wrong answers come first. Zero-shot accuracy is the share of images whose class has
    the best score.

    Args:
        found: Embeddings of the images of the split, and of every caption of the data.
        split: Images with the indices of their captions.
        data: Data with the captions.
    """
    known = data.captions
    rows, columns = np.nonzero(split.y[:, 1:] != NONE)
    said = split.y[rows, 1 + columns]
    # Queries choose from all captions of classes, but from the own captions of this split alone.
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
    """Return the number of wrong items before the first correct one for each query, (queries,).

    Args:
        score: Function that returns the scores of the queries in a range, (queries, items).
        queries: Number of queries. Each has an answer.
        items: Number of items.
        query: Query of each pair that belongs together.
        answer: Item of each pair that belongs together.
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
        ranks.append((~right & ~(values < best)).sum(axis=1))  # NaN counts as better
    return np.concatenate(ranks)


def _chunks(count: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CELLS // width)
    return ((start, min(start + step, count)) for start in range(0, count, step))


def _loss(found: Embedded, split: Split) -> float:
    """Return the loss over batches as in `fit`, with the first caption of each image."""
    loss, total = PairLoss(found.head, reduction=None), 0.0
    weights = np.broadcast_to(found.weights, found.images[:BATCH].shape)
    for start in range(0, len(split), BATCH):
        images, y = found.images[start : start + BATCH], split.y[start : start + BATCH]
        outputs = np.stack([images, found.texts[y[:, 1]], weights[: len(images)]], axis=1)
        total += float(ops.sum(loss(y[:, 0], outputs)))
    return total / len(split)


TASK = Contrastive()
