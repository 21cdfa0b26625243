"""Export of a model as a SavedModel or an ONNX file, measured against Keras like a .tflite file."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from compression.exporting import tflite
from compression.flatbuffers.interface import Interface, ModelInterface
from compression.receipts.subject import OutputSubject
from zoo.console.errors import Failed, UsageError
from zoo.introspection.layers import layers_of
from zoo.isolation import child
from zoo.system import temporary
from zoo.system.files import sha256
from zoo.system.machine import processor, versions

# Newest ONNX operator set that ONNX Runtime 1.20 and tf2onnx 1.17 both know.
OPSET = 18
SECONDS = 600.0  # time limit of a conversion
# Largest difference from Keras, relative to the largest output if that is above 1: both compute in float32, in
# different orders.
TOLERANCE = 1e-5
BATCH = 512

Ends = Interface | ModelInterface
# From arrays by the name of the input to the outputs in their order.
Runner = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def saved_model(model: keras.Model, path: Path, interface: Ends, probabilities: bool = True) -> None:
    """Write a SavedModel folder with the signature `serve`, such as TensorFlow Serving loads."""
    with temporary.folder(path.parent) as folder:
        tflite.save(model, folder / "made", interface, probabilities=probabilities)
        if path.exists():
            shutil.rmtree(path)
        (folder / "made").rename(path)


def onnx(model: keras.Model, path: Path, interface: Ends, probabilities: bool = True) -> None:
    """Write an ONNX file.

    Raises:
        UsageError: The packages of the extra `onnx` are not installed.
        Failed: tf2onnx cannot convert the model.
    """
    _require("tf2onnx")
    with temporary.folder(path.parent) as folder:
        saved, made = folder / "saved_model", folder / path.name
        with _gelu_by_erf(model):
            tflite.save(model, saved, interface, probabilities=probabilities)
        try:
            child.run("compression.pipeline.formats", {"saved_model": saved, "output": made}, seconds=SECONDS)
        except Failed as error:
            raise Failed(f"ONNX: the conversion failed: {str(error)[:500]}") from None
        if not made.is_file():
            raise Failed("ONNX: the conversion wrote no file")
        made.replace(path)


def _require(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec(name) is None:
        raise UsageError(f"--to onnx: needs the package {name}; install the extra: pip install -e '.[onnx]'")


@contextlib.contextmanager
def _gelu_by_erf(model: keras.Model) -> Iterator[None]:
    """Compute GELU with erf while a model is traced: Keras uses erfc, which ONNX lacks."""

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + ops.erf(x / 2**0.5))

    with contextlib.ExitStack() as undo:
        for layer in layers_of(model):
            if getattr(layer, "activation", None) is keras.activations.gelu:
                undo.callback(setattr, layer, "activation", layer.activation)
                layer.activation = gelu
        yield


def work(job: dict[str, Any]) -> None:
    """Run tf2onnx, which has only a command, in the child process."""
    from tf2onnx import convert

    words = ["--saved-model", job["saved_model"], "--signature_def", "serve", "--opset", str(OPSET)]
    sys.argv = ["tf2onnx", *words, "--output", job["output"]]
    convert.main()


def _names(interface: Ends) -> tuple[list[str], list[str]]:
    """Return the names of the inputs and of the outputs."""
    if isinstance(interface, Interface):
        return [interface.name], [interface.output]
    return [port.name for port in interface.given], [port.name for port in interface.outputs]


def _run_saved_model(path: Path, interface: Ends) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serve"]
    inputs, outputs = _names(interface)
    found = (set(serve.structured_input_signature[1]), set(serve.structured_outputs))
    if found != (set(inputs), set(outputs)):
        raise Failed(f"{path}: the served signature takes {sorted(found[0])} and gives {sorted(found[1])}")

    def run(x: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        # `loaded` is named here to keep it alive, because it owns the variables.
        given = loaded.signatures["serve"](**{name: tf.constant(array) for name, array in x.items()})
        return [given[name].numpy() for name in outputs]

    return run


def _run_onnx(path: Path, interface: Ends) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run(_names(interface)[1], dict(x))


_RUNNERS = {"savedmodel": _run_saved_model, "onnx": _run_onnx}
WRITERS = {"savedmodel": saved_model, "onnx": onnx}
NEEDS = {"savedmodel": (), "onnx": ("tf2onnx", "onnxruntime")}


def export(path: Path, format_name: str, subject: OutputSubject, probabilities: bool = True) -> dict[str, Any]:
    """Write a model in one of WRITERS' formats, run it on the test split, and return what was measured.

    Args:
        path: Path of the file, or of the folder of a SavedModel.
        format_name: Key of WRITERS.
        subject: Model and examples.
        probabilities: Whether to append a softmax to a classifier.

    Raises:
        UsageError: A package is not installed.
        Failed: The conversion failed, or the outputs differ from Keras by more than TOLERANCE.
    """
    check_installed(format_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[format_name](subject.model, path, subject.interface, probabilities)
    x, expected = subject.inputs(), subject.reference()
    run, count = _RUNNERS[format_name](path, subject.interface), len(subject.examples)
    parts = [run({name: array[i : i + BATCH] for name, array in x.items()}) for i in range(0, count, BATCH)]
    found = [np.concatenate(column) for column in zip(*parts, strict=True)]
    largest, over = _largest_difference(found, expected)
    if over:
        raise Failed(f"{path}: outputs differ from Keras by up to {largest:.1e}, more than {TOLERANCE:.0e}")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {
        "format": format_name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.relative_to(path.parent).as_posix(): sha256(file) for file in files},
        "test": {
            "examples": count,
            format_name: subject.graded(found),
            "keras": subject.graded(expected),
        },
        "parity": {"largest_difference": largest},
        "interface": subject.interface.to_json(),
        "processor": processor(),
        "versions": versions(),
    }


def check_installed(format_name: str) -> None:
    """Raise UsageError unless the packages of a format are installed."""
    for name in NEEDS[format_name]:
        _require(name)


def _largest_difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> tuple[float, bool]:
    """Return the largest difference of outputs, and whether one is above the tolerance."""
    largest, over = 0.0, False
    for mine, theirs in zip(found, expected, strict=True):
        difference = float(np.abs(mine - theirs).max())
        over |= not difference <= TOLERANCE * max(1.0, float(np.abs(theirs).max()))
        largest = max(largest, difference)
    return largest, over
