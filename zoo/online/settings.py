"""What decides the numbers of learning from a stream. Standard library only."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.config.options import option
from zoo.config.train_config import flag
from zoo.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run learns from a stream.

    Raises:
        UsageError: a value that no run could use.
    """

    batch_size: int = option("examples that are predicted, then learnt from, together", 32)
    learning_rate: float | None = option("flat (default: a tenth of the run's)")
    boost: float = option("times the learning rate right after a drift, less and less over 2,500 examples", 10.0)
    rehearsal: int = option(
        "examples kept as a uniform sample of the run's training split and the stream, of which each batch has as many"
        " as new ones; 0: none",
        500,
    )
    on_drift: Literal["keep", "drop"] = option(
        "keep what is rehearsed, against forgetting; or drop what is older than the drift, where labels now mean"
        " something else",
        "keep",
    )
    hold_out: float = option("share of the stream's examples that is not learnt, to validate on", 0.05)
    tolerance: float = option(
        "points of accuracy on the last held-out examples by which the weights may be below the best before them; more"
        " brings these back",
        2.0,
    )
    checkpoint_every: int = option("examples between checkpoints, validations and rows of prequential.csv", 1000)
    seed: int = option("of the examples to rehearse, and dropout", 0)

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{flag(name)}: expected a value from {least:g} to {most:g}, received {value:g}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}


_RANGES = (
    ("batch_size", 1, 100_000),
    ("learning_rate", 0, 1_000),
    ("boost", 1, 1_000),
    ("rehearsal", 0, 10_000_000),
    ("hold_out", 0, 0.5),
    ("tolerance", 0, 100),
    ("checkpoint_every", 1, 1_000_000_000),
    ("seed", 0, 2**32 - 1),
)


def check_unchanged(stored: Mapping[str, Any], given: Mapping[str, Any], folder: object) -> None:
    """Raise UsageError where options that were given contradict those that a run was started with."""
    texts = [
        f"{flag(name)} was {json.dumps(stored[name])}, now {json.dumps(given[name])}"
        for name in stored
        if name in given and given[name] != stored[name]
    ]
    if texts:
        raise UsageError(f"--resume: {folder} was started with a different configuration: {'; '.join(texts)}")
