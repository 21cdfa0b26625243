"""Export of a run on sound as a streaming file, measured against its model on a recording as a whole."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.devices import arena
from compression.exporting import streaming, tflite
from compression.flatbuffers.interface import StreamInterface
from compression.recipes import language
from compression.runtime import streamed
from zoo.console.errors import Failed
from zoo.data import Dataset, Split
from zoo.data.images import scaled
from zoo.introspection.layers import layers_of
from zoo.models.parts.convolutions import CausalPadding
from zoo.system.files import sha256
from zoo.system.machine import processor, versions

# Frames of the recording that is measured on, largest difference in probability of a file in float32, and frames that
# calibrate a file of integers.
FRAMES, TOLERANCE, CALIBRATING = 10_000, 1e-5, 1000


def export(model: keras.Model, path: Path, recipe: language.Recipe, data: Dataset) -> dict[str, Any]:
    """Write the streaming file of a model, and return what was measured on it.

    The recording is the test clips one after another, as often as `FRAMES` need.

    Args:
        model: Trained model of sound.
        path: Path of the file.
        recipe: Precision of the file.
        data: Data of the model, whose training clips calibrate.

    Raises:
        UsageError: The model cannot be streamed, or not in this precision.
        Failed: The answers of a file in float32 differ from those of the model by more than `TOLERANCE`.
    """
    spec = data.spec
    streaming.check(model, spec.name)
    (clip,) = spec.input_shape
    interface = streaming.interface_of(model, clip)
    # A state is given back as it was returned, so both ends have one type.
    recipe = dataclasses.replace(recipe, io="float32") if recipe.calibrated else recipe
    tflite.check(model, recipe, interface)
    examples = None
    if recipe.takes_examples:
        examples = streaming.calls(model, interface, _pieces(data.train, interface, CALIBRATING * model.front.hop))
    tflite.export(model, path, recipe, interface, calibration=examples)
    front = model.front
    pieces = _pieces(data.test, interface, FRAMES * front.hop)
    found, latency = streamed.run(path, interface, pieces)
    # Before the first piece there was silence, in which the first frame begins.
    whole = np.concatenate([np.zeros(front.frame - front.hop, np.float32), pieces.reshape(-1)])
    expected = streaming.offline(model, whole, interface.averaged)[: len(found)]
    difference = np.abs(found - expected)
    if recipe.precision == "float32" and difference.max() > TOLERANCE:
        raise Failed(
            f"{path}: expected the answers of the model within {TOLERANCE:g}, the streaming file differs by"
            f" {difference.max():.1e} within {FRAMES:,} frames"
        )
    frames = interface.samples // front.hop
    return {
        "recipe": str(recipe),
        "interface": interface.to_json(),
        "rate": spec.rate,
        "labels": list(spec.class_names),
        "frames_a_call": frames,
        "milliseconds_of_sound_a_call": 1000 * interface.samples / spec.rate,
        "milliseconds_of_sound_behind": _behind(model, interface.averaged * interface.samples, spec.rate),
        "state_bytes": 4 * sum(int(np.prod(shape)) for shape in interface.states),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "parity": {
            "frames": len(found) * frames,
            "calls": len(found),
            "largest_difference": float(difference.max()),
            "mean_difference": float(difference.mean()),
            "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        },
        "latency": latency | {"median_ms_a_frame": latency["median_ms"] / frames},
        "device": arena.measure(path),
        "processor": processor(),
        "versions": versions(),
    }


def _pieces(clips: Split, interface: StreamInterface, needed: int) -> np.ndarray:
    """Return clips one after another, repeated until there are as many samples as needed, in pieces."""
    places = np.arange(-(-needed // clips.x.shape[1])) % len(clips)
    return streaming.chunks(scaled(clips.take(places).x).reshape(-1)[:needed], interface.samples)


def _behind(model: keras.Model, averaged: int, rate: int) -> float:
    """Return how much sound an answer depends on, in milliseconds: the average, and what its first column saw."""
    seen = sum(layer.before for layer in layers_of(model) if isinstance(layer, CausalPadding))
    return 1000 * (averaged + seen * model.front.hop) / rate
