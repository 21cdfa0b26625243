"""Export a built Keras model to a .tflite file: trace it here and convert it in a child process.

The export goes through a SavedModel with a static batch. When the converter is given the traced function of a Keras 3
model instead, it silently writes files whose weights are never initialised.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.devices import targets
from compression.exporting.endpoints import Endpoint, check_model, endpoints
from compression.flatbuffers import calibrated, flatbuffer, scales
from compression.flatbuffers.interface import AnyInterface, StreamInterface
from compression.flatbuffers.slim import slim
from compression.flatbuffers.tying import tie
from compression.flatbuffers.unfold import unfold
from compression.memory import choosing
from compression.memory.choosing import Memory
from compression.passes.grids import ARRANGING, Points
from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import ExportOptions
from compression.surgery import kernels
from compression.surgery.layers import in_float, layer_paths, with_kernels
from compression.surgery.steps import STEPS
from zoo.console.errors import Failed, UsageError
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of as layers_inside
from zoo.isolation import child
from zoo.system import temporary
from zoo.system.files import publish

_SPATIAL = (
    *(keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D),
    *(keras.layers.MaxPooling2D, keras.layers.AveragePooling2D),
)
_ENTRY = 80  # bytes that an entry of metadata takes besides its content, at most
# The converter's error for an operator that TFLite lacks.
_NEEDS_FLEX = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def check(model: keras.Model, recipe: Recipe, interface: AnyInterface, kernel: Kernel = "auto") -> Kernel:
    """Check that a recipe can be exported, and return the kernel for recurrent layers.

    `auto` becomes `loop`, or `unrolled` for recipes with calibration, because the converter cannot quantize a loop to
    integers.

    Args:
        model: Built Keras model.
        recipe: Recipe of the file.
        interface: Inputs and outputs of the file.
        kernel: Requested export form of recurrent layers.

    Raises:
        UsageError: No engine supports this recipe for this model and kernel.
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError(f"export needs Keras on TensorFlow, it runs on {keras.backend.backend()}: unset KERAS_BACKEND")
    if not model.built:
        raise UsageError(
            f"model {model.name}: expected a built model, received one without weights; call it or build it first"
        )
    if rounded := [layer for layer in layers_inside(model) if getattr(layer, "quantization_mode", None)]:
        raise UsageError(
            f"model {model.name}: expected weights in floats, received {rounded[0].name} after"
            f" quantize({rounded[0].quantization_mode!r}) of Keras, which TFLite cannot convert; give the model as it"
            " was before"
        )
    layer_paths(model, recipe.skip)
    check_model(interface, model)
    if recipe.precision == "int16x8" and interface.dtype != "float32":
        raise UsageError(
            "--recipe int16x8: the converter cannot calibrate it for whole-number inputs (token ids);"
            " use int8 or dynamic"
        )
    if recipe.precision == "int16x8" and (kept := in_float(model, STEPS["int16x8"])):
        raise UsageError(
            f"--recipe int16x8: the converter cannot leave {kept[0].name} in float32, as one scale does not suit"
            " what it takes; use int8, float16 or dynamic"
        )
    if recipe.precision == "int16x8" and (found := [p for p, layer in with_kernels(model).items() if _in_3d(layer)]):
        raise UsageError(
            f"--recipe int16x8: {', '.join(found)}: TFLite has no convolution in three dimensions on integers of 16"
            " bits; use int8, float16 or dynamic"
        )
    if recipe.saves_memory:
        _check_memory(model, recipe, interface)
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
            what = f"no {recipe.precision} form" if not recipe.skip else "one precision for all its parts"
            raise UsageError(f"--lstm-kernel fused: the fused operator has {what}; use unrolled")
    return kernel


def _check_memory(model: keras.Model, recipe: Recipe, interface: AnyInterface) -> None:
    """Refuse patches and plans that no file of a model can have."""
    word = "patches" if recipe.patches != 1 else "plan"
    targets.check_installed([f"--recipe {recipe}"])
    if interface.functions is not None or interface.batch != 1:
        found = "several functions" if interface.functions is not None else f"batches of {interface.batch}"
        raise UsageError(
            f"--recipe {recipe}: {word}: expected a file with one function for one example, it has {found}"
        )
    if getattr(interface, "nms", False):
        raise UsageError(f"--recipe {recipe}: {word}: expected --nms host, as boxes are added to the file afterwards")
    if recipe.patches == 1:
        return
    if (count := len(getattr(interface, "inputs", (interface,)))) > 1 or isinstance(interface, StreamInterface):
        raise UsageError(
            f"--recipe {recipe}: patches: expected a network with one input, this one has"
            f" {'states' if isinstance(interface, StreamInterface) else count}"
        )
    if recurrent := kernels.recurrent_layers(model):
        raise UsageError(
            f"--recipe {recipe}: patches: expected a network of convolutions, this one is recurrent"
            f" ({recurrent[0].name})"
        )
    if not any(isinstance(layer, _SPATIAL) for layer in layers_inside(model)):
        raise UsageError(
            f"--recipe {recipe}: patches: expected a network that begins with convolutions or pooling of pictures, this"
            " one has none"
        )


def _in_3d(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Conv3D | keras.layers.Conv3DTranspose)


@dataclass(frozen=True)
class Ranges:
    """Activation ranges from quantization-aware training.

    Args:
        points: Rounding points of the model.
        values: (lowest, highest) of each point, by name.
    """

    points: Points
    values: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Traced:
    """Names in a SavedModel.

    Args:
        scopes: Name scope in which each layer with weights was traced, by layer path.
        ranges: Trained range of each rounded tensor, by the name of the operation that computes it.
        in_float: Name scopes of the layers that stay in float32 in every file.
        float_ends: Whether an input is given to such a layer, and whether an output comes from one.
        float_outputs: Names of the outputs that come from such a layer.
        loops: Names of the loops.
    """

    scopes: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]
    in_float: tuple[str, ...] = ()
    float_ends: tuple[bool, bool] = (False, False)
    float_outputs: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()


def save(
    model: keras.Model,
    folder: Path,
    interface: AnyInterface,
    kernel: Kernel = "auto",
    probabilities: bool = True,
    ranges: Ranges | None = None,
) -> Traced:
    """Write a SavedModel, and return the names in it.

    Args:
        model: Built Keras model.
        folder: Folder of the SavedModel.
        interface: Inputs and outputs of the file.
        kernel: Export form of recurrent layers, as returned by `check`.
        probabilities: Whether to append a softmax to a classifier.
        ranges: Activation ranges from quantization-aware training.
    """
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    for layer in layers_inside(model):
        # A model would be traced once more, on the shapes it was built with; a layer that is not called is not built.
        if layer.built and not isinstance(layer, keras.Model):
            archive.track(layer)
    named: dict[str, tuple[float, float]] = {}
    ends, in_units, loops = [False], [], []

    def record(point: str, tensor: Any) -> Any:
        if point not in ranges.values:  # ranges that an earlier version trained
            return tensor
        for op in _same_values(tensor):
            named[op.name] = ranges.values[point]
            if op.type == "BiasAdd":  # the converter removes a bias of zeros
                named.setdefault(op.inputs[0].op.name, ranges.values[point])
        return tensor

    def computed(each: Endpoint) -> Callable:
        """The converter gives other names to the tensors that a file returns."""

        def compute(*inputs: Any) -> dict[str, Any]:
            made = each.compute(*inputs)
            graph = tf.compat.v1.get_default_graph()
            loops.extend(op.name for op in graph.get_operations() if op.type in ("While", "StatelessWhile"))
            ends[0] |= any(tensor is given for tensor in inputs for given in floats.given)
            in_units.extend(name for name, tensor in made.items() if any(tensor is output for output in floats.made))
            for name, tensor in made.items():
                found = next((op.name for op in _same_values(tensor) if op.name in named), None)
                if found is not None:
                    named[calibrated.OUTPUT + name] = named[found]
            return made

        return compute

    rounding = ranges.points.rounding(record) if ranges else contextlib.nullcontext()
    with kernels.using(model, kernel) as held, _recorded(model) as (scopes, floats), rounding:
        archive._tf_trackable.held = held
        for each in endpoints(interface, model, probabilities):
            signature = [tf.TensorSpec(shape, dtype, name) for name, shape, dtype in each.inputs]
            archive.add_endpoint(each.name, computed(each), input_signature=signature)
        archive.write_out(str(folder), verbose=False)
    float_ends = ends[0], bool(in_units)
    return Traced(scopes, named, tuple(floats.scopes), float_ends, tuple(in_units), tuple(loops))


def _same_values(tensor: Any) -> Iterator[Any]:
    """Yield the operation that computes a tensor, and if it only arranges values in another way, those before it."""
    op = tensor.op
    yield op
    while op.type in ARRANGING:  # the converter may remove or move them
        op = op.inputs[0].op
        yield op


@dataclass(frozen=True)
class _Floats:
    """What the layers that stay in float32 were traced with: their name scopes, and the tensors at their ends."""

    scopes: list[str] = field(default_factory=list)
    given: list[Any] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)


@contextlib.contextmanager
def _recorded(model: keras.Model) -> Iterator[tuple[dict[str, str], _Floats]]:
    """Record, while a model is traced, the name scope of every layer with weights, and the layers in float32."""
    import tensorflow as tf

    scopes: dict[str, str] = {}
    floats = _Floats()

    def recording(path: str, call: Callable) -> Callable:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            scopes[path] = tf.get_current_name_scope()
            return call(*args, **kwargs)

        return recorded

    def watching(call: Callable) -> Callable:
        def watched(*args: Any, **kwargs: Any) -> Any:
            floats.scopes.append(tf.get_current_name_scope())
            made = call(*args, **kwargs)
            floats.given.extend(keras.tree.flatten((args, kwargs)))
            floats.made.extend(keras.tree.flatten(made))
            return made

        return watched

    with contextlib.ExitStack() as undo:
        for path, layer in with_kernels(model).items():
            undo.enter_context(calling(layer, recording(path, layer.call)))
        for layer in in_float(model):
            undo.enter_context(calling(layer, watching(layer.call)))
        yield scopes, floats


@dataclass(frozen=True)
class Made:
    """How a file was made.

    Args:
        engine: Engine that was used.
        bits: Number of bits of every quantized weight, by the name of its tensor, if the engine is litert-quantizer.
        memory: What was done so that the file takes less memory, if anything.
    """

    engine: str
    bits: Mapping[str, int]
    memory: Memory | None = None

    def told(self) -> str:
        """Return which weights have int8 where others have int4, and what was done about memory; empty if nothing."""
        if self.memory:
            return self.memory.told()
        if len(set(self.bits.values())) < 2:
            return ""
        eight = [name.split(";")[0] for name, bits in self.bits.items() if bits == 8]
        return f"{len(self.bits) - len(eight)} layers have weights in int4, {len(eight)} in int8: {', '.join(eight)}"


def export(model: keras.Model, path: Path, recipe: Recipe, interface: AnyInterface, **options: Any) -> Made:
    """Write a model as a .tflite file, atomically, and return how it was made.

    Args:
        model: Built Keras 3 model with one input and one output, or a model of a task with several functions.
        path: Path of the file.
        recipe: Precision, layers to skip, and types of inputs and outputs.
        interface: Names, shapes and types of inputs and outputs.
        options: Keyword arguments of `export_each`.
    """
    return export_each(model, {path: recipe}, interface, **options)[path]


def export_each(
    model: keras.Model,
    files: Mapping[Path, Recipe],
    interface: AnyInterface,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    kernel: Kernel = "auto",
    probabilities: bool = True,
    metadata: Mapping[str, bytes] | None = None,
    ranges: Ranges | None = None,
    bare: bool = False,
    allow_flex: bool = False,
    seconds: float = ExportOptions.seconds,
) -> dict[Path, Made]:
    """Write a model as several .tflite files in one folder: traced once, converted in one child process.

    Args:
        model: Built Keras 3 model with one input and one output, or a model of a task with several functions.
        files: Recipe of each file, by path; all recipes with calibration, or none.
        interface: Names, shapes and types of inputs and outputs.
        calibration: Examples for recipes with calibration or learnt rounding, before quantization:
            (examples, *interface.given_shape). For text, a dictionary with `tokens` and, for models with a source,
            `source`, each as `rollout.rolled_out` takes it. For other files with several signatures, (examples, ...)
            by `SIGNATURE.INPUT`.
        kernel: Export form of recurrent layers; see `check`.
        probabilities: Whether to append a softmax to a classifier.
        metadata: Content of metadata entries to write, by name.
        ranges: Trained activation ranges that replace calibrated ones, for int8.
        bare: Whether to leave out metadata and the names of tensors.
        allow_flex: Whether to allow operators that need TensorFlow's kernels on the device.
        seconds: Time limit of all conversions.

    Returns:
        How each file was made, by path.

    Raises:
        UsageError: The recipe cannot be applied to this model, or needs Flex operators that are not allowed.
        Failed: The converter crashed, failed or exceeded its time limit.
    """
    (kernel,) = {check(model, recipe, interface, kernel) for recipe in files.values()}
    recipe, parent = next(iter(files.values())), next(iter(files)).parent
    needing = [each for each in files.values() if each.takes_examples]
    if needing and (calibration is None or not len(calibration)):
        raise UsageError(f"--recipe {needing[0]}: expected examples to calibrate with, received none")
    parent.mkdir(parents=True, exist_ok=True)
    metadata = {} if bare else metadata or {}
    with temporary.folder(parent) as folder:
        saved, examples = folder / "saved_model", folder / "examples.npz"
        traced = save(model, saved, interface, kernel, probabilities, ranges)
        if traced.loops and interface.functions is None and (found := [r for r in files.values() if r.calibrated]):
            raise UsageError(
                f"--recipe {found[0]}: {found[0].precision} of a loop crashes the TFLite converter, and this model has"
                f" one ({traced.loops[0]}); use dynamic or float16, or write its steps out"
            )
        if needing:
            one = not isinstance(calibration, Mapping)
            np.savez(examples, **({interface.name: calibration.astype(interface.given_dtype)} if one else calibration))
        job = {
            "saved_model": saved,
            "calibration": examples if needing else None,
            "batch": interface.batch,
            "allow_flex": allow_flex,
            "ranges": dict(traced.ranges),
            "functions": interface.functions,
            "rolled_out": interface.rolled_out,
            "files": [
                {
                    "output": folder / path.name,
                    "precision": each.precision,
                    "integer_io": each.integer_io and interface.functions is None,
                    "integer_input": interface.dtype == "float32" and not (interface.uint8 or traced.float_ends[0]),
                    "integer_output": not traced.float_ends[1],
                    "per_tensor": each.one_scale,
                    "equalize": each.equalize,
                    "best_ranges": each.ranges == "mse",
                    "correct_bias": each.correct_bias,
                    "rounding": each.rounding,
                    "mixed": each.mixed,
                    "bare": bare,
                    "reserved": sum(len(content) + _ENTRY for content in metadata.values()),
                    "in_float": [] if each.precision == "int16x8" else list(traced.in_float),
                    "float_outputs": list(traced.float_outputs),
                    "skip": [traced.scopes[layer] for layer in layer_paths(model, each.skip)],
                }
                for path, each in files.items()
            ],
        }
        try:
            results = child.run("compression.exporting.converter", job, seconds=seconds)
        except Failed as error:
            raise _explained(error, recipe, allow_flex) from None
        if refused := results[0].get("refused"):
            raise UsageError(f"--recipe {recipe}: {refused}")
        memory: dict[Path, Memory | None] = {}
        for path in files:
            made = folder / path.name
            needed = flatbuffer.flex(flatbuffer.read(made))
            if needed and not allow_flex:
                raise UsageError(_flex_sentence(needed))
            if interface.rolled_out:
                tie(made)
            if files[path].one_scale:
                scales.repeat(made)
            if files[path].precision in ("int8", "int16x8"):
                scales.own_biases(made)
                scales.own_one_hot(made)
            saves = files[path].saves_memory
            if files[path].precision == "int8" and files[path].unfold and not saves:
                unfold(made)
            memory[path] = choosing.fit(made, files[path]) if saves else None
            if not saves:
                choosing.arrange(made)
            for name, content in metadata.items():
                flatbuffer.add_metadata(made, name, content)
            slim(made, names=not bare)
            size, most = made.stat().st_size, files[path].mixed
            if most and size > most:
                raise Failed(f"--recipe {recipe}: expected at most {most:,} bytes, the file has {size:,}")
            publish(made, path)
    return {path: Made(**result, memory=memory[path]) for path, result in zip(files, results, strict=True)}


def _explained(error: Failed, recipe: Recipe, allow_flex: bool) -> Exception:
    names = _NEEDS_FLEX.findall(str(error))
    if names and allow_flex:
        return UsageError(f"this model needs operators that no TFLite file can hold: {', '.join(sorted(set(names)))}")
    if names:
        return UsageError(_flex_sentence(sorted({f"Flex{name}" for name in names})))
    return Failed(f"--recipe {recipe}: the conversion failed: {str(error)[:500]}")


def _flex_sentence(names: Sequence[str]) -> str:
    return (
        f"this model needs operators that TFLite lacks ({', '.join(names)}); allow them with --allow-flex and ship"
        " TensorFlow's kernels (the Flex delegate) with the app"
    )
