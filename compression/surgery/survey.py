"""Find which layers feed which by tracing a model, so that subclassed models work too."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from compression.surgery import operators
from compression.surgery.layers import RECURRENT
from zoo.introspection.hooks import calling, replacing
from zoo.introspection.layers import layers_of

# Computes attention in one method, between layers of its own.
ATTENTION = layers.MultiHeadAttention


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of what `leaves` returns.

    Args:
        layer: Layer or operation that was called.
        source: Call whose output is the layer's first input, unchanged; None if something else computed the input.
        rank: Rank of the output, including the batch dimension; 0 for several outputs.
        inputs: Symbolic tensors of a TensorFlow graph that were given.
        outputs: Symbolic tensors that were returned.
    """

    layer: Any
    source: "LayerCall | None"
    rank: int
    inputs: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Survey:
    """One traced run of a model.

    Args:
        calls: Calls in order.
        inputs: Symbolic inputs of the model, flattened.
        outputs: Symbolic outputs of the model, flattened.
        graph: Graph that the model was traced in; the bodies of loops have graphs of their own.
    """

    calls: list[LayerCall]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    graph: Any


def survey(model: keras.Model, x: Any) -> Survey:
    """Trace a model once, and return its calls with the tensors between them.

    Args:
        model: Built Keras model.
        x: A few examples, (examples, ...), or a structure of arrays for several inputs.
    """
    import tensorflow as tf

    found: list[LayerCall] = []
    ends: list[tuple[Any, ...]] = []

    def watched(layer: Any, before: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            given = _tensors((args, kwargs))
            made = before(*args, **kwargs)
            source = next((c for c in reversed(found) if given and any(t is given[0] for t in c.outputs)), None)
            rank = len(made.shape) if hasattr(made, "shape") else 0
            found.append(LayerCall(layer, source, rank, given, _tensors(made)))
            return made

        return call

    def run(x: Any) -> Any:
        made = model(x, training=False)
        ends.extend((_tensors(x), _tensors(made)))
        return made

    with contextlib.ExitStack() as undo:
        for layer in leaves(model):
            if isinstance(layer, ATTENTION):
                inner = watched(layer, operators.attention(layer))  # as the file has it
                undo.enter_context(replacing(layer, "_compute_attention", inner))
            else:
                undo.enter_context(calling(layer, watched(layer, layer.call)))
        specs = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), x)
        graph = tf.function(run, autograph=False).get_concrete_function(specs).graph
    return Survey(found, *ends, graph)


def calls(model: keras.Model, x: Any) -> list[LayerCall]:
    """Return the layer calls of one traced run of a model, in order; see `survey`."""
    return survey(model, x).calls


def leaves(model: keras.Model) -> list[Any]:
    """Return what is called as a whole: layers without sublayers, recurrent layers, attention, and operations.

    The cell of a recurrent layer is omitted, and so are softmax and dropout within an attention. Operations are the
    nodes of functional models that are no layers, such as the sum in `x + y`.
    """
    every = layers_of(model)
    inner = {id(part) for layer in every if isinstance(layer, ATTENTION) for part in _inner(layer)}
    found: list[Any] = [
        layer
        for layer in every
        if isinstance(layer, (*RECURRENT, ATTENTION))
        or not (layer._layers or hasattr(layer, "state_size") or id(layer) in inner)
    ]
    for graph in [model, *every]:
        nodes = graph.operations if isinstance(graph, keras.models.Model) and hasattr(graph, "operations") else ()
        found += [node for node in nodes if not isinstance(node, layers.Layer) and node not in found]
    return found


def _inner(attention: layers.Layer) -> Iterable[layers.Layer]:
    return (part for part in attention._layers if isinstance(part, layers.Softmax | layers.Dropout))


def consumers(found: list[LayerCall], call: LayerCall) -> list[LayerCall]:
    """Return the calls with the unchanged output of a call among their inputs."""
    return [other for other in found if any(t is made for t in other.inputs for made in call.outputs)]


def _tensors(structure: Any) -> tuple[Any, ...]:
    return tuple(t for t in keras.tree.flatten(structure) if keras.ops.is_tensor(t))
