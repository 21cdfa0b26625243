"""Weight clustering with trainable centroids, by TF-MOT's algorithm (Han et al., 2016)."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.passes import tfmot
from compression.passes.parametrize import Parametrized, Shared
from compression.recipes.passes import Cluster
from compression.surgery.layers import channel_axes, chosen, with_kernels
from zoo.console.errors import UsageError


class Clustered(layers.Layer):
    """Round a weight to its nearest centroid; both are trained, the weight with a straight-through gradient.

    Zeros of a pruned weight stay zero, and zero counts as one of its values.

    Args:
        value: Initial weight.
        config: Number of values and how they are initialised.
        axis: Axis whose slices have their own values; None for one set of values.
        keep_zeros: Whether the weight was pruned.
    """

    def __init__(self, value: np.ndarray, config: Cluster, axis: int | None, keep_zeros: bool):
        super().__init__()
        parts = [value] if axis is None else list(np.moveaxis(value, axis, 0))
        found = np.stack([_centroids(config, part, keep_zeros) for part in parts])  # (slices, number)
        self.slices, self.number = found.shape
        self.axis = axis
        self.mask = (value != 0).astype(np.float32) if keep_zeros else None
        self.values = self.add_weight(shape=(found.size,), name="centroids")
        self.values.assign(found.reshape(-1))
        self.algorithm = tfmot.clustering(self.values.value)
        self.built = True

    def call(self, value: Any) -> Any:
        last = value if self.axis is None else ops.moveaxis(value, self.axis, -1)
        values = ops.reshape(self.values, (self.slices, self.number))
        nearest = self.algorithm.get_pulling_indices(last, values[0] if self.axis is None else values)
        if self.axis is not None:
            nearest = nearest + ops.arange(self.slices, dtype=nearest.dtype) * self.number
        clustered = self.algorithm.get_clustered_weight(nearest, last)
        clustered = clustered if self.axis is None else ops.moveaxis(clustered, -1, self.axis)
        return clustered if self.mask is None else clustered * self.mask


def _centroids(config: Cluster, value: np.ndarray, keep_zeros: bool) -> np.ndarray:
    found = tfmot.centroids(config, value, keep_zeros)
    if not keep_zeros:
        return found
    found = found[found != 0]  # zero is fixed, and therefore not a trainable centroid
    return np.pad(found, (0, config.number - 1 - len(found)))


def clustered(model: keras.Model, config: Cluster, pruned: set[str]) -> Parametrized:
    """Return a model whose kernels have at most `config.number` distinct values each.

    A kernel that pruning left with fewer distinct values keeps these, and they are trained.

    Args:
        model: Built Keras model.
        config: Kernels to cluster, number of values and their initialisation.
        pruned: Paths of kernels whose zeros are kept.

    Raises:
        UsageError: A pattern matches no layer.
    """
    axes = targets(model, config)

    def function(variable: keras.Variable) -> layers.Layer:
        axis, value = axes[variable.path], ops.convert_to_numpy(variable)
        if _fewest(value, axis) < config.number:
            variable.trainable = False  # its shared values are trained instead
            return Shared(value, axis)
        return Clustered(value, config, axis, variable.path in pruned)

    return Parametrized(model, {v.path: [function(v)] for v in model.variables if v.path in axes})


def check(model: keras.Model, config: Cluster) -> dict[str, int | None]:
    """Check that a model can be clustered, and return `targets`.

    Raises:
        UsageError: A pattern matches no layer, or a kernel has fewer distinct values than clusters.
    """
    axes = targets(model, config)
    for variable in (v for v in model.variables if v.path in axes):
        axis, value = axes[variable.path], ops.convert_to_numpy(variable)
        fewest = _fewest(value, axis)
        if fewest < config.number:
            what = "a channel of" if config.per_channel else "the kernel"
            raise UsageError(
                f"--recipe cluster: number: expected at most {fewest}, the number of distinct values in {what}"
                f" {variable.path}, received {config.number}"
            )
    return axes


def _fewest(value: np.ndarray, axis: int | None) -> int:
    """Return the number of distinct values of a kernel, or the smallest of its slices."""
    return min(len(np.unique(part)) for part in ([value] if axis is None else np.moveaxis(value, axis, 0)))


def targets(model: keras.Model, config: Cluster) -> dict[str, int | None]:
    """Return the kernels to cluster: by variable path, the axis whose slices have their own values, or None.

    Raises:
        UsageError: A pattern matches no layer.
    """
    layers_by_path = with_kernels(model)
    return {
        v.path: len(v.shape) + channel_axes(layers_by_path[path], v)[0] if config.per_channel else None
        for path, kernels in chosen(model, config.only, config.skip).items()
        for v in kernels
    }
