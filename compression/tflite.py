"""From a built Keras model to a .tflite file: traced here, converted in a child process.

The way is a SavedModel with a static batch: a converter given the traced function of a Keras 3 model writes files whose
weights are never initialised, without a word.
"""

import contextlib
import fnmatch
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression import child, flatbuffer, kernels
from compression.converter import engine
from compression.interface import Interface
from compression.recipes import Kernel, Recipe
from zoo.data.images import PIXEL_MAX
from zoo.errors import Failed, UsageError, nearest
from zoo.files import publish

# Of a conversion: the largest of the zoo, an unrolled LSTM in int8, takes 20 s on two cores.
SECONDS = 900.0
# How the converter names an operator that TFLite itself has not.
_NEEDS_FLEX = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def check(model: keras.Model, recipe: Recipe, interface: Interface, kernel: Kernel = "auto") -> Kernel:
    """Return the kernel that recurrent layers are exported with.

    auto is loop, or unrolled for recipes that calibrate, because the converter cannot bring a loop to integers.

    Raises:
        UsageError: no engine can carry out this recipe on this model, or not with this kernel.
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError(f"export needs Keras on TensorFlow, it runs on {keras.backend.backend()}: unset KERAS_BACKEND")
    if not model.built:
        raise UsageError(
            f"model {model.name}: expected a built model, this one has no weights yet; call it or build it"
        )
    layer_paths(model, recipe.skip)
    if recipe.precision == "int16x8" and interface.dtype != "float32":
        raise UsageError(
            "--recipe int16x8: the converter cannot calibrate it for whole-number inputs (token ids);"
            " use int8 or dynamic"
        )
    if not kernels.recurrent_layers(model):
        if kernel != "auto":
            raise UsageError(f"--lstm-kernel {kernel}: this model has no recurrent layers")
        return kernel
    if kernel == "auto":
        return "unrolled" if recipe.calibrated else "loop"
    if kernel == "loop" and recipe.calibrated:
        raise UsageError(
            f"--lstm-kernel loop: {recipe.precision} of a loop crashes the TFLite converter; use unrolled or fused"
        )
    if kernel == "fused":
        kernels.check_fused(model, interface.masked)
        if recipe.precision in ("int16x8", "int4") or recipe.skip:
            what = f"no {recipe.precision} form" if not recipe.skip else "all its parts in one precision"
            raise UsageError(f"--lstm-kernel fused: the fused operator has {what}; use unrolled")
    return kernel


def layer_paths(model: keras.Model, patterns: Sequence[str] | None = None) -> list[str]:
    """Return the paths of a model's layers that have kernels, all or those that match.

    Args:
        model: built.
        patterns: shell patterns such as `head` or `conv_*`, for a whole path or its end.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    paths = list(dict.fromkeys(_path(model, layer) for layer in kernels.layers_of(model) if _has_kernel(layer)))
    if patterns is None:
        return paths
    chosen = []
    for pattern in patterns:
        found = [p for p in paths if fnmatch.fnmatch(p, pattern) or fnmatch.fnmatch(p, f"*/{pattern}")]
        if not found:
            raise UsageError(
                f"--recipe skip={pattern}: no layer of this name; layers with kernels are {', '.join(paths)}"
                f"{nearest(pattern, paths)}"
            )
        chosen += [p for p in found if p not in chosen]
    return chosen


def _has_kernel(layer: keras.layers.Layer) -> bool:
    """Whether a layer holds matrices itself: a recurrent layer counts as one, its cell does not.

    Vectors are left aside: those of a normalisation become part of the layer before it, and no engine quantizes biases
    to eight bits.
    """
    if isinstance(layer, kernels.RECURRENT):
        return True
    return any(len(v.shape) > 1 for v in layer._trainable_variables) and not hasattr(layer, "state_size")


def _path(model: keras.Model, layer: keras.layers.Layer) -> str:
    inner = layer.cell if isinstance(layer, kernels.RECURRENT) else layer
    parts = inner._trainable_variables[0].path.split("/")[:-1]
    if inner is not layer:
        parts = parts[:-1]
    return "/".join(parts[1:] if len(parts) > 1 and parts[0] == model.name else parts)


def servable(model: keras.Model, interface: Interface, probabilities: bool) -> Callable:
    """Return the function that an exported file computes, from what it takes to what it gives."""

    def serve(x: Any) -> dict[str, Any]:
        if interface.uint8:
            x = keras.ops.cast(x, "float32") * (1 / PIXEL_MAX)
        if interface.resize_from:
            x = keras.ops.image.resize(x, interface.shape[:2], interpolation="bilinear")
        y = model(x, training=False)
        if not hasattr(y, "shape"):
            raise UsageError(f"model {model.name}: expected one output, received a {type(y).__name__} of several")
        return {interface.output: keras.ops.softmax(y) if probabilities else y}

    return serve


def save(
    model: keras.Model, folder: Path, interface: Interface, kernel: Kernel = "auto", probabilities: bool = True
) -> dict[str, str]:
    """Write a SavedModel and return the name scope in which each layer with weights was traced, by its path."""
    import tensorflow as tf

    signature = [tf.TensorSpec((interface.batch, *interface.given_shape), interface.given_dtype, interface.name)]
    archive = keras.export.ExportArchive()
    archive.track(model)
    with kernels.using(model, kernel) as held, _recorded(model) as scopes:
        archive._tf_trackable.held = held
        archive.add_endpoint("serve", servable(model, interface, probabilities), input_signature=signature)
        archive.write_out(str(folder), verbose=False)
    return scopes


@contextlib.contextmanager
def _recorded(model: keras.Model) -> Iterator[dict[str, str]]:
    """Record the name scope of every layer with weights while the model is traced."""
    import tensorflow as tf

    scopes: dict[str, str] = {}

    def recording(path: str, call: Callable) -> Callable:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            scopes[path] = tf.get_current_name_scope()
            return call(*args, **kwargs)

        return recorded

    with contextlib.ExitStack() as undo:
        for layer in filter(_has_kernel, kernels.layers_of(model)):
            undo.enter_context(kernels.calling(layer, recording(_path(model, layer), layer.call)))
        yield scopes


def export(model: keras.Model, path: Path, recipe: Recipe, interface: Interface, **options: Any) -> str:
    """Write a model as a .tflite file, replaced atomically, and return the engine that made it.

    Args:
        model: built; any Keras 3 model of one input and one output.
        path: of the file.
        recipe: precision, layers left out, integer inputs and outputs.
        interface: names, shapes and types of input and output.
        options: those of `export_each`.
    """
    export_each(model, {path: recipe}, interface, **options)
    return engine(recipe.precision, bool(recipe.skip))


def export_each(
    model: keras.Model,
    files: Mapping[Path, Recipe],
    interface: Interface,
    *,
    calibration: np.ndarray | None = None,
    kernel: Kernel = "auto",
    probabilities: bool = True,
    metadata: Mapping[str, bytes] | None = None,
    allow_flex: bool = False,
    seconds: float = SECONDS,
) -> None:
    """Write a model as several .tflite files in one folder: traced once, converted in one child process.

    Args:
        model: built; any Keras 3 model of one input and one output.
        files: the recipe of each; all calibrate, or none.
        interface: names, shapes and types of input and output.
        calibration: (examples, *interface.given_shape), as the file will be given them before quantization; for
            recipes that calibrate.
        kernel: of recurrent layers, see `check`.
        probabilities: put a softmax at the end.
        metadata: entries to write into the files, by name.
        allow_flex: allow operators that need TensorFlow's kernels on the device.
        seconds: limit of the conversions.

    Raises:
        UsageError: a recipe that cannot be carried out on this model, or that needs Flex operators unasked.
        Failed: the converter crashed, failed or took too long.
    """
    (kernel,) = {check(model, recipe, interface, kernel) for recipe in files.values()}
    recipe, parent = next(iter(files.values())), next(iter(files)).parent
    if recipe.calibrated and (calibration is None or not len(calibration)):
        raise UsageError(f"--recipe {recipe}: expected examples to calibrate with, received none")
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".exporting-") as folder:
        saved, examples = Path(folder) / "saved_model", Path(folder) / "examples.npz"
        scopes = save(model, saved, interface, kernel, probabilities)
        if recipe.calibrated:
            np.savez(examples, **{interface.name: calibration.astype(interface.given_dtype)})
        job = {
            "saved_model": saved,
            "calibration": examples if recipe.calibrated else None,
            "batch": interface.batch,
            "allow_flex": allow_flex,
            "files": [
                {
                    "output": Path(folder) / path.name,
                    "precision": each.precision,
                    "integer_io": each.integer_io,
                    "integer_input": interface.dtype == "float32" and not interface.uint8,
                    "skip": [scopes[layer] for layer in layer_paths(model, each.skip)],
                }
                for path, each in files.items()
            ],
        }
        try:
            child.run("compression.converter", job, seconds=seconds)
        except Failed as error:
            raise _explained(error, recipe, allow_flex) from None
        for path in files:
            made = Path(folder) / path.name
            needed = flatbuffer.flex(flatbuffer.read(made))
            if needed and not allow_flex:
                raise UsageError(_flex_sentence(needed))
            for name, content in (metadata or {}).items():
                flatbuffer.add_metadata(made, name, content)
            publish(made, path)


def _explained(error: Failed, recipe: Recipe, allow_flex: bool) -> Exception:
    names = _NEEDS_FLEX.findall(str(error))
    if names and allow_flex:
        return UsageError(f"this model needs operators that no TFLite file can hold: {', '.join(sorted(set(names)))}")
    if names:
        return UsageError(_flex_sentence(sorted({f"Flex{name}" for name in names})))
    return Failed(f"--recipe {recipe}: the conversion failed: {str(error)[:500]}")


def _flex_sentence(names: Sequence[str]) -> str:
    return (
        f"this model needs operators that are not in TFLite itself ({', '.join(names)}); allow them with --allow-flex,"
        " and ship TensorFlow's kernels (the Flex delegate) with the app"
    )
