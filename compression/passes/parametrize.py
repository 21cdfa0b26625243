"""Replace weights of a model by functions of them when they are read: masked, shared, rounded, or all three.

No layer is wrapped or cloned, so any built Keras 3 model works, including subclassed models. Gradients flow through the
functions to the variables, and `strip` writes the functions' values into the model.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.passes.distillation import Distillation
from zoo.models.parts.base import ZooModel


class Parametrized(keras.Model):
    """A model that computes with `f_n(... f_1(variable))` in place of some variables.

    It has the call arguments and outputs of the original model.

    Args:
        model: Built Keras model, whose variables are trained.
        functions: Layers applied to each replaced variable, by variable path. They keep its shape and may have
            variables of their own.
    """

    def __init__(self, model: keras.Model, functions: Mapping[str, Sequence[layers.Layer]]):
        super().__init__(name=f"parametrized_{model.name}")
        self.model = model
        self.functions = {path: list(chain) for path, chain in functions.items() if chain}
        self.distillation: Distillation | None = None
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        replaced = self._replaced()
        values = [(v, self._value(v)) for v in replaced]
        watched = self.distillation.watching_student() if self.distillation else contextlib.nullcontext()
        with watched, self._changed(bool(training)), keras.StatelessScope(state_mapping=values) as scope:
            outputs = self.model(x, training=training)
        left_out = {id(v) for v in replaced}
        for variable in self.model.variables:  # carries moving averages and dropout seeds out of the scope
            new = None if id(variable) in left_out else scope.get_current_value(variable)
            if new is not None:
                variable.assign(new)
        # Keras sorts the keys of labels and of plain dictionaries alone.
        return dict(outputs) if isinstance(outputs, OrderedDict) else outputs

    def _changed(self, training: bool) -> contextlib.AbstractContextManager:
        """Return the context manager in which the model is called."""
        return contextlib.nullcontext()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        joined = self.model.for_loss(y_pred) if isinstance(self.model, ZooModel) else y_pred
        hard = super().compute_loss(x, y, joined, sample_weight, training)
        return self.distillation.loss(x, y_pred, hard) if self.distillation and training else hard

    def _replaced(self) -> list[keras.Variable]:
        return [v for v in self.model.variables if v.path in self.functions]

    def _value(self, variable: keras.Variable) -> Any:
        value = ops.convert_to_tensor(variable)
        for function in self.functions[variable.path]:
            value = function(value)
        return value

    def strip(self) -> keras.Model:
        """Write the functions' values into the variables of the original model, and return it."""
        for variable in self._replaced():
            value = ops.convert_to_numpy(self._value(variable))
            variable.trainable = True
            variable.assign(value)
        return self.model


class Mask(layers.Layer):
    """Keep the zeros of a pruned weight during training: w * (w_0 != 0).

    Args:
        value: Pruned weight.
    """

    def __init__(self, value: np.ndarray):
        super().__init__(trainable=False)
        self.mask = self.add_weight(shape=value.shape, trainable=False, name="mask")
        self.mask.assign((value != 0).astype(np.float32))
        self.built = True

    def call(self, value: Any) -> Any:
        return value * self.mask


class Shared(layers.Layer):
    """Keep the equal values of a clustered weight equal: the shared values are trained in its place.

    Args:
        value: Clustered weight.
        axis: Axis whose slices have their own shared values; None for one set of values.
    """

    def __init__(self, value: np.ndarray, axis: int | None = None):
        super().__init__()
        slices = [value] if axis is None else np.moveaxis(value, axis, 0)
        found, indices, start = [], [], 0
        for part in slices:
            values, inverse = np.unique(part, return_inverse=True)
            found.append(values)
            indices.append(inverse.reshape(part.shape) + start)
            start += len(values)
        flat = np.concatenate(found).astype(np.float32)
        self.indices = indices[0] if axis is None else np.moveaxis(np.stack(indices), 0, axis)
        self.values = self.add_weight(shape=flat.shape, name="centroids")
        self.values.assign(flat)
        self.live = (flat != 0).astype(np.float32)  # pruned weights stay zero
        self.built = True

    def call(self, value: Any) -> Any:
        return ops.take(self.values * self.live, self.indices)


def preserving(
    kernels: Sequence[keras.Variable], pruned: Sequence[str], clustered: Mapping[str, int | None]
) -> dict[str, list[layers.Layer]]:
    """Return functions that preserve the results of earlier passes: zeros stay zero, and equal weights stay equal.

    Args:
        kernels: Variables with the values of the earlier passes.
        pruned: Paths of variables whose zeros are kept.
        clustered: Axis whose slices have their own shared values, by variable path; None for one set of values.
    """
    functions: dict[str, list[layers.Layer]] = {}
    for variable in kernels:
        if variable.path in clustered:
            functions[variable.path] = [Shared(ops.convert_to_numpy(variable), clustered[variable.path])]
            variable.trainable = False  # its shared values are trained instead
        elif variable.path in pruned:
            functions[variable.path] = [Mask(ops.convert_to_numpy(variable))]
    return functions
