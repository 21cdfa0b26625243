"""How far each layer of a file is from the same layer of its model in float32, on a few examples."""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.exporting.endpoints import endpoints
from compression.flatbuffers import flatbuffer
from compression.receipts.subject import OutputSubject
from compression.runtime import litert
from compression.surgery.layers import RECURRENT, paths, with_kernels
from zoo.console.errors import Failed
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of as layers_inside

# Examples that layers are compared on. With more, the figures hardly move; the time is that of this many calls.
EXAMPLES = 8
# Values that the model and the file may hold for them, each: 256 MiB in float32.
MOST_VALUES = 2**26
# Name of what the file gives, where its function has more than the model, such as a softmax.
OUTPUT = "(output)"


@dataclass(frozen=True)
class _Output:
    """Output of a call of a layer, or of the model.

    Args:
        path: Path of the layer.
        call: Number of the call among those of all layers.
        place: Place in the flattened output of the call.
        values: (examples, ...) Values.
    """

    path: str
    call: int
    place: int
    values: np.ndarray


def measure(path: Path, subject: OutputSubject, batch: int) -> dict[str, Any]:
    """Compare the outputs of the layers of a file with those of its model in float32.

    An operator is compared with the layer whose name it has, and whose output has its shape. Layers that the converter
    fused are one operator, compared with the last of them. The error is the root-mean-square of the difference,
    relative to that of the layer's output in float32: `error` with all that came before in the file, `own_error` of
    this layer alone, whose output in float32 is computed from what the file gives to it.

    Args:
        path: Path of the file.
        subject: Model with the weights of the file, and examples.
        batch: Batch size of the file; the examples that do not fill a batch are left out.

    Returns:
        examples, layers (layer, to, the last layer of a fused operator, operator, error and own_error, in the order of
        the file), and unmatched, the number of
        operators without such a layer; or left_out, the reason why nothing was compared.
    """
    inputs = subject.inputs()
    count = min(len(next(iter(inputs.values()))), max(EXAMPLES, batch)) // batch * batch
    if not count:
        return {"left_out": f"expected {batch} examples for a batch of the file, there are fewer"}
    model = flatbuffer.read(path)
    if len(flatbuffer.signatures(model)) > 1:
        return {"left_out": "the file has several functions"}
    given = {name: np.asarray(array[:count]) for name, array in inputs.items()}
    held, nodes = flatbuffer.tensors(model)[0], flatbuffer.nodes(model)[0]
    real = {i for i, each in enumerate(held) if each["type"].startswith("float") or _has_one_scale(model, i)}
    made = {i: operator for operator, _, outputs in nodes for i in outputs if i in real}
    if count * sum(math.prod(_shape(model, i)) for i in made) > MOST_VALUES:
        return {"left_out": "the outputs of its layers are too large"}
    try:
        found = litert.tensors(path, given if len(given) > 1 else {"": next(iter(given.values()))}, list(made))
    except Failed as error:
        return {"left_out": str(error)}
    watch = _Watch(subject, given)
    pairs = _paired(found, {i: _layers_in(held[i]["name"]) for i in made}, watch.outputs())
    own = watch.outputs({(theirs.call, theirs.place): found[i] for i, theirs in pairs.items()})
    alone = {(each.call, each.place): each.values for each in own}
    return {
        "examples": count,
        "layers": [
            {
                **watch.named(held[i]["name"], theirs.path),
                "operator": made[i],
                "error": _error(found[i], theirs.values),
                "own_error": _error(found[i], alone[theirs.call, theirs.place]),
            }
            for i, theirs in sorted(pairs.items(), key=lambda pair: list(made).index(pair[0]))
        ],
        "unmatched": len(made) - len(pairs),
    }


def _has_one_scale(model: Any, tensor: int) -> bool:
    quantization = model.subgraphs[0].tensors[tensor].quantization
    return quantization is not None and quantization.scale is not None and len(quantization.scale) == 1


def _shape(model: Any, tensor: int) -> list[int]:
    shape = model.subgraphs[0].tensors[tensor].shape
    return [] if shape is None else [int(size) for size in shape]


class _Watch:
    """The outputs of the layers of a model for some examples.

    Args:
        subject: Model, and how a file of it is called.
        given: Inputs of the file by name.
    """

    def __init__(self, subject: OutputSubject, given: Mapping[str, np.ndarray]):
        (endpoint,) = endpoints(subject.interface, subject.model, subject.probabilities)
        self.compute = endpoint.compute
        self.tensors = [keras.ops.convert_to_tensor(given[name]) for name, *_ in endpoint.inputs]
        self.kernels = set(with_kernels(subject.model))
        inside = {id(each) for layer in layers_inside(subject.model) if isinstance(layer, RECURRENT)
                  for each in layers_inside(layer)}  # fmt: skip
        self.layers = {name: layer for name, layer in paths(subject.model).items() if id(layer) not in inside}

    def named(self, tensor: str, path: str) -> dict[str, str]:
        """Return the layer with the kernel of an operator, and the last of the layers that it was fused with, if any.

        Args:
            tensor: Name of the operator's output, which has those of the fused layers.
            path: Path of the layer that it is the output of.
        """
        fused = self.kernels & _layers_in(tensor) if path not in self.kernels else ()
        return {"layer": max(fused, key=len), "to": path} if fused else {"layer": path}

    def outputs(self, instead: Mapping[tuple[int, int], np.ndarray] | None = None) -> list[_Output]:
        """Return the outputs of all calls of layers, and last those of the file's function.

        Args:
            instead: Values that the readers of an output get in its place, by the number of the call and the place.
        """
        seen: list[_Output] = []
        count = 0

        def watched(path: str, compute: Callable) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                output = compute(*args, **kwargs)
                number, count = count, count + 1
                flat = keras.tree.flatten(output)
                for place, each in enumerate(flat):
                    if keras.ops.is_tensor(each) and keras.backend.is_float_dtype(each.dtype):
                        seen.append(_Output(path, number, place, keras.ops.convert_to_numpy(each)))
                        if instead and (values := instead.get((number, place))) is not None:
                            flat[place] = keras.ops.cast(np.reshape(values, each.shape), each.dtype)
                return keras.tree.pack_sequence_as(output, flat)

            return call

        with contextlib.ExitStack() as undo:
            for path, layer in self.layers.items():
                undo.enter_context(calling(layer, watched(path, layer.call)))
            ends = self.compute(*self.tensors)
        for place, each in enumerate(ends.values()):
            if keras.backend.is_float_dtype(each.dtype):
                seen.append(_Output(OUTPUT, count, place, keras.ops.convert_to_numpy(each)))
        return seen


def _layers_in(name: str) -> set[str]:
    """Return the paths of the layers that a tensor's name may stand for, and of those around them.

    The first part of a name is the model, the last one the operation. Tracing appends a number to every part; a layer
    may have a number of its own.
    """
    found = set()
    for each in name.split(";"):
        parts = each.split("/")[1:-1]
        for form in (parts, [re.sub(r"_\d+$", "", part) for part in parts]):
            found |= {"/".join(form[: end + 1]) for end in range(len(form))}
    return found


def _paired(
    found: Mapping[int, np.ndarray], names: Mapping[int, Collection[str]], outputs: Sequence[_Output]
) -> dict[int, _Output]:
    """Return for each tensor of a file the output of a layer that it is; none for a tensor that is none.

    A fused operator has the names of several layers, and several operators have the name of one layer. Those are paired
    that differ less from each other than each of them from all others.
    """
    nearest: dict[int, tuple[float, _Output]] = {}
    closest: dict[tuple[int, int], tuple[float, int]] = {}
    for i, values in found.items():
        for each in outputs:
            if _may_be(values, names[i], each):
                error, place = _error(values, each.values), (each.call, each.place)
                if i not in nearest or error < nearest[i][0]:
                    nearest[i] = error, each
                if place not in closest or error < closest[place][0]:
                    closest[place] = error, i
    return {i: each for i, (_, each) in nearest.items() if closest[each.call, each.place][1] == i}


def _may_be(values: np.ndarray, names: Collection[str], output: _Output) -> bool:
    named = output.path == OUTPUT or re.sub(r"#\d+", "", output.path) in names
    return named and _sizes(values.shape) == _sizes(output.values.shape)


def _sizes(shape: Sequence[int]) -> list[int]:
    """Return a shape without sizes of 1, which the converter adds and removes."""
    return [size for size in shape if size != 1]


def _error(values: np.ndarray, expected: np.ndarray) -> float:
    """Return the root-mean-square of the difference, relative to that of the expected values."""
    expected = expected.reshape(values.shape).astype(np.float64)
    difference, size = (float(np.sqrt(np.mean(np.square(each)))) for each in (values - expected, expected))
    return difference / size if size else float(difference > 0)
