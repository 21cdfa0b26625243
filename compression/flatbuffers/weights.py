"""Weights of the operators of a float .tflite file, as matrices, and the inputs that each of their rows is applied to.

The matrix of a layer has a row per output channel. A row is multiplied by a patch of the input: by the whole input of a
fully connected layer, or by the window of a convolution. In a depthwise convolution and in one of several groups of
channels, each row has patches of its own.
"""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer

Operators = schema.BuiltinOperator
# Places of the input, the weights and the bias among an operator's inputs.
PLACES = {
    Operators.FULLY_CONNECTED: (0, 1, 2),
    Operators.CONV_2D: (0, 1, 2),
    Operators.DEPTHWISE_CONV_2D: (0, 1, 2),
    Operators.TRANSPOSE_CONV: (2, 1, 3),
}


@dataclass(frozen=True)
class Weights:
    """Weights of one or several operators of a graph.

    Args:
        graph: Index of the graph.
        tensor: Index of the weights' tensor in the graph.
        bias: Index of the bias's tensor, None without a bias that is a constant of one operator alone.
        readers: Indices of the operators that read the weights.
        code: Operator code.
        shape: Shape of the tensor.
    """

    graph: int
    tensor: int
    bias: int | None
    readers: tuple[int, ...]
    code: int
    shape: tuple[int, ...]

    @property
    def place(self) -> tuple[int, int]:
        """Index of the graph and of the tensor, by which these weights are known."""
        return self.graph, self.tensor

    @property
    def depthwise(self) -> bool:
        return self.code == Operators.DEPTHWISE_CONV_2D

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape))

    def inputs(self, model: schema.ModelT) -> list[int]:
        """Return the tensor that each reader multiplies by the weights."""
        operators = model.subgraphs[self.graph].operators
        return [int(operators[reader].inputs[PLACES[self.code][0]]) for reader in self.readers]

    def matrix(self, tensor: np.ndarray) -> np.ndarray:
        """Return the matrix (rows, columns) of a tensor of this shape."""
        return tensor.reshape(-1, self.shape[-1]).T if self.depthwise else tensor.reshape(self.shape[0], -1)

    def arranged(self, matrix: np.ndarray) -> np.ndarray:
        """Return the tensor of a matrix."""
        return (matrix.T if self.depthwise else matrix).reshape(self.shape)

    def patches(
        self, model: schema.ModelT, reader: int, x: np.ndarray, most: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Return inputs of the rows of the matrix.

        Args:
            model: File.
            reader: Index of the operator.
            x: Input of the operator.
            most: Largest number of patches, chosen at random among those of x.
            generator: Random generator of the choice; calls with equal ones choose equal places.

        Returns:
            (patches, columns), or (rows, patches, columns) where the rows have patches of their own.
        """
        if self.code == Operators.FULLY_CONNECTED:
            return _chosen(x.reshape(-1, self.shape[-1]), most, generator)
        graph = model.subgraphs[self.graph]
        options = graph.operators[reader].builtinOptions
        made = graph.tensors[graph.operators[reader].outputs[0]].shape[1:3]
        windows = self._windows(x, options, made)  # (examples, height, width, channels, rows, columns)
        if self.depthwise:
            multiplier = self.shape[-1] // x.shape[-1]
            found = _chosen(windows, most, generator)
            found = np.repeat(found.reshape(*found.shape[:2], -1), multiplier, 1)
            return found.transpose(1, 0, 2)
        found = _chosen(windows, most, generator).transpose(0, 2, 3, 1)
        groups = found.shape[-1] // self.shape[-1]
        if groups == 1:
            return found.reshape(len(found), -1)
        parts = [part.reshape(len(found), -1) for part in np.split(found, groups, -1)]
        return np.repeat(np.stack(parts), self.shape[0] // groups, 0)

    def _windows(self, x: np.ndarray, options: schema.Conv2DOptionsT, made: np.ndarray) -> np.ndarray:
        rows, columns = self.shape[1:3]
        strides = options.strideH, options.strideW
        same = options.padding == schema.Padding.SAME
        if self.code == Operators.TRANSPOSE_CONV:
            x = _spread(x, strides)
            before, after = [], []
            for size, out, taps in zip(x.shape[1:3], made, (rows, columns), strict=True):
                cut = max(size + taps - 1 - int(out), 0) // 2 if same else 0
                before.append(taps - 1 - cut)
                after.append(int(out) + taps - 1 - size - before[-1])
            x = _framed(x, before, after)
            windows = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), (1, 2))
            return windows[..., ::-1, ::-1]
        factors = options.dilationHFactor, options.dilationWFactor
        spans = (rows - 1) * factors[0] + 1, (columns - 1) * factors[1] + 1
        if same:
            frame = [
                max((int(out) - 1) * stride + span - size, 0)
                for size, out, stride, span in zip(x.shape[1:3], made, strides, spans, strict=True)
            ]
            x = _framed(x, [n // 2 for n in frame], [n - n // 2 for n in frame])
        windows = np.lib.stride_tricks.sliding_window_view(x, spans, (1, 2))
        return windows[:, :: strides[0], :: strides[1], :, :: factors[0], :: factors[1]]


def find(model: schema.ModelT) -> list[Weights]:
    """Return the constant float32 weights of every graph, in the order in which operators read them."""
    found: dict[tuple[int, int], Weights] = {}
    for number, graph in enumerate(model.subgraphs):
        uses = [int(i) for operator in graph.operators or () for i in operator.inputs]
        for index, operator in enumerate(graph.operators or ()):
            code = flatbuffer.code(model, operator)
            if code not in PLACES:
                continue
            _, weights, bias = PLACES[code]
            tensor = int(operator.inputs[weights])
            if constant(model, number, tensor) is None:
                continue
            shape = tuple(map(int, graph.tensors[tensor].shape))
            earlier = found.get((number, tensor))
            readers = (*(earlier.readers if earlier else ()), index)
            added = int(operator.inputs[bias]) if len(operator.inputs) > bias else -1
            alone = len(readers) == 1 and added >= 0 and uses.count(added) == 1
            own = added if alone and constant(model, number, added) is not None else None
            found[number, tensor] = Weights(number, tensor, own, readers, code, shape)
    return list(found.values())


def constant(model: schema.ModelT, graph: int, tensor: int) -> np.ndarray | None:
    """Return the values of a constant float32 tensor, None for other tensors."""
    found = model.subgraphs[graph].tensors[tensor]
    data = model.buffers[found.buffer].data
    if data is None or not len(data) or found.type != schema.TensorType.FLOAT32 or found.sparsity is not None:
        return None
    return np.frombuffer(bytes(np.asarray(data, np.uint8)), np.float32).reshape(found.shape)


def replace(model: schema.ModelT, graph: int, tensor: int, values: np.ndarray) -> None:
    """Give a constant float32 tensor other values; tensors that shared its buffer keep theirs."""
    _store(model, model.subgraphs[graph].tensors[tensor], np.ascontiguousarray(values, np.float32))


def store_integers(
    model: schema.ModelT, graph: int, tensor: int, integers: np.ndarray, scales: np.ndarray, bits: int
) -> None:
    """Give a quantized tensor other integers and scales.

    Args:
        model: File.
        graph: Index of the graph.
        tensor: Index of the tensor, quantized with as many scales before.
        integers: Integers in the tensor's shape.
        scales: (scales,).
        bits: 4 or 8.

    Raises:
        ValueError: The tensor is not stored in such integers.
    """
    found = model.subgraphs[graph].tensors[tensor]
    kinds = {4: schema.TensorType.INT4, 8: schema.TensorType.INT8}
    if found.type != kinds[bits] or len(found.quantization.scale) != len(scales):
        raise ValueError(f"tensor {tensor}: expected {bits} bits and {len(scales)} scales")
    values = np.ascontiguousarray(integers, np.int8)
    _store(model, found, packed(values) if bits == 4 else values)
    found.quantization.scale = np.asarray(scales, np.float32)
    found.quantization.zeroPoint = np.zeros(len(scales), np.int64)


def packed(integers: np.ndarray) -> np.ndarray:
    """Return int4 values as bytes, two in each, the first in the low half."""
    flat = integers.reshape(-1)
    flat = np.append(flat, np.int8(0)) if flat.size % 2 else flat
    return ((flat[::2] & 15) | (flat[1::2] << 4)).astype(np.int8).view(np.uint8)


def _store(model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray) -> None:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)


def _chosen(windows: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Return at most `most` windows, (windows, ...): without copying the others, which may be many."""
    places = windows.shape[: max(windows.ndim - 3, 1)]
    count = int(np.prod(places))
    order = generator.choice(count, most, replace=False) if count > most else np.arange(count)
    return windows[np.unravel_index(order, places)]


def _spread(x: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """Return an image with zeros between its pixels, as a transposed convolution sees it."""
    height, width = ((size - 1) * stride + 1 for size, stride in zip(x.shape[1:3], strides, strict=True))
    spread = np.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    spread[:, :: strides[0], :: strides[1]] = x
    return spread


def _framed(x: np.ndarray, before: list[int], after: list[int]) -> np.ndarray:
    after = [max(n, 0) for n in after]
    return np.pad(x, ((0, 0), *zip(before, after, strict=True), (0, 0)))
