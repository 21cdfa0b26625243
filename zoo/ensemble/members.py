"""Checks of runs to be combined, made before Keras is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import registry, task_facts
from zoo.config.train_config import PLACES, TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder

# Properties of the data that all members must share.
SAME_FORM = (
    *("task", "kind", "input_shape", "class_names", "per_step", "vocabulary_size", "vocabulary_sha256"),
    *("pixel_range", "fit", "rate", "columns", "hop", "inputs"),
)
# Options that determine the training, validation and test split.
SAME_EXAMPLES = (
    *("dataset", "data", "validation_data", "text_column", "label_column"),
    *("validation_split", "test_split", "test_split_name", "target_column", "group", "group_column"),
)


@dataclass(frozen=True)
class Member:
    """A trained classifier.

    Args:
        run: Run folder.
        snapshot: Number of the run's snapshot, from 1, or 0 for its model.keras.
    """

    run: RunFolder
    snapshot: int = 0

    @property
    def name(self) -> str:
        """Name for messages and tables."""
        return f"{self.run.path}, snapshot {self.snapshot}" if self.snapshot else str(self.run.path)

    @property
    def config(self) -> TrainConfig:
        return self.run.read_config()["config"]

    @property
    def model_sha256(self) -> str:
        metrics = self.run.read_metrics()
        return metrics["snapshots"][self.snapshot - 1] if self.snapshot else metrics["model_sha256"]


def members_of(paths: Sequence[Path]) -> list[Member]:
    """Return the runs as members, or the snapshots of a single run.

    Args:
        paths: Run folders.

    Raises:
        UsageError: If a folder is not a finished run of a classifier or is given twice, the runs were trained on
            different data, or a single run has no snapshots.
    """
    runs = [classifier(path) for path in paths]
    if len(runs) == 1:
        return _snapshots(runs[0])
    members = [Member(run) for run in runs]
    seen: dict[str, Member] = {}
    for member in members:
        before = seen.setdefault(member.model_sha256, member)
        if before is not member:
            raise UsageError(f"RUN {member.name}: expected different models, {before.name} is the same model")
    for member in members[1:]:
        _check_same(members[0], member)
    return members


def classifier(path: Path) -> RunFolder:
    """Return the folder of a finished classification run.

    Args:
        path: Run folder.

    Raises:
        UsageError: If the folder is not such a run, its model was altered, or its kind of model is not supported.
    """
    run = RunFolder(path)
    config = run.read_config()["config"]
    run.read_metrics()
    if not task_facts.of(run.task).classifies:
        raise UsageError(f"RUN {path}: expected a classification run, this one is for {run.task}")
    if config.model in registry.HUB_MODELS:
        raise UsageError(f"RUN {path}: expected a model of the zoo, {config.model} is one of KerasHub")
    if config.private:
        raise UsageError(
            f"RUN {path}: expected a run without --private: this command would use its examples without noise, which"
            " voids the privacy guarantee"
        )
    run.check_model_file()
    return run


def _snapshots(run: RunFolder) -> list[Member]:
    count = len(run.read_metrics().get("snapshots", ()))
    if count < 2:
        raise UsageError(
            f"RUN: expected two or more runs, or one with snapshots (zoo.train --snapshots N), received only {run.path}"
        )
    for number in range(1, count + 1):
        run.check_model_file(number)
    return [Member(run, number) for number in range(1, count + 1)]


def _check_same(first: Member, other: Member) -> None:
    """Raise a `UsageError` unless two members were trained on the same examples in the same format."""
    mine, theirs = (member.run.read_config()["data"] for member in (first, other))
    for what in SAME_FORM:
        here, there = mine.get(what), theirs.get(what)  # runs of earlier versions have fewer
        if here != there:
            raise UsageError(
                f"RUN {other.name}: expected the same {what.replace('_', ' ')} as {first.name}, {_short(here)},"
                f" received {_short(there)}"
            )
    for name in SAME_EXAMPLES:
        here, there = (_value(member.config, name) for member in (first, other))
        if here != there:
            raise UsageError(
                f"RUN {other.name}: expected the same splits as {first.name}, so that no member is evaluated on"
                f" examples that another was trained on; {flag(name)} was {here} for the first run and {there} for this"
                " one"
            )


def _value(config: TrainConfig, name: str) -> Any:
    value = getattr(config, name)
    return value.resolve() if name in PLACES and value is not None else value


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):  # inputs from the columns of a table
        value = list(dict.fromkeys(each["name"] for each in value))
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_same_architecture(members: Sequence[Member]) -> None:
    """Raise a `UsageError` unless all members have the same architecture, so that their weights can be averaged."""
    first = members[0]
    for other in members[1:]:
        for what in ("model", "settings"):
            mine, theirs = (getattr(member.config, what) for member in (first, other))
            if mine != theirs:
                raise UsageError(
                    f"RUN {other.name}: expected the same {what} as {first.name} to average their weights, {mine},"
                    f" received {theirs}"
                )
