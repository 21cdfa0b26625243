"""Operators that compute a row of their output from a few rows of their inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer

ROWS = 1  # axis of the height: tensors are (batch, height, width, channels)
_Rows = tuple[int, int]  # the first row, and the row after the last
# Operators that compute each value from those at the same place.
_POINTWISE = (
    *("ABS", "ADD", "DEQUANTIZE", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "PRELU"),
    *("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "SUB", "TANH"),
)
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True)
class Window:
    """Rows of the input that a row of the output is computed from.

    Args:
        rows: Rows that the kernel reads, holes between them included.
        stride: Rows of the input between two rows of the output.
        same: Whether rows outside of the input are padded, so that the output has as many rows as the input.
        height: Rows of the whole input.
    """

    rows: int = 1
    stride: int = 1
    same: bool = False
    height: int = 0

    def padding(self, height: int) -> int:
        """Return the padded rows above an input of a height."""
        return max((self.made(height) - 1) * self.stride + self.rows - height, 0) // 2 if self.same else 0

    def made(self, height: int) -> int:
        """Return the rows of the output for an input of a height."""
        read = height if self.same else height - self.rows + 1
        return max(-(-read // self.stride), 0)

    def read(self, row: int) -> _Rows:
        """Return the rows of the input that a row of the output is computed from."""
        first = row * self.stride - self.padding(self.height)
        return max(first, 0), min(first + self.rows, self.height)

    def output(self, given: _Rows) -> _Rows | None:
        """Return the rows of the output that some rows of the input give; None if they lie between those of the whole.

        At the ends of the given rows, where the input goes on, the first and last rows of the output may be wrong.
        """
        begin, height = given[0] - self.padding(given[1] - given[0]) + self.padding(self.height), given[1] - given[0]
        return None if begin % self.stride else (begin // self.stride, begin // self.stride + self.made(height))

    def input(self, wanted: _Rows) -> _Rows:
        """Return the fewest rows of the input that give some rows of the output."""
        begin, end = self.read(wanted[0])[0], self.read(wanted[1] - 1)[1]
        for more in range(2 * self.stride):  # for the padding of a part to be in step with that of the whole
            for above in range(more + 1):
                given = max(begin - above, 0), min(end + more - above, self.height)
                found = self.output(given)
                if found and found[0] <= wanted[0] and found[1] >= wanted[1]:
                    return given
        raise ValueError(f"no part of {self.height} rows gives the rows {wanted}")

    def right(self, given: _Rows, right: _Rows) -> _Rows:
        """Return the rows of the output of a part that equal those of the whole.

        Args:
            given: Rows of the input, of which `output` gives rows.
            right: Those of them that equal the rows of the whole input.
        """
        begin, end = self.output(given)
        rows = [r for r in range(max(begin, 0), end) if right[0] <= self.read(r)[0] and self.read(r)[1] <= right[1]]
        return (rows[0], rows[-1] + 1) if rows else (begin, begin)


def activations(model: Any, operator: schema.OperatorT) -> list[int]:
    """Return the inputs of an operator that are not constants."""
    tensors = model.subgraphs[0].tensors
    given = [int(index) for index in operator.inputs if index != -1]
    return [index for index in given if model.buffers[tensors[index].buffer].data is None]


def window(model: Any, operator: schema.OperatorT) -> Window | None:
    """Return the rows that an operator reads, the same of all of its inputs; None if it is not local in height.

    Args:
        model: Result of `flatbuffer.read`.
        operator: Operator of its first graph.
    """
    graph, options = model.subgraphs[0], operator.builtinOptions
    shapes = {int(i): _shape(graph.tensors[i]) for i in (*operator.inputs, *operator.outputs) if i != -1}
    given, name = activations(model, operator), NAMES.get(flatbuffer.code(model, operator))
    moving = [shapes[i] for i in (*given, *map(int, operator.outputs))]
    if len(operator.outputs) != 1 or not given or any(len(shape) != 4 or shape[0] != 1 for shape in moving):
        return None
    height = moving[0][ROWS]
    if name in _CONVOLUTIONS and given == [int(operator.inputs[0])]:
        dilation = options.dilationHFactor or 1
        rows = (shapes[int(operator.inputs[1])][ROWS] - 1) * dilation + 1
        return Window(rows, options.strideH, options.padding == schema.Padding.SAME, height)
    if name in _POOLS:
        return Window(options.filterHeight, options.strideH, options.padding == schema.Padding.SAME, height)
    alike = all(shape[ROWS] == height for shape in moving)
    joins = name == "CONCATENATION" and options.axis in (3, -1) and _constants(shapes, given, operator) == []
    repeats = all(len(shape) < 3 or shape[-3] == 1 for shape in _constants(shapes, given, operator))
    return Window(height=height) if alike and (joins or (name in _POINTWISE and repeats)) else None


def _constants(shapes: Mapping[int, list[int]], given: list[int], operator: schema.OperatorT) -> list[list[int]]:
    return [shapes[int(index)] for index in operator.inputs if index != -1 and int(index) not in given]


def _shape(tensor: schema.TensorT) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


NAMES = {
    getattr(schema.BuiltinOperator, name): name for name in (*_POINTWISE, *_POOLS, *_CONVOLUTIONS, "CONCATENATION")
}
