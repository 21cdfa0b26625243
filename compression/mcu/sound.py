"""Export of a run on sound with its features outside: C code in whole numbers, and an int8 file that takes them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.exporting import tflite
from compression.exporting.streaming import front_of
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.mcu import features as c_code
from compression.on_device import features
from compression.on_device.features import Features, Settings
from compression.recipes import language
from compression.runtime import litert
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.data.images import scaled
from zoo.models.parts.sound import SoundFeatures
from zoo.runs.inference import logits_of
from zoo.scores import classes
from zoo.system.files import sha256, write_text

FILE = "classes.tflite"
CALIBRATION = 200  # training clips


def check(model: keras.Model, name: str) -> None:
    """Raise UsageError unless the features of a model can be computed in whole numbers.

    Args:
        model: Built model.
        name: Name of the run, for messages.
    """
    if front_of(model, "features", name).kind == "pcen":
        raise UsageError("--to features: expected --set features=mfcc or logmel; pcen needs floating point")


def settings_of(front: SoundFeatures, scale: float = 1.0, zero_point: int = 0) -> Settings:
    """Return the settings of a front end in whole numbers."""
    same = ("kind", "rate", "frame", "hop", "points", "mels", "coefficients", "highest_hz", "floor")
    values = {name: getattr(front, name) for name in same}
    return Settings(**values, peak=front.level == "peak", scale=scale, zero_point=zero_point)


def without_front_end(model: keras.Model, samples: int) -> keras.Model:
    """Return a model of pictures of sound with the weights of a model of samples.

    Args:
        model: Model of samples.
        samples: Number of samples of a clip.
    """
    config = model.get_config() | {"rate": 0, "features": None}
    found = type(model).from_config(config)
    found.build(model.front.compute_output_shape((None, samples)))
    found.set_weights(model.get_weights())
    return found


def export(model: keras.Model, folder: Path, data: Dataset) -> dict[str, Any]:
    """Write features.h, features.c, features.json and the int8 file, and return what was measured.

    Args:
        model: Trained model of sound.
        folder: Folder for the files.
        data: Data of the run.

    Raises:
        UsageError: Features that cannot be computed in whole numbers.
    """
    check(model, data.spec.name)
    (samples,) = data.spec.input_shape
    folder.mkdir(parents=True, exist_ok=True)
    inner, plain = without_front_end(model, samples), Features(settings_of(model.front))
    interface = Interface("features", _shape(model, samples), output="probabilities")
    chosen = data.train.take(np.random.default_rng(0).permutation(len(data.train))[:CALIBRATION])
    path = folder / FILE
    tflite.export(inner, path, language.parse("int8"), interface, calibration=_values(plain, np.asarray(chosen.x)))
    (given,) = flatbuffer.signature(flatbuffer.read(path))["inputs"]
    made = Features(settings_of(model.front, given["scale"], given["zero_point"]))
    c_code.write(made, samples, folder)
    write_text(folder / "features.json", json.dumps(dataclasses.asdict(made.settings), indent=1) + "\n")
    x = np.asarray(data.test.x)
    whole, real = _values(plain, x), np.asarray(model.front(scaled(x)))
    found = litert.run(path, whole)
    logits = np.log(np.maximum(found, np.finfo(np.float32).tiny))
    mine = classes.scores(logits, data.test.y)
    keras_scores = classes.scores(logits_of(model, data.test), data.test.y)
    return {
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "labels": list(data.spec.class_names),
        "features": dataclasses.asdict(made.settings),
        "table_bytes": _table_bytes(made),
        "test": {"litert": mine, "keras": keras_scores, "examples": len(x)},
        "parity": {
            "largest_difference_of_features": float(np.abs(whole - real).max()),
            "mean_difference_of_features": float(np.abs(whole - real).mean()),
        },
        "latency": litert.latency(path, whole[:1]),
    }


def _shape(model: keras.Model, samples: int) -> tuple[int, ...]:
    return model.front.compute_output_shape((1, samples))[1:]


def _values(made: Features, clips: np.ndarray) -> np.ndarray:
    """Return the features of clips as floats, (clips, frames, columns, 1)."""
    found = np.stack([made.values(clip) for clip in clips])
    return (found / (1 << features.VALUES)).astype(np.float32)[..., None]


def _table_bytes(made: Features) -> int:
    """Return the bytes of the constants of features.c."""
    coefficients = made.cosines.size if made.settings.kind == "mfcc" else 0
    return 4 * (len(made.window) + len(made.turns) + len(made.logarithms)) + 2 * (
        int(np.count_nonzero(made.weights)) + 2 * made.settings.mels + coefficients
    )
