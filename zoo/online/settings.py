"""Settings of online learning, and the configuration of its run. Standard library only."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.config.options import option
from zoo.config.train_config import ON_ONE_DEVICE, TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that determine the results of online learning.

    Raises:
        UsageError: If a value is out of range.
    """

    batch_size: int = option("number of examples predicted, then learnt, together", 32)
    learning_rate: float | None = option("constant learning rate (default: a tenth of the run's)")
    boost: float = option("factor of the learning rate right after a drift, decaying to 1 over 2,500 examples", 10.0)
    rehearsal: int = option(
        "size of the rehearsal buffer, a uniform sample of the training split and the stream; each batch has as many"
        " rehearsed examples as new ones (0: no rehearsal)",
        500,
    )
    on_drift: Literal["keep", "drop"] = option(
        "rehearsal buffer after a drift: keep all examples against forgetting, or drop those before the drift because"
        " labels have changed their meaning",
        "keep",
    )
    hold_out: float = option("share of the stream's examples held out for validation", 0.05)
    tolerance: float = option(
        "percentage points of held-out accuracy that the weights may lose against the best weights before these are"
        " restored",
        2.0,
    )
    checkpoint_every: int = option("examples between checkpoints, validations and rows of prequential.csv", 1000)
    seed: int = option("random seed for rehearsal and dropout", 0)

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{flag(name)}: expected a value from {least:g} to {most:g}, received {value:g}")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-serialisable values, by name."""
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
    """Raise a `UsageError` if given options differ from those a run was started with.

    Args:
        stored: Settings of the run, by field name.
        given: Options that were given, by field name.
        folder: Run folder, for the message.
    """
    texts = [
        f"{flag(name)} was {json.dumps(stored[name])}, now {json.dumps(given[name])}"
        for name in stored
        if name in given and given[name] != stored[name]
    ]
    if texts:
        raise UsageError(f"--resume: {folder} was started with a different configuration: {'; '.join(texts)}")


def of_run(
    options: Settings,
    given: Mapping[str, Any],
    trained: TrainConfig,
    folder: RunFolder,
    told: Mapping[str, Any],
    *,
    resume: bool,
) -> Settings:
    """Return the settings of a run: the given ones for a new run, the stored ones for a run to resume.

    Args:
        options: Settings from the command line, with defaults.
        given: Options that were given, by field name.
        trained: Configuration of the trained run.
        folder: Run folder to write or to resume.
        told: Folder and SHA-256 of the trained model, under `run` and `model_sha256`.
        resume: Whether to resume the run in `folder`.

    Raises:
        UsageError: If the folder of a new run is not empty, or a run to resume does not match.
    """
    if not resume:
        folder.check_free()
        found = {name: getattr(options, name) for name in options.to_json()}
        if options.learning_rate is None:
            found["learning_rate"] = trained.learning_rate / 10
        return Settings(**found)
    begun = folder.read_config().get("begun_with") or {}
    if "online" not in begun:
        raise UsageError(f"--resume: {folder.path}: expected a run of zoo.online, found one of another command")
    names = {field.name for field in dataclasses.fields(Settings)}
    if not isinstance(begun["online"], dict) or set(begun["online"]) - names or "model_sha256" not in begun:
        raise UsageError(f"{folder.config_file} is damaged: expected settings of zoo.online in 'begun_with'")
    if begun["model_sha256"] != told["model_sha256"]:
        raise UsageError(
            f"--resume: {folder.path} was started from {begun['run']}, not from the model of {told['run']}"
        )
    check_unchanged(begun["online"], given, folder.path)
    return Settings(**begun["online"])


def configuration(trained: TrainConfig, settings: Settings, given: Mapping[str, Any], folder: RunFolder) -> TrainConfig:
    """Return the configuration of the new run: that of the trained run, at a constant learning rate on one device.

    Args:
        trained: Configuration of the trained run.
        settings: Settings of online learning.
        given: Options that were given, by field name.
        folder: Run folder to write.
    """
    return dataclasses.replace(
        trained,
        **ON_ONE_DEVICE,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=settings.seed,
        schedule="constant",
        warmup=0.0,
        snapshots=0,
        average=None,
        deterministic=True,
        output=folder.path,
        **{name: given[name] for name in ("data_dir",) if name in given},
    )


def of_set(config: TrainConfig, name: str) -> TrainConfig:
    """Return the configuration with another dataset, whose own splits are used."""
    changes = {"dataset": name, "data": None, "validation_data": None, "test_split_name": None}
    return dataclasses.replace(config, **changes, validation_split=0.0, test_split=0.0)
