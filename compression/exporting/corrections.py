"""Ranges of activations and biases of int8 files, from calibration examples. Runs in the conversion's child process."""

from collections.abc import Iterator, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.exporting import tapping
from compression.exporting.learnt import PATCHES, Rounded, passed
from compression.exporting.tapping import Calls
from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.ranges import BINS, best_range
from compression.flatbuffers.weights import Operators, Weights

# Operators of TensorFlow Lite that may write their output over an input.
_IN_PLACE = (
    *(Operators.ADD, Operators.SUB, Operators.MUL, Operators.DIV, Operators.FLOOR_DIV, Operators.SQUARED_DIFFERENCE),
    *(Operators.MAXIMUM, Operators.MINIMUM, Operators.RESHAPE, Operators.SQUEEZE, Operators.EXPAND_DIMS),
    *(Operators.BITCAST, Operators.SOFTMAX, Operators.DYNAMIC_UPDATE_SLICE),
)
_ROUNDING = 1e-3  # share of a range that other kernels may differ by


def set_true_ranges(model: schema.ModelT, calls: Calls) -> int:
    """Replace the ranges of activations that the calibrator may have recorded after they were overwritten.

    It records the inputs of an operator after running it, when an operator that works in place has written its result
    over them: the inputs of a sum get the range of the sum as well. Tensors that are outputs of a file are never
    overwritten.

    Args:
        model: Calibrated float file, changed in place.
        calls: Function that returns an iterator of the calibration examples.

    Returns:
        Number of ranges that became smaller.
    """
    ends: dict[tuple[int, int], tuple[float, float]] = {}
    for place, value in _values(model, calls, {number: set(_overwritten(model, number)) for number in _served(model)}):
        low, high = ends.get(place, (np.inf, -np.inf))
        ends[place] = min(low, float(value.min())), max(high, float(value.max()))
    changed = 0
    for (number, tensor), (low, high) in ends.items():
        quantization = model.subgraphs[number].tensors[tensor].quantization
        wider = max(low - quantization.min[0], quantization.max[0] - high)
        if wider > _ROUNDING * (high - low):
            quantization.min, quantization.max = np.float32([low]), np.float32([high])
            changed += 1
    return changed


def _served(model: schema.ModelT) -> set[int]:
    """Return the indices of the graphs that have a signature, which are the ones that can be run."""
    return {int(found.subgraphIndex) for found in model.signatureDefs}


def _values(
    model: schema.ModelT, calls: Calls, wanted: dict[int, set[int]]
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield the values of tensors in every call, each with the index of its graph and of the tensor."""
    for number, values in tapping.run(model, calls, wanted) if any(wanted.values()) else ():
        for tensor, value in values.items():
            yield (number, tensor), value


def _overwritten(model: schema.ModelT, number: int) -> Iterator[int]:
    """Yield the calibrated tensors of a graph that operators read which may work in place."""
    graph = model.subgraphs[number]
    given = {int(i) for i in graph.inputs}
    for operator in graph.operators or ():
        if flatbuffer.code(model, operator) in _IN_PLACE:
            for tensor in {int(i) for i in operator.inputs} - given - {-1}:
                if _calibrated(model, graph.tensors[tensor]):
                    yield tensor


def set_best_ranges(model: schema.ModelT, calls: Calls) -> int:
    """Replace the smallest and largest value of every activation by the range with the least squared error.

    Args:
        model: Calibrated float file, changed in place.
        calls: Function that returns an iterator of the calibration examples.

    Returns:
        Number of ranges that became smaller.
    """
    ends = {
        number: {
            t: (float(tensor.quantization.min[0]), float(tensor.quantization.max[0]))
            for t, tensor in enumerate(model.subgraphs[number].tensors)
            if _calibrated(model, tensor)
        }
        for number in _served(model)
    }
    counts = {(number, t): np.zeros(BINS) for number, found in ends.items() for t in found}
    for (number, tensor), value in _values(model, calls, {number: set(found) for number, found in ends.items()}):
        counts[number, tensor] += np.histogram(value, BINS, ends[number][tensor])[0]
    changed = 0
    for (number, tensor), found in counts.items():
        low, high = ends[number][tensor]
        if not found.any():
            continue
        best = best_range(found, np.linspace(low, high, BINS + 1))
        quantization = model.subgraphs[number].tensors[tensor].quantization
        quantization.min, quantization.max = np.float32([best[0]]), np.float32([best[1]])
        changed += best != (min(low, 0.0), max(high, 0.0))
    return changed


def _calibrated(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    found = tensor.quantization
    known = tensor.type == schema.TensorType.FLOAT32 and found is not None and found.min is not None
    return known and model.buffers[tensor.buffer].data is None and len(found.min) == 1 and found.min[0] < found.max[0]


def correct_biases(model: schema.ModelT, integer: schema.ModelT, calls: Calls, seed: int = 0) -> int:
    """Correct the biases of an int8 file, so that rounded weights shift no output on average (Nagel et al., 2019).

    Rounded weights W' shift the outputs by E[(W' - W) x]. Outputs that ReLU or ReLU6 cuts off count little, because
    there a shift changes nothing. The inputs x are those of the float file: with corrected layers before it, those of a
    layer are not shifted either.

    Args:
        model: Float file that the integer file was made from.
        integer: File in int8, changed in place.
        calls: Function that returns an iterator of the calibration examples, in float.
        seed: Random seed of the choice of patches.

    Returns:
        Number of layers that were corrected.
    """
    layers = [(found, reader) for found, reader in _both(model, integer) if found.bias is not None]
    wanted: dict[int, set[int]] = {}
    errors, sums, counts = [], [0.0] * len(layers), [0.0] * len(layers)
    for found, reader in layers:
        wanted.setdefault(found.graph, set()).add(found.inputs(model)[0])
        graph = integer.subgraphs[found.graph]
        kernel = graph.tensors[graph.operators[reader].inputs[weights.PLACES[found.code][1]]]
        errors.append(_dequantized(integer, found, kernel) - _kernel(model, found))
    generator = np.random.default_rng(seed)
    for graph, values in tapping.run(model, calls, wanted):
        for number, (found, _) in enumerate(layers):
            if found.graph != graph:
                continue
            x = found.patches(model, found.readers[0], values[found.inputs(model)[0]], PATCHES, generator)
            made = _products(_kernel(model, found), x) + weights.constant(model, graph, found.bias)[:, None]
            share = passed(model, found, found.readers[0], made)
            sums[number] = sums[number] + (share * _products(errors[number], x)).sum(1)
            counts[number] = counts[number] + share.sum(1)
    for number, (found, reader) in enumerate(layers):
        graph = integer.subgraphs[found.graph]
        added = graph.tensors[graph.operators[reader].inputs[weights.PLACES[found.code][2]]]
        shift = sums[number] / np.maximum(counts[number], 1e-9)
        _set_bias(integer, added, weights.constant(model, found.graph, found.bias) - shift)
    return len(layers)


def _products(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the products of a layer's rows and patches, (rows, patches)."""
    return np.einsum("rpc,rc->rp", x, matrix) if x.ndim == 3 else matrix @ x.T


def _set_bias(integer: schema.ModelT, bias: schema.TensorT, values: np.ndarray) -> None:
    steps = np.rint(values / np.asarray(bias.quantization.scale, np.float64)).clip(-(2**31), 2**31 - 1)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(steps.astype(np.int32).tobytes(), np.uint8)
    bias.buffer = len(integer.buffers)
    integer.buffers.append(buffer)


def store_rounded(model: schema.ModelT, integer: schema.ModelT, made: Sequence[Rounded]) -> int:
    """Write learnt integers and scales into an int8 file that was made from a float file with these weights.

    Args:
        model: Float file with the rounded weights and corrected biases.
        integer: File in int8, changed in place.
        made: Rounded weights.

    Returns:
        Number of layers that were written. The others, which the converter has fused or given one scale, keep the
        converter's nearest rounding of the rounded weights.
    """
    rounded, count = {each.weights.place: each for each in made}, 0
    for found, reader in _both(model, integer):
        each = rounded.get(found.place)
        graph = integer.subgraphs[found.graph]
        inputs, (place, kernel, bias) = graph.operators[reader].inputs, weights.PLACES[found.code]
        scales = graph.tensors[inputs[kernel]].quantization.scale
        if each is None or len(scales) != len(each.scales) or len(found.readers) > 1:
            continue
        weights.store_integers(integer, found.graph, int(inputs[kernel]), each.integers, each.scales, 8)
        if len(inputs) > bias and inputs[bias] != -1:
            added, given = graph.tensors[inputs[bias]], graph.tensors[inputs[place]].quantization.scale[0]
            before = np.frombuffer(bytes(np.asarray(integer.buffers[added.buffer].data, np.uint8)), np.int32)
            values = before * np.asarray(added.quantization.scale, np.float64)
            if found.bias is not None:
                values = weights.constant(model, found.graph, found.bias)
            added.quantization.scale = np.asarray(each.scales * given, np.float32)
            _set_bias(integer, added, values)
        count += 1
    return count


def _kernel(model: schema.ModelT, found: Weights) -> np.ndarray:
    return found.matrix(weights.constant(model, found.graph, found.tensor)).astype(np.float64)


def _dequantized(integer: schema.ModelT, found: Weights, kernel: schema.TensorT) -> np.ndarray:
    values = np.asarray(integer.buffers[kernel.buffer].data, np.uint8).view(np.int8).reshape(kernel.shape)
    return found.matrix(values) * np.asarray(kernel.quantization.scale, np.float64)[:, None]


def _both(model: schema.ModelT, integer: schema.ModelT) -> Iterator[tuple[Weights, int]]:
    """Yield layers of the float file, and the operator of the integer file that computes the same."""
    places: dict[tuple[int, int, bytes], list[int]] = {}
    for number, graph in enumerate(integer.subgraphs):
        for index, operator in enumerate(graph.operators or ()):
            key = number, flatbuffer.code(integer, operator), graph.tensors[operator.outputs[0]].name
            places.setdefault(key, []).append(index)
    for found in weights.find(model):
        graph = model.subgraphs[found.graph]
        name = graph.tensors[graph.operators[found.readers[0]].outputs[0]].name
        same = places.get((found.graph, found.code, name), [])
        if len(same) == 1 and _in_int8(integer, found, same[0]):
            yield found, same[0]


def _in_int8(integer: schema.ModelT, found: Weights, index: int) -> bool:
    graph = integer.subgraphs[found.graph]
    inputs, (given, kernel, bias), kinds = graph.operators[index].inputs, weights.PLACES[found.code], schema.TensorType
    if graph.tensors[inputs[given]].type != kinds.INT8 or graph.tensors[inputs[kernel]].type != kinds.INT8:
        return False
    if found.bias is not None and (len(inputs) <= bias or graph.tensors[inputs[bias]].type != kinds.INT32):
        return False
    return [*graph.tensors[inputs[kernel]].shape] == [*found.shape]
