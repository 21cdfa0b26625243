"""A run as compression needs it: its model, its data, and where both come from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.catalogue import check_source
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder


@dataclass(frozen=True)
class Source:
    """A run that can be compressed.

    Args:
        run: its folder.
        config: its configuration, with the data directory that was asked for.
    """

    run: RunFolder
    config: TrainConfig

    @property
    def task(self) -> str:
        return self.run.task

    def load(self) -> tuple[Any, Any]:
        """Return (keras.Model, zoo.data.Dataset); imports Keras and its backend.

        Raises:
            UsageError: a damaged model, or data that are not there or have changed their form.
        """
        from strategies import backend

        backend.start("tensorflow")
        from zoo.runs.inference import load_like

        model = self.run.load_model()
        model.trainable = True  # what a recipe changes, it trains
        return model, load_like(self.run, self.config)

    def provenance(self) -> dict[str, Any]:
        """Return what a receipt says of the run."""
        metrics = self.run.read_metrics()
        return {
            "run": self.run.path.name,
            "model": self.config.model,
            "data": self.config.data_name,
            "model_sha256": metrics["model_sha256"],
            "training_seed": self.config.seed,
        }


def open_run(path: Path, given: Mapping[str, Any], *, texts: bool = False) -> Source:
    """Check that a run can be compressed, without importing Keras.

    Args:
        path: of the run folder.
        given: a command's options; data_dir is taken from it.
        texts: whether runs that make texts will do as well.

    Raises:
        UsageError: no run, an unfinished one, one without a model, one for another task, or data that cannot be had.
    """
    run = RunFolder(path)
    config = run.read_config()["config"]
    run.read_metrics()
    if run.task != "classification" and not texts:
        raise UsageError(
            f"{run.path}: expected a run that gives classes, this one is for {run.task}; compression.compress takes it"
        )
    if not run.model_file.is_file():
        raise UsageError(f"{run.path}: expected a model.keras, found none")
    changes = {k: given[k] for k in ("data_dir",) if k in given}
    config = dataclasses.replace(config, **changes)
    check_source(config)
    return Source(run, config)


def open_teacher(path: Path, student: Source) -> RunFolder:
    """Check that a run can teach another, without importing Keras.

    Raises:
        UsageError: no finished run, or one with other inputs or classes.
    """
    run = RunFolder(path)
    run.read_metrics()
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


def run_of(file: Path) -> Path:
    """Return the run folder that a file in its artifacts belongs to.

    Raises:
        UsageError: it is in no run folder.
    """
    folder = file.resolve().parent
    while folder != folder.parent:
        if RunFolder(folder).started:
            return folder
        folder = folder.parent
    raise UsageError(f"{file}: expected a file inside a run folder; name the run: verify FILE RUN")
