"""The run folder and its checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("output")
class OutputOptions:
    """The run folder and its checkpoints."""

    output: Path | None = option("run folder to write (default: runs/MODEL-DATASET)")
    track: tuple[Literal["mlflow", "wandb"], ...] | None = option(
        "trackers that also record the training: mlflow, wandb; they are configured by their own environment variables",
        metavar="NAME[,NAME]",
    )
    checkpoint_every: int = option(
        "number of steps between checkpoints inside an epoch; 0: only at its end", 0, within=(0, 1_000_000_000)
    )
    resume: bool = option("continue the run in --output from its last complete checkpoint", False)
    accept_changed_data: bool = option(
        "with --resume: continue although the data changed; every example stays in its split, and new ones are assigned"
        " to a split by their content",
        False,
    )
