"""Find the layers of any built model, at any depth, and the kernels that compression works on."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np

from compression.surgery.steps import STEPS, lost
from zoo.config import patterns as shell
from zoo.console.errors import UsageError, nearest
from zoo.introspection.layers import layers_of, parts_of
from zoo.models.parts.floating import InFloat

RECURRENT = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
# Names of weight matrices in Keras layers; biases, scales and position tables have other names.
KERNELS = ("kernel", "recurrent_kernel", "embeddings", "depthwise_kernel", "pointwise_kernel")


def paths(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return every layer inside a model by its path, the names of the layers around it and its own, joined by /.

    Siblings with the same name are numbered: `fc`, `fc#2`.
    """
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = set()

    def walk(parent: keras.layers.Layer, prefix: str) -> None:
        for layer in parts_of(parent):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            path, count = f"{prefix}{layer.name}", 1
            while path in found:
                count += 1
                path = f"{prefix}{layer.name}#{count}"
            found[path] = layer
            walk(layer, f"{path}/")

    walk(model, "")
    order = {id(layer): number for number, layer in enumerate(layers_of(model))}
    return dict(sorted(found.items(), key=lambda item: order[id(item[1])]))


def with_kernels(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers with weight matrices of their own, by path; a recurrent layer stands for its cell.

    Layers with vectors only are omitted: normalisations are folded into the layer before them, and no engine quantizes
    biases to eight bits.
    """
    return {path: layer for path, layer in paths(model).items() if _has_kernel(layer)}


def in_float(model: keras.Model, steps: int = STEPS["int8"]) -> list[keras.layers.Layer]:
    """Return the layers of a model that stay in float32; see `stays_in_float`."""
    return [layer for layer in layers_of(model) if stays_in_float(layer, steps)]


def stays_in_float(layer: keras.layers.Layer, steps: int = STEPS["int8"]) -> bool:
    """Return whether a layer stays in float32 in quantized files, because one scale would not suit what it takes.

    So do layers that say it of themselves, a `keras.layers.CategoryEncoding`, whose indices must stay whole, and a
    `keras.layers.Normalization` of features in units of their own; see `compression.surgery.steps.lost`.

    Args:
        layer: Layer.
        steps: Number of steps of the scale.
    """
    if isinstance(layer, InFloat | keras.layers.CategoryEncoding):
        return True
    if not (isinstance(layer, keras.layers.Normalization) and layer.built) or layer.invert:
        return False
    mean, variance = (np.ravel(keras.ops.convert_to_numpy(each)) for each in (layer.mean, layer.variance))
    deviations = np.sqrt(variance)
    low, high = (mean - 2 * deviations).min(), (mean + 2 * deviations).max()
    return bool(lost(float(low), float(high), deviations, steps).any())


def kernels_of(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the kernels of a layer, which are pruned, clustered and quantized."""
    inner = layer.cell if isinstance(layer, RECURRENT) else layer
    return [v for v in inner._trainable_variables if v.name in KERNELS and len(v.shape) > 1]


def channel_axes(layer: keras.layers.Layer, kernel: keras.Variable) -> tuple[int, ...]:
    """Return the output channel axes of a kernel; for a depthwise kernel, (channels, multiplier)."""
    if (
        isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
        or kernel.name == "depthwise_kernel"
    ):
        return (-2, -1)
    transposed = isinstance(layer, keras.layers.Conv1DTranspose | keras.layers.Conv2DTranspose)
    return (-2,) if transposed else (-1,)


def layer_paths(model: keras.Model, patterns: Sequence[str] | None = None, argument: str = "skip") -> list[str]:
    """Return the paths of a model's layers with kernels, optionally only those that match a pattern.

    Args:
        model: Built Keras model.
        patterns: Shell patterns such as `head` or `conv_*`, matched against a whole path or its end.
        argument: Name of the recipe argument with the patterns, for error messages.

    Raises:
        UsageError: A pattern matches no layer.
    """
    paths = list(with_kernels(model))
    return paths if patterns is None else matching(paths, patterns, argument)


def matching(paths: Iterable[str], patterns: Sequence[str], argument: str) -> list[str]:
    """Return the paths that match at least one pattern, as a whole or by their end.

    Raises:
        UsageError: A pattern matches no path.
    """
    paths, chosen = list(paths), []
    for pattern in patterns:
        found = shell.matching(paths, pattern)
        if not found:
            raise UsageError(
                f"--recipe {argument}={pattern}: no layer of this name; layers with kernels are {', '.join(paths)}"
                f"{nearest(pattern, paths)}"
            )
        chosen += [p for p in found if p not in chosen]
    return chosen


def chosen(model: keras.Model, only: Sequence[str], skip: Sequence[str]) -> dict[str, list[keras.Variable]]:
    """Return the kernels that a pass works on, by the path of their layer.

    Args:
        model: Built Keras model.
        only: Patterns of the layers to include; empty includes all.
        skip: Patterns of the layers to exclude.

    Raises:
        UsageError: A pattern matches no layer, or no layer is left.
    """
    layers = with_kernels(model)
    left_out = set(matching(layers, skip, "skip"))
    taken = matching(layers, only, "only") if only else list(layers)
    found = {path: kernels_of(layers[path]) for path in taken if path not in left_out}
    found = {path: kernels for path, kernels in found.items() if kernels}
    if not found:
        raise UsageError(f"--recipe: no layer is left to work on; layers with kernels are {', '.join(layers)}")
    return found


def _has_kernel(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, RECURRENT):
        return True
    return any(len(v.shape) > 1 for v in layer._trainable_variables) and not hasattr(layer, "state_size")
