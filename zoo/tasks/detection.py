"""Detection: boxes around the objects of a picture, each with a class."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split, images
from zoo.data.annotations.placing import Placing
from zoo.data.augmentation import augmenter
from zoo.data.augmentation import boxes as moving
from zoo.data.batches import pipeline as batches
from zoo.data.batches import streamed
from zoo.objectives.detection_loss import DetectionLoss
from zoo.objectives.priors import Priors
from zoo.reports import boxes as drawing
from zoo.reports.page import Page
from zoo.runs import workers
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import detections
from zoo.scores.detections import Found
from zoo.tasks.base import Task
from zoo.tasks.pages import detection as detection_page

NO_INTERVALS = "average precision depends on the order of all detections of a split, which a bootstrap would sort anew"
# Rows of objects in a batch that no data say.
OBJECTS = 4
# Size of inputs and number of classes where no data say them.
PICTURE, CLASSES = (64, 64, 3), 3
SHOWN_SCORE = 0.3


class Detection(Task):
    """Boxes around the objects of a picture, each with a class."""

    name = "detection"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {**config.settings, "num_classes": spec.num_classes}

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        priors = registry.model_class(config.model).priors(spec.input_shape, **config.settings)
        return {"loss": DetectionLoss(priors, config.focal_gamma)}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        augment = augmenter.of(config, data.spec.num_classes, moving.moved, fill="black")
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop, "augment": augment}
        return batches.training_batches(data.train, part=config.part, **options)

    def reads_parts(self, config: TrainConfig) -> bool:
        return True

    def callbacks(self, config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
        if not len(data.validation):
            return []
        return [_Validation(data, self.compiled_with(config, data.spec)["loss"])]

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_map"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        found = detections.detected(*raw_outputs(model, examples), priors_of(model, data.spec), size_of(data.spec))
        scores, judged = detections.evaluated(found, examples.y, data.spec.class_names)
        return {**scores, "examples": len(examples)}, {
            "found": found,
            "judged": judged,
            "per_class": detections.per_class(judged, data.spec.class_names),
            "no_intervals": NO_INTERVALS,
        }

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return detection_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        figures = f"mAP@.5 {written(test, 'map_50', within)}, mAP {written(test, 'map', within)}"
        return f"{figures}, {test['examples']:,} examples"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        spec, _ = read_spec(run)
        parts = [read_inputs([text], spec, None, "") for text in options.inputs]
        names, x = [name for found, _ in parts for name in found], np.concatenate([x for _, x in parts])
        sizes = [_shown(text, spec) for text, (found, _) in zip(options.inputs, parts, strict=True) for _ in found]
        model = run.load_model()
        least = SHOWN_SCORE if options.min_score is None else options.min_score
        found = detections.detected(
            *raw_outputs(model, Split(x, x[:, :0])), priors_of(model, spec), size_of(spec), least=least
        )
        rows = []
        for name, shown, each in zip(names, sizes, found, strict=True):
            boxes = Placing.of(shown, size_of(spec), spec.fit).to_picture(each.boxes, shown)
            rows.append({"input": name, "objects": objects(each, boxes, spec.class_names)})
        if options.draw is not None:
            drawing.draw_files(options.inputs, rows, options.draw, spec.class_names)
        return rows

    def truth(self, data: Dataset, split: str, index: int) -> str:
        y = data.split(split).y[index]
        names = [data.spec.class_names[int(kind)] for kind in y[y[:, 4] >= 0, 4]]
        return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        names = tuple(map(str, range(size or CLASSES)))
        return DataSpec("example", "image", input_shape or PICTURE, names, task=self.name)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, keras.KerasTensor((batch_size, OBJECTS, 5), "float32")


class _Validation(keras.callbacks.Callback):
    """Add the loss and the average precision on the validation split to the logs of each epoch, from one prediction."""

    def __init__(self, data: Dataset, loss: DetectionLoss):
        super().__init__()
        self.data, self.loss = data, loss

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        spec, examples = self.data.spec, self.data.validation
        outputs = raw_outputs(self.model, examples)
        found = detections.detected(*outputs, self.loss.priors, size_of(spec))
        scores, _ = detections.evaluated(found, examples.y, spec.class_names)
        loss = keras.ops.convert_to_numpy(self.loss(np.asarray(examples.y), np.concatenate(outputs, axis=-1)))
        values = np.array([float(loss), scores["map"], scores["map_50"]], np.float64)
        names = ("val_loss", "val_map", "val_map_50")
        logs |= dict(zip(names, workers.of_chief(self.model, values).tolist(), strict=True))


def _shown(text: str, spec: DataSpec) -> tuple[int, int]:
    """Return the (height, width) of a picture file; of arrays, that of the model's input."""
    return size_of(spec) if text.lower().endswith(".npz") else images.size_of(Path(text))


def raw_outputs(model: keras.Model, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return raw boxes (pictures, places, 4) and logits (pictures, places, classes) of the pictures of a split."""
    with streamed.told():
        outputs = model.predict(batches.evaluation_batches(split, batch_size=BATCH), verbose=0)
    return tuple(np.asarray(outputs[name], np.float32)[: len(split)] for name in ("boxes", "scores"))


def priors_of(model: keras.Model, spec: DataSpec) -> Priors:
    """Return what the raw boxes of a detector are relative to."""
    return type(model).priors(spec.input_shape, **model.get_config())


def size_of(spec: DataSpec) -> tuple[int, int]:
    """Return the (height, width) of the inputs."""
    return spec.input_shape[:2]


def objects(found: Found, boxes: np.ndarray, class_names: Any) -> list[dict[str, Any]]:
    """Return detections for `zoo.predict`: label, score and box in pixels of the picture, best first.

    Args:
        found: Detections.
        boxes: Their boxes in pixels of the picture, (detections, 4).
        class_names: Names of the classes.
    """
    return [
        {"label": class_names[kind], "probability": float(score), "box": [round(float(side), 1) for side in box]}
        for kind, score, box in zip(found.classes, found.scores, boxes, strict=True)
    ]


TASK = Detection()
