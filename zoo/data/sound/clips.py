"""Clips: the samples of a file as one channel, at one rate, in one length."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zoo.console.errors import UsageError
from zoo.data import cache
from zoo.data.images import FULL_SCALE
from zoo.data.reading import Tally, sample
from zoo.data.sound import formats
from zoo.data.stored.files import Files

# Largest number of files whose headers are looked at before a set is decoded.
LOOKED_AT = 50_000
# Share of the clips that the length of a clip holds whole, and step of that length in seconds.
HELD, STEP = 0.95, 0.01


@dataclass(frozen=True)
class Clips:
    """Encoded sound as clips of one length.

    Args:
        samples: Number of samples of a clip.
        rate: Samples in a second.
    """

    samples: int
    rate: int
    dtype: ClassVar[np.dtype] = np.dtype(np.int16)

    @property
    def shape(self) -> tuple[int]:
        return (self.samples,)

    @property
    def identity(self) -> Any:
        return ["clip", self.samples, self.rate]

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        return as_clip(mono(bytes(content), self.rate), self.samples)


def mono(content: bytes, rate: int) -> np.ndarray:
    """Return the mean of the channels of a file at a rate, (samples,) float32.

    Raises:
        formats.Unreadable: The file is no sound, or damaged.
    """
    found, header = formats.samples(content)
    return resampled(found.mean(1) if header.channels > 1 else found[:, 0], header.rate, rate)


def resampled(x: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return samples (samples,) at another rate, by a polyphase filter without aliases."""
    if rate == wanted:
        return x
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(x, wanted // common, rate // common).astype(np.float32)


def as_clip(x: np.ndarray, samples: int) -> np.ndarray:
    """Return the middle of longer sound, and shorter sound between zeros, as (samples,) int16."""
    spare = len(x) - samples
    x = x[spare // 2 : spare // 2 + samples] if spare > 0 else np.pad(x, (-spare // 2, -spare - -spare // 2))
    return as_integers(x)


def as_integers(x: np.ndarray) -> np.ndarray:
    """Return samples from -1 to 1 as int16; what is beyond is clipped."""
    return np.clip(np.rint(x * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def common_form(sources: Sequence[Files], rate: int | None, seconds: float | None, tally: Tally) -> tuple[int, int]:
    """Return the number of samples of a clip and their rate for files, and tell what is done to them.

    Up to `LOOKED_AT` headers are looked at, drawn at random; the result is kept in the cache.

    Args:
        sources: Files of each split.
        rate: Samples in a second; None for the most frequent rate.
        seconds: Length of a clip; None for one that holds 95 % of the files whole.
        tally: Takes the rates of the files, and what is changed.

    Raises:
        UsageError: None of the files can be read.
    """
    paths = [source.path(row) for source in sources for row in range(len(source))]
    chosen = sample(len(paths), LOOKED_AT).tolist()

    def look() -> dict[str, np.ndarray]:
        found = [row for place in chosen if (row := _looked_at(paths[place])) is not None]
        return {"headers": np.array(found, np.float64).reshape(-1, 4)}

    rows = cache.cached(["headers", LOOKED_AT, [source.identity() for source in sources]], look)["headers"]
    if not len(rows):
        raise UsageError(f"none of the {len(paths):,} sounds can be read: {_why(paths[0])}")
    rates = Counter(int(each) for each in rows[:, 0])
    rate = rate or rates.most_common(1)[0][0]
    lengths = rows[:, 1]
    held = STEP * math.ceil(round(float(np.quantile(lengths, HELD, method="inverted_cdf")) / STEP, 6))
    told = seconds or held
    samples = max(1, round(told * rate))
    which = "" if len(chosen) == len(paths) else f" of {len(rows):,} looked at"
    tally.sizes.update({f"{each:,} Hz": count for each, count in rates.items()})
    exact = lengths * rate
    changed = {
        f"resampled to {rate:,} Hz": int((rows[:, 0] != rate).sum()),
        "of several channels averaged": int((rows[:, 2] > 1).sum()),
        f"cut to {told:.4g} s": int((exact > samples + 0.5).sum()),
        f"padded to {told:.4g} s": int((exact < samples - 0.5).sum()),
        "clipped at full scale": int(rows[:, 3].sum()),
    }
    tally.changed.update({f"{what}{which}": count for what, count in changed.items() if count})
    return samples, rate


def _looked_at(path: Path) -> tuple[float, float, float, float] | None:
    """Return rate, seconds, channels and whether samples exceed full scale; None for a file that cannot be read."""
    try:
        found = formats.header(path)
        loud = False
        if found.type in ("f32", "f64"):
            loud = bool(np.abs(formats.samples(path.read_bytes())[0]).max() > 1)
        return found.rate, found.seconds, found.channels, loud
    except (formats.Unreadable, OSError):
        return None  # reported when it is decoded


def _why(path: Path) -> str:
    try:
        formats.samples(path.read_bytes())
    except (formats.Unreadable, OSError) as error:
        return f"the first: {error}"
    return "the first can be read now; the data changed since the start"
