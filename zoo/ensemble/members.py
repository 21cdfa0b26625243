"""Checks of the runs that an ensemble is made of, before Keras is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import registry, task_facts
from zoo.config.train_config import PLACES, TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder

# Fields of the form of data that must be equal for models to answer the same question.
SAME_FORM = ("kind", "input_shape", "class_names", "per_step", "vocabulary_size", "vocabulary_sha256")
# Options that decide which examples are used for training and which are held out for validation and test.
SAME_EXAMPLES = (
    *("dataset", "data", "validation_data", "text_column", "label_column"),
    *("validation_split", "test_split", "test_split_name"),
)


@dataclass(frozen=True)
class Member:
    """A trained classifier.

    Args:
        run: Run folder.
        snapshot: Number of a snapshot of the run, from 1. 0 stands for its model.keras.
    """

    run: RunFolder
    snapshot: int = 0

    @property
    def name(self) -> str:
        """The name for messages and tables."""
        return f"{self.run.path}, snapshot {self.snapshot}" if self.snapshot else str(self.run.path)

    @property
    def config(self) -> TrainConfig:
        return self.run.read_config()["config"]

    @property
    def model_sha256(self) -> str:
        metrics = self.run.read_metrics()
        return metrics["snapshots"][self.snapshot - 1] if self.snapshot else metrics["model_sha256"]


def members_of(paths: Sequence[Path]) -> list[Member]:
    """Return a member for each run, or for each snapshot of a single run.

    Args:
        paths: Run folders.

    Raises:
        UsageError: A folder that is no run of a classifier or has not finished, the same model twice, runs on different
            data, or a single run without snapshots.
    """
    runs = [classifier(path) for path in paths]
    if len(runs) == 1:
        return _snapshots(runs[0])
    members = [Member(run) for run in runs]
    seen: dict[str, Member] = {}
    for member in members:
        before = seen.setdefault(member.model_sha256, member)
        if before is not member:
            raise UsageError(f"RUN {member.name}: expected different models, {before.name} is the same one")
    for member in members[1:]:
        _check_same(members[0], member)
    return members


def classifier(path: Path) -> RunFolder:
    """Return the run folder of a finished classifier.

    Raises:
        UsageError: It is none, its model was altered, or it cannot be part of an ensemble.
    """
    run = RunFolder(path)
    config = run.read_config()["config"]
    run.read_metrics()
    if not task_facts.of(run.task).classifies:
        raise UsageError(f"RUN {path}: expected a run that gives classes, this one is for {run.task}")
    if config.model in registry.HUB_MODELS:
        raise UsageError(f"RUN {path}: expected a model of the zoo, {config.model} is one of KerasHub")
    if config.private:
        raise UsageError(
            f"RUN {path}: expected a run without --private: an ensemble uses training examples without noise, which"
            " breaks the privacy guarantee"
        )
    run.check_model_file()
    return run


def _snapshots(run: RunFolder) -> list[Member]:
    count = len(run.read_metrics().get("snapshots", ()))
    if count < 2:
        raise UsageError(
            f"RUN: expected two runs or more, or one that kept snapshots (zoo.train --snapshots N), received {run.path}"
            " alone"
        )
    for number in range(1, count + 1):
        run.check_model_file(number)
    return [Member(run, number) for number in range(1, count + 1)]


def _check_same(first: Member, other: Member) -> None:
    """Raise UsageError unless two members were trained on the same examples, in the same form."""
    mine, theirs = (member.run.read_config()["data"] for member in (first, other))
    for what in SAME_FORM:
        if mine[what] != theirs[what]:
            raise UsageError(
                f"RUN {other.name}: expected the {what.replace('_', ' ')} of {first.name}, {_short(mine[what])},"
                f" received {_short(theirs[what])}"
            )
    for name in SAME_EXAMPLES:
        here, there = (_value(member.config, name) for member in (first, other))
        if here != there:
            raise UsageError(
                f"RUN {other.name}: expected the examples of {first.name}, so that no member was trained on examples"
                f" that another holds out; {flag(name)} was {here} there and {there} here"
            )


def _value(config: TrainConfig, name: str) -> Any:
    value = getattr(config, name)
    return value.resolve() if name in PLACES and value is not None else value


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_same_architecture(members: Sequence[Member]) -> None:
    """Raise UsageError unless these runs have the same architecture, so that their weights can be averaged."""
    first = members[0]
    for other in members[1:]:
        for what in ("model", "settings"):
            mine, theirs = (getattr(member.config, what) for member in (first, other))
            if mine != theirs:
                raise UsageError(
                    f"RUN {other.name}: expected the {what} of {first.name} to average their weights, {mine}, received"
                    f" {theirs}"
                )
