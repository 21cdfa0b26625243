"""Layers as sequences of the operators that they are exported as.

Each function returns a replacement for a layer's `call` (or another method) with the same values. `at` is a function
from the name and value of each intermediate result to the value to continue with; `constant` is applied to what the
file stores as a quantized constant. Both return the value unchanged by default.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.attention import HIDDEN
from zoo.models.parts.normalization import LayerNormalization

At = Callable[[str, Any], Any]


def as_is(name: str, x: Any) -> Any:
    """Return a value without rounding it."""
    return x


def unchanged(x: Any) -> Any:
    """Return a constant without rounding it."""
    return x


def is_normalization(layer: layers.Layer) -> bool:
    """Return whether a layer is exported as `normalization`."""
    if type(layer) in (layers.LayerNormalization, LayerNormalization):
        return not layer.rms_scaling
    return type(layer) is layers.GroupNormalization


def normalization(
    layer: layers.LayerNormalization | layers.GroupNormalization,
    at: At = as_is,
    constant: Callable[[Any], Any] = unchanged,
    floor: Callable[[str], Any] = lambda part: 0.0,
) -> Callable:
    """Return layer or group normalisation as a function of subtractions and products.

    Keras exports SQUARED_DIFFERENCE and NEG, which have no 16-bit kernels, and for groups SQUARE, which has no 8-bit
    kernel.

    Args:
        layer: Built layer.
        at: Function applied to every intermediate result.
        constant: Function applied to gamma and beta.
        floor: Function from the name of an intermediate result to the smallest positive value that it can have, or 0.
            Integers cannot express a variance far below the largest one. The file takes the largest reciprocal root
            that it can express for a variance that is rounded to zero.
    """
    groups = isinstance(layer, layers.GroupNormalization)

    def call(x: Any) -> Any:
        before = ops.shape(x)
        x = layer._reshape_into_groups(x) if groups else x
        shape, axes = _parameters(layer, x.shape)
        centred = at("centred", x - at("mean", ops.mean(x, axis=axes, keepdims=True)))
        squares = at("squares", centred * centred)
        variance = at("variance", ops.mean(squares, axis=axes, keepdims=True))
        variance = at("positive", variance + layer.epsilon)
        least = floor("positive")
        variance = variance if isinstance(least, float) and not least else ops.maximum(variance, least)
        y = centred * at("rsqrt", ops.rsqrt(variance))
        if layer.scale:
            y = at("normalized", y) * constant(ops.reshape(layer.gamma, shape))
        if layer.center:
            y = at("scaled", y) + constant(ops.reshape(layer.beta, shape))
        return ops.reshape(y, before) if groups else y

    return call


def _parameters(layer: layers.Layer, shape: tuple[int | None, ...]) -> tuple[list[int | None], list[int]]:
    """Return the shape in which gamma and beta are broadcast, and the axes that are averaged over."""
    if not isinstance(layer, layers.GroupNormalization):
        kept = {a % len(shape) for a in layer.axis}
        return [shape[i] if i in kept else 1 for i in range(len(shape))], list(layer.axis)
    group = layer.axis % (len(shape) - 1)  # its channels follow
    axes = [i for i in range(1, len(shape)) if i != group]
    return [shape[i] if i in (group, group + 1) else 1 for i in range(len(shape))], axes


def attention(layer: layers.MultiHeadAttention, at: At = as_is) -> Callable:
    """Return the inner part of an attention with masked scores of -100.

    Keras takes the lowest float, which would leave all other scores on one level of an 8-bit grid.

    Args:
        layer: Built layer, whose `_compute_attention` this replaces.
        at: Function applied to every intermediate result.
    """

    def compute(
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Any, Any]:
        if use_causal_mask:
            causal = layer._compute_causal_mask(query, value)
            attention_mask = causal if attention_mask is None else ops.logical_and(attention_mask, causal)
        query = at("scaled", query * layer._inverse_sqrt_key_dim)
        scores = ops.einsum(layer._dot_product_equation, key, query)
        if attention_mask is None:
            scores = at("scores", scores)
        else:
            missing = len(scores.shape) - len(attention_mask.shape)
            for _ in range(missing):
                attention_mask = ops.expand_dims(attention_mask, -len(layer._attention_axes) * 2 - 1)
            scores = at("seen", ops.where(attention_mask, scores, ops.cast(HIDDEN, scores.dtype)))
        weights = at("weights", ops.softmax(scores, axis=layer._softmax.axis))
        if attention_mask is not None:  # Keras has zeros in rows that are masked as a whole
            weights = ops.where(attention_mask, weights, ops.cast(0, weights.dtype))
        kept = layer._dropout_layer(weights, training=training) if layer._dropout else weights
        return at("heads", ops.einsum(layer._combine_equation, kept, value)), weights

    return compute


def separable(layer: layers.SeparableConv1D | layers.SeparableConv2D, at: At = as_is) -> Callable:
    """Return a separable convolution as a depthwise and a pointwise one."""

    def call(x: Any) -> Any:
        options = {"data_format": layer.data_format, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
        if options["padding"] == "causal":
            x, options["padding"] = ops.pad(x, layer._compute_causal_padding()), "valid"
        y = at("depthwise", ops.depthwise_conv(x, layer.depthwise_kernel, strides=layer.strides, **options))
        y = ops.conv(y, layer.pointwise_kernel, padding="valid", data_format=layer.data_format)
        last = layer.data_format == "channels_last"
        ones = (1,) * layer.rank
        if layer.use_bias:  # not by `+`: on TensorFlow, `ops.add` makes a BiasAdd, which the converter fuses
            y = ops.add(y, ops.reshape(layer.bias, (1, *ones, -1) if last else (1, -1, *ones)))
        return layer.activation(y) if layer.activation is not None else y

    return call


def convolution(layer: layers.Conv3D, at: At = as_is, constant: Callable[[Any], Any] = unchanged) -> Callable:
    """Return a convolution in float32, whose bias is added to its quantized result."""

    def call(x: Any) -> Any:
        y = at("product", layer.convolution_op(x, layer.kernel))
        if layer.use_bias:
            last = layer.data_format == "channels_last"
            y = y + constant(ops.reshape(layer.bias, (1, 1, 1, 1, -1) if last else (1, -1, 1, 1, 1)))
        return layer.activation(y) if layer.activation is not None else y

    return call


def affine(layer: layers.Layer, at: At = as_is, constant: Callable[[Any], Any] = unchanged) -> Callable:
    """Return a batch normalisation with its moving averages, a rescaling or a standardisation as two operators."""
    if isinstance(layer, layers.Normalization):

        def standardized(x: Any) -> Any:
            inverse = 1 / ops.maximum(ops.sqrt(layer.variance), keras.config.epsilon())
            return at("centred", x - constant(layer.mean)) * constant(inverse)

        return standardized

    def call(x: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(layer, layers.BatchNormalization):
            shape = [1] * len(x.shape)
            shape[layer.axis] = -1
            factor = ops.rsqrt(layer.moving_variance + layer.epsilon)
            factor = ops.reshape(factor * layer.gamma if layer.scale else factor, shape)
            offset = ops.reshape(layer.moving_mean, shape) * -factor
            offset = offset + ops.reshape(layer.beta, shape) if layer.center else offset
        else:
            factor, offset = (ops.cast(v, layer.compute_dtype) for v in (layer.scale, layer.offset))
            if not keras.ops.convert_to_numpy(layer.offset).any():
                return ops.cast(x, layer.compute_dtype) * constant(factor)
        return at("scaled", ops.cast(x, factor.dtype) * constant(factor)) + constant(offset)

    return call


def is_affine(layer: layers.Layer) -> bool:
    """Return whether a layer can be exported as `affine`."""
    if isinstance(layer, layers.Normalization):
        return not layer.invert
    return isinstance(layer, layers.Rescaling) or (isinstance(layer, layers.BatchNormalization) and not layer.renorm)


def merged(layer: layers.Add | layers.Multiply | layers.Average, at: At = as_is) -> Callable:
    """Return the sum, product or mean of several tensors, two at a time; replaces `_merge_function`.

    Masks are not propagated.
    """

    def merge(inputs: list[Any]) -> Any:
        product = isinstance(layer, layers.Multiply)
        total, last = inputs[0], len(inputs) - 1
        for i, x in enumerate(inputs[1:], start=1):
            total = total * x if product else total + x
            if i < last or isinstance(layer, layers.Average):
                total = at(f"{i}", total)
        return total / len(inputs) if isinstance(layer, layers.Average) else total

    return merge


def prelu(layer: layers.PReLU, constant: Callable[[Any], Any] = unchanged) -> Callable:
    """Return a PReLU; the converter recognises this form."""

    def call(x: Any) -> Any:
        return ops.relu(x) + -constant(ops.convert_to_tensor(layer.alpha)) * ops.relu(-x)

    return call


def _silu(x: Any, at: At) -> Any:
    return x * at("sigmoid", ops.sigmoid(x))


def _softplus(x: Any, at: At) -> Any:
    """Return max(x, 0) - log(sigmoid(|x|)): exp(x), as the converter has it, needs a far wider range."""
    return at("positive", ops.relu(x)) - at("log", ops.log(at("sigmoid", ops.sigmoid(at("absolute", ops.abs(x))))))


def _mish(x: Any, at: At) -> Any:
    return x * at("tanh", ops.tanh(at("softplus", _softplus(x, at))))


# Activations that the file has as several operators, each as a function of a tensor and `at`.
ACTIVATIONS: dict[Callable, Callable[[Any, At], Any]] = {
    keras.activations.silu: _silu,
    keras.activations.softplus: _softplus,
    keras.activations.mish: _mish,
}
