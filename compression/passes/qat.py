"""Quantization-aware training of any built model (Jacob et al., 2018): training rounds what the exported file rounds.

Weights are fake-quantized symmetrically with the scales that the converter derives from them, so conversion stores the
trained weights exactly. Activations are fake-quantized where the file has them, which `compression.passes.grids` finds.
Their ranges are moving averages of the minimum and maximum of each batch, and the file uses these ranges. Batch
normalisations keep their moving averages.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.passes.grids import Points
from compression.passes.parametrize import Parametrized
from compression.passes.rounding import ACTIVATION_BITS, FLOAT
from compression.surgery import kernels
from compression.surgery.layers import channel_axes, kernels_of, matching, with_kernels

# Layers with one kernel and a bias that the file has in one operator with it.
BIASED = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
)


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
        return _on_grid(value, self.scale(value))

    def scale(self, value: Any) -> Any:
        """Return the scale of each slice, with the rank of the weight."""
        others = [i for i in range(len(value.shape)) if i not in {a % len(value.shape) for a in self.axes}]
        high, low = ops.max(value, axis=others, keepdims=True), ops.min(value, axis=others, keepdims=True)
        scale = ops.maximum(high, -low) / self.largest
        return ops.stop_gradient(ops.where(scale > 0, scale, 1.0))  # scale 0: all-zero slice


class RoundedBias(layers.Layer):
    """Round a bias to the product of the scales of a layer's input and kernel, with a straight-through gradient.

    This is where the file rounds it: to 32 bits, but with a step that can be a tenth of the output's.

    Args:
        scale: Function that returns the scale of the kernel: one for each channel, or one.
        ends: Function that returns the (lowest, highest) value of the input.
    """

    def __init__(self, scale: Callable[[], Any], ends: Callable[[], Any]):
        super().__init__()
        self._scale, self._ends = scale, ends
        self.built = True

    def call(self, value: Any) -> Any:
        low, high = ops.unstack(self._ends())
        scale = self._scale()
        each = int(np.prod(scale.shape)) == int(np.prod(value.shape))
        step = ops.reshape(scale, value.shape if each else ()) * (high - low) / (2**ACTIVATION_BITS - 1)
        return _on_grid(value, ops.stop_gradient(step))


def _on_grid(value: Any, scale: Any) -> Any:
    """Round to the nearest multiples of `scale`, with a straight-through gradient."""

    @ops.custom_gradient
    def nearest(value: Any) -> tuple[Any, Callable]:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return args[0] if upstream is None else upstream

        return ops.round(value / scale) * scale, gradient

    import tensorflow as tf

    return nearest(tf.convert_to_tensor(value))  # custom_gradient would require a variables argument for a variable


def _constant(x: Any) -> Any:
    """Fake-quantize a constant that the file adds or multiplies: one scale, from its minimum to its maximum."""
    import tensorflow as tf

    low, high = (ops.stop_gradient(end) for end in (ops.minimum(ops.min(x), 0), ops.maximum(ops.max(x), 0)))
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=ACTIVATION_BITS)


def _without_ties(x: Any, low: Any, high: Any) -> Any:
    """Lower means slightly if their 8-bit integer is negative: TFLite rounds ties away from zero there, so down."""
    step = (high - low) / (2**ACTIVATION_BITS - 1)
    zero = low + step * 2 ** (ACTIVATION_BITS - 1)
    return ops.where(x < zero, x - step / 2048, x)


def _factor(x: Any) -> Any:
    """Fake-quantize the slopes of a PReLU: one scale, symmetrically."""
    return Rounded((), ACTIVATION_BITS)(x)


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
        biases: Whether biases are rounded too. After `strip`, they are; before 0.2.0, they were not.
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
        biases: bool = True,
    ):
        named, functions = with_kernels(model), dict(functions)
        left_out = matching(named, skip, "skip")
        for path, layer in named.items():
            stays_float = path in left_out or (points and isinstance(layer, FLOAT))
            for kernel in () if stays_float else kernels_of(layer):
                axes = () if per_tensor else scale_axes(layer, kernel)
                functions[kernel.path] = [*functions.get(kernel.path, []), Rounded(axes, bits)]
        self.points, self._momentum = points, momentum
        super().__init__(model, functions)
        self._local = threading.local()  # a strategy runs each replica in its own thread
        self.names = tuple(ranges or ())
        grids = {name: points.grid(name) for name in self.names}
        first = {grid: ranges[name] for name, grid in reversed(grids.items())}
        rows = list(dict.fromkeys(grids.values()))
        self._row = {name: rows.index(grid) for name, grid in grids.items()}
        self.followed = _followed(points, grids) if points else frozenset()
        self.ranges = self.add_weight(shape=(len(rows), 2), trainable=False, name="ranges")
        if ranges:
            self.ranges.assign(np.array([first[grid] for grid in rows], np.float32))
            for path, layer in named.items() if biases else ():
                if path not in left_out and isinstance(layer, BIASED) and layer.bias is not None:
                    self._round_bias(layer, rows)

    def _round_bias(self, layer: layers.Layer, rows: list[str]) -> None:
        (kernel,), grid = kernels_of(layer), self.points.given(layer)
        *before, rounded = self.functions[kernel.path]
        scales = int(np.prod([kernel.shape[axis] for axis in rounded.axes]))
        if grid in rows and scales in (1, int(np.prod(layer.bias.shape))):
            row = rows.index(grid)

            def scale() -> Any:
                value = ops.convert_to_tensor(kernel)
                for function in before:
                    value = function(value)
                return rounded.scale(value)

            self.functions[layer.bias.path] = [RoundedBias(scale, lambda: self.ranges[row])]

    def final_ranges(self) -> dict[str, tuple[float, float]]:
        """Return the present (lowest, highest) of every point."""
        values = ops.convert_to_numpy(self.ranges)
        return {name: (float(values[row, 0]), float(values[row, 1])) for name, row in self._row.items()}

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not self.names:
            return super().call(x, training=training)
        with self._present(bool(training)) as at:
            names = iter(self.points.inputs)
            x = keras.tree.map_structure(lambda value: at(next(names), value), x)
            return super().call(x, training=training)

    @contextlib.contextmanager
    def _present(self, training: bool) -> Iterator[Callable[[str | None, Any], Any]]:
        """Yield the function that rounds with the present ranges, and let the ranges follow the batch afterwards."""
        import tensorflow as tf

        ends = tf.unstack(tf.convert_to_tensor(self.ranges.value))
        seen: dict[int, list] = {}

        def at(name: str | None, x: Any) -> Any:
            row = self._row.get(name)
            if row is None or name in self.points.kept:
                return x
            if training and name in self.followed and name not in self.points.passive:
                seen.setdefault(row, []).append((tf.reduce_min(x), tf.reduce_max(x)))
            low, high = tf.unstack(ends[row])
            if name in self.points.averaged:
                x = _without_ties(x, low, high)
            return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=ACTIVATION_BITS)

        def floor(name: str) -> Any:
            row = self._row.get(name)
            return 0.0 if row is None else (ends[row][1] - ends[row][0]) / (2**ACTIVATION_BITS - 1)

        self._local.rounding = at, floor
        yield at
        if seen:
            self._follow(ends, seen)

    @contextlib.contextmanager
    def _changed(self, training: bool) -> Iterator[None]:
        if not self.names:
            yield
            return
        at, floor = self._local.rounding
        with self.points.rounding(at, constant=_constant, factor=_factor, floor=floor, ends=not training):
            yield

    def _follow(self, ends: list[Any], seen: Mapping[int, list]) -> None:
        """Move the ranges towards those of the global batch, equally on every replica."""
        import tensorflow as tf

        found = [seen.get(row, [(end[0], end[1])]) for row, end in enumerate(ends)]
        low = tf.stack([tf.minimum(tf.reduce_min([low for low, _ in pairs]), 0.0) for pairs in found])
        high = tf.stack([tf.maximum(tf.reduce_max([high for _, high in pairs]), 0.0) for pairs in found])
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            low = tf.reduce_min(context.all_gather(low[None], axis=0), axis=0)
            high = tf.reduce_max(context.all_gather(high[None], axis=0), axis=0)
        batch = tf.stop_gradient(tf.stack([low, high], axis=-1))  # (grids, 2)
        self.ranges.assign(tf.stack(ends) * self._momentum + batch * (1 - self._momentum))


def _followed(points: Points, grids: Mapping[str, str]) -> frozenset[str]:
    """Return the points whose ranges follow the batches.

    Tensors inside a loop are not accessible from outside, so these points keep their calibrated ranges, and so does
    the input of the model, unless it shares its grid with a point that follows.

    Args:
        points: Rounding points.
        grids: Name of the grid of each point.
    """
    given = {*points.inputs, *points.passive, *points.kept}
    fixed = {grid for name, grid in grids.items() if points.in_loop(name)}
    moving = {grid for name, grid in grids.items() if name not in given} - fixed
    return frozenset(name for name, grid in grids.items() if grid in moving)


def scale_axes(layer: layers.Layer, kernel: keras.Variable) -> tuple[int, ...]:
    """Return the axes of a kernel whose slices get their own scale from the converter."""
    if isinstance(layer, layers.Embedding):
        return ()
    if isinstance(layer, layers.EinsumDense):
        given, made = layer.equation.split("->")
        inputs, weights = given.split(",")
        return tuple(i for i, letter in enumerate(weights) if letter in made and letter not in inputs)
    return channel_axes(layer, kernel)


def calibrated(model: keras.Model, points: Points, x: Any, batch: int = 32) -> dict[str, tuple[float, float]]:
    """Return the (lowest, highest) value over some examples of the inputs and every point, extended to include zero.

    Points with one grid get one range.

    Args:
        model: Built Keras model.
        points: Rounding points of the model.
        x: Model inputs, (examples, ...), or a structure of arrays for several inputs.
        batch: Batch size.
    """
    found: dict[str, tuple[float, float]] = {}

    def at(name: str | None, value: Any) -> Any:
        if name is not None:
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(ops.min(value))), max(high, float(ops.max(value))))
        return value

    def floor(name: str) -> Any:
        low, high = found.get(name, (0.0, 0.0))
        return (high - low) / (2**ACTIVATION_BITS - 1)

    for name, value in zip(points.inputs, keras.tree.flatten(x), strict=True):
        at(name, value)
    flat = keras.tree.flatten(x)
    with kernels.using(model, "unrolled"), points.rounding(at, floor=floor):
        for start in range(0, len(flat[0]), batch):
            part = [ops.convert_to_tensor(array[start : start + batch]) for array in flat]
            model(keras.tree.pack_sequence_as(x, part), training=False)
    shared: dict[str, tuple[float, float]] = {}
    for name, (low, high) in found.items():
        least, most = shared.get(points.grid(name), (low, high))
        shared[points.grid(name)] = (min(low, least), max(high, most))
    # XNNPACK refuses the scale of a tensor whose values are all zero.
    shared = {name: (low, high) if high > low else (0.0, 1.0) for name, (low, high) in shared.items()}
    return {name: shared[points.grid(name)] for name in found}
