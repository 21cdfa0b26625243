"""`compress`: from a trained model and a recipe to a measured file with its receipt."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression import flatbuffer, litert, recipes, stages, tflite
from compression.artifacts import read_receipt, receipt_path
from compression.copying import copies, in_float32, weights_sha256
from compression.frontier import draw
from compression.interface import Interface
from compression.receipt import Subject, differences, file_sizes, given, measure, scores
from compression.recipes import Kernel, Recipe
from compression.stages import Stages, Trained
from zoo.config import TrainConfig
from zoo.data import Dataset, DataSpec, Split
from zoo.data.images import scaled
from zoo.errors import UsageError
from zoo.files import write_json, write_text
from zoo.runs import RunFolder

METADATA = "keras_compression_zoo"
CALIBRATION = 256
_INPUT_NAMES = {"image": "image", "tokens": "tokens", "vector": "features", "sequence": "features"}


@dataclass(frozen=True)
class Compressed:
    """A file and what was measured on it."""

    path: Path
    receipt: dict[str, Any]


def interface_of(
    spec: DataSpec, *, uint8: bool = False, input_size: tuple[int, int] | None = None, batch: int | None = 1
) -> Interface:
    """Return the interface of a classifier for this data.

    Raises:
        UsageError: bytes of something that is not an image.
    """
    if (uint8 or input_size) and spec.kind == "tokens":
        uint8 = False  # token ids are whole numbers as they are
    elif (uint8 or input_size) and spec.kind != "image":
        raise UsageError(f"--uint8-input: expected a run on images, this one takes {spec.kind} inputs")
    if input_size and not uint8:
        raise UsageError("--input-size: expected together with --uint8-input, and a run on images")
    return Interface(
        _INPUT_NAMES[spec.kind],
        spec.input_shape,
        spec.input_dtype,
        batch=batch,
        uint8=uint8,
        resize_from=input_size,
        masked=spec.kind == "tokens",
    )


def compress(
    model: keras.Model,
    data: Dataset,
    recipe: str | Recipe,
    folder: Path,
    *,
    kernel: Kernel = "auto",
    uint8: bool = False,
    input_size: tuple[int, int] | None = None,
    batch: int = 1,
    bare: bool = False,
    allow_flex: bool = False,
    calibration: int = CALIBRATION,
    seed: int = 0,
    seconds: float = tflite.SECONDS,
    training: TrainConfig | None = None,
    teachers: Callable[[], list[keras.Model]] | None = None,
    provenance: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
    verbose: bool = False,
) -> Compressed:
    """Carry out a recipe on a trained classifier, and measure the file on the test split.

    Args:
        model: built, of any Keras 3 kind, that gives logits; it stays as it is.
        data: the training split trains and calibrates, the test split measures.
        recipe: see `compression.recipes`.
        folder: gets `<recipe>.tflite`, its receipt, its labels, and a folder with its training stages.
        kernel: of recurrent layers: loop, unrolled, fused, or auto.
        uint8: take camera bytes, and scale them inside the file.
        input_size: (height, width) of those bytes, resized inside the file.
        batch: static batch size of the file.
        bare: leave names of tensors and metadata out of the file, which run without them.
        allow_flex: allow operators that need TensorFlow's kernels on the device.
        calibration: how many training examples calibrate.
        seed: of their choice.
        seconds: limit of the conversion.
        training: how the model was trained; the stages of a recipe take a share of its epochs and learning rate.
        teachers: returns the models that a recipe with `distill` learns from; called inside the strategy's scope.
        provenance: written into the receipt: where the model comes from.
        say: told what is being done.
        verbose: show the progress of training.

    Raises:
        UsageError: a recipe, model and data that do not fit together, before work starts.
        zoo.errors.Interrupted: a signal came while a stage was trained; called again, it goes on there.
        zoo.errors.Failed: the conversion failed, or the file cannot be run.
    """
    if isinstance(recipe, str):
        recipe = recipes.parse(recipe)
    interface = interface_of(data.spec, uint8=uint8, input_size=input_size, batch=batch)
    if interface.uint8 and data.test.x.dtype != np.uint8:
        raise UsageError(f"--uint8-input: expected images of bytes, {data.spec.name} has {data.test.x.dtype}")
    if not len(data.test):
        raise UsageError(f"{data.spec.name}: expected test examples to measure the file on, it has none here")
    original = in_float32(model)
    kernel = tflite.check(original, recipe, interface, kernel)
    path = folder / f"{file_name(recipe, interface, kernel, bare)}.tflite"
    about = describe(data.spec, interface)
    options = {
        "kernel": kernel,
        "calibration": given(stratified(data.train, calibration, seed), interface) if recipe.calibrated else None,
        "metadata": {METADATA: json.dumps(about, separators=(",", ":")).encode()},
        "bare": bare,
        "allow_flex": allow_flex,
        "seconds": seconds,
    }

    trained, rows = Trained(original, original), []
    if recipe.stages:
        plan = _planned(original, data, recipe, folder, training, teachers, calibration, seed)
        trained, rows = _staged(plan, trained, Subject(original, interface, data.test), options, say, verbose)

    say(f"exporting {path.name}")
    engine = tflite.export(trained.model, path, recipe.file, interface, ranges=trained.file_ranges, **options)
    write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in data.spec.class_names))
    if data.vocabulary is not None:
        data.vocabulary.save(path.with_suffix(".vocabulary.json"))
    say(f"measuring {path.name} on {len(data.test):,} test examples")
    made = {
        "recipe": str(recipe),
        "engine": engine,
        "lstm_kernel": kernel,
        "calibration_examples": len(options["calibration"]) if recipe.calibrated else 0,
        "seed": seed,
        **(provenance or {}),
    }
    receipt = {"made": made, "interface": interface.to_json(), "about": about}
    receipt |= measure(path, Subject(trained.as_trained, interface, data.test, original=original))
    if recipe.stages:
        made["stages_folder"] = plan.folder.name
        if "not_run" not in receipt:
            rows.append({"stage": str(recipe.stages[-1]), **_sizes(receipt), **receipt["test"]["litert"]})
            say(f"  {_sentence(rows[-1])}")
            draw(rows, recipe.precision, path.with_suffix(".stages.png"))
        receipt["stages"] = rows
    write_json(receipt_path(path), receipt)
    return Compressed(path, receipt)


def assist(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    *,
    training: TrainConfig,
    teachers: Callable[[], list[keras.Model]] | None = None,
    calibration: int = CALIBRATION,
    seed: int = 0,
) -> None:
    """Train the stages of a recipe as a worker of multi_worker other than the chief, which makes the file.

    Args: as of `compress`, whose call on the chief this goes with.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = _planned(in_float32(model), data, recipe, Path(folder), training, teachers, calibration, seed)
        for _ in stages.run(plan, lambda text: None, verbose=False):
            pass


def _planned(
    original: keras.Model,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    training: TrainConfig | None,
    teachers: Callable[[], list[keras.Model]] | None,
    calibration: int,
    seed: int,
) -> Stages:
    """Return what the stages are trained with, after what cannot be was refused."""
    if training is None:
        raise UsageError(f"--recipe {recipe}: expected how the model was trained (training), received none")
    plan = Stages(
        base=copies(original),
        data=data,
        recipe=recipe,
        folder=folder / f"{recipe.training_name}.stages",
        config=training,
        examples=scaled(stratified(data.train, calibration, seed).x),
        teachers=teachers,
        identity=weights_sha256(original),
    )
    stages.check(plan)
    stages.share(plan)
    return plan


def _staged(
    plan: Stages, begun: Trained, subject: Subject, options: dict[str, Any], say: Callable[[str], None], verbose: bool
) -> tuple[Trained, list[dict[str, Any]]]:
    """Train all stages; return what they end with, and what the file of every stage but the last has, as it ends."""
    trained, rows, left = begun, [], stages.run(plan, say, verbose)
    for number, name in enumerate(["start", *map(str, plan.recipe.stages[:-1])]):
        file = plan.folder / f"{number}.tflite"
        tflite.export(trained.model, file, plan.recipe.file, subject.interface, ranges=trained.file_ranges, **options)
        if not flatbuffer.flex(flatbuffer.read(file)):  # which cannot be run here
            found = scores(litert.run(file, given(subject.examples, subject.interface)), subject)
            rows.append({"stage": name, **_sizes(file_sizes(file, subject.model)), **found})
            say(f"  {_sentence(rows[-1])}")
        trained = next(left)
    return trained, rows


def _sizes(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in ("bytes", "gzip_bytes")}


def _sentence(row: dict[str, Any]) -> str:
    return (
        f"after {row['stage']}: test accuracy {row['accuracy']:.2%}, {row['bytes']:,} bytes"
        f" (gzip {row['gzip_bytes']:,})"
    )


def verify(path: Path, model: keras.Model, data: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Measure a file again, and return what was measured and what of its receipt was not reproduced.

    Args:
        path: of the file, its receipt and the folder of its stages beside it.
        model: that the recipe began with.
        data: whose test split it was measured on.

    Raises:
        UsageError: the file is not whole, or is another than its receipt's, or its stages are not there; nothing of it
            is run then.
        zoo.errors.Failed: LiteRT cannot run it.
    """
    receipt = read_receipt(path)
    original = in_float32(model)
    as_trained = original
    if name := receipt["made"].get("stages_folder"):
        recipe = recipes.parse(receipt["made"]["recipe"])
        examples = scaled(data.train.take(np.arange(stages.EXAMPLES)).x)
        plan = Stages(copies(original), data, recipe, path.parent / name, TrainConfig(), examples)
        if not all(RunFolder(plan.place(i)).finished for i in range(len(recipe.stages))):
            raise UsageError(
                f"{path}: expected the stages it was trained in, in {plan.folder}, found them not or not whole;"
                " compress again"
            )
        as_trained = stages.restored(plan, len(recipe.stages) - 1).as_trained
    interface = Interface.from_json(receipt["interface"])
    measured = measure(path, Subject(as_trained, interface, data.split("test"), original=original))
    return measured, differences(receipt, measured)


def stratified(split: Split, count: int, seed: int) -> Split:
    """Return `count` examples of a split, with every class as often as in the whole, in random order."""
    if not len(split):
        raise UsageError("expected training examples to calibrate with, received none")
    if len(split) <= count:
        return split
    order = np.random.default_rng(seed).permutation(len(split))
    if split.y.ndim > 1:  # one label a step
        return split.take(order[:count])
    # The k-th example of each class gets the place that k has in its class; the first places are a stratified sample.
    labels = split.y[order]
    place = np.empty(len(order))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return split.take(order[np.argsort(place, kind="stable")[:count]])


def file_name(recipe: Recipe, interface: Interface, kernel: Kernel, bare: bool = False) -> str:
    """Return the name of a file without its suffix: its recipe, and what differs from the default."""
    parts = [recipe.file_name]
    if kernel == "fused" or (kernel == "unrolled" and not recipe.calibrated):
        parts.append(kernel)
    if interface.uint8:
        parts.append("uint8" + ("-{}x{}".format(*interface.resize_from) if interface.resize_from else ""))
    if interface.batch != 1:
        parts.append(f"batch{interface.batch}")
    if bare:
        parts.append("bare")
    return "-".join(parts)


def describe(spec: DataSpec, interface: Interface) -> dict[str, Any]:
    """Return what somebody who has only the file must know to use it."""
    values = {
        "image": "bytes from 0 to 255" if interface.uint8 else "pixels from 0 to 1",
        "tokens": "ids of the vocabulary, padded at the end with 0",
    }.get(spec.kind, "features as they were trained on")
    return {
        "labels": list(spec.class_names),
        "input": {"name": interface.name, "kind": spec.kind, "shape": list(interface.given_shape), "values": values},
        "output": {"name": interface.output, "values": "probability of each label"},
    }
