"""Segmentation: a class for each pixel of a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.masks import IGNORED
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split, images
from zoo.data.augmentation import augmenter
from zoo.data.augmentation.geometry import Affine
from zoo.data.batches import pipeline as batches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.data.fitting import placed_back
from zoo.objectives.segmentation import PixelAccuracy, PixelLoss, PixelMeanIoU
from zoo.reports import masks as drawing
from zoo.reports import mosaic
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import logits_of, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import masks as scoring
from zoo.scores.masks import Counts
from zoo.tasks import base
from zoo.tasks.pages import segmentation as mask_page
from zoo.tasks.parts.plain import PlainTask

# Pixels of an evaluation batch, and largest size in bytes of the logits that are in memory at a time.
BATCH_PIXELS, LOGITS_BYTES = 1 << 19, 1 << 26
# Pictures that the report shows, those with the lowest IoU.
WORST = 8
# Size of pictures where no data say it, which can be halved four times.
PICTURE = (32, 32, 3)


class Segmentation(PlainTask):
    """A class for each pixel of a picture; pixels of class 255 are neither trained on nor scored."""

    name = "segmentation"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {**config.settings, "num_classes": spec.num_classes}

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        # On JAX, examples that fill up batches have weight 0.
        metrics = "metrics" if on_tensorflow() else "weighted_metrics"
        return {
            "loss": PixelLoss(IGNORED, config.dice or 0.0, config.label_smoothing),
            metrics: [PixelMeanIoU(spec.num_classes, IGNORED), PixelAccuracy(IGNORED)],
        }

    def augmented(self, config: TrainConfig, data: Dataset) -> Any:
        return augmenter.of(config, data.spec.num_classes, follow=_follow)

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return batches.evaluation_batches(data.validation, batch_size=batch_of(data.spec), stride=stride)

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        return batches.evaluation_parts(data.validation, replicas, count, batch_size=batch_of(data.spec))

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_miou"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        counts = scoring.joined(counted(model, data.spec, part) for part in parts_of(examples, data.spec))
        chosen = scoring.worst(counts, WORST)
        few = examples.take(np.array([place for place, _ in chosen]))
        return scoring.scores(counts), {
            "confusion": counts.confusion,
            "per_class": scoring.per_class(counts, data.spec.class_names),
            "intervals": scoring.intervals_of(counts),
            "worst": chosen,
            "masks": logits_of(model, few, batch_of(data.spec)).argmax(-1).astype(np.uint8),
        }

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        mask_page.write_confusion(run.confusion_file, shown["confusion"], data.spec.class_names)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return mask_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return (
            f"mIoU {written(test, 'miou', within)}, pixel accuracy {written(test, 'pixel_accuracy', within)},"
            f" border F1 {written(test, 'boundary_f1', within)}, {test['examples']:,} examples"
        )

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        spec, _ = read_spec(run)
        model, rows = run.load_model(), []
        for text in options.inputs:  # one at a time: masks are as large as their pictures
            names, x = read_inputs([text], spec, None, "")
            for name, one in zip(names, x, strict=True):
                found = logits_of(model, Split(one[None], np.zeros((1, 0))), 1)[0].argmax(-1).astype(np.uint8)
                picture = one if text.lower().endswith(".npz") else images.decode(Path(text), None, None)
                mask = placed_back(found, picture.shape[:2], spec.fit, IGNORED)
                rows.append({"input": name, **shares_of(mask, spec)})
                if options.draw is not None:
                    number = len(rows)
                    target = options.draw.with_stem(f"{options.draw.stem}-{number}") if number > 1 else options.draw
                    mosaic.save(drawing.over(images.as_bytes(picture), mask, spec.class_names), target)
        return rows

    def truth(self, data: Dataset, split: str, index: int) -> str:
        found = shares_of(np.asarray(data.split(split).y[index]), data.spec)["shares"]
        return ", ".join(f"{name} {base.percent(share)}" for name, share in found.items() if share)

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        names = tuple(map(str, range(size or base.CLASSES)))
        return DataSpec("example", "image", input_shape or PICTURE, names, task=self.name)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, keras.KerasTensor((batch_size, *spec.input_shape[:2]), "uint8")


def _follow(affine: Affine, masks: Any, size: tuple[int, int]) -> Any:
    return affine.to_masks(masks, IGNORED)


def batch_of(spec: DataSpec) -> int:
    """Return the number of pictures of an evaluation batch."""
    return max(1, BATCH_PIXELS // (spec.input_shape[0] * spec.input_shape[1]))


def parts_of(examples: Split, spec: DataSpec) -> Iterator[Split]:
    """Yield a split in parts whose logits are not too large."""
    each = 4 * spec.input_shape[0] * spec.input_shape[1] * spec.num_classes
    rows = max(1, LOGITS_BYTES // each)
    for start in range(0, len(examples), rows):
        yield examples.take(np.arange(start, min(start + rows, len(examples))))


def counted(model: keras.Model, spec: DataSpec, examples: Split) -> Counts:
    """Return the counts of a model's answers to a few pictures."""
    from scipy.special import log_softmax

    return counted_outputs(log_softmax(logits_of(model, examples, batch_of(spec)), axis=-1), examples, spec)


def counted_outputs(outputs: np.ndarray, examples: Split, spec: DataSpec) -> Counts:
    """Return the counts of outputs.

    Args:
        outputs: Logarithms of probabilities (pictures, height, width, classes), or classes (pictures, height, width).
        examples: Pictures with their masks.
        spec: Form of the data.
    """
    masks = np.asarray(examples.y)
    classes = outputs.ndim == 3
    losses = np.full(len(masks), np.nan) if classes else scoring.losses_of(outputs, masks, IGNORED)
    answers = outputs.astype(np.int64) if classes else outputs.argmax(-1)
    return scoring.counted(answers, masks, spec.num_classes, IGNORED, losses)


def shares_of(mask: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    """Return the largest class of a mask, its share, and the share of every class, of the pixels that have one."""
    counts = np.bincount(mask[mask != IGNORED].astype(np.int64), minlength=spec.num_classes)
    shares = counts / max(1, counts.sum())
    largest = int(shares.argmax())
    return {
        "label": spec.class_names[largest],
        "probability": float(shares[largest]),
        "shares": {name: float(share) for name, share in zip(spec.class_names, shares, strict=True)},
    }


TASK = Segmentation()
