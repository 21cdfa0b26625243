"""Fold batch normalisation into the preceding kernel, as the converter does (Jacob et al., 2018, section 3.2)."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.surgery.layers import channel_axes, kernels_of
from compression.surgery.survey import LayerCall, calls, consumers

# Layers whose last kernel has the channels of the output, on the axes that `channel_axes` gives.
FOLDED = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
)


def fold_batch_norms(model: keras.Model, x: Any) -> list[layers.BatchNormalization]:
    """Move every batch normalisation that directly follows a kernel into that kernel and its bias.

    Without a bias, the normalisation keeps a trainable shift. Its moving averages are frozen. Inference outputs do not
    change, and a second call changes nothing.

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


def is_identity(norm: layers.BatchNormalization) -> bool:
    """Return whether a normalisation has been moved into the layer before it as a whole."""
    expected = {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1 - norm.epsilon}
    return all((ops.convert_to_numpy(v) == np.float32(expected[v.name])).all() for v in norm.variables)


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
    axes = [axis % len(kernel.shape) for axis in channel_axes(before, kernel)]
    kernel.assign(kernel * scale.reshape([n if i in axes else 1 for i, n in enumerate(kernel.shape)]))
    mean = mean * scale
    if before.use_bias:
        beta = ops.convert_to_numpy(norm.beta) if norm.center else np.float32(0)
        before.bias.assign(before.bias * scale + beta - mean)
        mean = np.zeros_like(mean)
        if norm.center:
            norm.beta.assign(np.zeros_like(beta))
    norm.trainable = False  # Keras then uses the moving averages in training too
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(np.full_like(variance, 1 - norm.epsilon))
    if norm.scale:
        norm.gamma.assign(np.ones_like(gamma))
    if norm.center and not before.use_bias:
        norm.beta.trainable = True
