"""Round activations where the file has them, by replacing methods of layers while a model computes."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from compression.surgery import operators
from compression.surgery.operators import ACTIVATIONS, At
from compression.surgery.survey import ATTENTION
from zoo.introspection.hooks import calling, replacing

CLIPPING = (keras.activations.relu, keras.activations.relu6)
# TFLite fixes the output ranges of these activations, as (lowest, highest).
FIXED = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.softmax: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
ACTIVATION_BITS = 8
# Convolutions without an integer kernel in TFLite: their weights stay in float32, their output is rounded.
FLOAT = (layers.Conv3D, layers.Conv3DTranspose)


class Place(NamedTuple):
    """One call of a layer in one run of a model.

    Attributes:
        prefix: Beginning of the names of values inside the layer; None for a layer that stays float.
        name: Name of the rounded output; None if the output needs no rounding of its own.
        inputs: Name under which each input is rounded that no known layer computed; None for the others.
    """

    prefix: str | None
    name: str | None
    inputs: tuple[str | None, ...] = ()


@dataclass
class RoundingPoint:
    """A layer whose activations are rounded.

    Args:
        layer: Layer, operation or model.
        kind: What is rounded: a key of `_CHANGES`. An embedding is a Dense layer followed by a position encoding; the
            file adds its bias and the positions as one constant.
        places: The calls of the layer in one run of the model.
        limits: Range that TFLite fixes for the output, as (lowest, highest).
        other: Position encoding of an embedding, or embedding of a position encoding.
        ends: Whether the output is probabilities that the model gives.
    """

    layer: Any
    kind: str
    places: list[Place] = field(default_factory=list)
    limits: tuple[float, float] | None = None
    other: layers.Layer | None = None
    ends: bool = False

    @property
    def rounds(self) -> bool:
        """Return whether anything is rounded here."""
        return any(place.prefix is not None for place in self.places)

    @property
    def prefix(self) -> str:
        """Return the prefix of the first call, which stands for all calls of layers that have one set of ranges."""
        return next(place.prefix for place in self.places if place.prefix is not None)

    def each_output(self, at: At) -> Callable[[Any], Any]:
        """Return a function that rounds its argument under the output's name of the present call."""
        places = itertools.cycle(self.places)

        def rounded(x: Any) -> Any:
            name = next(places).name
            return x if name is None or not hasattr(x, "dtype") else at(name, x)

        return rounded

    def to_fixed(self, rounding: "Rounding") -> Callable[[Any, tuple[float, float]], Any]:
        """Return the function that rounds the output to limits that TFLite fixes."""
        return to_fixed if rounding.ends or not self.ends else _as_it_is

    def each_part(self, at: At) -> Callable[[], "Parts"]:
        """Return a function that returns, at every call of the layer, what rounds the values inside it."""
        places = itertools.cycle(self.places)

        return lambda: Parts(next(places).prefix, at)


class Parts:
    """Rounds the values inside one call of a layer, under names that begin with the prefix of the call.

    Args:
        prefix: Prefix of the call; None for a layer that stays float.
        at: Function that rounds a value under its whole name.
    """

    def __init__(self, prefix: str | None, at: At):
        self.prefix, self.at = prefix, at

    def __call__(self, part: str, x: Any) -> Any:
        return x if self.prefix is None else self.at(f"{self.prefix}/{part}", x)


class Rounding(NamedTuple):
    """What is done at the rounding points.

    Attributes:
        at: Function applied to every activation that the file rounds, from its name and value to the new value.
        constant: Function applied to constants that the file adds or multiplies.
        factor: Function applied to the slopes of a PReLU.
        floor: Function from the name of a point to the smallest positive value on its grid; 0 if it has none.
        ends: Whether probabilities that the model gives are rounded. They are not in training: the lowest of 256 values
            is 0, whose logarithm the loss would take.
    """

    at: At
    constant: Callable[[Any], Any] = operators.unchanged
    factor: Callable[[Any], Any] = operators.unchanged
    floor: Callable[[str], Any] = lambda name: 0.0
    ends: bool = True


@contextlib.contextmanager
def changed(point: RoundingPoint, rounding: Rounding) -> Iterator[None]:
    """Round at a point inside a `with` block."""
    with contextlib.ExitStack() as undo:
        undo.enter_context(_CHANGES[point.kind](point, rounding))
        if any(any(place.inputs) for place in point.places):
            undo.enter_context(_inputs(point, rounding))
        yield


def _inputs(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    before, places = point.layer.call, itertools.cycle(point.places)

    def call(*args: Any, **kwargs: Any) -> Any:
        names = iter(next(places).inputs)

        def rounded(x: Any) -> Any:
            name = next(names, None) if ops.is_tensor(x) else None
            return x if name is None else rounding.at(name, x)

        args, kwargs = keras.tree.map_structure(rounded, (args, kwargs))
        return before(*args, **kwargs)

    return calling(point.layer, call)


def _output(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    before, behind, fixed = point.layer.call, point.each_output(rounding.at), point.to_fixed(rounding)

    def call(*args: Any, **kwargs: Any) -> Any:
        made = before(*args, **kwargs)
        return fixed(made, point.limits) if point.limits else behind(made)

    return calling(point.layer, call)


def _outputs(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    """Round the outputs of a whole model, which has a place for each of them."""
    before = point.layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        made, places = before(*args, **kwargs), iter(point.places)

        def rounded(x: Any) -> Any:
            name = next(places).name
            return x if name is None else rounding.at(name, x)

        return keras.tree.map_structure(rounded, made)

    return calling(point.layer, call)


def _activation(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    """Round after the activation of a kernel, and also before it if the file has it as a separate operator."""
    inner, behind = point.each_part(rounding.at), point.each_output(rounding.at)
    fused = () if is_apart(point.layer) else CLIPPING
    made = rounded_activation(point.layer.activation, inner, behind, fused, fixed=point.to_fixed(rounding))
    return _with_activation(point.layer, made)


def _function(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    """Round after and inside an activation that is a layer; another layer has computed its input."""
    inner, behind, activation = point.each_part(rounding.at), point.each_output(rounding.at), point.layer.activation
    fixed = point.to_fixed(rounding)

    def function(x: Any) -> Any:
        at = inner()
        if activation in FIXED:
            return fixed(activation(x), FIXED[activation])
        return behind(ACTIVATIONS[activation](x, _inside(at)) if activation in ACTIVATIONS else activation(x))

    return _with_activation(point.layer, function)


@contextlib.contextmanager
def _with_activation(layer: layers.Layer, function: Callable) -> Iterator[None]:
    before = layer.activation
    layer.activation = function
    try:
        yield
    finally:
        layer.activation = before


def rounded_activation(
    activation: Any,
    inner: Callable[[], Parts],
    behind: Callable[[Any], Any],
    fused: tuple[Any, ...] = CLIPPING,
    ahead: str = "linear",
    fixed: Callable[[Any, tuple[float, float]], Any] | None = None,
) -> Callable:
    """Return an activation that rounds its result, its input where the file has it, and values inside.

    Args:
        activation: Function of Keras.
        inner: Function that returns what rounds the values inside, for one call.
        behind: Function applied to the result.
        fused: Activations whose input the file does not have.
        ahead: Name of the input.
        fixed: Function that rounds to limits that TFLite fixes; default, `to_fixed`.
    """

    def function(z: Any) -> Any:
        at = inner()
        if activation in (None, keras.activations.linear):
            return behind(z)
        # Its sum with 3 is folded into the bias, and the clipping at 6 is fused.
        if activation in (*fused, keras.activations.hard_sigmoid):
            return behind(activation(z))
        z = at(ahead, z)
        if activation in FIXED:
            return (fixed or to_fixed)(activation(z), FIXED[activation])
        return behind(ACTIVATIONS[activation](z, _inside(at)) if activation in ACTIVATIONS else activation(z))

    return function


def _inside(at: Parts) -> At:
    """Round on the fixed grids inside an activation of several operators."""
    fixed = {"sigmoid": FIXED[keras.activations.sigmoid], "tanh": FIXED[keras.activations.tanh]}

    def inside(part: str, x: Any) -> Any:
        return to_fixed(x, fixed[part]) if part in fixed and at.prefix is not None else at(part, x)

    return inside


@contextlib.contextmanager
def _states(point: RoundingPoint, rounding: Rounding) -> Iterator[None]:
    """Round the gates and states of a recurrent layer's cell, with the same ranges at every step."""
    cell, name, at = point.layer.cell, point.prefix, rounding.at
    before = {kind: getattr(cell, kind) for kind in ("activation", "recurrent_activation") if hasattr(cell, kind)}
    call = cell.call

    def stepped(*args: Any, **kwargs: Any) -> Any:
        _, states = call(*args, **kwargs)
        states = states if isinstance(states, list | tuple) else [states]
        states = [at(f"{name}/{part}", s) for part, s in zip(("hidden", "cell"), states, strict=False)]
        return states[0], states

    for kind, activation in before.items():

        def inner(kind: str = kind) -> Parts:
            return Parts(f"{name}/{kind}", at)

        behind = functools.partial(at, f"{name}/{kind}/output")
        setattr(cell, kind, rounded_activation(activation, inner, behind, ahead="input"))
    try:
        with calling(cell, stepped):
            yield
    finally:
        for kind, activation in before.items():
            setattr(cell, kind, activation)


def _decomposed(make: Callable) -> Callable[[RoundingPoint, Rounding], contextlib.AbstractContextManager]:
    """Return a change that computes a layer as a sequence of operators, and rounds between and after them.

    Args:
        make: Function from (layer, at, rounding, prefix) to the replacement of the layer's `call`.
    """

    def change(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
        inner, behind = point.each_part(rounding.at), point.each_output(rounding.at)

        def call(*args: Any, **kwargs: Any) -> Any:
            return behind(make(point, inner(), rounding)(*args, **kwargs))

        return calling(point.layer, call)

    return change


def _of_normalization(point: RoundingPoint, at: Parts, rounding: Rounding) -> Callable:
    return operators.normalization(
        point.layer, at, rounding.constant, lambda part: rounding.floor(f"{at.prefix}/{part}")
    )


def _of_affine(point: RoundingPoint, at: Parts, rounding: Rounding) -> Callable:
    return operators.affine(point.layer, at, rounding.constant)


def _of_folded(point: RoundingPoint, at: Parts, rounding: Rounding) -> Callable:
    """A batch normalisation that the file has in the kernel before it: its moving averages are not trained."""
    return operators.affine(point.layer)


def _of_absorbed(point: RoundingPoint, at: Parts, rounding: Rounding) -> Callable:
    """A batch normalisation that changes nothing: the file keeps no trace of it."""
    return lambda x, training=None, mask=None: x


def _of_prelu(point: RoundingPoint, at: Parts, rounding: Rounding) -> Callable:
    return operators.prelu(point.layer, rounding.factor)


@contextlib.contextmanager
def _float_convolution(point: RoundingPoint, rounding: Rounding) -> Iterator[None]:
    inner = point.each_part(rounding.at)
    with (
        _activation(point, rounding),
        calling(point.layer, lambda x: operators.convolution(point.layer, inner(), rounding.constant)(x)),
    ):
        yield


@contextlib.contextmanager
def _separable(point: RoundingPoint, rounding: Rounding) -> Iterator[None]:
    inner = point.each_part(rounding.at)
    with (
        _activation(point, rounding),
        calling(point.layer, lambda x: operators.separable(point.layer, inner())(x)),
    ):
        yield


@contextlib.contextmanager
def _merged(point: RoundingPoint, rounding: Rounding) -> Iterator[None]:
    inner = point.each_part(rounding.at)

    def merge(inputs: list[Any]) -> Any:
        return operators.merged(point.layer, inner())(inputs)

    with replacing(point.layer, "_merge_function", merge), _output(point, rounding):
        yield


def _attention(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    inner = point.each_part(rounding.at)

    def compute(*args: Any, **kwargs: Any) -> Any:
        at = inner()

        def rounded(part: str, x: Any) -> Any:
            fixed = part == "weights" and at.prefix is not None
            return to_fixed(x, FIXED[keras.activations.softmax]) if fixed else at(part, x)

        return operators.attention(point.layer, rounded)(*args, **kwargs)

    return replacing(point.layer, "_compute_attention", compute)


def _embedding(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    dense, positions, behind = point.layer, point.other, point.each_output(rounding.at)
    return calling(dense, lambda x, training=False: behind(positions.scaled_input(ops.matmul(x, dense.kernel))))


def _positions(point: RoundingPoint, rounding: Rounding) -> contextlib.AbstractContextManager:
    layer, dense, name, at, constant = point.layer, point.other, point.prefix, rounding.at, rounding.constant
    behind = point.each_output(at)

    def call(x: Any) -> Any:
        rows = ops.cast(layer.rows(ops.shape(x)[1], x.shape[-1]), x.dtype)
        if dense is not None:  # `_embedding` has already scaled the product
            return behind(x + constant(rows + layer.scaled_input(dense.bias)))
        scaled = x if layer.scale == 1 else at(f"{name}/scaled", layer.scaled_input(x))
        return behind(scaled + constant(rows))

    return calling(layer, call)


_CHANGES: dict[str, Callable[[RoundingPoint, Rounding], contextlib.AbstractContextManager]] = {
    "output": _output,
    "model": _outputs,
    "activation": _activation,
    "function": _function,
    "states": _states,
    "normalization": _decomposed(_of_normalization),
    "affine": _decomposed(_of_affine),
    "folded": _decomposed(_of_folded),
    "absorbed": _decomposed(_of_absorbed),
    "prelu": _decomposed(_of_prelu),
    "float": _float_convolution,
    "separable": _separable,
    "merged": _merged,
    "attention": _attention,
    "embedding": _embedding,
    "positions": _positions,
}


def kind_of(layer: Any) -> str:
    """Return how a layer is rounded, by its type alone."""
    for kind, types in _TYPES.items():
        if isinstance(layer, types):
            return kind
    return "normalization" if isinstance(layer, layers.Layer) and operators.is_normalization(layer) else "output"


_TYPES = {
    "attention": ATTENTION,
    "float": layers.Conv3D,
    "prelu": layers.PReLU,
    "separable": (layers.SeparableConv1D, layers.SeparableConv2D),
    "merged": (layers.Add, layers.Multiply, layers.Average),
}


def is_apart(layer: layers.Layer) -> bool:
    """Return whether the file has a ReLU after a convolution as an operator of its own.

    Without a bias there is no sum to fuse it into.
    """
    separate = isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3D)
    return isinstance(layer, layers.Conv3DTranspose) or (separate and not layer.use_bias)


def _as_it_is(x: Any, limits: tuple[float, float]) -> Any:
    return x


def to_fixed(x: Any, limits: tuple[float, float]) -> Any:
    """Fake-quantize to a range that does not depend on the data."""
    import tensorflow as tf

    return tf.quantization.fake_quant_with_min_max_args(x, *limits, num_bits=ACTIVATION_BITS)
