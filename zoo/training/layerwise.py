"""Layers in the order of their use: the output layer, and learning rates by depth."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.introspection.hooks import calls_of
from zoo.introspection.layers import parts_of
from zoo.introspection.variables import named
from zoo.models.parts.blocks import Stack
from zoo.tasks.base import Task


class Order(NamedTuple):
    """The weights of a model in the order of their use.

    Attributes:
        groups: Names of weights, see `named`, one group for each layer, the layer that is used first at the front.
        again: Name of the last layer if it is also used earlier, so that the model has no output layer of its own;
            empty otherwise.
    """

    groups: list[list[str]]
    again: str


def order(model: keras.Model, spec: DataSpec, task: Task) -> Order:
    """Return the layers of a model in the order of their first use, found by running the model once on zeros.

    A layer here is a direct part of the model, of a model inside it or of a stack of blocks; a block counts as one.
    Parts without a kernel or table (normalisations, scales) belong to the layer before them, and weights outside of
    layers to the first layer.

    Args:
        model: Built model.
        spec: Form of its data.
        task: Task of its data, see `zoo.tasks`.
    """
    units = list(_units(model))
    used = [call.layer for call in calls_of(model, _zeros(task.build_shape(spec), spec), units)]
    names = {id(variable): name for name, variable in named(model).items()}
    groups: list[list[str]] = []
    for unit in dict.fromkeys(used):
        if not groups or any(len(v.shape) > 1 for v in unit.weights):
            groups.append([])
        groups[-1] += [names.pop(id(v)) for v in unit.weights if id(v) in names]
    groups[0][:0] = names.values()
    return Order(groups, used[-1].name if used[-1] in used[:-1] else "")


def _units(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield the layers with weights that count as one, see `order`."""
    for part in parts_of(layer):
        if isinstance(part, (keras.Model, Stack)):
            yield from _units(part)
        elif part.weights:
            yield part


def _zeros(shape: Sequence[Any], spec: DataSpec) -> Any:
    """Return a batch of one example of zeros, or two of them if the model takes pairs."""
    if isinstance(shape[0], (list, tuple)):
        return tuple(_zeros(one, spec) for one in shape)
    return keras.ops.zeros(
        [size or 1 for size in shape], "int32" if spec.kind in ("tokens", "pairs") else keras.config.floatx()
    )


def head(found: Order) -> list[str]:
    """Return the names of the weights of the output layer.

    Raises:
        UsageError: The model has none, because the layer that gives the logits is also used for something else.
    """
    if found.again:
        raise UsageError(
            f"--new-head: expected a layer that only gives the logits; in this model {found.again} gives them, which is"
            " also used before"
        )
    return found.groups[-1]


def own_rates(model: keras.Model) -> tuple[float, ...]:
    """Return the factors of the learning rate that a model declares in `rates`, for each trainable variable.

    Nothing if it declares none, so that one rate serves all.

    Args:
        model: Built model; its `rates` are by the name of a part.
    """
    own = getattr(model, "rates", {})
    if not own:
        return ()
    return tuple(
        float(math.prod(times for part, times in own.items() if part in name.split("/"))) for name in trained(model)
    )


def decayed(model: keras.Model, order: Order, decay: float, rates: tuple[float, ...]) -> tuple[float, ...]:
    """Return factors of the learning rate multiplied by `decay` for each layer between a variable and the output.

    Args:
        model: Built model.
        order: Layers in the order of their use.
        decay: Factor from a layer to the one before it; the last layer has 1.
        rates: Factors so far for each trainable variable; none: 1.
    """
    depths = {name: depth for depth, group in enumerate(order.groups[::-1]) for name in group}
    names = list(trained(model))
    return tuple(
        rate * decay ** depths.get(name, 0) for name, rate in zip(names, rates or (1.0,) * len(names), strict=True)
    )


def trained(model: keras.Model) -> dict[str, Any]:
    """Return the trainable variables by name, in the order in which an optimizer has them."""
    names = {id(variable): name for name, variable in named(model).items()}
    return {names[id(variable)]: variable for variable in model.trainable_variables}
