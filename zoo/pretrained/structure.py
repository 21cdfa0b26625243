"""Copy the weights of a Keras network into one of ours of the same structure, whatever their layers are called."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from zoo.console.errors import UsageError
from zoo.introspection.hooks import Call, calling, calls_of
from zoo.introspection.layers import with_itself
from zoo.introspection.variables import named

KERNELS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
NORMS = (layers.BatchNormalization,)
# Largest difference of the features of both networks, relative to the largest feature: float32 sums in another order.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Unit:
    """A layer with a kernel, and the batch normalisation that follows it at once.

    Args:
        layer: Conv2D, DepthwiseConv2D or Dense.
        norm: Its normalisation, or None.
    """

    layer: layers.Layer
    norm: layers.BatchNormalization | None

    @property
    def shape(self) -> tuple:
        """Shape of the kernel; a 1x1 convolution and a Dense layer of the same channels have the same."""
        shape = tuple(int(size) for size in self.layer.kernel.shape)
        if isinstance(self.layer, layers.DepthwiseConv2D):
            return ("depthwise", *shape)
        return shape[2:] if shape[:-2] == (1, 1) else shape


def units(model: keras.Model, shape: Sequence[int]) -> list[Unit]:
    """Return the layers with kernels in the order of their use, the output layer last.

    Args:
        model: Built model that takes one picture.
        shape: Shape of the picture, (height, width, channels).

    Raises:
        UsageError: The model has weights that belong to no such layer, or uses a layer twice.
    """
    parts = [layer for layer in with_itself(model) if isinstance(layer, (*KERNELS, *NORMS))]
    calls = _calls(model, keras.ops.zeros((1, *shape)), parts)
    norms = {id(call.inputs[0]): call.layer for call in calls if isinstance(call.layer, NORMS)}
    kernels = [call for call in calls if isinstance(call.layer, KERNELS)]
    found = [Unit(call.layer, norms.get(id(call.output))) for call in kernels]
    used = {id(v) for unit in found for layer in (unit.layer, unit.norm) if layer is not None for v in layer.weights}
    others = [name for name, variable in named(model).items() if id(variable) not in used]
    if others or len({id(unit.layer) for unit in found}) != len(found):
        reason = f"weights of other layers, such as {others[0]}" if others else "a layer that is used twice"
        raise UsageError(
            f"network {model.name}: expected convolutions, batch normalisations and Dense layers, each used once;"
            f" found {reason}"
        )
    return found


def _calls(model: keras.Model, x: Any, parts: list[layers.Layer]) -> list[Call]:
    """Return the calls of some layers; Keras warns if a network lists its only input."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match")
        return calls_of(model, x, parts)


def copied(
    theirs: keras.Model,
    mine: keras.Model,
    shape: Sequence[int],
    *,
    source: object,
    factor: float = 1.0,
    flipped: bool = False,
) -> tuple[dict[str, np.ndarray], str]:
    """Return the weights of another network under the names of ours, and what was done in a sentence.

    Layers are matched by the shapes of their kernels in the order of their use. Then both networks are compared: what
    their output layers receive must be the same for what our first convolution receives.

    Args:
        theirs: Network that the weights come from; takes pictures of any size, or of `shape`.
        mine: Built model that the weights fit. Its variables are changed.
        shape: Shape of the pictures, (height, width, channels).
        source: Name of the weights, for messages.
        factor: What the standardised pixels of our model are multiplied by to be those that the network takes. It
            becomes a part of the first kernel.
        flipped: Whether the network takes the channels in the reverse order, likewise.

    Returns:
        Arrays by the names of `zoo.introspection.variables.named`, without those of the output layer if it is for
        another number of classes, and the sentence.

    Raises:
        UsageError: The networks have different structures.
    """
    said = f"--pretrained {source}"
    given, wanted = units(theirs, shape), units(mine, shape)
    pairs = _matched(given, wanted, said, mine.name)
    by_id = {id(variable): name for name, variable in named(mine).items()}
    arrays: dict[str, np.ndarray] = {}
    for there, here in pairs:
        for variable, value in _values(there, here):
            variable.assign(value)
            arrays[by_id[id(variable)]] = value
    kernel = wanted[0].layer.kernel
    value = keras.ops.convert_to_numpy(kernel)
    kernel.assign(np.flip(value, -2) * factor if flipped else value * factor)
    arrays[by_id[id(kernel)]] = keras.ops.convert_to_numpy(kernel)
    difference = _difference(theirs, mine, given, wanted, shape, factor, flipped)
    if difference > TOLERANCE:
        raise UsageError(
            f"{said}: expected a network that computes the same as {mine.name}, found kernels of the same shapes whose"
            f" features differ by {difference:.2g} of the largest (another activation, padding or order?)"
        )
    head = "with its classes"
    if len(pairs) < len(wanted):
        has_classes = len(given) == len(wanted)
        head = f"without its {given[-1].shape[-1]:,} classes" if has_classes else "which has no output layer"
    return (
        arrays,
        f"{len(arrays)} arrays of {source}, matched by structure, {head}; features differ by {difference:.1g}",
    )


def _matched(given: list[Unit], wanted: list[Unit], said: str, name: str) -> list[tuple[Unit, Unit]]:
    """Return pairs of units with the same shapes; without the output layers if they are for different classes."""
    compared = wanted
    if len(given) == len(wanted) - 1:  # a network without an output layer
        compared = wanted[:-1]
    elif given and given[-1].shape != wanted[-1].shape and given[-1].shape[:-1] == wanted[-1].shape[:-1]:
        given, compared = given[:-1], wanted[:-1]
    theirs, ours = _by_shape(given), _by_shape(compared)
    if {shape: len(each) for shape, each in theirs.items()} != {shape: len(each) for shape, each in ours.items()}:
        different = [shape for shape in {**ours, **theirs} if len(ours.get(shape, ())) != len(theirs.get(shape, ()))]
        one = different[0]
        raise UsageError(
            f"{said}: expected the layers of {name}, {len(ours.get(one, ()))} of them with a kernel of shape"
            f" {_written(one)}, found {len(theirs.get(one, ()))} of {len(given)} layers"
        )
    return [pair for shape in ours for pair in zip(theirs[shape], ours[shape], strict=True)]


def _by_shape(found: Sequence[Unit]) -> Mapping[tuple, list[Unit]]:
    groups: dict[tuple, list[Unit]] = {}
    for unit in found:
        groups.setdefault(unit.shape, []).append(unit)
    return groups


def _written(shape: tuple) -> str:
    return " x ".join(map(str, shape))


def _values(there: Unit, here: Unit) -> list[tuple[Any, np.ndarray]]:
    """Return our variables of a layer and its normalisation with the values that compute the same as theirs."""
    kernel = keras.ops.convert_to_numpy(there.layer.kernel)
    bias = keras.ops.convert_to_numpy(there.layer.bias) if there.layer.use_bias else np.zeros(_channels(kernel, there))
    found = [(here.layer.kernel, kernel.reshape(here.layer.kernel.shape))]
    gamma, beta, mean, variance = _statistics(there)
    if here.norm is None:
        factor = gamma / np.sqrt(variance)
        shaped = factor if kernel.shape[-1] == factor.size else factor.reshape(*kernel.shape[2:])
        found = [(here.layer.kernel, (kernel * shaped).reshape(here.layer.kernel.shape))]
        return [*found, (here.layer.bias, (bias - mean) * factor + beta)] if here.layer.use_bias else found
    if here.layer.use_bias:
        found.append((here.layer.bias, bias))
    else:
        mean = mean - bias
    values = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance - here.norm.epsilon}
    return [*found, *((getattr(here.norm, name), value) for name, value in values.items())]


def _channels(kernel: np.ndarray, unit: Unit) -> int:
    return kernel.shape[-2] * kernel.shape[-1] if isinstance(unit.layer, layers.DepthwiseConv2D) else kernel.shape[-1]


def _statistics(unit: Unit) -> tuple[np.ndarray, ...]:
    """Return scale, shift, mean and variance (with epsilon) of a normalisation; those of none if there is none."""
    norm, count = unit.norm, _channels(unit.layer.kernel, unit)
    one, zero = np.ones(count, "float32"), np.zeros(count, "float32")
    if norm is None:
        return one, zero, zero, one
    array = keras.ops.convert_to_numpy
    gamma = array(norm.gamma) if norm.scale else one
    beta = array(norm.beta) if norm.center else zero
    return gamma, beta, array(norm.moving_mean), array(norm.moving_variance) + norm.epsilon


def _difference(
    theirs: keras.Model,
    mine: keras.Model,
    given: list[Unit],
    wanted: list[Unit],
    shape: Sequence[int],
    factor: float,
    flipped: bool,
) -> float:
    """Return the largest difference of what both output layers receive, relative to the largest value.

    A network without an output layer gives what ours receives.

    Their first layer with a kernel receives what ours does, so that the standardisation of pixels does not count.
    """
    pixels = np.random.default_rng(0).random((2, *shape), dtype="float32")
    first, last = (calls_of(mine, pixels, [unit.layer])[0] for unit in (wanted[0], wanted[-1]))
    compute, fed = given[0].layer.call, first.inputs[0] * factor
    fed = keras.ops.flip(fed, -1) if flipped else fed
    with calling(given[0].layer, lambda inputs, **options: compute(fed)):
        if len(given) == len(wanted):
            received = _calls(theirs, pixels, [given[-1].layer])[0].inputs[0]
        else:
            received = theirs(pixels, training=False)
    ours, others = (keras.ops.convert_to_numpy(x).reshape(2, -1) for x in (last.inputs[0], received))
    return float(np.abs(ours - others).max() / max(np.abs(ours).max(), 1e-6))
