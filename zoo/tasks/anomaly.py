"""Anomaly detection: learn what normal examples look like, and how far others are from it.

A model reconstructs its input and is trained on normal examples alone. The score of an example is the mean squared
error of its reconstruction, and an example is anomalous if its score exceeds a threshold, which a share of the normal
validation examples exceed (`--false-alarm-rate`). A model of sound gives the error of each time itself, since the front
end in it makes what is reconstructed; the score of a clip is their mean, as in MLPerf Tiny.
"""

import itertools
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import pipeline as batches
from zoo.data.batches.reconstructed import reconstructed, reconstructed_in_step
from zoo.data.images import scaled
from zoo.models.parts.autoencoders.reconstruction import ReconstructingModel
from zoo.models.parts.standardization import StandardizingModel
from zoo.objectives.losses import Mean, Reconstruction
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, logits_of, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import roc
from zoo.tasks import base
from zoo.tasks.base import Task, standardized_by
from zoo.tasks.pages import anomalies as anomaly_page
from zoo.tasks.parts import listening
from zoo.tasks.parts.arguments import from_data

NORMAL, ANOMALOUS = "normal", "anomalous"
# Bytes of the reconstructions that are held at a time.
AT_ONCE = 1 << 27
# Examples of each kind whose reconstructions the report shows.
SHOWN = 6


class Anomaly(Task):
    """A score for each example, and whether it is anomalous."""

    name = "anomaly"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        if config.pretrained and spec.kind == "sound":
            raise UsageError(
                f"--pretrained {config.pretrained}: expected frames in an .npz file, as weights from elsewhere were"
                " trained with another front end; received samples of sound"
            )
        # Weights from elsewhere expect inputs as they are.
        own = {} if config.pretrained else standardized_by(config, spec)
        return own | config.settings | from_data(registry.arguments(config.model), spec)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        if spec.kind == "sound":  # the output is the error at each time
            return {"loss": Mean("reconstruction")}
        given = self.arguments(config, spec)
        known = registry.arguments(config.model)
        mean, std = (given.get(name, known[name].default if name in known else None) for name in ("mean", "std"))
        return {"loss": Reconstruction(mean or (0.0,), std or (1.0,))}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        return reconstructed(batches.training_batches(data.train, part=config.part, **options))

    def reads_parts(self, config: TrainConfig) -> bool:
        return True

    def gathered(self, config: TrainConfig, data: Dataset, batch_size: int) -> batches.Gathered | None:
        return reconstructed_in_step(batches.gathered(data.train, batch_size=batch_size, seed=config.seed))

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return reconstructed(batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride))

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        return reconstructed(batches.evaluation_parts(data.validation, replicas, count, batch_size=BATCH))

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row.get("val_loss", row["loss"]),)

    def measured_again_with(self, config: TrainConfig, run: RunFolder) -> dict[str, Any]:
        return {"limit": threshold_of(run)}

    def measure(
        self, model: keras.Model, data: Dataset, split: str = "test", limit: float | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, and the results that the report shows; see `Task.measure`.

        Args:
            model: Trained model.
            data: Data that the split belongs to.
            split: train, validation or test.
            limit: Threshold; default, the one that the share of false alarms of the data gives on the normal examples
                of the validation split, or of the training split if there are none.
        """
        examples = data.split(split)
        if limit is None:
            judged = data.validation if len(data.validation) else data.train
            limit = roc.threshold(errors(model, judged), data.spec.false_alarm_rate)
        found, anomalous = errors(model, examples), anomalies(data.spec, examples)
        scores = self.scores(found, anomalous, limit)
        return {**scores, "examples": len(examples)}, {
            "errors": found,
            "anomalous": anomalous,
            "worst": worst(model, examples, found, anomalous),
            "detected_by_class": per_class(data.spec, examples, found, limit),
            "intervals": roc.intervals(found, anomalous, scores),
        }

    def scores(self, found: np.ndarray, anomalous: np.ndarray, limit: float) -> dict[str, float]:
        """Return the scores of errors of reconstruction.

        Args:
            found: Error of each example, (examples,).
            anomalous: Whether each is an anomaly, (examples,).
            limit: Threshold.
        """
        normal = found[~anomalous]
        loss = {"loss": float(normal.mean())} if len(normal) else {}
        return roc.figures(found, anomalous, limit) | {"threshold": limit} | loss

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return anomaly_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return f"{told(test, within)}, {test['examples']:,} examples"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        spec, _ = read_spec(run)
        model, limit, stored = run.load_model(), threshold_of(run), run.read_config()["config"]
        rows = []
        # Neighbouring inputs of one kind are computed in one batch.
        for long, texts in itertools.groupby(options.inputs, lambda text: _is_long(text, spec)):
            if long:
                rows += [row for text in texts for row in listened(model, Path(text), spec, options.hop)]
                continue
            texts = list(texts)
            if spec.kind == "sound":
                for text in texts:
                    listening.tell_unused(text, options, is_recording=False)
            names, x = read_inputs(texts, spec, None, "", stored)
            found = errors(model, Split(x, np.zeros(len(x), np.int32)))
            rows += [{"input": name, "score": float(error)} for name, error in zip(names, found, strict=True)]
        return [
            {
                "input": row.pop("input"),
                "label": ANOMALOUS if row["score"] > limit else NORMAL,
                "score": row.pop("score"),
                "threshold": limit,
                **row,
            }
            for row in rows
        ]

    def truth(self, data: Dataset, split: str, index: int) -> str:
        return data.spec.class_names[data.split(split).y[index]]

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape = input_shape or base.IMAGE
        kind = {1: "vector", 2: "sequence"}.get(len(shape), "image")
        return DataSpec("example", kind, shape, (NORMAL, ANOMALOUS), task=self.name, normal=(NORMAL,))

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, x


def threshold_of(run: RunFolder) -> float:
    """Return the threshold of a finished run.

    Raises:
        UsageError: metrics.json does not have it.
    """
    try:
        return float(run.read_metrics()["test"]["threshold"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{run.path}: expected a run for {Anomaly.name} whose metrics.json has a threshold; one on data without"
            " labels has none"
        ) from None


def anomalies(spec: DataSpec, split: Split) -> np.ndarray:
    """Return whether each example is an anomaly, (examples,)."""
    return ~np.isin(split.y, [spec.class_names.index(name) for name in spec.normal])


def error(target: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Return the mean squared difference of each example, (examples,) float64.

    Args:
        target: What was to be reconstructed, (examples, ...).
        output: Reconstructions in the same shape.
    """
    return np.square(target.astype(np.float64) - output).reshape(len(target), -1).mean(1)


def targets(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return what a model should give for examples: its standardised inputs."""
    x = scaled(x)
    if not isinstance(model, StandardizingModel):
        return x
    return np.asarray(keras.ops.convert_to_numpy(model.standardized(x)), np.float32)


def shown(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return what the report shows of examples: their targets, and frames (examples, frames, columns) of sound."""
    if not gives_errors(model):
        return targets(model, x)
    return np.asarray(keras.ops.convert_to_numpy(model.front(scaled(x))), np.float32)[..., 0]


def gives_errors(model: keras.Model) -> bool:
    """Return whether the outputs of a model are the errors at each time, and not reconstructions."""
    return isinstance(model, ReconstructingModel) and model.gives_errors


def errors(model: keras.Model, split: Split) -> np.ndarray:
    """Return the error of each example's reconstruction, (examples,) float64.

    Args:
        model: Trained model.
        split: Examples; those that are decoded for each batch are not held all at once.
    """
    if gives_errors(model):
        return over_time(logits_of(model, split)) if len(split) else np.zeros(0)
    each = max(1, 4 * int(np.prod(split.x.shape[1:], dtype=np.int64)))
    rows = max(BATCH, AT_ONCE // each // BATCH * BATCH)
    found = []
    for start in range(0, len(split), rows):
        part = split.take(np.arange(start, min(start + rows, len(split))))
        found.append(error(targets(model, part.x), logits_of(model, part)))
    return np.concatenate(found) if found else np.zeros(0)


def _is_long(text: str, spec: DataSpec) -> bool:
    """Return whether an input is a recording that is judged window by window."""
    path = Path(text)
    return spec.kind == "sound" and path.suffix.lower() != ".npz" and listening.is_long(path, spec)


def over_time(found: np.ndarray) -> np.ndarray:
    """Return the score of each example, (examples,) float64, for its errors at each time, (examples, time)."""
    return found.astype(np.float64).mean(1)


def listened(model: keras.Model, path: Path, spec: DataSpec, hop: float | None) -> list[dict[str, Any]]:
    """Return the score of each window of a recording with its times, and tell their number.

    Args:
        model: Trained model.
        path: File of sound.
        spec: Form of the run's data.
        hop: Distance of the windows in seconds; None for the length of a clip.

    Raises:
        UsageError: The file cannot be read.
    """
    clip = spec.input_shape[0] / spec.rate
    windows, seconds = listening.windows(path, spec)
    starts = np.arange(0, len(windows), max(1, round((hop or clip) * spec.rate)))
    if starts[-1] < len(windows) - 1:  # the last window ends with the recording
        starts = np.append(starts, len(windows) - 1)
    found = np.concatenate([errors(model, part) for part in listening.taken(windows, starts)])
    print(f"INPUT {path}: {seconds:,.4g} s, in {len(found):,} windows of {clip:.4g} s", file=sys.stderr)
    return [
        {
            "input": f"{path} {start:.2f} to {start + clip:.2f} s",
            "score": float(error),
            "start": start,
            "end": start + clip,
        }
        for start, error in zip((starts / spec.rate).tolist(), found, strict=True)
    ]


def per_class(spec: DataSpec, split: Split, found: np.ndarray, limit: float) -> list[dict[str, Any]]:
    """Return the number of examples of each class, their median score, and the share that is called anomalous."""
    rows = []
    for index, name in enumerate(spec.class_names):
        own = found[split.y == index]
        rows.append(
            {
                "class": name,
                "normal": name in spec.normal,
                "examples": len(own),
                "median_score": float(np.median(own)) if len(own) else None,
                "above": float((own > limit).mean()) if len(own) else None,
            }
        )
    return rows


def worst(model: keras.Model, split: Split, found: np.ndarray, anomalous: np.ndarray) -> list[dict[str, Any]]:
    """Return normal examples with the largest errors and anomalies with the smallest, with their reconstructions.

    For sound these are frames (frames, columns), with the errors at each time.

    Args:
        model: Trained model.
        split: Examples.
        found: Error of each example.
        anomalous: Whether each is an anomaly.
    """
    rows = []
    for kind, order in ((False, np.argsort(-found, kind="stable")), (True, np.argsort(found, kind="stable"))):
        chosen = [int(index) for index in order if anomalous[index] == kind][:SHOWN]
        if not chosen:
            continue
        part = split.take(np.array(chosen))
        each = zip(chosen, shown(model, part.x), logits_of(model, part), strict=True)
        rows += [
            {"index": index, "anomalous": kind, "score": float(found[index]), "target": target, "output": output}
            for index, target, output in each
        ]
    return rows


def told(scores: dict[str, Any], within: Intervals) -> str:
    """Return the most important scores in one line."""
    parts = [f"AUC {written(scores, 'auc', within)}"] if "auc" in scores else []
    parts += [f"partial AUC {written(scores, 'partial_auc', within)}"] if "partial_auc" in scores else []
    parts += [f"{written(scores, 'detected', within)} of anomalies detected"] if "detected" in scores else []
    parts += [f"{written(scores, 'false_alarms', within)} false alarms"] if "false_alarms" in scores else []
    return ", ".join(parts)


TASK = Anomaly()
