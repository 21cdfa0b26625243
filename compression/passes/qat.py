"""Quantization-aware training of any built model (Jacob et al., 2018): training rounds what the exported file rounds.

Weights are fake-quantized symmetrically with the scales that the converter derives from them, so conversion stores the
trained weights exactly. Activations are fake-quantized between layers. Their ranges are moving averages of the minimum
and maximum of each batch, and the file uses these ranges. In recurrent layers, gates and states are rounded too; in
attention, so is the output of every inner layer.
"""

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.passes.parametrize import Parametrized
from compression.surgery import kernels
from compression.surgery.layers import RECURRENT, channel_axes, kernels_of, matching, with_kernels
from compression.surgery.survey import LayerCall, calls, consumers, leaves
from zoo.introspection.hooks import calling
from zoo.models.parts.attention import PositionEncoding

# Layers whose outputs are values of their inputs, or of the table for Embedding: they need no rounding of their own.
SAME_GRID = (
    layers.Embedding,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.RepeatVector,
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
)
CLIPPING = (keras.activations.relu, keras.activations.relu6)
# TFLite fixes the output ranges of these activations, as (lowest, highest).
FIXED = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.softmax: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
ACTIVATION_BITS = 8
INPUT = "input"

# Rounds a tensor: from the name of the rounding point and the tensor to the tensor to continue with.
At = Callable[[str, Any], Any]


class Rounded(layers.Layer):
    """Fake-quantize a weight symmetrically to `bits` bits, with a straight-through gradient.

    Args:
        axes: Axes whose slices have their own scale; empty for one scale.
        bits: Number of bits; 8 gives integers from -127 to 127.
    """

    def __init__(self, axes: Sequence[int], bits: int):
        super().__init__()
        self.axes, self.largest = tuple(axes), 2 ** (bits - 1) - 1
        self.built = True

    def call(self, value: Any) -> Any:
        others = [i for i in range(len(value.shape)) if i not in {a % len(value.shape) for a in self.axes}]
        high, low = ops.max(value, axis=others, keepdims=True), ops.min(value, axis=others, keepdims=True)
        scale = ops.maximum(high, -low) / self.largest
        return _on_grid(value, ops.stop_gradient(ops.where(scale > 0, scale, 1.0)))  # scale 0: all-zero slice


def _on_grid(value: Any, scale: Any) -> Any:
    """Round to the nearest multiples of `scale`, with a straight-through gradient."""

    @ops.custom_gradient
    def nearest(value: Any) -> tuple[Any, Callable]:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return args[0] if upstream is None else upstream

        return ops.round(value / scale) * scale, gradient

    import tensorflow as tf

    return nearest(tf.convert_to_tensor(value))  # custom_gradient would require a variables argument for a variable


@dataclass
class RoundingPoint:
    """A layer whose activations are rounded.

    Args:
        layer: Layer whose call is replaced.
        kind: What is rounded: output, activation, states, normalization, positions or embedding. An embedding is a
            Dense layer followed by a position encoding; the file adds its bias and the positions as one constant.
        names: Name of the point at each call of the layer in one run of the model; None for calls without rounding.
        other: Position encoding of an embedding, or embedding of a position encoding.
    """

    layer: layers.Layer
    kind: str
    names: list[str | None]
    other: layers.Layer | None = None

    def each_call(self, at: At) -> Callable[[Any], Any]:
        """Return a function that rounds its argument under the name of the present call."""
        names = itertools.cycle(self.names)

        def rounded(x: Any) -> Any:
            name = next(names)
            return x if name is None else at(name, x)

        return rounded


class Points:
    """The rounding points of a model's activations.

    Args:
        model: Built Keras model.
        x: A few examples, (examples, ...).
        skip: Patterns of layers that stay in float32.
    """

    def __init__(self, model: keras.Model, x: np.ndarray, skip: Sequence[str] = ()):
        self.model = model
        named = with_kernels(model)
        left_out = {id(named[path]) for path in matching(named, skip, "skip")}
        # Keras numbers automatic layer names per process; indices in the model are reproducible.
        names = {id(layer): f"{type(layer).__name__.lower()}_{i}" for i, layer in enumerate(leaves(model))}
        names |= {id(layer): path for path, layer in named.items()}
        found = calls(model, x)
        on_grid: set[int] = set()  # ids of calls whose output is already rounded
        points: dict[int, RoundingPoint] = {}
        for call in found:
            layer, given = call.layer, call.source is not None and id(call.source) in on_grid
            point = points.setdefault(id(layer), RoundingPoint(layer, _kind(layer), []))
            name = f"{names[id(layer)]}:{len(point.names)}" if point.names else names[id(layer)]
            same = isinstance(layer, SAME_GRID) or (_is_clipping(layer) and given)
            if same and (given or isinstance(layer, layers.Embedding)):
                on_grid.add(id(call))
            if same or id(layer) in left_out or _is_fused(call, found):
                point.names.append(None)
            else:
                point.names.append(name)
                on_grid.add(id(call))
        self.points = [point for point in points.values() if any(point.names)]
        for call in found:
            if (into := _following_positions(call, found)) and points[id(call.layer)].names[0]:
                points[id(call.layer)].kind, points[id(call.layer)].other = "embedding", into
                points[id(into)].other = call.layer

    def in_loop(self, name: str) -> bool:
        """Return whether a point is inside a recurrent layer."""
        return any(name.startswith(f"{point.names[0]}/") for point in self.points if point.kind == "states")

    @contextlib.contextmanager
    def rounding(self, at: At, constant: Callable[[Any], Any] = lambda x: x) -> Iterator[None]:
        """Round in every call of the model inside this context.

        Args:
            at: Function applied to every activation that the file rounds.
            constant: Function applied to constants that the file adds or multiplies.
        """
        with contextlib.ExitStack() as undo:
            for point in self.points:
                more = (constant,) if point.kind in ("normalization", "positions") else ()
                undo.enter_context(_CHANGES[point.kind](point, at, *more))
            yield


def _kind(layer: layers.Layer) -> str:
    if isinstance(layer, RECURRENT):
        return "states"
    if kernels.is_rewritten(layer):
        return "normalization"
    if isinstance(layer, PositionEncoding):
        return "positions"
    return "activation" if kernels_of(layer) and hasattr(layer, "activation") else "output"


def _is_clipping(layer: layers.Layer) -> bool:
    return isinstance(layer, layers.ReLU) or (isinstance(layer, layers.Activation) and layer.activation in CLIPPING)


def _is_fused(call: LayerCall, found: list[LayerCall]) -> bool:
    """Return whether the file fuses a call with the batch normalisation or ReLU that follows, and rounds only after."""
    after = consumers(found, call)
    linear = getattr(call.layer, "activation", keras.activations.linear) in (None, keras.activations.linear)
    if len(after) != 1 or not linear or isinstance(call.layer, RECURRENT):
        return False
    kernel, norm = bool(kernels_of(call.layer)), isinstance(call.layer, layers.BatchNormalization)
    if kernel and isinstance(after[0].layer, layers.BatchNormalization):
        return True
    return (kernel or norm) and _is_clipping(after[0].layer)


def _following_positions(call: LayerCall, found: list[LayerCall]) -> PositionEncoding | None:
    """Return the position encoding that is the only consumer of a Dense output, or None.

    The file has one constant for the bias and the positions together.
    """
    layer, after = call.layer, consumers(found, call)
    if not (isinstance(layer, layers.Dense) and layer.use_bias and len(after) == 1):
        return None
    alone = sum(other.layer in (layer, after[0].layer) for other in found) == 2
    linear = layer.activation in (None, keras.activations.linear)
    return after[0].layer if alone and linear and isinstance(after[0].layer, PositionEncoding) else None


def _output(point: RoundingPoint, at: At) -> contextlib.AbstractContextManager:
    before, behind = point.layer.call, point.each_call(at)
    activation = getattr(point.layer, "activation", None)
    if isinstance(point.layer, layers.Softmax):
        activation = keras.activations.softmax

    def call(*args: Any, **kwargs: Any) -> Any:
        made = before(*args, **kwargs)
        if activation in FIXED:
            return _to_fixed(made, FIXED[activation])
        return behind(made) if hasattr(made, "dtype") else made

    return calling(point.layer, call)


@contextlib.contextmanager
def _activation(point: RoundingPoint, at: At) -> Iterator[None]:
    """Round after the activation, and also before it if the file has it as a separate operator."""
    layer, before = point.layer, point.layer.activation
    ahead = point.each_call(lambda name, z: at(f"{name}/linear", z))
    layer.activation = _rounded_activation(before, ahead, point.each_call(at))
    try:
        yield
    finally:
        layer.activation = before


def _rounded_activation(activation: Any, ahead: Callable, behind: Callable) -> Callable:
    if activation in (None, keras.activations.linear):
        return behind
    if activation in CLIPPING:
        return lambda z: behind(activation(z))
    if activation in FIXED:
        return lambda z: _to_fixed(activation(ahead(z)), FIXED[activation])
    return lambda z: behind(activation(ahead(z)))


@contextlib.contextmanager
def _states(point: RoundingPoint, at: At) -> Iterator[None]:
    """Round the gates and states of a recurrent layer's cell, with the same ranges at every step."""
    cell, name = point.layer.cell, next(filter(None, point.names))
    before = {kind: getattr(cell, kind) for kind in ("activation", "recurrent_activation") if hasattr(cell, kind)}
    call = cell.call

    def stepped(*args: Any, **kwargs: Any) -> Any:
        _, states = call(*args, **kwargs)
        states = states if isinstance(states, list | tuple) else [states]
        states = [at(f"{name}/{part}", s) for part, s in zip(("hidden", "cell"), states, strict=False)]
        return states[0], states

    for kind, activation in before.items():
        ahead, behind = (functools.partial(at, f"{name}/{kind}/{side}") for side in ("input", "output"))
        setattr(cell, kind, _rounded_activation(activation, ahead, behind))
    try:
        with calling(cell, stepped):
            yield
    finally:
        for kind, activation in before.items():
            setattr(cell, kind, activation)


def _normalization(point: RoundingPoint, at: At, constant: Callable[[Any], Any]) -> contextlib.AbstractContextManager:
    """Round the output of every operator that a layer normalisation is exported as."""
    name = next(filter(None, point.names))
    return calling(point.layer, kernels.normalization(point.layer, lambda part, x: at(f"{name}/{part}", x), constant))


def _embedding(point: RoundingPoint, at: At) -> contextlib.AbstractContextManager:
    dense, positions, behind = point.layer, point.other, point.each_call(at)
    return calling(dense, lambda x, training=False: behind(positions.scaled_input(ops.matmul(x, dense.kernel))))


def _positions(point: RoundingPoint, at: At, constant: Callable[[Any], Any]) -> contextlib.AbstractContextManager:
    layer, dense, name = point.layer, point.other, next(filter(None, point.names))

    def call(x: Any) -> Any:
        rows = ops.cast(layer.rows(ops.shape(x)[1], x.shape[-1]), x.dtype)
        if dense is not None:  # `_embedding` has already scaled the product
            return at(name, x + constant(rows + layer.scaled_input(dense.bias)))
        scaled = x if layer.scale == 1 else at(f"{name}/scaled", layer.scaled_input(x))
        return at(name, scaled + constant(rows))

    return calling(layer, call)


_CHANGES = {
    "normalization": _normalization,
    "output": _output,
    "activation": _activation,
    "states": _states,
    "embedding": _embedding,
    "positions": _positions,
}


def _constant(x: Any) -> Any:
    """Fake-quantize a constant that the file adds or multiplies: one scale, from its minimum to its maximum."""
    import tensorflow as tf

    low, high = (ops.stop_gradient(end) for end in (ops.minimum(ops.min(x), 0), ops.maximum(ops.max(x), 0)))
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=ACTIVATION_BITS)


def _to_fixed(x: Any, limits: tuple[float, float]) -> Any:
    import tensorflow as tf

    return tf.quantization.fake_quant_with_min_max_args(x, *limits, num_bits=ACTIVATION_BITS)


class Quantized(Parametrized):
    """A model trained with fake-quantized weights and, for files with integer activations, activations.

    Args:
        model: Built Keras model with folded batch normalisations.
        points: Rounding points of activations; None for files with float activations.
        functions: Functions that preserve earlier passes, by variable path; see `parametrize.preserving`.
        bits: Number of bits of the weights.
        per_tensor: Whether each kernel has one scale instead of one per channel.
        skip: Patterns of layers whose weights stay in float32.
        momentum: Momentum of the ranges' moving averages.
        ranges: Initial (lowest, highest) of each point; see `calibrated`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        points: Points | None,
        functions: dict[str, list[layers.Layer]],
        bits: int = 8,
        per_tensor: bool = False,
        skip: Sequence[str] = (),
        momentum: float = 0.99,
        ranges: dict[str, tuple[float, float]] | None = None,
    ):
        named, functions = with_kernels(model), dict(functions)
        left_out = matching(named, skip, "skip")
        for path, layer in named.items():
            for kernel in kernels_of(layer) if path not in left_out else ():
                axes = () if per_tensor else scale_axes(layer, kernel)
                functions[kernel.path] = [*functions.get(kernel.path, []), Rounded(axes, bits)]
        self.points, self._momentum = points, momentum
        super().__init__(model, functions)
        self._local = threading.local()  # a strategy runs each replica in its own thread
        self.names = tuple(ranges or ())
        # Tensors inside a loop are not accessible from outside, so these points keep their calibrated ranges.
        self.followed = tuple(name for name in self.names if name != INPUT and not points.in_loop(name))
        self.ranges = self.add_weight(shape=(len(self.names), 2), trainable=False, name="ranges")
        if ranges:
            self.ranges.assign(np.array(list(ranges.values()), np.float32))

    def final_ranges(self) -> dict[str, tuple[float, float]]:
        """Return the present (lowest, highest) of every point."""
        values = ops.convert_to_numpy(self.ranges)
        return {name: (float(low), float(high)) for name, (low, high) in zip(self.names, values, strict=True)}

    def call(self, x: Any, training: bool | None = None) -> Any:
        if INPUT in self.names:
            import tensorflow as tf

            low, high = tf.unstack(self.ranges[self.names.index(INPUT)])
            x = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=ACTIVATION_BITS)
        outputs = super().call(x, training=training)
        if training and self.names:
            self._follow(self._local.seen)
        return outputs

    @contextlib.contextmanager
    def _changed(self, training: bool) -> Iterator[None]:
        if not self.names:
            yield
            return
        import tensorflow as tf

        places = {name: i for i, name in enumerate(self.names)}
        ranges = tf.convert_to_tensor(self.ranges.value)
        seen: dict[str, list] = {}
        self._local.seen = seen

        def at(name: str, x: Any) -> Any:
            if name not in places:
                return x
            if training and name in self.followed:
                seen.setdefault(name, []).append(tf.stack([tf.reduce_min(x), tf.reduce_max(x)]))
            low, high = tf.unstack(ranges[places[name]])
            return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=ACTIVATION_BITS)

        with self.points.rounding(at, _constant):
            yield

    def _follow(self, seen: Mapping[str, list]) -> None:
        """Move the ranges towards those of the global batch, equally on every replica."""
        import tensorflow as tf

        ranges = tf.convert_to_tensor(self.ranges.value)
        rows = [tf.stack(seen[name]) if name in seen else ranges[i][None] for i, name in enumerate(self.names)]
        low = tf.stack([tf.minimum(tf.reduce_min(row[:, 0]), 0.0) for row in rows])
        high = tf.stack([tf.maximum(tf.reduce_max(row[:, 1]), 0.0) for row in rows])
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            low = tf.reduce_min(context.all_gather(low[None], axis=0), axis=0)
            high = tf.reduce_max(context.all_gather(high[None], axis=0), axis=0)
        batch = tf.stop_gradient(tf.stack([low, high], axis=-1))  # (points, 2)
        self.ranges.assign(ranges * self._momentum + batch * (1 - self._momentum))


def scale_axes(layer: layers.Layer, kernel: keras.Variable) -> tuple[int, ...]:
    """Return the axes of a kernel whose slices get their own scale from the converter."""
    return () if isinstance(layer, layers.Embedding | layers.EinsumDense) else channel_axes(layer, kernel)


def calibrated(model: keras.Model, points: Points, x: np.ndarray, batch: int = 32) -> dict[str, tuple[float, float]]:
    """Return the (lowest, highest) value over some examples of the input and every point, extended to include zero.

    Args:
        model: Built Keras model.
        points: Rounding points of the model.
        x: Model inputs, (examples, ...).
        batch: Batch size.
    """
    found: dict[str, tuple[float, float]] = {}

    def at(name: str, value: Any) -> Any:
        low, high = found.get(name, (0.0, 0.0))
        found[name] = (min(low, float(ops.min(value))), max(high, float(ops.max(value))))
        return value

    if np.issubdtype(x.dtype, np.floating):
        at(INPUT, x)
    with kernels.using(model, "unrolled"), points.rounding(at):
        for start in range(0, len(x), batch):
            model(ops.convert_to_tensor(x[start : start + batch]), training=False)
    return found
