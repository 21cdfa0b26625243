"""One trial of a search: a recipe is estimated without training, then carried out; both are measured on their files."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from filelock import FileLock

from compression.exporting import tflite
from compression.passes import channels
from compression.pipeline import pipeline
from compression.receipts.receipt import file_sizes
from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import Calibration, ExportOptions, Training
from compression.searching.budget import Budget
from compression.searching.space import NO_TEACHER, Space
from compression.searching.untrained import carried_out
from compression.surgery.copying import copies, in_float32
from compression.tasks.classification import interface_of, stratified
from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.data.images import scaled

EXAMPLES = 2000  # that estimates look at
MEASURED = ("bytes", "gzip_bytes", "latency_ms", "accuracy", "sha256")
PARTS = (1 / 2, 1 / 4)  # of a budget, that files are made for as well
# Bits that a weight takes in a file.
BITS = {"int4": 4, "int8": 8, "dynamic": 8, "int16x8": 8, "float16": 16, "float32": 32}


@dataclass(frozen=True)
class Subject:
    """What is compressed, in every trial of a search.

    Args:
        model: built; gives logits. It stays as it is.
        data: the training split trains and calibrates, the validation split chooses.
        training: how the model was trained.
        teachers: functions that return the model of a name that `distill` has in the recipes.
        folder: gets the files and the stages that they were trained in.
        threads: that latencies are measured with.
        seed: of the choice of calibration examples.
        kernel: of recurrent layers.
        provenance: written into every receipt.
        command: returns the command that makes the file of a recipe again, where there is one.
    """

    model: keras.Model
    data: Dataset
    training: TrainConfig
    teachers: Mapping[str, Callable[[], keras.Model]]
    folder: Path
    threads: int = 1
    seed: int = 0
    kernel: Kernel = "auto"
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: Callable[[str], str] | None = None

    @cached_property
    def removable(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What `channels.removable` says of the model."""
        return channels.removable(in_float32(self.model), self.few[0][:2])

    @cached_property
    def few(self) -> tuple[np.ndarray, np.ndarray]:
        """Training examples as the model takes them, and their labels."""
        split = stratified(self.data.train, EXAMPLES, self.seed)
        return scaled(split.x), split.y

    @property
    def widths(self) -> dict[str, int]:
        """How many channels, units, cells or heads each layer has that can be narrower, by path."""
        return {path: len(groups) for path, groups in self.removable[0].items()}

    def without_training(self, recipe: Recipe) -> keras.Model:
        """Return a copy of the model with the stages of a recipe carried out at once."""
        model = copies(in_float32(self.model))()
        return carried_out(model, recipe.stages, *self.few, found=self.removable) if recipe.stages else model


def estimate(subject: Subject, recipe: Recipe) -> dict[str, Any]:
    """Return what the file of a recipe measures where nothing was trained."""
    with tempfile.TemporaryDirectory() as folder:
        model = subject.without_training(recipe)
        return _compressed(subject, model, recipe.file, Path(folder))[0]


def finished(subject: Subject, recipe: Recipe) -> dict[str, Any]:
    """Carry out a recipe, and return what its file measures on the validation examples, its path and the seconds.

    Raises:
        zoo.console.errors.Interrupted: a signal came; called again, it goes on there.
    """
    began = time.perf_counter()
    # Another process may have come to the same training; it is done once.
    with FileLock(subject.folder / f".{recipe.training_name}.lock"):
        row, path = _compressed(subject, subject.model, recipe, subject.folder)
    return row | {"path": path.name, "seconds": round(time.perf_counter() - began, 1)}


def tested(subject: Subject, recipe: Recipe) -> dict[str, Any]:
    """Return the receipt of a recipe that was carried out, its file measured on the test examples."""
    return _pipeline(subject, subject.model, subject.data, recipe, subject.folder).receipt


def _compressed(subject: Subject, model: keras.Model, recipe: Recipe, folder: Path) -> tuple[dict[str, Any], Path]:
    """Make a file, measure it on the validation examples, and return its numbers and its path."""
    data = dataclasses.replace(subject.data, test=subject.data.validation)
    made = _pipeline(subject, model, data, recipe, folder)
    return measured(made.receipt, subject.threads), made.path


def _pipeline(subject: Subject, model: keras.Model, data: Dataset, recipe: Recipe, folder: Path) -> pipeline.Compressed:
    taught = [subject.teachers[name] for name in recipe.distill.teacher] if recipe.distill else []
    return pipeline.compress(
        model,
        data,
        recipe,
        folder,
        export=ExportOptions(kernel=subject.kernel, bare=True),
        calibration=Calibration(seed=subject.seed),
        training=Training(
            subject.training, (lambda: [teacher() for teacher in taught]) if taught else None, every_stage=False
        ),
        provenance=subject.provenance,
    )


def measured(receipt: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Return the numbers of a receipt that a search looks at."""
    latency = next(row["median_ms"] for row in receipt["latency"] if row["threads"] == threads)
    found = {"accuracy": receipt["test"]["litert"]["accuracy"], "latency_ms": latency, **receipt}
    return {name: found[name] for name in MEASURED}


def smallest(subject: Subject, space: Space, precision: str | None = None) -> dict[str, Any]:
    """Return the smallest file that a space has, or that it has in a precision: bytes, gzip_bytes, recipe.

    Its weights are zero, which no trained ones zip better than.
    """
    wanted = precision or min(space.choices["precision"], key=BITS.__getitem__)
    per_tensor = True in space.choices["per_tensor"]
    recipe = space.recipe(space.scaled(0, precision=wanted, per_tensor=per_tensor, qat=False))
    model = subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1]))
    model.set_weights([np.zeros(v.shape, np.float32) for v in model.weights])
    return {**_sizes(subject, model, recipe), "recipe": str(recipe)}


def _sizes(subject: Subject, model: keras.Model, recipe: Recipe) -> dict[str, int]:
    """Return bytes and gzip_bytes of the file of a model in the precision of a recipe, which is not run."""
    interface = interface_of(subject.data.spec)
    kernel = tflite.check(model, recipe.file, interface, subject.kernel)
    calibration = subject.few[0][:2] if recipe.calibrated else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sized.tflite"
        options = {"calibration": calibration, "kernel": kernel, "bare": True}
        tflite.export(model, path, recipe.file, interface, **options)
        found = file_sizes(path, model)
    return {name: found[name] for name in ("bytes", "gzip_bytes")}


def beginnings(subject: Subject, space: Space, budget: Budget) -> list[dict[str, Any]]:
    """Return choices to try first: all layers narrowed alike to what the budget allows, taught, and from scratch.

    Among them is the honest baseline, a small network trained from scratch with labels alone and rounded after. In the
    precision of the fewest bits there are also files of a half and a quarter of the budget, so that the front is known
    early.
    """
    wanted = [p for p in ("int8", "int4") if p in space.choices["precision"]] or [space.choices["precision"][0]]
    limit, gzipped = budget.max_bytes or budget.max_gzip_bytes, not budget.max_bytes
    common = {"rate": 1.0, "init": "own", "per_tensor": True, "epochs": max(space.choices["epochs"])}
    taught = common | {"distill": space.choices["distill"][0], "qat": True}
    plain = {"init": "scratch", "distill": NO_TEACHER, "qat": False}

    def narrowed(precision: str, part: float) -> dict[str, Any]:
        share = _share(subject, space, precision, limit * part, gzipped) if limit else part / 2
        return space.scaled(share, precision=precision, **taught)

    found = [narrowed(precision, 1.0) for precision in wanted]
    baseline = {name: v if v in space.choices[name] else found[0][name] for name, v in plain.items()}
    found += [found[0] | baseline, *(narrowed(wanted[-1], part) for part in PARTS)]
    return [chosen for i, chosen in enumerate(found) if chosen not in found[:i]]


def _share(subject: Subject, space: Space, precision: str, limit: float, gzipped: bool, tries: int = 8) -> float:
    """Return the share of all widths whose file fits into a limit of bytes, about the largest."""
    least = smallest(subject, space, precision)
    if limit < least["gzip_bytes" if gzipped else "bytes"]:
        return 0.0
    share = _share_of_parameters(subject, space, precision, (limit - least["bytes"]) * 8 / BITS[precision])
    for number in range(1, tries + 1):
        recipe = space.recipe(space.scaled(share, precision=precision, per_tensor=True))
        sizes = _sizes(subject, subject.without_training(recipe), recipe)
        if sizes["gzip_bytes" if gzipped else "bytes"] <= limit:
            break
        share *= 1 - 0.04 * number  # biases and tables of scales take bytes as well
    return share


def _share_of_parameters(subject: Subject, space: Space, precision: str, more: float, steps: int = 7) -> float:
    """Return the share of all widths that has about so many parameters more than the narrowest, by bisection."""

    def parameters(share: float) -> int:
        recipe = space.recipe(space.scaled(share, precision=precision))
        return subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1])).count_params()

    low, high, most = 0.0, 1.0, parameters(0.0) + more
    for _ in range(steps):
        share = (low + high) / 2
        low, high = (share, high) if parameters(share) <= most else (low, share)
    return low
