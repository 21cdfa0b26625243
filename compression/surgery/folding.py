"""Fold batch normalisation into the preceding kernel, as the converter does (Jacob et al., 2018, section 3.2)."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.surgery.layers import channel_axes, kernels_of
from compression.surgery.survey import LayerCall, calls, consumers

# Layers whose last kernel has its output channels on the last axis; depthwise: (channels, multiplier) on the last two.
FOLDED = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


def fold_batch_norms(model: keras.Model, x: Any) -> list[layers.BatchNormalization]:
    """Move the scale of every batch normalisation that directly follows a kernel into that kernel.

    The normalisation keeps only a trainable shift, and its moving averages are frozen. Inference outputs do not change,
    and a second call changes nothing.

    Args:
        model: Built Keras model, changed in place.
        x: A few examples, (examples, ...), or a tuple of arrays for several inputs.

    Returns:
        The folded normalisation layers.
    """
    found = calls(model, x)
    pairs = [(call.source.layer, call.layer) for call in found if _foldable(call, found)]
    for before, norm in pairs:
        _fold(before, norm)
    return [norm for _, norm in pairs]


def _foldable(call: LayerCall, found: list[LayerCall]) -> bool:
    norm, source = call.layer, call.source
    if not isinstance(norm, layers.BatchNormalization) or source is None or not isinstance(source.layer, FOLDED):
        return False
    shared = sum(other.layer in (norm, source.layer) for other in found) > 2
    linear = source.layer.activation in (None, keras.activations.linear)
    return linear and not shared and len(consumers(found, source)) == 1 and norm.axis in (-1, source.rank - 1)


def _fold(before: layers.Layer, norm: layers.BatchNormalization) -> None:
    gamma = ops.convert_to_numpy(norm.gamma) if norm.scale else np.float32(1)
    mean, variance = (ops.convert_to_numpy(v) for v in (norm.moving_mean, norm.moving_variance))
    scale = gamma / np.sqrt(variance + norm.epsilon)  # (channels,)
    kernel = kernels_of(before)[-1]
    ends = [kernel.shape[axis] for axis in channel_axes(before, kernel)]
    kernel.assign(kernel * scale.reshape(ends))
    if before.use_bias:
        before.bias.assign(before.bias * scale)
    norm.trainable = False  # Keras then uses the moving averages in training too
    norm.moving_mean.assign(mean * scale)
    norm.moving_variance.assign(np.full_like(variance, 1 - norm.epsilon))
    if norm.scale:
        norm.gamma.assign(np.ones_like(gamma))
    if norm.center:
        norm.beta.trainable = True
