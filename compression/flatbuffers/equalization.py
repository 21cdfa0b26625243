"""Equalize the ranges of channels between consecutive layers of a float .tflite file (Nagel et al., 2019).

Dividing an output channel of a layer by a number above 0, and multiplying the weights that read it by the same number,
changes nothing where only linear functions and ReLU lie between. All channels then get the same range, so that one
scale suits all of them. ReLU6 and other functions that saturate are left as they are: scaling would move their ends.
"""

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.weights import Operators, Weights

# Operators f with f(s x) = s f(x) for s > 0, in every channel alone.
_THROUGH = (Operators.RELU, Operators.MAX_POOL_2D, Operators.AVERAGE_POOL_2D)
_HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)
SWEEPS = 20


def equalize(model: schema.ModelT) -> int:
    """Equalize a file in place, and return the number of pairs of layers that were equalized.

    Args:
        model: Float file; its outputs stay the same up to rounding.
    """
    found = list(pairs(model))
    for _ in range(SWEEPS):
        largest = max((_equalize(model, *pair) for pair in found), default=1.0)
        if largest < 1.001:
            break
    return len(found)


def pairs(model: schema.ModelT) -> Iterator[tuple[Weights, Weights]]:
    """Yield layers whose outputs go to one other layer alone, with that layer."""
    layers = weights.find(model)
    for number, graph in enumerate(model.subgraphs):
        readers: dict[int, list[int]] = {}
        for index, operator in enumerate(graph.operators or ()):
            for tensor in {int(i) for i in operator.inputs}:
                readers.setdefault(tensor, []).append(index)
        own = {each.readers[0]: each for each in layers if each.graph == number and len(each.readers) == 1}
        for index, first in own.items():
            inputs, place = graph.operators[index].inputs, weights.PLACES[first.code][2]
            if first.bias is None and len(inputs) > place and inputs[place] != -1:
                continue  # a bias that other operators read too
            second = _only_reader(model, graph, index, readers, own)
            if second is not None and _channels(first) == _input_channels(second):
                yield first, second


def _only_reader(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    index: int,
    readers: dict[int, list[int]],
    own: dict[int, Weights],
) -> Weights | None:
    while getattr(graph.operators[index].builtinOptions, "fusedActivationFunction", 0) in _HOMOGENEOUS:
        made = int(graph.operators[index].outputs[0])
        next_ones = readers.get(made, [])
        if len(next_ones) != 1 or made in [int(i) for i in graph.outputs]:
            return None
        (index,) = next_ones
        if index in own:
            return own[index] if made == own[index].inputs(model)[0] else None
        code = flatbuffer.code(model, graph.operators[index])
        if code not in _THROUGH and not (code == Operators.MEAN and _spatial(model, graph, graph.operators[index])):
            return None
    return None


def _spatial(model: schema.ModelT, graph: schema.SubGraphT, mean: schema.OperatorT) -> bool:
    """Return whether a mean is taken over the places of an image, (batch, height, width, channels)."""
    axes = model.buffers[graph.tensors[mean.inputs[1]].buffer].data
    return axes is not None and [*np.frombuffer(bytes(np.asarray(axes, np.uint8)), np.int32)] == [1, 2]


def _channels(layer: Weights) -> int:
    return layer.shape[-1] if layer.depthwise else layer.shape[0]


def _input_channels(layer: Weights) -> int:
    """Return the number of channels that a layer reads; a depthwise one with a multiplier above 1 is left alone."""
    return layer.shape[-1]


def _equalize(model: schema.ModelT, first: Weights, second: Weights) -> float:
    """Equalize a pair, and return the largest factor that a channel was changed by."""
    mine, theirs = (weights.constant(model, each.graph, each.tensor).astype(np.float64) for each in (first, second))
    above = np.abs(first.matrix(mine)).max(1)
    below = np.abs(theirs).reshape(-1, theirs.shape[-1]).max(0)
    usable = (above > 0) & (below > 0)
    factors = np.where(usable, np.sqrt(above / np.where(usable, below, 1)), 1.0)
    weights.replace(model, first.graph, first.tensor, first.arranged(first.matrix(mine) / factors[:, None]))
    if first.bias is not None:
        weights.replace(model, first.graph, first.bias, weights.constant(model, first.graph, first.bias) / factors)
    weights.replace(model, second.graph, second.tensor, theirs * factors)
    return float(np.exp(np.abs(np.log(factors)).max()))
