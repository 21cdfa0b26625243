"""Inputs for the networks of MLPerf Tiny: the official ones of keyword spotting, and others without labels elsewhere.

The pictures of COCO, the sounds of ToyADMOS and the recordings of the wake word are not here. Photographs of flowers
and spoken digits stand in their place: they calibrate the files, and show how far a file is from its network, which
needs no labels. They say nothing about accuracy on the task. Every fifth input calibrates, and the others judge.
"""

import io
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError

# Input of the reference file for keyword spotting: (scale, zero point) of its int8 values.
KWS_SCALE, KWS_ZERO = 0.58470291, 83
PHOTO = 96
WAKE_FRAMES, WAKE_BANDS = 30, 40
TOY_FRAMES, TOY_BANDS = 5, 128
RATE, FRAME, HOP = 16_000, 1024, 512
# Inputs of each kind of sound.
SOUNDS = 1250


def folder_of(data_dir: Path) -> Path:
    """Return the folder of MLPerf Tiny's networks beside the folder of TFDS sets.

    Raises:
        UsageError: It is not there.
    """
    folder = data_dir.parent / "models" / "mlperf_tiny"
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: expected the Keras and .tflite files of MLPerf Tiny (github.com/mlcommons/tiny), found none"
        )
    return folder


def keywords(data_dir: Path, path: Path, first: int = 0) -> None:
    """Write the official inputs of keyword spotting as pictures of bytes: 200 to calibrate with, 800 to judge.

    Args:
        data_dir: Folder of prepared TFDS sets; the networks are beside it.
        path: .npz file to write.
        first: Which of the five choices of every fifth input calibrates.
    """
    stored = np.load(folder_of(data_dir) / "kws01" / "kws01.npz", allow_pickle=False)
    x, y = (stored["x"].astype(np.int16) + 128).astype(np.uint8), stored["y"].astype(np.int32)
    _write(path, x, y, [str(name) for name in stored["classes"]], first)


def photographs(data_dir: Path, path: Path) -> None:
    """Write photographs of flowers in the size of visual wake words, without labels."""
    from zoo.data import images

    folder = data_dir.parent / "raw" / "flowers"
    files = sorted(folder.glob("*/*.jpg"))
    if not files:
        raise UsageError(f"{folder}: expected photographs (*/*.jpg), found none")
    x = np.stack([images.decode(file, (PHOTO, PHOTO), 3) for file in files])
    _write(path, x, None, ["no person", "person"])


def wake_words(data_dir: Path, path: Path) -> None:
    """Write spoken digits as the wake word network takes sound, without labels: 30 frames of 40 bands as bytes."""
    from scipy.signal import resample_poly

    sound = resample_poly(_spoken(data_dir), 2, 1)
    sound = sound - (1 - 2**-5) * np.concatenate([[0.0], sound[:-1]])
    power = _power(sound, np.hamming(FRAME)) / FRAME @ _bands(WAKE_BANDS)
    frames = np.clip((10 * np.log10(np.maximum(power, 1e-30)) + 52) / 64, 0, 1)
    x = np.round(255 * _windows(frames, WAKE_FRAMES)).astype(np.uint8)[..., None]
    _write(path, x, None, ["marvin", "silence", "unknown"])


def machine_sounds(data_dir: Path, path: Path) -> None:
    """Write spoken digits as the autoencoder takes sound, without labels: five frames of 128 bands in dB.

    The clips are taken twice as fast, so that they fill the bands up to 8 kHz as sounds of 16 kHz do.
    """
    bands = _bands(TOY_BANDS)
    bands = bands / np.maximum(bands.sum(0) * RATE / FRAME, 1.0)  # triangles of one area, as librosa has them
    power = _power(_spoken(data_dir), np.hanning(FRAME + 1)[:-1]) @ bands
    frames = 10 * np.log10(power + np.finfo(np.float64).eps)
    x = _windows(frames, TOY_FRAMES).reshape(-1, TOY_FRAMES * TOY_BANDS).astype(np.float32)
    _write(path, x, None, None)


def _write(path: Path, x: np.ndarray, y: np.ndarray | None, names: list[str] | None, first: int = 0) -> None:
    calibrates = np.arange(len(x)) % 5 == first
    arrays: dict[str, Any] = {"x_train": x[calibrates], "x_test": x[~calibrates]}
    if y is not None:
        arrays |= {"y_train": y[calibrates], "y_test": y[~calibrates]}
    if names is not None:
        arrays["class_names"] = np.array(names)
    np.savez(path, **arrays)


def _spoken(data_dir: Path) -> np.ndarray:
    """Return all clips of the Free Spoken Digit Dataset one after another, by name, 8,000 samples in a second."""
    path = data_dir.parent / "raw" / "free-spoken-digit-dataset-1.0.9.tar.gz"
    if not path.is_file():
        raise UsageError(f"{path}: expected the archive of the Free Spoken Digit Dataset, found none")
    clips = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".wav"):
                with wave.open(io.BytesIO(archive.extractfile(member).read())) as file:
                    clips[member.name] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.concatenate([clips[name] for name in sorted(clips)]) / 32768


def _power(sound: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the power of each frame at each frequency, (frames, FRAME / 2 + 1)."""
    return np.square(np.abs(np.fft.rfft(_windows(sound, FRAME, HOP) * window)))


def _windows(values: np.ndarray, length: int, hop: int = 0) -> np.ndarray:
    """Return windows along the first axis: `hop` apart, or SOUNDS of them evenly spread."""
    last = len(values) - length
    starts = np.arange(0, last + 1, hop) if hop else np.linspace(0, last, SOUNDS).astype(int)
    return values[starts[:, None] + np.arange(length)]


def _bands(count: int) -> np.ndarray:
    """Return triangles on the mel scale up to 8 kHz, (FRAME / 2 + 1, count)."""
    import tensorflow as tf

    return tf.signal.linear_to_mel_weight_matrix(count, FRAME // 2 + 1, RATE, 0.0, RATE / 2, tf.float64).numpy()
