"""Classification: one label for each example, or one for each step."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import attacks, registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.augmentation import augmenter
from zoo.data.augmentation.sounds import Sounds
from zoo.data.batches import attacked as attacked_batches
from zoo.data.batches import buckets
from zoo.data.batches import pipeline as batches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.objectives.losses import CrossEntropy, FocalLoss
from zoo.objectives.metrics import MixedAccuracy
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, as_floats, logits_of, probabilities, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.runs.windows import recordings_of
from zoo.scores import table_baseline, text_baseline, votes
from zoo.scores.classes import TOP, TOP_ABOVE_CLASSES, confusion_matrix, intervals_of, per_class, scores
from zoo.tasks import base
from zoo.tasks.base import Reading, Task, Texts, percent, ranked, short, standardized_by
from zoo.tasks.pages import classes as class_page
from zoo.tasks.parts import listening
from zoo.tasks.parts.arguments import from_data

# Number of tokens from which texts of about one length share a batch. Padding of shorter ones costs little.
LONG = 128


class Classification(Task):
    """One label for each example, or one for each step."""

    name = "classification"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        known = registry.arguments(config.model)
        found = {**standardized_by(config, spec), **config.settings, **from_data(known, spec)}
        found["num_classes"] = spec.num_classes
        if spec.per_step and "return_sequences" in known:
            found["return_sequences"] = True
        return found

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        mixed = any(word.mixes for word in config.augmentation)
        metrics: list[keras.metrics.Metric] = [
            MixedAccuracy() if mixed else keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        ]
        if spec.num_classes > TOP_ABOVE_CLASSES:
            top = MixedAccuracy if mixed else keras.metrics.SparseTopKCategoricalAccuracy
            metrics.append(top(TOP, name="top_5_accuracy"))
        smoothing, gamma = config.label_smoothing, config.focal_gamma
        loss = FocalLoss(gamma, smoothing) if gamma else CrossEntropy(smoothing)
        # Weights of classes apply to the loss alone. Weights of zero, of examples that fill up batches on JAX and in
        # private training, apply to metrics as well.
        weighted = config.private or not on_tensorflow()
        return {"loss": loss, "weighted_metrics" if weighted else "metrics": metrics}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        options |= {"class_weights": _weights(config, data), "balance": config.sampling == "balanced"}
        sound = Sounds(data.spec.rate, data.noise) if data.spec.rate else None
        options["augment"] = augmenter.of(config, data.spec.num_classes, sound=sound)
        if config.adversarial:
            return attacked_batches.training_batches(data.train, attacks.parse(config.adversarial), **options)
        options["lengths"] = _lengths(config, data)
        return batches.training_batches(data.train, part=config.part, **options)

    def reads_parts(self, config: TrainConfig) -> bool:
        return not config.adversarial

    def gathered(self, config: TrainConfig, data: Dataset, batch_size: int) -> batches.Gathered | None:
        if config.adversarial or config.augmentation:
            return None
        options = {"batch_size": batch_size, "seed": config.seed, "class_weights": _weights(config, data)}
        options |= {"balance": config.sampling == "balanced", "lengths": _lengths(config, data)}
        return batches.gathered(data.train, **options)

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride)

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        return batches.evaluation_parts(data.validation, replicas, count, batch_size=BATCH)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_accuracy"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        logits = logits_of(model, examples)
        found, confusion = scores(logits, examples.y), confusion_matrix(logits, examples.y)
        if examples.recordings is not None:
            found |= votes.scores(probabilities(logits), examples.y, examples.recordings)
        return found, {
            "logits": logits,
            "confusion": confusion,
            "per_class": per_class(confusion, data.spec.class_names),
            "intervals": intervals_of(found, logits, examples.y),
        }

    def beside(self, data: Dataset) -> list[dict[str, Any]]:
        train, test = data.train, data.test
        if data.texts:
            found = text_baseline.measured(data.texts["train"], train.y, data.texts["test"], test.y)
            return [found] if found else []
        if not data.spec.inputs:
            return []
        return table_baseline.classes(data.spec.inputs, [train, data.validation], test)

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        class_page.write_confusion(run.confusion_file, shown["confusion"], data.spec.class_names)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return class_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        vote = ""
        if "recordings" in test:
            vote = f", {test['recording_accuracy']:.2%} of {test['recordings']:,} recordings by vote"
        return (
            f"accuracy {written(test, 'accuracy', within)}, macro F1 {written(test, 'f1', within)},"
            f" loss {written(test, 'loss', within)}, {test['examples']:,} examples{vote}"
        )

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        column = options.text_column or run.read_config()["config"].text_column or "text"
        spec, vocabulary = read_spec(run)
        model, stored = run.load_model(), run.read_config()["config"]
        if spec.kind == "sound":
            return list(self._heard(model, spec, options))
        names, x = read_inputs(options.inputs, spec, vocabulary, column, stored)
        p = probabilities(logits_of(model, Split(x, x[:, :0])))
        top = options.top or 1
        rows = [{"input": name, **ranked(row, spec.class_names, top)} for name, row in zip(names, p, strict=True)]
        return rows + (_voted(names, p, spec) if spec.hop else [])

    def _heard(self, model: keras.Model, spec: DataSpec, options: PredictOptions) -> Iterator[dict[str, Any]]:
        """Yield the classes of clips, and the events of recordings that are longer than two clips."""
        for text in options.inputs:
            path = Path(text)
            is_long = path.suffix.lower() != ".npz" and listening.is_long(path, spec)
            listening.tell_unused(text, options, is_long)
            if is_long:
                yield from listening.answers(model, path, spec, options.hop, options.threshold)
                continue
            names, x = read_inputs([text], spec, None, "")
            p = probabilities(logits_of(model, Split(x, x[:, :0])))
            for name, row in zip(names, p, strict=True):
                yield {"input": name, **ranked(row, spec.class_names, options.top or 1)}

    def readings(self, model: keras.Model, x: Sequence[np.ndarray], spec: DataSpec, texts: Texts) -> Iterator[Reading]:
        for one in x:
            count = base.length_of(one) if spec.kind == "tokens" else None
            logits = as_floats(model(one, training=False))
            p = probabilities(logits[0])
            chosen = np.atleast_1d(p.argmax(-1))[: count if spec.per_step else None]
            label = " ".join(spec.class_names[i] for i in chosen)
            sure = float(p.max(-1)[:count].min() if spec.per_step else p.max())
            yield Reading(
                one,
                label,
                sure,
                f"predicted {short(label)} ({percent(sure)})",
                logits=logits,
                counted=one != 0 if spec.per_step and count else None,
                tokens=base.tokens_of(one, texts.vocabulary) if count else [],
                spans={"attention": (count, count)},
            )

    def truth(self, data: Dataset, split: str, index: int) -> str:
        return " ".join(data.spec.class_names[i] for i in np.atleast_1d(data.split(split).y[index]))

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape = input_shape or base.IMAGE
        kind = {1: "vector", 2: "sequence"}.get(len(shape), "image")
        return DataSpec("example", kind, shape, tuple(map(str, range(size or base.CLASSES))))


def _voted(names: Sequence[str], p: np.ndarray, spec: DataSpec) -> list[dict[str, Any]]:
    """Return the answer of several windows of a file or a group in it, by vote, with the share of those that agree."""
    files, places = np.unique(recordings_of(names), return_inverse=True)
    chosen, rows = p.argmax(-1), []
    for number, winner in zip(*votes.votes(p, places), strict=True):
        count = int((places == number).sum())
        if count > 1:
            share = float((chosen[places == number] == winner).mean())
            said = f"{files[number]}, vote of {count:,} windows"
            rows.append({"input": said, "label": spec.class_names[winner], "probability": share})
    return rows


def _lengths(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    """Return the length of each long text for models of the zoo, which mask padding; None where batches have one."""
    known = registry.arguments(config.model)
    fixed = config.settings.get("unroll") or data.spec.per_step or not on_tensorflow()
    if data.spec.kind != "tokens" or data.spec.input_shape[0] < LONG or "vocabulary_size" not in known or fixed:
        return None
    return buckets.lengths(data.train.x)


def _weights(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    return class_weights(data.train.y, data.spec.num_classes) if config.class_weights == "balanced" else None


def class_weights(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Return weights of classes, (classes,) float32: inverse frequencies, 1 on average over the examples."""
    counts = np.bincount(y.reshape(-1), minlength=num_classes)
    return (y.size / (num_classes * np.maximum(counts, 1))).astype(np.float32)


TASK = Classification()
