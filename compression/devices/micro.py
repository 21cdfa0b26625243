"""Check whether TFLite Micro can run a file, and estimate its memory.

The tables are taken from github.com/tensorflow/tflite-micro at SOURCE, folder tensorflow/lite/micro. The operators are
those of micro_mutable_op_resolver.h. The weight types are those that the Prepare functions in kernels/ accept
(conv_common.cc, depthwise_conv_common.cc, transpose_conv.cc, fully_connected.cc, batch_matmul.cc,
dequantize_common.cc). The rest is from micro_interpreter.cc and micro_allocation_info.cc. Kernels of chip vendors may
support fewer types.
"""

from collections.abc import Iterator
from typing import Any

from compression.flatbuffers import flatbuffer, lifetimes

SOURCE = "commit 90b983c of 2026-08-20"
# Methods Add... of MicroMutableOpResolver<N>; in lower case, each equals the operator's name without underscores.
_METHODS = (
    *("Abs", "Add", "AddN", "ArgMax", "ArgMin", "AssignVariable", "AveragePool2D", "BatchMatMul", "BatchToSpaceNd"),
    *("BroadcastArgs", "BroadcastTo", "CallOnce", "Cast", "Ceil", "Concatenation", "Conv2D", "Cos", "CumSum"),
    *("DepthToSpace", "DepthwiseConv2D", "Dequantize", "Div", "DynamicUpdateSlice", "Elu", "EmbeddingLookup", "Equal"),
    *("Exp", "ExpandDims", "Fill", "Floor", "FloorDiv", "FloorMod", "FullyConnected", "Gather", "GatherNd", "Greater"),
    *("GreaterEqual", "HardSwish", "If", "L2Normalization", "L2Pool2D", "LeakyRelu", "Less", "LessEqual", "Log"),
    *("LogSoftmax", "LogicalAnd", "LogicalNot", "LogicalOr", "Logistic", "MaxPool2D", "Maximum", "Mean", "Minimum"),
    *("MirrorPad", "Mul", "Neg", "NotEqual", "Pack", "Pad", "PadV2", "Prelu", "Quantize", "ReadVariable", "ReduceAll"),
    *("ReduceMax", "ReduceMin", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "ReverseV2"),
    *("Round", "Rsqrt", "SelectV2", "Shape", "Sin", "Slice", "Softmax", "SpaceToBatchNd", "SpaceToDepth", "Split"),
    *("SplitV", "Sqrt", "Square", "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Sum", "Svdf", "Tanh"),
    *("Transpose", "TransposeConv", "UnidirectionalSequenceLSTM", "Unpack", "VarHandle", "While", "ZerosLike"),
)
_BUILTIN = {method.lower(): f"Add{method}" for method in _METHODS}
# Methods for TFLite Micro's own custom operators, by their names in a file.
_CUSTOM = {
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "TFLM_DECODE": "AddDecode",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    "ethos-u": "AddEthosU",
    **{
        f"Signal{name}": f"Add{name}"
        for name in (
            *("Delay", "Energy", "FftAutoScale", "FilterBank", "FilterBankLog", "FilterBankSpectralSubtraction"),
            *("FilterBankSquareRoot", "Framer", "Irfft", "OverlapAdd", "PCAN", "Rfft", "Stacker", "Window"),
        )
    },
}
# For each operator with weights: index of the activations, index of the weights, and the weight types allowed for each
# type of activations.
_INTEGER = {"float32": ("float32",), "int8": ("int8", "int4"), "int16": ("int8",)}
_WHOLE_BYTES = {"float32": ("float32",), "int8": ("int8",), "int16": ("int8", "int16")}
_WEIGHTS = {
    "CONV_2D": (0, 1, _INTEGER),
    "DEPTHWISE_CONV_2D": (0, 1, _INTEGER | {"int16": ("int8", "int16")}),
    "FULLY_CONNECTED": (0, 1, _INTEGER),
    "TRANSPOSE_CONV": (2, 1, _WHOLE_BYTES),
    "BATCH_MATMUL": (0, 1, {kind: (kind,) for kind in ("float32", "int8", "int16")}),
}


def method(operator: str) -> str | None:
    """Return the method of MicroMutableOpResolver that registers an operator, or None if there is none."""
    return _CUSTOM.get(operator) or _BUILTIN.get(operator.replace("_", "").lower())


def hindrances(model: Any) -> list[str]:
    """Return the reasons why TFLite Micro cannot run a file; empty if it can.

    Args:
        model: Result of `flatbuffer.read`.
    """
    missing = [name for name in flatbuffer.operators(model) if method(name) is None]
    mixed = sorted(set(_mixed(model)))
    sparse = [tensor["name"] for graph in flatbuffer.tensors(model) for tensor in graph if tensor["sparse"]]
    several = list(flatbuffer.signatures(model))
    reasons = {
        f"it has no {', '.join(missing)}": missing,
        f"its kernels do not support {', '.join(mixed)}; use recipes int8 or float32": mixed,
        f"it does not support sparse tensors, such as {', '.join(sparse[:3])}": sparse,
        f"it runs only the first graph, and this file has signatures {', '.join(several)}": several[1:],
    }
    return [text for text, found in reasons.items() if found]


def _mixed(model: Any) -> Iterator[str]:
    """Yield every combination of types that a kernel does not support, with its operator."""
    for tensors, nodes in zip(flatbuffer.tensors(model), flatbuffer.nodes(model), strict=True):
        for operator, inputs, _ in nodes:
            if operator == "DEQUANTIZE" and inputs and tensors[inputs[0]]["type"] == "float16":
                yield "float16 weights (DEQUANTIZE)"
            if operator in _WEIGHTS:
                at, weights, allowed = _WEIGHTS[operator]
                given, kept = (tensors[inputs[i]]["type"] if i < len(inputs) else "no" for i in (at, weights))
                if kept not in allowed.get(given, ()):
                    yield f"{kept} weights for {given} activations ({operator})"


def arena_at_least(model: Any) -> int:
    """Return a lower bound in bytes for the arena of a file.

    This is the peak size of tensors of the first graph that are live at the same time. TFLite Micro needs more:
    fragmentation of the memory plan, scratch buffers of kernels, and a structure for each tensor and operator. The
    interpreter's `arena_used_bytes()` returns the total on the device.

    Args:
        model: Result of `flatbuffer.read`.
    """
    return lifetimes.peak(model)
