"""Export of a run on sound as a streaming file, measured against its model on a recording as a whole."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.devices import arena
from compression.exporting import streaming, tflite
from compression.recipes import language
from compression.runtime import streamed
from zoo.console.errors import Failed
from zoo.data import DataSpec, Split
from zoo.data.images import scaled
from zoo.introspection.layers import layers_of
from zoo.models.parts.convolutions import CausalPadding
from zoo.system.files import sha256
from zoo.system.machine import processor, versions

# Frames of the recording that is measured on, and largest difference in probability.
FRAMES, TOLERANCE = 10_000, 1e-5
NAME = "streaming.tflite"


def export(model: keras.Model, path: Path, spec: DataSpec, test: Split) -> dict[str, Any]:
    """Write the streaming file of a model in float32, and return what was measured on it.

    The recording is the test clips one after another, as often as `FRAMES` need.

    Args:
        model: Trained model of sound.
        path: Path of the file.
        spec: Form of its data.
        test: Test clips.

    Raises:
        UsageError: The model cannot be streamed.
        Failed: The answers differ from those of the model by more than `TOLERANCE`.
    """
    streaming.check(model, spec.name)
    (clip,) = spec.input_shape
    interface = streaming.interface_of(model, clip)
    tflite.export(model, path, language.parse("float32"), interface)
    front = model.front
    needed = FRAMES * front.hop
    count = -(-needed // clip)
    places = np.arange(count) % len(test)
    x = scaled(test.take(places).x).reshape(-1)[:needed]
    pieces = streaming.chunks(x, interface.samples)
    found, latency = streamed.run(path, interface, pieces)
    # Before the first piece there was silence, in which the first frame begins.
    whole = np.concatenate([np.zeros(front.frame - front.hop, np.float32), pieces.reshape(-1)])
    expected = streaming.offline(model, whole, interface.averaged)[: len(found)]
    difference = np.abs(found - expected)
    if difference.max() > TOLERANCE:
        raise Failed(
            f"{path}: expected the answers of the model within {TOLERANCE:g}, the streaming file differs by"
            f" {difference.max():.1e} within {FRAMES:,} frames"
        )
    frames = interface.samples // front.hop
    return {
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
            "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        },
        "latency": latency | {"median_ms_a_frame": latency["median_ms"] / frames},
        "device": arena.measure(path),
        "processor": processor(),
        "versions": versions(),
    }


def _behind(model: keras.Model, averaged: int, rate: int) -> float:
    """Return how much sound an answer depends on, in milliseconds: the average, and what its first column saw."""
    seen = sum(layer.before for layer in layers_of(model) if isinstance(layer, CausalPadding))
    return 1000 * (averaged + seen * model.front.hop) / rate
