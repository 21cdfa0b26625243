"""A model with some of its weights replaced on read by functions of them: masked, shared, rounded, or all three.

No layer is wrapped, cloned or stripped, so any built Keras 3 model will do, subclassed ones too; gradients flow through
the functions to the variables, and `strip` writes the functions' values into the model itself.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.distillation import Distillation


class Parametrized(keras.Model):
    """A model that computes with `f_n(... f_1(variable))` in place of some variables.

    Args:
        model: built; its variables are trained.
        functions: for each variable replaced, by its path, layers that map its value to one of the same shape. They
            may hold variables of their own.

    Call arguments and outputs: the model's.
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
        for variable in self.model.variables:  # moving averages, and the states of dropout
            new = None if id(variable) in left_out else scope.get_current_value(variable)
            if new is not None:
                variable.assign(new)
        return outputs

    def _changed(self, training: bool) -> contextlib.AbstractContextManager:
        """Return what is entered while the model is called."""
        return contextlib.nullcontext()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        return self.distillation.loss(x, y_pred, hard) if self.distillation and training else hard

    def _replaced(self) -> list[keras.Variable]:
        return [v for v in self.model.variables if v.path in self.functions]

    def _value(self, variable: keras.Variable) -> Any:
        value = ops.convert_to_tensor(variable)
        for function in self.functions[variable.path]:
            value = function(value)
        return value

    def strip(self) -> keras.Model:
        """Write the values that the model computed with into its variables, and return it."""
        for variable in self._replaced():
            value = ops.convert_to_numpy(self._value(variable))
            variable.trainable = True
            variable.assign(value)
        return self.model


class Mask(layers.Layer):
    """Keep the zeros of a weight, whatever is trained: w * (w_0 != 0).

    Args:
        value: the weight as it was pruned.
    """

    def __init__(self, value: np.ndarray):
        super().__init__(trainable=False)
        self.mask = self.add_weight(shape=value.shape, trainable=False, name="mask")
        self.mask.assign((value != 0).astype(np.float32))
        self.built = True

    def call(self, value: Any) -> Any:
        return value * self.mask


class Shared(layers.Layer):
    """A weight whose members stay equal: each is one of a few values, which are trained in its place.

    Args:
        value: the weight as it was clustered.
        axis: of which each slice has values of its own; None, one set of values.
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
        self.live = (flat != 0).astype(np.float32)  # a pruned weight stays zero
        self.built = True

    def call(self, value: Any) -> Any:
        return ops.take(self.values * self.live, self.indices)


def preserving(
    kernels: Sequence[keras.Variable], pruned: Sequence[str], clustered: Mapping[str, int | None]
) -> dict[str, list[layers.Layer]]:
    """Return the functions that keep what earlier passes won: zeros stay zero, and equal weights equal.

    Args:
        kernels: variables, with the values that the earlier pass left.
        pruned: paths of those with zeros to keep.
        clustered: for those with shared values, by path, the axis of which each slice has its own; None, one set.
    """
    functions: dict[str, list[layers.Layer]] = {}
    for variable in kernels:
        if variable.path in clustered:
            functions[variable.path] = [Shared(ops.convert_to_numpy(variable), clustered[variable.path])]
            variable.trainable = False  # its values are, in its place
        elif variable.path in pruned:
            functions[variable.path] = [Mask(ops.convert_to_numpy(variable))]
    return functions
