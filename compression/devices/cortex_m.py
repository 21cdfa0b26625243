"""Multiply-adds of a file, and an estimate of its cycles on a Cortex-M7 with CMSIS-NN."""

import math
from typing import Any

from compression.flatbuffers import flatbuffer

# Lai, Suda and Chandra, "CMSIS-NN: Efficient Neural Network Kernels for Arm Cortex-M CPUs", arXiv 1801.06601: 249
# million operations a second at 216 MHz for an int8 network of convolutions, where a multiply-add is two operations.
CYCLES_PER_MULTIPLY_ADD = 216 / (249 / 2)
SOURCE = "249 million operations/s at 216 MHz on a Cortex-M7 with CMSIS-NN (Lai et al., 2018, arXiv 1801.06601)"


def multiply_adds(model: Any) -> int:
    """Return the multiply-adds of one call of a file's first graph: convolutions, dense layers and matrix products.

    Args:
        model: Result of `flatbuffer.read`.
    """
    graph = model.subgraphs[0]
    shapes = [[int(size) for size in (() if t.shape is None else t.shape)] for t in graph.tensors]
    total = 0
    for operator, inputs, outputs in flatbuffer.nodes(model)[0]:
        if operator in ("CONV_2D", "CONV_3D"):  # filters (out, height, width, in), or (depth, height, width, in, out)
            filters = shapes[inputs[1]]
            per_output = math.prod(filters) // (filters[0] if operator == "CONV_2D" else filters[-1])
            total += math.prod(shapes[outputs[0]]) * per_output
        elif operator == "DEPTHWISE_CONV_2D":  # filters (1, height, width, out)
            total += math.prod(shapes[outputs[0]]) * math.prod(shapes[inputs[1]][1:3])
        elif operator == "TRANSPOSE_CONV":  # every input value meets every weight of its channel
            filters, given = shapes[inputs[1]], shapes[inputs[2]]
            total += math.prod(given) * math.prod(filters[:3])
        elif operator == "FULLY_CONNECTED":  # filters (out, in)
            total += math.prod(shapes[outputs[0]]) * shapes[inputs[1]][-1]
        elif operator == "BATCH_MATMUL":
            total += math.prod(shapes[outputs[0]]) * shapes[inputs[0]][-1]
        elif operator == "UNIDIRECTIONAL_SEQUENCE_LSTM":  # four gates, each with a kernel for inputs and one for states
            steps = math.prod(shapes[inputs[0]][:2])
            total += steps * sum(math.prod(shapes[i]) for i in inputs[1:9] if i >= 0)
    return total


def estimate(model: Any) -> dict[str, Any]:
    """Return the estimated cycles of one call on a Cortex-M7, or why there is no estimate.

    Args:
        model: Result of `flatbuffer.read`.

    Returns:
        multiply_adds, cycles_estimated and source; `refused` instead of the cycles unless every operator is integer,
        because the published figure is about int8.
    """
    found = {"multiply_adds": multiply_adds(model)}
    tensors, nodes = flatbuffer.tensors(model)[0], flatbuffer.nodes(model)[0]
    floats = sorted({op for op, _, outputs in nodes if any(tensors[i]["type"] == "float32" for i in outputs if i >= 0)})
    if floats := [name for name in floats if name != "DEQUANTIZE"]:  # at the end of a file with float outputs
        return found | {
            "refused": f"the published cycles are of int8 networks, and {', '.join(floats)} compute in float;"
            " use recipe int8"
        }
    return found | {"cycles_estimated": round(found["multiply_adds"] * CYCLES_PER_MULTIPLY_ADD), "source": SOURCE}
