"""Runs that are compressed: opened and checked without Keras, then loaded."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression import tasks
from zoo.config.catalogue import check_source
from zoo.config.train_config import TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.guests import model as guest
from zoo.guests.model import OpenedModel
from zoo.runs.folder import RunFolder

NO_FOLDER = "--output: expected a folder for what is written, because a model file has none of its own"


@dataclass(frozen=True)
class OpenedRun:
    """A run that can be compressed.

    Args:
        run: Run folder.
        config: Configuration of the run, with the data directory that was asked for.
    """

    run: RunFolder
    config: TrainConfig

    @property
    def task(self) -> str:
        return self.run.task

    @property
    def place(self) -> Path:
        """Run folder."""
        return self.run.path

    @property
    def model_file(self) -> Path:
        """File of the trained model."""
        return self.run.model_file

    @property
    def model_bytes(self) -> int:
        """Size of the model file."""
        return self.model_file.stat().st_size

    @property
    def artifacts(self) -> Path:
        """Folder for files of the run."""
        return self.run.path / "artifacts"

    def load(self) -> tuple[Any, Any]:
        """Load the model and its data; imports Keras and its backend.

        Returns:
            (keras.Model, zoo.data.Dataset).

        Raises:
            UsageError: The model is damaged, or the data are missing or have changed their form.
        """
        from strategies import backend

        backend.start("tensorflow")
        from zoo.runs.inference import load_like

        model = self.run.load_model()
        model.trainable = True  # a recipe trains every layer that it changes
        return model, load_like(self.run, self.config, unlabelled=True)

    def provenance(self) -> dict[str, Any]:
        """Return the origin of a file, for its receipt."""
        metrics = self.run.read_metrics()
        return {
            "run": self.run.path.name,
            "model": self.run.model_name,
            "data": self.config.data_name,
            "model_sha256": metrics["model_sha256"],
            "training_seed": self.config.seed,
        }


def opened(path: Path, given: Mapping[str, Any], *, any_task: bool = False) -> "OpenedRun | OpenedModel":
    """Open a run or a model file, without importing Keras.

    Args:
        path: Run folder, or a model file that ends in .keras or .h5.
        given: Options of a command; those that name the data, and say how a model file is trained, are
            taken from them.
        any_task: Whether runs of every task are accepted, and not only those that give classes.

    Raises:
        UsageError: The run or the file cannot be compressed, or its data are not available.
    """
    if guest.is_file(path):
        return guest.opened(path, given)
    return open_run(path, given, any_task=any_task)


def output_of(chosen: OpenedRun | OpenedModel, output: Path | None) -> Path:
    """Return the folder that a command writes into: the one that was asked for, or that of the run.

    Raises:
        UsageError: None was asked for, and a model file has none of its own.
    """
    if output is None and chosen.artifacts is None:
        raise UsageError(NO_FOLDER)
    return output or chosen.artifacts


def load_words(chosen: OpenedRun | OpenedModel, given: Mapping[str, Any]) -> list[Any]:
    """Return the words of a command that loads the same data.

    Args:
        chosen: What was opened.
        given: Options that it was opened with.
    """
    names = ("dataset", "data", "data_dir")
    found = {name: given[name] for name in names if given.get(name) is not None}
    if isinstance(chosen, OpenedModel):
        found = chosen.load_options()
    return [word for name, value in found.items() for word in (flag(name), value)]


def open_run(path: Path, given: Mapping[str, Any], *, any_task: bool = False) -> OpenedRun:
    """Check that a run can be compressed, without importing Keras.

    Args:
        path: Run folder.
        given: Options of a command; data_dir is taken from them.
        any_task: Whether runs of every task are accepted, and not only those that give classes.

    Raises:
        UsageError: The run is missing, unfinished, without a model or for another task, or its data are not available.
    """
    run = RunFolder(path)
    config = run.read_config()["config"]
    run.read_metrics()
    if not (any_task or tasks.entry(run.task).limits.by_output):
        raise UsageError(
            f"{run.path}: expected a run that gives classes, this one is for {run.task}; compression.compress takes it"
        )
    run.check_model_file()
    for name in ("input_range", "epochs", "batch_size", "learning_rate", "augment"):
        if given.get(name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')}: expected with a model file, received with a run, which has its own"
            )
    changes = {k: given[k] for k in ("data_dir", "dataset", "data") if given.get(k) is not None}
    if "data" in changes or "dataset" in changes:
        changes = {"data": None, "dataset": None} | changes
    config = dataclasses.replace(config, **changes)
    check_source(config)
    return OpenedRun(run, config)


def open_teacher(path: Path, student: OpenedRun | OpenedModel) -> RunFolder | OpenedModel:
    """Check that a run can teach another, or a model file a model of one's own, without importing Keras.

    Raises:
        UsageError: The run is not finished, or has other inputs or classes than the student.
    """
    if isinstance(student, OpenedModel):
        if not guest.is_file(path):
            raise UsageError(
                f"--recipe distill: teacher={path}: expected a model file that ends in {' or '.join(guest.SUFFIXES)}"
                " for a model of one's own, or no teacher: it then learns from itself as it was"
            )
        return guest.opened(path, {}, data_needed=False)
    run = RunFolder(path)
    run.read_metrics()
    run.check_model_file()
    theirs, mine = (folder.read_config()["data"] for folder in (run, student.run))
    for what in ("kind", "input_shape", "class_names", "per_step", "vocabulary_size"):
        if theirs[what] != mine[what]:
            raise UsageError(
                f"--recipe distill: teacher={path}: expected a run with the student's {what.replace('_', ' ')}"
                f" {_short(mine[what])}, received {_short(theirs[what])}"
            )
    return run


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def run_of(file: Path, *, required: bool = True) -> Path | None:
    """Return the run folder that a file lies in; None if it lies in none and none is required.

    Raises:
        UsageError: The file is not inside a run folder.
    """
    folder = file.resolve().parent
    while folder != folder.parent:
        if RunFolder(folder).started:
            return folder
        folder = folder.parent
    if not required:
        return None
    raise UsageError(f"{file}: expected a file inside a run folder; name the run: verify FILE RUN")
