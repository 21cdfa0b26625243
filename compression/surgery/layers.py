"""The layers of any built model, however deep, and the weights that compression works on."""

from collections.abc import Iterable, Sequence

import keras

from zoo.config import patterns as shell
from zoo.console.errors import UsageError, nearest
from zoo.introspection.layers import layers_of

RECURRENT = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
# Names that Keras' layers give their matrices; biases, scales and tables of positions have others.
KERNELS = ("kernel", "recurrent_kernel", "embeddings", "depthwise_kernel", "pointwise_kernel")


def with_kernels(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers that hold matrices themselves, by path; a recurrent layer counts as one, its cell does not.

    Vectors are left aside: those of a normalisation become part of the layer before it, and no engine quantizes biases
    to eight bits.
    """
    found: dict[str, keras.layers.Layer] = {}
    for layer in filter(_has_kernel, layers_of(model)):
        path, count = _path(model, layer), 1
        while path in found:  # two layers of one name beside each other
            count += 1
            path = f"{_path(model, layer)}#{count}"
        found[path] = layer
    return found


def kernels_of(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the kernels of one of `with_kernels`' layers: what is pruned, clustered and quantized."""
    inner = layer.cell if isinstance(layer, RECURRENT) else layer
    return [v for v in inner._trainable_variables if v.name in KERNELS and len(v.shape) > 1]


def channel_axes(layer: keras.layers.Layer, kernel: keras.Variable) -> tuple[int, ...]:
    """Return the axes of a kernel that count its output channels; a depthwise one has (channels, multiplier)."""
    if (
        isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
        or kernel.name == "depthwise_kernel"
    ):
        return (-2, -1)
    transposed = isinstance(layer, keras.layers.Conv1DTranspose | keras.layers.Conv2DTranspose)
    return (-2,) if transposed else (-1,)


def layer_paths(model: keras.Model, patterns: Sequence[str] | None = None, argument: str = "skip") -> list[str]:
    """Return the paths of a model's layers that have kernels, all or those that match.

    Args:
        model: built.
        patterns: shell patterns such as `head` or `conv_*`, for a whole path or its end.
        argument: of the recipe that the patterns came from, for the message.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    paths = list(with_kernels(model))
    return paths if patterns is None else matching(paths, patterns, argument)


def matching(paths: Iterable[str], patterns: Sequence[str], argument: str) -> list[str]:
    """Return the paths that match a pattern, whole or by their end.

    Raises:
        UsageError: a pattern that matches nothing.
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
    """Return the kernels of the layers that a pass works on, by the layer's path.

    Args:
        model: built.
        only: patterns of the layers to take; none of them: all.
        skip: patterns of the layers to leave out.

    Raises:
        UsageError: a pattern that matches nothing, or no layer left.
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


def _path(model: keras.Model, layer: keras.layers.Layer) -> str:
    inner = layer.cell if isinstance(layer, RECURRENT) else layer
    parts = inner._trainable_variables[0].path.split("/")[:-1]
    if inner is not layer:
        parts = parts[:-1]
    return "/".join(parts[1:] if len(parts) > 1 and parts[0] == model.name else parts)
