"""Export of a classifier as a SavedModel or an ONNX file, measured against Keras like a .tflite file."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from compression.exporting import tflite
from compression.flatbuffers.interface import Interface
from compression.receipts.subject import given, reference
from compression.tasks.classification import ClassSubject
from zoo.console.errors import Failed, UsageError
from zoo.introspection.layers import layers_of
from zoo.isolation import child
from zoo.system import temporary
from zoo.system.files import sha256
from zoo.system.machine import processor, versions

# Newest ONNX operator set that ONNX Runtime 1.20 and tf2onnx 1.17 both know.
OPSET = 18
SECONDS = 600.0  # time limit of a conversion
# Largest difference in probability from Keras: both compute in float32, in different orders.
TOLERANCE = 1e-5


def saved_model(model: keras.Model, path: Path, interface: Interface) -> None:
    """Write a SavedModel folder with the signature `serve`, such as TensorFlow Serving loads."""
    with temporary.folder(path.parent) as folder:
        tflite.save(model, folder / "made", interface)
        if path.exists():
            shutil.rmtree(path)
        (folder / "made").rename(path)


def onnx(model: keras.Model, path: Path, interface: Interface) -> None:
    """Write an ONNX file.

    Raises:
        UsageError: The packages of the extra `onnx` are not installed.
        Failed: tf2onnx cannot convert the model.
    """
    _require("tf2onnx")
    with temporary.folder(path.parent) as folder:
        saved, made = folder / "saved_model", folder / path.name
        with _gelu_by_erf(model):
            tflite.save(model, saved, interface)
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


def _run_saved_model(path: Path, interface: Interface) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serve"]
    names = list(serve.structured_input_signature[1])
    if names != [interface.name] or list(serve.structured_outputs) != [interface.output]:
        raise Failed(f"{path}: the served signature takes {names} and gives {list(serve.structured_outputs)}")
    # The closure keeps the loaded object alive, which owns the variables.
    return lambda x: loaded.signatures["serve"](**{interface.name: tf.constant(x)})[interface.output].numpy()


def _run_onnx(path: Path, interface: Interface) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run([interface.output], {interface.name: x})[0]


_RUNNERS = {"savedmodel": _run_saved_model, "onnx": _run_onnx}
WRITERS = {"savedmodel": saved_model, "onnx": onnx}
NEEDS = {"savedmodel": (), "onnx": ("tf2onnx", "onnxruntime")}


def export(path: Path, format_name: str, subject: ClassSubject) -> dict[str, Any]:
    """Write a model in one of WRITERS' formats, run it on the test split, and return what was measured.

    Args:
        path: Path of the file, or of the folder of a SavedModel.
        format_name: Key of WRITERS.
        subject: Model and examples.

    Raises:
        UsageError: A package is not installed.
        Failed: The conversion failed, or the outputs differ from Keras by more than TOLERANCE.
    """
    for name in NEEDS[format_name]:
        _require(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[format_name](subject.model, path, subject.interface)
    x = given(subject.examples, subject.interface)
    expected = reference(subject, x)
    run = _RUNNERS[format_name](path, subject.interface)
    found = np.concatenate([run(x[i : i + 512]) for i in range(0, len(x), 512)])
    largest = float(np.abs(found - expected).max())
    if not largest <= TOLERANCE:
        raise Failed(f"{path}: outputs differ from Keras by up to {largest:.1e}, more than {TOLERANCE:.0e}")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {
        "format": format_name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.relative_to(path.parent).as_posix(): sha256(file) for file in files},
        "test": {
            "examples": len(x),
            format_name: subject.scores(found),
            "keras": subject.scores(expected),
        },
        "parity": {"largest_difference": largest},
        "interface": subject.interface.to_json(),
        "processor": processor(),
        "versions": versions(),
    }
