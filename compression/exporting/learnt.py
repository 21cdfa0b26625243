"""Learn how the weights of a float .tflite file are rounded, from the inputs that calibration examples give each layer.

Layers are rounded in the order in which they run, so that each compensates for the errors of those before it: the
target of a layer are its outputs in the float file, and its inputs are those in the file that is rounded so far. No
labels are used, and the same examples and seed give the same file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.exporting import tapping
from compression.exporting.tapping import Calls
from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.rounding import nearest, rounded
from compression.flatbuffers.weights import Operators, Weights
from zoo.console import progress

# Operators that LiteRT runs with int4 weights; the others have few weights, or no such kernel, and get int8.
FOUR_BITS = (Operators.FULLY_CONNECTED, Operators.CONV_2D)
# Share of the weights of int4 layers that may stay in int8 in a file without a budget: the first and the last layer of
# a small network are among them, and lose most. They are a small part of a large network, which gets no more bytes.
SPARE, MOST_SPARE = 0.035, 100_000
# Largest number of patches of one example, of runs over all examples, and of examples that measure sensitivity.
PATCHES, RUNS, FEW = 64, 16, 32
# Number of weights above which half as many runs have to do.
_LARGE = 1_000_000
_AT_A_TIME = 2048  # patches
# Ends of activation functions that cut off, and what still counts beyond them, as a share of the outputs' deviation.
_ENDS = {
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
}
_NEAR, _CUT_OFF = 0.1, 0.05
_DAMPING = 0.01  # share of the mean second moment that is added to the diagonal, as in GPTQ
# The same where weights are changed to make up for the errors of earlier layers: with less, few examples are learnt by
# heart (EfficientNet-Lite0 in int4, 64 examples, divergence from the float file: 1.76 with 0.01, 0.76 with 1, 0.68 with
# 4, 1.36 without any change).
_TRUST = 4.0


@dataclass(frozen=True)
class Rounded:
    """Rounded weights of a layer.

    Args:
        weights: Place of the weights.
        bits: 4 or 8.
        integers: Integers in the tensor's shape.
        scales: (rows,) Scale of each output channel; one if all share it.
    """

    weights: Weights
    bits: int
    integers: np.ndarray
    scales: np.ndarray


@dataclass
class Moments:
    """Sums over patches of a layer's inputs, in the rounded file (x) and in the float file (y).

    A depthwise or grouped convolution has them for each row, of the patches that its activation function lets through.
    """

    xx: np.ndarray | float = 0.0
    xy: np.ndarray | float = 0.0
    x: np.ndarray | float = 0.0
    y: np.ndarray | float = 0.0
    count: np.ndarray | float = 0.0
    waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, x: np.ndarray, y: np.ndarray, passed: np.ndarray | None = None) -> None:
        """Add patches; they are summed many at a time.

        Args:
            x: (patches, columns) or (rows, patches, columns) Inputs in the rounded file.
            y: Inputs in the float file, in the same shape.
            passed: (rows, patches) How much patches count, from 0 to 1; all count by default.
        """
        share = np.ones(x.shape[-2], np.float32) if passed is None else passed
        self.count = self.count + share.sum(-1, dtype=np.float64)
        self.waiting.append((x, y, share))
        if sum(each.shape[-2] for each, _, _ in self.waiting) >= _AT_A_TIME:
            self.sum()

    def sum(self) -> None:
        """Sum what was added."""
        if self.waiting:
            x, y = (np.concatenate([each[part] for each in self.waiting], -2) for part in (0, 1))
            share = np.concatenate([each[2] for each in self.waiting], -1)[..., None]
            transposed = np.swapaxes(x * share, -1, -2)
            self.xx = self.xx + (transposed @ x).astype(np.float64)
            self.xy = self.xy + (transposed @ y).astype(np.float64)
            self.x = self.x + (x * share).sum(-2, dtype=np.float64)
            self.y = self.y + (y * share).sum(-2, dtype=np.float64)
            self.waiting = []


def learnt(
    model: schema.ModelT,
    calls: Calls,
    bits: Mapping[tuple[int, int], int],
    *,
    per_tensor: bool = False,
    seed: int = 0,
) -> tuple[schema.ModelT, list[Rounded]]:
    """Round the weights of a file.

    Args:
        model: Float file; it stays as it is.
        calls: Function that returns an iterator of the calibration examples.
        bits: Number of bits of the weights that are rounded, by their place.
        per_tensor: Whether all rows of a layer share one scale.
        seed: Random seed of the choice of patches.

    Returns:
        The float file with rounded weights and corrected biases, and the rounded weights.
    """
    layers = [found for found in weights.find(model) if found.place in bits]
    current, made = flatbuffer.parse(flatbuffer.pack(model), "the float file"), []
    runs = RUNS if sum(found.size for found in layers) <= _LARGE else RUNS // 2
    size = max(-(-len(layers) // runs), 1)
    for number, begin in enumerate(range(0, len(layers), size)):
        part = layers[begin : begin + size]
        moments = _moments(model, current, part, calls, seed + number)
        for found in part:
            progress.part(len(made), len(layers), "rounding, layers")
            made.append(_round(model, current, found, moments[found.place], bits[found.place], per_tensor))
    return current, made


def chosen_bits(
    model: schema.ModelT, calls: Calls, candidates: Sequence[Weights], spare: float, *, per_tensor: bool, seed: int = 0
) -> dict[tuple[int, int], int]:
    """Return 4 or 8 bits for each layer: 8 where they help the outputs most per byte, while they fit.

    The help is measured: the squared error of the outputs, before a softmax, when this layer alone has 4 bits.

    Args:
        model: Float file.
        calls: Function that returns an iterator of the calibration examples.
        candidates: Layers that can have 4 bits.
        spare: Number of bytes that the file may grow by, from 4 bits in every layer.
        per_tensor: Whether all rows of a layer share one scale.
        seed: Random seed of the choice of patches.
    """
    bits = {found.place: 4 for found in candidates}
    fitting = [found for found in candidates if found.size // 2 <= spare]
    if not fitting:
        return bits

    def few() -> Iterator[tapping.Call]:
        for _, call in zip(range(FEW), calls(), strict=False):
            yield call

    harm = _harm(model, few, fitting, per_tensor, seed)
    for found in sorted(fitting, key=lambda each: -harm[each.place] / each.size):
        if found.size // 2 <= spare:
            bits[found.place] = 8
            spare -= found.size // 2
    return bits


def _harm(
    model: schema.ModelT, calls: Calls, layers: Sequence[Weights], per_tensor: bool, seed: int
) -> dict[tuple[int, int], float]:
    """Return the mean squared error of the outputs, relative to their variance, when one layer alone has 4 bits."""
    current = flatbuffer.parse(flatbuffer.pack(model), "the float file")
    moments = _moments(model, model, layers, calls, seed)
    ends = {
        int(found.subgraphIndex): tapping.before_softmax(model, found.subgraphIndex) for found in model.signatureDefs
    }
    expected = list(tapping.run(model, calls, ends))
    harm = {}
    for number, found in enumerate(layers):
        progress.part(number, len(layers), "bits, layers")
        before = {
            t: current.subgraphs[found.graph].tensors[t].buffer for t in (found.tensor, found.bias) if t is not None
        }
        _round(model, current, found, moments[found.place], 4, per_tensor, nearest)
        error = variance = 0.0
        for (_, made), (_, right) in zip(tapping.run(current, calls, ends), expected, strict=True):
            for tensor, values in right.items():
                error += float(np.square(made[tensor].astype(np.float64) - values).mean())
                variance += float(values.astype(np.float64).var())
        harm[found.place] = error / max(variance, 1e-30)
        for tensor, buffer in before.items():
            current.subgraphs[found.graph].tensors[tensor].buffer = buffer
        del current.buffers[len(model.buffers) :]
    return harm


def _moments(
    model: schema.ModelT, current: schema.ModelT, layers: Sequence[Weights], calls: Calls, seed: int
) -> dict[tuple[int, int], Moments]:
    """Return the moments of the inputs of layers, over all calls."""
    found = {each.place: Moments() for each in layers}
    wanted: dict[int, set[int]] = {}
    for each in layers:
        wanted.setdefault(each.graph, set()).update(each.inputs(model))
    generator = np.random.default_rng(seed)
    same = model is current
    exact = tapping.run(model, calls, wanted)
    rounding = exact if same else tapping.run(current, calls, wanted)
    for graph, right in exact:
        given = right if same else next(rounding)[1]
        for each in layers:
            if each.graph != graph:
                continue
            for reader, tensor in zip(each.readers, each.inputs(model), strict=True):
                choice = int(generator.integers(1 << 31))
                x, y = (
                    each.patches(model, reader, values[tensor], PATCHES, np.random.default_rng(choice))
                    for values in (given, right)
                )
                found[each.place].add(x, y, _counted(model, each, reader, y))
    for sums in found.values():
        sums.sum()
    return found


def passed(model: schema.ModelT, layer: Weights, reader: int, made: np.ndarray) -> np.ndarray:
    """Return how much an error of each output counts: little where ReLU or ReLU6 cuts it off.

    Args:
        model: Float file.
        layer: Layer.
        reader: Index of its operator.
        made: (rows, patches) Outputs before the activation function.

    Returns:
        (rows, patches) 1, or less where an error changes nothing.
    """
    operator = model.subgraphs[layer.graph].operators[reader]
    low, high = _ENDS.get(operator.builtinOptions.fusedActivationFunction, (-np.inf, np.inf))
    near = _NEAR * made.std(1, keepdims=True)
    return np.where((made > low - near) & (made < high + near), 1.0, _CUT_OFF).astype(np.float32)


def _counted(model: schema.ModelT, layer: Weights, reader: int, y: np.ndarray) -> np.ndarray | None:
    """Return how much patches of a layer count, (rows, patches), or None if it has no patches for each row.

    Args:
        model: Float file.
        layer: Layer.
        reader: Index of its operator.
        y: Patches of its inputs.
    """
    if y.ndim == 2:
        return None
    made = np.einsum("rpc,rc->rp", y, layer.matrix(weights.constant(model, layer.graph, layer.tensor)))
    if layer.bias is not None:
        made += weights.constant(model, layer.graph, layer.bias)[:, None]
    return passed(model, layer, reader, made)


def _round(
    model: schema.ModelT,
    current: schema.ModelT,
    layer: Weights,
    sums: Moments,
    bits: int,
    per_tensor: bool,
    method: Callable[..., tuple[np.ndarray, np.ndarray]] = rounded,
) -> Rounded:
    """Round a layer, and write its weights and its bias into the current file."""
    exact = layer.matrix(weights.constant(model, layer.graph, layer.tensor)).astype(np.float64)
    columns, most = exact.shape[1], 2 ** (bits - 1) - 1
    bias = None if layer.bias is None else weights.constant(model, layer.graph, layer.bias)
    if np.any(sums.count):
        count = np.maximum(sums.count, 1.0)
        xx, xy = (value / count[..., None, None] for value in (sums.xx, sums.xy))
        x, y = (value / count[..., None] for value in (sums.x, sums.y))
        if bias is not None:  # the bias takes up the means, so that only deviations from them count
            xx, xy = xx - x[..., :, None] * x[..., None, :], xy - x[..., :, None] * y[..., None, :]
        mean = (np.trace(xx, axis1=-2, axis2=-1) / columns + 1e-9)[..., None, None] * np.eye(columns)
        target = _target(xx + _TRUST * mean, xy + _TRUST * mean, exact)
        xx = xx + _DAMPING * mean
    else:  # the body of a loop, whose inputs no call shows
        xx, x, y, target, bias = np.eye(columns), 0.0, 0.0, exact, None
    integers, scales = method(target, xx, most, shared=per_tensor, zeros=exact == 0)
    values = integers * scales[:, None]
    weights.replace(current, layer.graph, layer.tensor, layer.arranged(values))
    if bias is not None:
        weights.replace(current, layer.graph, layer.bias, bias + (exact * y).sum(-1) - (values * x).sum(-1))
    return Rounded(layer, bits, layer.arranged(integers), scales[:1] if per_tensor else scales)


def _target(xx: np.ndarray, xy: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the weights that give most nearly the outputs of the float file from the inputs of the rounded one."""
    if xx.ndim == 2:
        return np.linalg.solve(xx, xy @ exact.T).T
    return np.linalg.solve(xx, xy @ exact[..., None])[..., 0]
