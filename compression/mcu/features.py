"""Features of sound as C, with the tables of `compression.on_device.features`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from compression.mcu import snippets
from compression.on_device import features
from compression.on_device.features import Features
from zoo.system.files import write_text

WIDTH = 16  # numbers of a line
_OF_COEFFICIENTS = "static const int16_t kCosines[MELS][FEATURES_COLUMNS] = {@{rows}};\n"
_COEFFICIENT = """            int64_t sum = 0;
            for (m = 0; m < MELS; ++m) sum += bands[m] * kCosines[m][n];
            values[place * FEATURES_COLUMNS + n] = quantized(shifted(sum, 15));"""
_BAND = "            values[place * FEATURES_COLUMNS + n] = quantized(bands[n]);"


def write(made: Features, samples: int, folder: Path) -> list[Path]:
    """Write features.h and features.c, and return their paths.

    Args:
        made: Features with their tables.
        samples: Number of samples of a clip.
        folder: Folder for the files.
    """
    settings = made.settings
    spans = [(int(rows[0]), len(rows)) for rows in (_span(column) for column in made.weights.T)]
    weights = [made.weights[first : first + count, band] for band, (first, count) in enumerate(spans)]
    mfcc = settings.kind == "mfcc"
    words = {
        **{name: getattr(settings, name) for name in ("kind", "rate", "frame", "hop", "points", "zero_point")},
        **{name: getattr(made, name) for name in ("columns", "first", "unit", "shift", "smallest", "factor")},
        "samples": samples,
        "frames": 1 + (samples - settings.frame) // settings.hop,
        "bins": made.last - made.first,
        "mels": settings.mels,
        "peak": int(settings.peak),
        "most": features.MOST,
        "window": _listed(made.window),
        "turns": _listed(made.turns),
        "bands": ", ".join(f"{{{first}, {count}}}" for first, count in spans),
        "weights": _listed(np.concatenate(weights)),
        "log_steps": 1 << features.TABLE_BITS,
        "logarithms": _listed(made.logarithms),
        "cosines": _OF_COEFFICIENTS.replace("@{rows}", _rows(made.cosines)) if mfcc else "",
        "column": _COEFFICIENT if mfcc else _BAND,
        "table_bits": features.TABLE_BITS,
        "ln2": features.LN2,
        "scaled": features.SCALED,
    }
    paths = [folder / name for name in ("features.h", "features.c")]
    for path in paths:
        write_text(path, snippets.filled(path.name, words))
    return paths


def _span(weights: np.ndarray) -> np.ndarray:
    """Return the bins of a band without zeros at its ends; one bin for a band that is narrower than a bin."""
    used = np.flatnonzero(weights)
    return np.arange(used[0], used[-1] + 1) if len(used) else np.arange(1)


def _listed(values: Iterable[int]) -> str:
    numbers = [str(int(value)) for value in values]
    lines = [", ".join(numbers[start : start + WIDTH]) for start in range(0, len(numbers), WIDTH)]
    return "\n    " + ",\n    ".join(lines)


def _rows(values: np.ndarray) -> str:
    return ", ".join("{" + ", ".join(str(int(value)) for value in row) + "}" for row in values)
