"""Recordings of noise that augmentation mixes into sounds (`--noise`, or the folder _background_noise_ of the data)."""

import numpy as np

from zoo.config.augmentation import Noise
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.sound import clips, formats

FOLDER = "_background_noise_"
# Longest recordings that are kept, in bytes of samples of 16 bits: half an hour at 16 kHz.
MOST = 60_000_000


def of(config: TrainConfig, rate: int, tally: Tally) -> np.ndarray | None:
    """Return the recordings that a training mixes into its sounds, one after another, (samples,) int16.

    Args:
        config: Names the folder and the words of `--augment`.
        rate: Samples in a second.
        tally: Takes a note about what is mixed.

    Raises:
        UsageError: A folder without recordings, or one that cannot be read.
    """
    wanted = any(isinstance(word, Noise) for word in config.augmentation)
    if config.noise is not None and not wanted:
        raise UsageError(f"--noise {config.noise}: expected together with --augment noise, received without it")
    own = config.data / FOLDER if config.data is not None else None
    folder = config.noise or (own if own is not None and own.is_dir() else None)
    if not wanted:
        return None
    if folder is None:
        tally.notes.append(f"there is no folder {FOLDER} and no --noise: the noise that is mixed in is white")
        return None
    if not folder.is_dir():
        raise UsageError(f"--noise {folder}: expected a folder of recordings, found none")
    parts, kept = [], 0
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and formats.is_sound(path)]
    for path in paths:
        try:
            found = clips.as_integers(clips.mono(path.read_bytes(), rate))
        except (formats.Unreadable, OSError) as error:
            if not config.skip_bad:
                raise UsageError(f"{path}: cannot be read: {error}; repair it, or skip it with --skip-bad") from None
            tally.notes.append(f"{path.name} of {folder.name} cannot be read and is left out")
            continue
        parts.append(found[: (MOST - kept) // 2])
        kept += parts[-1].nbytes
        if kept >= MOST:
            break
    if not parts or not kept:
        raise UsageError(f"--noise {folder}: expected recordings, found none that can be read")
    cut = " of them, the first that fit" if kept >= MOST else ""
    tally.notes.append(
        f"{len(parts)} recordings of {folder.name}, {kept / 2 / rate:,.0f} s{cut}, are mixed in as noise"
    )
    return np.concatenate(parts)
