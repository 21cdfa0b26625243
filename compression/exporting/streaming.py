"""Streaming files of models of sound: each call takes the next samples and the states, and returns new states.

Where a causal model puts zeros before a clip, the file has what came before: the end of the last frame, the last time
steps of each convolution, and the last columns that are averaged. So its answers are those of the model on a recording
as a whole, whose average is over the length of a clip.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from compression.exporting.endpoints import Endpoint, endpoints
from compression.flatbuffers.interface import StreamInterface
from zoo.console.errors import UsageError
from zoo.introspection.hooks import calling, replacing
from zoo.introspection.layers import layers_of
from zoo.models.parts.convolutions import CausalPadding
from zoo.models.parts.listening import ListeningModel
from zoo.models.parts.sound import SoundFeatures, pcen, running_mean

# Takes the state of a layer and returns it; what a layer keeps is read and replaced through one.
State = Callable[[Any], Any]


def front_of(model: keras.Model, to: str, name: str) -> SoundFeatures:
    """Return the front end of a model that hears.

    Args:
        model: Built model.
        to: Value of `--to`, for the message.
        name: Name of the run, likewise.

    Raises:
        UsageError: The model has none.
    """
    front = model.front if isinstance(model, ListeningModel) else None
    if front is None:
        raise UsageError(
            f"--to {to}: expected a run of ds_cnn, tc_resnet or streaming_wakeword on sound, received {name}"
        )
    return front


def check(model: keras.Model, name: str) -> None:
    """Raise UsageError unless a model can take a recording in pieces.

    Args:
        model: Built model.
        name: Name of the run, for messages.
    """
    front = front_of(model, "streaming", name)
    if not model.causal:
        raise UsageError(
            f"--to streaming: {name} sees later sound at every time; expected a run that is trained with"
            " --set causal=true --set level=none"
        )
    if front.level != "none":
        raise UsageError(
            f"--to streaming: {name} divides a clip by its largest sample, which a stream does not know; expected a run"
            " that is trained with --set level=none"
        )
    if front.frame < front.hop:
        raise UsageError("--to streaming: expected frames as long as their distance or longer; train with them")


def interface_of(model: keras.Model, samples: int) -> StreamInterface:
    """Return the inputs and outputs of the streaming file of a model.

    Args:
        model: Built model of sound, for which `check` raises no error.
        samples: Number of samples of a clip.
    """
    front = model.front
    frames = 1
    while _positions(model, frames + 1) == 1:
        frames += 1
    averaged = _positions(model, front.frames(samples))
    shapes: list[tuple[int, ...]] = []

    def first(shape: tuple[int, ...]) -> Any:
        shapes.append(shape)
        return np.zeros(shape, np.float32)

    step = frames * front.hop
    _computed(model, np.zeros((1, step), np.float32), averaged, first, [])
    return StreamInterface(step, tuple(shapes), averaged, front.rate)


def _positions(model: keras.Model, frames: int) -> int:
    """Return the number of time steps before the pooling, for a number of frames."""
    shape = model.picture_shape((1, model.front.frame + (frames - 1) * model.front.hop))
    for part in (model.stem, *model.blocks):
        shape = part.compute_output_shape(shape)
    return shape[1]


@endpoints.register
def _of_stream(interface: StreamInterface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    """Return `serve`, which takes the next samples with the states, and returns the probabilities with new states."""

    def serve(samples: Any, *states: Any) -> dict[str, Any]:
        left, kept = iter(states), []
        y = _computed(model, samples, interface.averaged, lambda shape: next(left), kept)
        made = {f"new_{name}": state for name, state in zip(interface.state_names, kept, strict=True)}
        return {"probabilities": ops.softmax(y) if probabilities else y} | made

    states = zip(interface.state_names, interface.states, strict=True)
    inputs = [("samples", (1, interface.samples), "float32"), *((name, shape, "float32") for name, shape in states)]
    return [Endpoint("serve", serve, tuple(inputs))]


def _computed(
    model: keras.Model, samples: Any, averaged: int, state: Callable[[tuple[int, ...]], Any], kept: list[Any]
) -> Any:
    """Return the logits of a model for the next samples.

    Args:
        model: Causal model of sound.
        samples: Samples (1, samples).
        averaged: Number of time steps that are averaged.
        state: Function from the shape of a state to its value, called in the order of use.
        kept: Takes the new states, in this order.
    """
    with contextlib.ExitStack() as undo:
        for layer, method, function in _methods(model, averaged, state, kept):
            undo.enter_context(replacing(layer, method, function))
        return model(samples, training=False)


def _methods(
    model: keras.Model, averaged: int, state: Callable[[tuple[int, ...]], Any], kept: list[Any]
) -> Iterator[tuple[keras.Layer, str, Callable]]:
    """Yield the layers that keep something between calls, with a method and what it computes in a stream.

    The front end's own `call` stays, by which an export knows the layers in float32.
    """
    front = model.front
    yield front, "magnitudes", functools.partial(_magnitudes, front, state, kept)
    if front.kind == "pcen":
        yield front, "compressed", functools.partial(_compressed, front, state, kept)
    for layer in layers_of(model):
        if isinstance(layer, CausalPadding):
            yield layer, "call", functools.partial(_padded, layer, state, kept)
    yield model.pool, "call", functools.partial(_pooled, averaged, state, kept)


def _magnitudes(front: SoundFeatures, state: Callable, kept: list[Any], x: Any) -> Any:
    before = front.frame - front.hop
    if before:
        x = ops.concatenate([state((1, before)), x], axis=1)
        kept.append(x[:, x.shape[1] - before :])
    return SoundFeatures.magnitudes(front, x)


def _compressed(front: SoundFeatures, state: Callable, kept: list[Any], magnitudes: Any) -> Any:
    mean, begun = state((1, 1, front.mels)), state((1, 1, 1))
    mean = running_mean(magnitudes, begun * mean + (1 - begun) * magnitudes[:, :1])
    kept.extend([mean[:, -1:], ops.ones_like(begun)])
    return pcen(magnitudes, mean)


def _padded(layer: CausalPadding, state: Callable, kept: list[Any], x: Any) -> Any:
    if not layer.before:
        return layer.after(x, x[:, :0])
    earlier = state((1, layer.before, *x.shape[2:]))
    kept.append(ops.concatenate([earlier, x], axis=1)[:, x.shape[1] :])
    return layer.after(x, earlier)


def _pooled(averaged: int, state: Callable, kept: list[Any], x: Any) -> Any:
    x = ops.mean(x, axis=2)
    if averaged > 1:
        x = ops.concatenate([state((1, averaged - 1, x.shape[-1])), x], axis=1)
        kept.append(x[:, 1:])
    return ops.sum(x, axis=1) * (1 / averaged)


def offline(model: keras.Model, x: np.ndarray, averaged: int) -> np.ndarray:
    """Return the probabilities of a model on a recording as a whole, for each time step, (steps, classes).

    Args:
        model: Causal model of sound.
        x: Samples (samples,).
        averaged: Number of time steps that are averaged.
    """

    def sequence(y: Any) -> Any:
        y = ops.pad(ops.mean(y, axis=2), ((0, 0), (averaged - 1, 0), (0, 0)))
        count = y.shape[1] - averaged + 1
        return sum(y[:, first : first + count] for first in range(averaged)) * (1 / averaged)

    with calling(model.pool, sequence):
        return np.asarray(ops.softmax(model(x[None], training=False)))[0]


def calls(model: keras.Model, interface: StreamInterface, pieces: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of each call of a stream by their names, (calls, ...), for calibration.

    Args:
        model: Causal model of sound.
        interface: Inputs and outputs of the file.
        pieces: Samples of each call, (calls, 1, samples).
    """
    import tensorflow as tf

    (endpoint,) = endpoints(interface, model)
    compute = tf.function(endpoint.compute)
    states = [np.zeros(shape, np.float32) for shape in interface.states]
    names, found = ["samples", *interface.state_names], []
    for samples in pieces:
        found.append([samples, *states])
        made = compute(*map(tf.constant, found[-1]))
        states = [made[f"new_{name}"].numpy() for name in interface.state_names]
    return {name: np.concatenate(each) for name, each in zip(names, zip(*found, strict=True), strict=True)}


def chunks(x: np.ndarray, samples: int) -> Sequence[np.ndarray]:
    """Return whole pieces of a recording, (pieces, 1, samples)."""
    return x[: len(x) // samples * samples].reshape(-1, 1, samples)
