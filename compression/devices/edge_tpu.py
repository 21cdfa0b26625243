"""Check a .tflite file against the published rules of the Edge TPU's compiler, which cannot run here.

The operators and their limits are those of coral.withgoogle.com/docs/edgetpu/models-intro and of
developer.axis.com/computer-vision/on-device/system-on-chip/artpec-7/supported-ops, read in November 2026.
"""

import math
from typing import Any

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.layers import layers_of

RULES = "rules published by Coral and Axis, read in November 2026; the compiler itself was not run"
_OPERATORS = (
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED"),
    *("L2_NORMALIZATION", "LOGISTIC", "UNIDIRECTIONAL_SEQUENCE_LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM"),
    *("MUL", "PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1"),
    *("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT"),
    *("SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "SQUARED_DIFFERENCE", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
)
_EIGHT_BITS = ("int8", "uint8")
_MOST_CLASSES = 16_000  # of a softmax


def check(model: Any) -> dict[str, Any]:
    """Return which operators the compiler would leave on the processor, as far as its rules are published.

    After the first operator that it refuses, everything that follows runs on the processor.

    Args:
        model: Result of `flatbuffer.read`.

    Returns:
        tpu_share, the share of operators before the first refused one; on_cpu, the refused operators with layer and
        reason; rules, where they come from.
    """
    tensors, nodes = flatbuffer.tensors(model)[0], flatbuffer.nodes(model)[0]
    graph = model.subgraphs[0]
    shapes = [[int(size) for size in (() if t.shape is None else t.shape)] for t in graph.tensors]
    refused, first = [], len(nodes)
    for number, (operator, inputs, outputs) in enumerate(nodes):
        if reason := _why(operator, [i for i in inputs if i >= 0], outputs, tensors, shapes):
            first = min(first, number)
            layer = layers_of([tensors[outputs[0]]["name"]])[0] if outputs else "(other)"
            refused.append({"operator": operator, "layer": layer, "reason": reason})
    return {"tpu_share": round(first / len(nodes), 4) if nodes else 0.0, "on_cpu": refused, "rules": RULES}


def _why(
    operator: str, inputs: list[int], outputs: list[int], tensors: list[dict[str, Any]], shapes: list[list[int]]
) -> str:
    """Return why the compiler refuses an operator; empty if no published rule says so."""
    if operator not in _OPERATORS:
        return "the Edge TPU has no such operator"
    moving = [i for i in (*inputs, *outputs) if not tensors[i]["constant"]]
    if kinds := sorted({tensors[i]["type"] for i in moving} - set(_EIGHT_BITS)):
        return f"{', '.join(kinds)} activations; expected int8 or uint8, which recipe int8 gives"
    if wide := [shapes[i] for i in moving if len(shapes[i]) > 3 and math.prod(shapes[i][:-3]) != 1]:
        return f"shape {wide[0]}; only the three innermost dimensions may be larger than 1"
    classes = shapes[outputs[0]][-1:] if operator == "SOFTMAX" else []
    if classes and classes[0] > _MOST_CLASSES:
        return f"softmax of {classes[0]:,} values; expected at most {_MOST_CLASSES:,}"
    return ""
