"""`compress`: from a trained model and a recipe to a measured file with its receipt."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression import recipes, tflite
from compression.artifacts import read_receipt, receipt_path
from compression.interface import Interface
from compression.receipt import Subject, differences, given, measure
from compression.recipes import Kernel, Recipe
from zoo.data import Dataset, DataSpec, Split
from zoo.errors import UsageError
from zoo.files import write_json, write_text

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
    allow_flex: bool = False,
    calibration: int = CALIBRATION,
    seed: int = 0,
    seconds: float = tflite.SECONDS,
    provenance: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Compressed:
    """Export a trained classifier by a recipe, and measure the file on the test split.

    Args:
        model: built, of any Keras 3 kind, that gives logits.
        data: the training split calibrates, the test split measures.
        recipe: see `compression.recipes`.
        folder: gets `<recipe>.tflite`, its receipt and its labels.
        kernel: of recurrent layers: loop, unrolled, fused, or auto.
        uint8: take camera bytes, and scale them inside the file.
        input_size: (height, width) of those bytes, resized inside the file.
        batch: static batch size of the file.
        allow_flex: allow operators that need TensorFlow's kernels on the device.
        calibration: how many training examples calibrate.
        seed: of their choice.
        seconds: limit of the conversion.
        provenance: written into the receipt: where the model comes from.
        say: told what is being done.

    Raises:
        UsageError: a recipe, model and data that do not fit together, before work starts.
        zoo.errors.Failed: the conversion failed, or the file cannot be run.
    """
    if isinstance(recipe, str):
        recipe = recipes.parse(recipe)
    interface = interface_of(data.spec, uint8=uint8, input_size=input_size, batch=batch)
    if interface.uint8 and data.test.x.dtype != np.uint8:
        raise UsageError(f"--uint8-input: expected images of bytes, {data.spec.name} has {data.test.x.dtype}")
    if not len(data.test):
        raise UsageError(f"{data.spec.name}: expected test examples to measure the file on, it has none here")
    model = in_float32(model)
    kernel = tflite.check(model, recipe, interface, kernel)
    path = folder / f"{file_name(recipe, interface, kernel)}.tflite"

    say(f"exporting {path.name}")
    examples = None
    if recipe.calibrated:
        examples = given(stratified(data.train, calibration, seed), interface)
    about = describe(data.spec, interface)
    engine = tflite.export(
        model,
        path,
        recipe,
        interface,
        calibration=examples,
        kernel=kernel,
        metadata={METADATA: json.dumps(about, separators=(",", ":")).encode()},
        allow_flex=allow_flex,
        seconds=seconds,
    )
    write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in data.spec.class_names))
    if data.vocabulary is not None:
        data.vocabulary.save(path.with_suffix(".vocabulary.json"))
    say(f"measuring {path.name} on {len(data.test):,} test examples")
    made = {
        "recipe": str(recipe),
        "engine": engine,
        "lstm_kernel": kernel,
        "calibration_examples": len(examples) if examples is not None else 0,
        "seed": seed,
        **(provenance or {}),
    }
    receipt = {"made": made, "interface": interface.to_json(), "about": about}
    receipt |= measure(path, Subject(model, interface, data.test))
    write_json(receipt_path(path), receipt)
    return Compressed(path, receipt)


def verify(path: Path, model: keras.Model, test: Split) -> tuple[dict[str, Any], list[str]]:
    """Measure a file again, and return what was measured and what of its receipt was not reproduced.

    Args:
        path: of the file, its receipt beside it.
        model: that it was made from.
        test: split that it was measured on.

    Raises:
        UsageError: the file is not whole, or is another than its receipt's; nothing of it is run then.
        zoo.errors.Failed: LiteRT cannot run it.
    """
    receipt = read_receipt(path)
    measured = measure(path, Subject(in_float32(model), Interface.from_json(receipt["interface"]), test))
    return measured, differences(receipt, measured)


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32 with the same weights: the model itself, if it does.

    A model trained in bfloat16 keeps float32 weights, and TFLite has no bfloat16 kernels.
    """
    if {layer.compute_dtype for layer in model._flatten_layers()} <= {"float32"}:
        return model
    copy = type(model).from_config(_without_policies(model.get_config()) | {"dtype": "float32"})
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    copy.set_weights([weight.astype(np.float32) for weight in model.get_weights()])
    return copy


def _without_policies(config: Any) -> Any:
    """Return a configuration in which every layer, however deep, computes in float32."""
    if isinstance(config, list | tuple):
        return type(config)(map(_without_policies, config))
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and isinstance(value, dict) else _without_policies(value)
        for key, value in config.items()
    }


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


def file_name(recipe: Recipe, interface: Interface, kernel: Kernel) -> str:
    """Return the name of a file without its suffix: its recipe, and what differs from the default."""
    parts = [recipe.file_name]
    if kernel == "fused" or (kernel == "unrolled" and not recipe.calibrated):
        parts.append(kernel)
    if interface.uint8:
        parts.append("uint8" + ("-{}x{}".format(*interface.resize_from) if interface.resize_from else ""))
    if interface.batch != 1:
        parts.append(f"batch{interface.batch}")
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
