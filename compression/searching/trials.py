"""One trial of a search: estimate a recipe without training, then train it; both are measured on exported files."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from filelock import FileLock

from compression import tasks
from compression.devices import profile
from compression.devices.targets import NPUS
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.lifetimes import live
from compression.passes import channels
from compression.passes.narrowing import Narrowing
from compression.pipeline import pipeline
from compression.receipts.receipt import file_sizes
from compression.recipes import language
from compression.recipes.language import Kernel, Recipe, parse
from compression.recipes.options import Calibration, ExportOptions, StageTraining
from compression.searching.budget import LIMITS, ON_A_DEVICE, Budget
from compression.searching.space import MEMORY, NO_TEACHER, WIDTH, Space
from compression.searching.untrained import apply_untrained
from compression.surgery.copying import copies
from compression.tasks.base import Export, OutputForm
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError
from zoo.data import Dataset
from zoo.data.dataset import mapped
from zoo.data.images import scaled
from zoo.system import temporary

EXAMPLES = 2000  # number of training examples for estimates
MEASURED = ("bytes", "gzip_bytes", "latency_ms", "accuracy", "sha256")
STEPS_ON_DEVICE = 5  # of the bisection for the first trials
PARTS = (1 / 2, 1 / 4)  # shares of the budget for further initial trials
# Bits per weight in a file.
BITS = {"int4": 4, "int8": 8, "dynamic": 8, "int16x8": 8, "float16": 16, "float32": 32}


@dataclass(frozen=True)
class SearchSubject:
    """Model, data and settings of all trials of a search.

    Args:
        model: Built Keras model, which is not changed. A classifier of the zoo gives logits.
        data: Dataset, whose training split trains and calibrates and whose validation split selects.
        training: Configuration with which the model was trained.
        teachers: Functions that return teacher models, by their name in `distill` of a recipe.
        folder: Folder for the files and their training stages.
        threads: Number of threads for latency measurements.
        target: Device that files are measured for; None for none.
        seed: Random seed for the selection of calibration examples.
        kernel: Export form of recurrent layers.
        provenance: Entries written into every receipt.
        command: Function from a recipe to the command that reproduces its file, or None.
    """

    model: keras.Model
    data: Dataset
    training: TrainConfig
    teachers: Mapping[str, Callable[[], keras.Model]]
    folder: Path
    threads: int = 1
    target: str | None = None
    seed: int = 0
    kernel: Kernel = "auto"
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: Callable[[str], str] | None = None

    @cached_property
    def exported(self) -> keras.Model:
        """Model that files are made from, in float32."""
        return tasks.of(self.data.spec.task).exported(self.model, self.data)

    @cached_property
    def form(self) -> OutputForm:
        """Form of the files."""
        export = Export(self.model, self.exported, self.data, ExportOptions(kernel=self.kernel, bare=True))
        return tasks.of(self.data.spec.task).build(export)

    @cached_property
    def removable(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Result of `channels.removable` for the model."""
        return channels.removable(self.exported, mapped(lambda array: array[:2], self.few[0]))

    @cached_property
    def few(self) -> tuple[Any, np.ndarray]:
        """Model inputs of some training examples, and their classes."""
        split = self.form.chosen(self.data.train, EXAMPLES, self.seed)
        pixel_range = self.data.spec.pixel_range
        return mapped(lambda array: scaled(array, pixel_range), split.x), self.form.class_indices(split)

    @property
    def widths(self) -> dict[str, int]:
        """Number of channels, units, cells or heads of each prunable layer, by path."""
        return {path: len(groups) for path, groups in self.removable[0].items()}

    def without_training(self, recipe: Recipe) -> keras.Model:
        """Return a copy of the model with the stages of a recipe applied without training."""
        model = copies(self.exported, self.few[0])()
        return apply_untrained(model, recipe.stages, *self.few, found=self.removable) if recipe.stages else model


def estimate(subject: SearchSubject, recipe: Recipe) -> dict[str, Any]:
    """Return the measurements of a recipe's file without training."""
    with temporary.folder() as folder:
        model = subject.without_training(recipe)
        return _compressed(subject, model, recipe.file, folder)[0]


def baselines(subject: SearchSubject) -> list[dict[str, Any]]:
    """Return the measurements of the files that are made without any choice, which a search should surpass.

    Those are the model in float32, and in plain int8 (or dynamic, where the model has no file in int8), each with its
    name and recipe. On a device that cannot run a file, it is left out.
    """
    found = []
    for names in (("float32",), ("int8", "dynamic")):
        for name in names:
            with contextlib.suppress(UsageError, Failed):
                found.append({"name": name, "recipe": name, **estimate(subject, parse(name))})
                break
    return found


def train_and_measure(subject: SearchSubject, recipe: Recipe) -> dict[str, Any]:
    """Train a recipe, and return the measurements of its file on validation examples, its path and the seconds taken.

    Raises:
        zoo.console.errors.Interrupted: A signal interrupted the training; the next call resumes it.
    """
    began = time.perf_counter()
    # Another process may need the same training, which is then done only once.
    with FileLock(subject.folder / f".{recipe.training_name}.lock"):
        row, path = _compressed(subject, subject.model, recipe, subject.folder)
    return row | {"path": path.name, "seconds": round(time.perf_counter() - began, 1)}


def receipt_on_test(subject: SearchSubject, recipe: Recipe) -> dict[str, Any]:
    """Return the receipt of a trained recipe, with its file measured on the test examples."""
    return _pipeline(subject, subject.model, subject.data, recipe, subject.folder).receipt


def _compressed(
    subject: SearchSubject, model: keras.Model, recipe: Recipe, folder: Path
) -> tuple[dict[str, Any], Path]:
    """Export a file and return its measurements on the validation examples, and its path."""
    data = dataclasses.replace(subject.data, test=subject.data.validation)
    made = _pipeline(subject, model, data, recipe, folder)
    return measured(made.receipt, subject.threads, subject.form.selected_by) | _on_device(subject, made.path), made.path


def _pipeline(
    subject: SearchSubject, model: keras.Model, data: Dataset, recipe: Recipe, folder: Path
) -> pipeline.Compressed:
    taught = [subject.teachers[name] for name in recipe.distill.teacher] if recipe.distill else []
    return pipeline.compress(
        model,
        data,
        recipe,
        folder,
        export=ExportOptions(kernel=subject.kernel, bare=True),
        calibration=Calibration(seed=subject.seed),
        training=StageTraining(
            subject.training, (lambda: [teacher() for teacher in taught]) if taught else None, every_stage=False
        ),
        provenance=subject.provenance,
        page=False,
    )


def measured(receipt: Mapping[str, Any], threads: int, score: str = "accuracy") -> dict[str, Any]:
    """Return the measurements of a receipt that a search uses; `accuracy` is the score by which it selects.

    Args:
        receipt: Receipt of a file.
        threads: Number of threads of the latency.
        score: Name of the score.
    """
    latency = next(row["median_ms"] for row in receipt["latency"] if row["threads"] == threads)
    found = {"accuracy": receipt["test"]["litert"][score], "latency_ms": latency, **receipt}
    return {name: found[name] for name in MEASURED}


def _on_device(subject: SearchSubject, path: Path) -> dict[str, int]:
    """Return what a file takes on the device of a search; empty without one.

    Raises:
        Failed: TFLite Micro cannot run the file, or nothing of it runs on the accelerator.
    """
    if subject.target is None:
        return {}
    found = profile.measure(path, subject.target)
    if reason := found.get("refused") or found.get("npu_refused"):
        raise Failed(reason)
    if subject.target in NPUS and found["cycles"] is None:
        raise Failed(f"none of its operators run on {subject.target}")
    return {name: found[name] for name in profile.LIMITED if name in found}


def smallest(subject: SearchSubject, space: Space, precision: str | None = None) -> dict[str, Any]:
    """Return bytes, gzip_bytes and recipe of the smallest file of a space, optionally in a given precision.

    All weights are zero, so that no trained file is smaller after gzip.
    """
    wanted = precision or min(space.choices["precision"], key=BITS.__getitem__)
    per_tensor = True in space.choices["per_tensor"]
    recipe = space.recipe(space.scaled(0, precision=wanted, per_tensor=per_tensor, qat=False))
    model = subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1]))
    model.set_weights([np.zeros(v.shape, np.float32) for v in model.weights])
    recipe = dataclasses.replace(recipe, patches=1, plan=False)  # which add bytes, and TFLite Micro aborts on zeros
    return {**_sizes(subject, model, recipe), "recipe": str(recipe)}


def least_on_device(subject: SearchSubject, space: Space) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return what a device takes of the narrowest network in each precision, and why it cannot run the others."""
    found, refused = {}, {}
    for precision in space.choices["precision"]:
        for memory in space.choices.get("memory", ("usual",)):
            recipe = space.recipe(space.scaled(0, precision=precision, per_tensor=True, qat=False, memory=memory))
            model = subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1]))
            try:
                found[precision] = _exported(subject, model, recipe, lambda path, model: _on_device(subject, path))
                break
            except (UsageError, Failed) as error:  # patches that save memory in the whole network may not in this one
                refused[precision] = str(error)
    return found, {precision: reason for precision, reason in refused.items() if precision not in found}


def _sizes(subject: SearchSubject, model: keras.Model, recipe: Recipe) -> dict[str, int]:
    """Return bytes and gzip_bytes of a model's file in the precision of a recipe, without running it."""
    found = _exported(subject, model, recipe, file_sizes)
    return {name: found[name] for name in ("bytes", "gzip_bytes")}


def _exported(
    subject: SearchSubject, model: keras.Model, recipe: Recipe, measure: Callable[[Path, keras.Model], dict[str, int]]
) -> dict[str, int]:
    """Return what a function measures on a model's file in the precision of a recipe."""
    form = subject.form
    kernel = tflite.check(model, recipe.file, form.interface, subject.kernel)
    calibration = form.calibration(2, subject.seed) if recipe.takes_examples else None
    with temporary.folder() as folder:
        path = folder / "sized.tflite"
        options = {"calibration": calibration, "kernel": kernel, "probabilities": form.softmax, "bare": True}
        tflite.export(model, path, recipe.file, form.interface, **options)
        return measure(path, model)


def memory_choices(subject: SearchSubject) -> tuple[str, ...]:
    """Return how files in int8 of a model can save memory: names in `space.MEMORY`, what saves most first."""
    found = []
    for name in ("patches", "plan"):
        with contextlib.suppress(UsageError, Failed):
            _exported(subject, subject.exported, Recipe("int8", **MEMORY[name]), file_sizes)
            found.append(name)
    return tuple(found)


def initial_choices(subject: SearchSubject, space: Space, budget: Budget) -> list[dict[str, Any]]:
    """Return the choices for the first trials: layers narrowed to fit the budget, with distillation.

    All layers are narrowed alike to a limit of bytes. Limits of a device also decide which layers: once alike, once by
    what their channels save there. One trial is the baseline: a small network trained from scratch on labels only and
    quantized afterwards. In the precision with the fewest bits, files of half and a quarter of the budget are added, so
    that the front is known early.
    """
    wanted = [p for p in ("int8", "int4") if p in space.choices["precision"]] or [space.choices["precision"][0]]
    limit, gzipped = budget.max_bytes or budget.max_gzip_bytes, not budget.max_bytes
    common = {"rate": 1.0, "init": "own", "per_tensor": True, "epochs": max(space.choices["epochs"])}
    taught = common | {"distill": space.choices["distill"][0], "qat": True}
    plain = {"init": "scratch", "distill": NO_TEACHER, "qat": False}

    by_savings = {precision: _narrowing(subject, space, precision) for precision in wanted} if budget.device else {}

    def alike(precision: str, part: float) -> dict[str, Any]:
        share = _share(subject, space, precision, limit * part, gzipped) if limit else part / 2
        if budget.device:
            share = min(share if limit else 1.0, _share_on_device(subject, space, precision, budget, part))
        return space.scaled(share, precision=precision, **taught)

    def narrowed(precision: str, part: float) -> dict[str, Any]:
        if not budget.device:
            return alike(precision, part)
        share = _share(subject, space, precision, limit * part, gzipped) if limit else 1.0
        chosen = space.scaled(share, precision=precision, **taught)
        limits = {LIMITS[name][0]: value * part for name, value in budget.limits.items() if name in ON_A_DEVICE}
        try:
            counts = by_savings[precision].within(limits)
        except Failed:  # the device cannot run one of the narrower networks
            return alike(precision, part)
        return chosen | {WIDTH + layer: min(chosen[WIDTH + layer], count) for layer, count in counts.items()}

    found = [narrowed(precision, 1.0) for precision in wanted]
    found += [alike(precision, 1.0) for precision in wanted] if budget.device else []
    baseline = {name: v if v in space.choices[name] else found[0][name] for name, v in plain.items()}
    found += [found[0] | baseline, *(narrowed(wanted[-1], part) for part in PARTS)]
    found = [_with_memory(subject, space, chosen) for chosen in found]
    return [chosen for i, chosen in enumerate(found) if chosen not in found[:i]]


def _with_memory(subject: SearchSubject, space: Space, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return choices with the first way to save memory that is possible in their network."""
    ways = space.choices.get("memory", ())
    for memory in ways[:-1]:
        recipe = space.recipe(chosen | {"memory": memory})
        with contextlib.suppress(UsageError, Failed):
            model = subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1]))
            _exported(subject, model, recipe, file_sizes)
            return chosen | {"memory": memory}
    return chosen | {"memory": ways[-1]} if ways else chosen


def _narrowing(subject: SearchSubject, space: Space, precision: str) -> Narrowing:
    """Return how layers can be narrowed for the device of a search."""
    found = subject.removable[0]
    ranges = {layer: space.choices[WIDTH + layer] for layer in space.widths}
    recipe = Recipe(precision, per_tensor="per_tensor" in language.parameters(precision))

    def measure(counts: Mapping[str, int]) -> dict[str, np.ndarray]:
        model = copies(subject.exported, subject.few[0])()
        keep = {layer: high for layer, high in highest.items() if high < space.widths[layer]} | dict(counts)
        if keep:
            channels.apply(model, channels.plan(model, keep=keep, x=subject.few[0], found=subject.removable))
        return _exported(subject, model, recipe, lambda path, model: _by_step(subject, path))

    highest = {layer: values.high for layer, values in ranges.items()}
    return Narrowing(
        widths=highest,
        lowest={layer: values.low for layer, values in ranges.items()},
        scores={p: np.sort(each)[-highest[p] :] for p, each in channels.importances(subject.exported, found).items()},
        measure=measure,
    )


def _by_step(subject: SearchSubject, path: Path) -> dict[str, np.ndarray]:
    """Return what a file takes on the device of a search; its arena at each step."""
    found = {name: np.array([value]) for name, value in _on_device(subject, path).items()}
    steps = np.array(live(flatbuffer.read(path)))
    return found | {"arena_bytes": steps + found["arena_bytes"] - steps.max()}


def _share(subject: SearchSubject, space: Space, precision: str, limit: float, gzipped: bool, tries: int = 8) -> float:
    """Return approximately the largest share of all widths whose file is within a limit of bytes."""
    least = smallest(subject, space, precision)
    if limit < least["gzip_bytes" if gzipped else "bytes"]:
        return 0.0
    share = _share_of_parameters(subject, space, precision, (limit - least["bytes"]) * 8 / BITS[precision])
    for number in range(1, tries + 1):
        recipe = space.recipe(space.scaled(share, precision=precision, per_tensor=True))
        sizes = _sizes(subject, subject.without_training(recipe), recipe)
        if sizes["gzip_bytes" if gzipped else "bytes"] <= limit:
            break
        share *= 1 - 0.04 * number  # biases and scales, which the parameter count neglects, also take space
    return share


def _share_on_device(subject: SearchSubject, space: Space, precision: str, budget: Budget, part: float) -> float:
    """Return approximately the largest share of all widths that a part of a device's limits admits, by bisection."""

    def within(share: float) -> bool:
        recipe = space.recipe(space.scaled(share, precision=precision, per_tensor=True))
        recipe = dataclasses.replace(recipe, patches=1)  # which a narrower network may not allow
        try:
            model = subject.without_training(recipe)
            found = _exported(subject, model, recipe, lambda path, model: _on_device(subject, path))
        except Failed:  # the device cannot run this precision
            return False
        limits = {name: value * part for name, value in budget.limits.items() if name in ON_A_DEVICE}
        return all(found[LIMITS[name][0]] <= value for name, value in limits.items())

    low, high = 0.0, 1.0
    for _ in range(STEPS_ON_DEVICE):
        share = (low + high) / 2
        low, high = (share, high) if within(share) else (low, share)
    return low


def _share_of_parameters(subject: SearchSubject, space: Space, precision: str, more: float, steps: int = 7) -> float:
    """Return the share of all widths that has about `more` parameters more than the narrowest model, by bisection."""

    def parameters(share: float) -> int:
        recipe = space.recipe(space.scaled(share, precision=precision))
        return subject.without_training(dataclasses.replace(recipe, stages=recipe.stages[:1])).count_params()

    low, high, most = 0.0, 1.0, parameters(0.0) + more
    for _ in range(steps):
        share = (low + high) / 2
        low, high = (share, high) if parameters(share) <= most else (low, share)
    return low
