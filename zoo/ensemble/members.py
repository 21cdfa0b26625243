"""Which trained runs can be made into one, told before Keras is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import registry
from zoo.config.train_config import PLACES, TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder

# Of the form of data: what models must share to answer the same question.
SAME_FORM = ("kind", "input_shape", "class_names", "per_step", "vocabulary_size", "vocabulary_sha256")
# Options that decide which examples are trained on, and which are held out for validation and test.
SAME_EXAMPLES = (
    *("dataset", "data", "validation_data", "text_column", "label_column"),
    *("validation_split", "test_split", "test_split_name"),
)


@dataclass(frozen=True)
class Member:
    """A trained classifier.

    Args:
        run: its folder.
        snapshot: which of the run's snapshots, from 1; 0: its model.keras.
    """

    run: RunFolder
    snapshot: int = 0

    @property
    def name(self) -> str:
        """What people know it by."""
        return f"{self.run.path}, snapshot {self.snapshot}" if self.snapshot else str(self.run.path)

    @property
    def config(self) -> TrainConfig:
        return self.run.read_config()["config"]

    @property
    def model_sha256(self) -> str:
        metrics = self.run.read_metrics()
        return metrics["snapshots"][self.snapshot - 1] if self.snapshot else metrics["model_sha256"]


def members_of(paths: Sequence[Path]) -> list[Member]:
    """Return the members that runs are, or of a single run its snapshots.

    Raises:
        UsageError: a run that is none, has not finished, gives no classes or is there twice, runs of other data, or one
            run alone without snapshots.
    """
    runs = [classifier(path) for path in paths]
    if len(runs) == 1:
        return _snapshots(runs[0])
    members = [Member(run) for run in runs]
    seen: dict[str, Member] = {}
    for member in members:
        before = seen.setdefault(member.model_sha256, member)
        if before is not member:
            raise UsageError(
                f"RUN {member.name}: expected other runs beside each other, {before.name} is the same model"
            )
    for member in members[1:]:
        _check_same(members[0], member)
    return members


def classifier(path: Path) -> RunFolder:
    """Return the folder of a finished run that gives classes.

    Raises:
        UsageError: it is none, its model was altered, or it is one that cannot be a part of another.
    """
    run = RunFolder(path)
    config = run.read_config()["config"]
    run.read_metrics()
    if run.task != "classification":
        raise UsageError(f"RUN {path}: expected a run that gives classes, this one is for {run.task}")
    if config.model in registry.HUB_MODELS:
        raise UsageError(f"RUN {path}: expected a model of the zoo, {config.model} is one of KerasHub")
    if config.private:
        raise UsageError(
            f"RUN {path}: expected a run without --private: what is made of it would look at examples without"
            " noise, and break its promise"
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
                f"RUN {other.name}: expected the examples of {first.name}, so that none that one was trained on is"
                f" held out for another; {flag(name)} was {here} there and {there} here"
            )


def _value(config: TrainConfig, name: str) -> Any:
    value = getattr(config, name)
    return value.resolve() if name in PLACES and value is not None else value


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_same_architecture(members: Sequence[Member]) -> None:
    """Raise UsageError unless the weights of these runs can be averaged one by one."""
    first = members[0]
    for other in members[1:]:
        for what in ("model", "settings"):
            mine, theirs = (getattr(member.config, what) for member in (first, other))
            if mine != theirs:
                raise UsageError(
                    f"RUN {other.name}: expected the {what} of {first.name} to average their weights, {mine}, received"
                    f" {theirs}"
                )
