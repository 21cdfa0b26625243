"""Sound: its rate, the length of clips, and noise."""

from dataclasses import dataclass
from pathlib import Path

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("sound")
class SoundOptions:
    """Sound: its rate, the length of clips, and noise."""

    rate: float | None = option(
        "samples per second, to which sounds of other rates are resampled (default: the most frequent rate of the"
        " files)",
        within=(0.001, 1_000_000),
        metavar="HZ",
    )
    seconds: float | None = option(
        "length in seconds to which sounds are cut or padded on both sides (default: enough for 95 % of them)",
        within=(0.01, 600),
    )
    noise: Path | None = option(
        "folder of recordings that the word noise of --augment mixes into sounds (default: _background_noise_ in the"
        " data, if there is one)"
    )
