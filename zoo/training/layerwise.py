"""Layers in the order of their use: the head, rates that fall with depth, layers that begin to learn in turn."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.introspection.hooks import calls_of
from zoo.introspection.layers import parts_of, with_itself
from zoo.introspection.variables import named
from zoo.models.parts.blocks import Stack


class Order(NamedTuple):
    """The weights of a model in the order of their use.

    Attributes:
        groups: names of weights, see `named`, a group for each layer: of the first layer that is used first.
        again: what is used a second time, and last of all, so that no layer gives the output alone; empty otherwise.
    """

    groups: list[list[str]]
    again: str


def order(model: keras.Model, spec: DataSpec) -> Order:
    """Return the layers of a model in the order in which it first uses them, found by running it once on zeros.

    A layer is a part of the model, of a model inside it or of a stack of blocks, so a block is one. Those without a
    kernel or table (normalisations, scales) belong to the layer before them. What the model uses without a layer of its
    own belongs to the first.

    Args:
        model: built.
        spec: of its data.
    """
    units = list(_units(model))
    used = [call.layer for call in calls_of(model, _zeros(tasks.of(spec.task).build_shape(spec), spec), units)]
    names = {id(variable): name for name, variable in named(model).items()}
    groups: list[list[str]] = []
    for unit in dict.fromkeys(used):
        if not groups or any(len(v.shape) > 1 for v in unit.weights):
            groups.append([])
        groups[-1] += [names.pop(id(v)) for v in unit.weights if id(v) in names]
    groups[0][:0] = names.values()
    return Order(groups, used[-1].name if used[-1] in used[:-1] else "")


def _units(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for part in parts_of(layer):
        if isinstance(part, (keras.Model, Stack)):
            yield from _units(part)
        elif part.weights:
            yield part


def _zeros(shape: Sequence[Any], spec: DataSpec) -> Any:
    """Return an example of nothing, or two where a model is given pairs."""
    if isinstance(shape[0], (list, tuple)):
        return tuple(_zeros(one, spec) for one in shape)
    return keras.ops.zeros(
        [size or 1 for size in shape], "int32" if spec.kind in ("tokens", "pairs") else keras.config.floatx()
    )


def head(found: Order) -> list[str]:
    """Return the weights of the layer that gives the logits.

    Raises:
        UsageError: the model has none, because what gives them has other uses.
    """
    if found.again:
        raise UsageError(
            f"--new-head: expected a layer that gives the logits and nothing else; here {found.again} does, which is"
            " used before as well"
        )
    return found.groups[-1]


def rates(model: keras.Model, config: TrainConfig, found: Order | None) -> tuple[float, ...]:
    """Return what each trainable variable's learning rate is multiplied by; nothing where that is 1 for all, for ever.

    A model's own `rates` are by the name of a part. With `layer_decay`, the layer that is used last has 1, and each
    before it the rate of the next times the decay.

    Args:
        model: built.
        config: of the training.
        found: the order of its layers, where the configuration needs it.
    """
    own = getattr(model, "rates", {})
    if not (own or config.layer_decay or config.unfreeze_every):
        return ()
    depths = {name: depth for depth, group in enumerate(found.groups[::-1]) for name in group} if found else {}
    given = []
    for name in _trained(model):
        parts = [times for part, times in own.items() if part in name.split("/")]
        given.append(math.prod(parts) * (config.layer_decay or 1.0) ** depths.get(name, 0))
    return tuple(given)


def _trained(model: keras.Model) -> dict[str, Any]:
    """Return the trainable variables by name, in the order in which an optimizer has them."""
    names = {id(variable): name for name, variable in named(model).items()}
    return {names[id(variable)]: variable for variable in model.trainable_variables}


def check_unfreezing(model: keras.Model, config: TrainConfig, found: Order, new: Sequence[str]) -> None:
    """Raise UsageError unless every layer comes to be trained, and none waits while it is still random.

    Args:
        model: built; what is not trained at all is set apart.
        config: of the training.
        found: the order of its layers.
        new: weights that are still random.
    """
    waiting = _waiting(model, found)
    said = f"--unfreeze-every {config.unfreeze_every}"
    if not waiting:
        raise UsageError(f"{said}: expected two layers or more to train, received one")
    if random := [name for group in waiting for name in group if name in new]:
        raise UsageError(
            f"{said}: expected weights that were taken over below the last layer, {', '.join(random[:3])} would wait"
            " while they are random"
        )
    if (least := len(waiting) * config.unfreeze_every + 1) > config.epochs:
        raise UsageError(
            f"{said}: expected --epochs {least} or more, so that all of {len(waiting) + 1} layers come to be trained,"
            f" received {config.epochs}"
        )


def _waiting(model: keras.Model, found: Order) -> list[list[str]]:
    """Return the groups that wait at the start, the first to begin last; those with nothing to train are left out."""
    trained = _trained(model)
    return [group for group in found.groups if any(name in trained for name in group)][:-1]


def unfreezing(
    model: keras.Model, config: TrainConfig, found: Order, given: tuple[float, ...], verbose: bool
) -> Callable[[keras.Model, int], None]:
    """Return a function that lets those layers train that do from an epoch on, called between two calls of `fit`.

    It is given what `fit` trains, compiled with an optimizer of such rates, and the epoch from 0; that after the last
    lets all train. Weights that wait have a rate of 0, and their batch normalisations use and keep the averages that
    they have. Gradients are computed for all from the start: clipping by their norm sees them, and the running means of
    an adaptive optimizer are no beginner's when a layer starts.

    Args:
        model: built, before its optimizer is.
        config: of the training.
        found: the order of its layers.
        given: what each variable's learning rate is multiplied by once it is trained, see `rates`.
        verbose: say on standard error when more is trained.
    """
    waiting, names = _waiting(model, found), list(_trained(model))
    by_id = {id(variable): name for name, variable in named(model).items()}
    norms = {
        by_id[id(layer.moving_mean)]: layer
        for layer in with_itself(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    }
    now = -1

    def enter(fitted: keras.Model, epoch: int) -> None:
        nonlocal now
        count = max(len(waiting) - epoch // config.unfreeze_every, 0)
        if count == now:
            return
        now, still = count, {name for group in waiting[:count] for name in group}
        fitted.optimizer.rates = tuple(0.0 if name in still else rate for name, rate in zip(names, given, strict=True))
        for name, layer in norms.items():
            layer._trainable = name not in still  # by the property, the optimizer would lose its scale and offset
        fitted.train_function = None  # traced with the rates before
        if verbose and epoch < config.epochs:
            trained = [name for name in names if name not in still]
            print(f"from epoch {epoch + 1}: {len(trained)} of {len(names)} variables are trained", file=sys.stderr)

    return enter
