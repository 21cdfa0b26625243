"""The start of a training: its folder, checks of its data and of the disk, the checkpoint that it resumes from."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from strategies import collective
from zoo.config import task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, digests
from zoo.introspection import architecture
from zoo.runs import checkpoints, space
from zoo.runs.folder import RunFolder, default_output
from zoo.system import temporary
from zoo.training.callbacks import Memory, write_history
from zoo.training.capabilities import Training

# Copies of the weights, in float32: model and two moments of AdamW in each of three checkpoints and the one being
# written, with the weights of the best epoch, and the model file.
COPIES_ON_DISK = 4 * 4 + 3


@contextlib.contextmanager
def run_folder(config: TrainConfig, strategy: Any, private: Path | None) -> Iterator[RunFolder]:
    """Yield the run folder, or for workers other than the chief one of their own.

    Args:
        config: Resolved configuration.
        strategy: Distribution strategy.
        private: Folder of a worker other than the chief; by default a temporary one.

    Raises:
        UsageError: The folder is not free.
    """
    if collective.worker(strategy) and private:
        yield RunFolder(private)
        return
    if collective.worker(strategy):
        with temporary.folder() as folder:
            yield RunFolder(folder / "run")
        return
    run = RunFolder(config.output or default_output(config))
    if not config.resume:
        run.check_free()
    yield run


def check_data(config: TrainConfig, data: Dataset) -> None:
    """Raise UsageError for options that these data do not allow.

    Args:
        config: Resolved configuration.
        data: Data of the training.
    """
    spec = data.spec
    if not len(data.test):
        raise UsageError(f"--test-split {config.test_split:g}: expected test examples of {spec.name}, received none")
    if config.early_stopping and not len(data.validation):
        raise UsageError(f"--early-stopping {config.early_stopping}: expected validation examples, received none")
    if config.shift and spec.kind != "image":
        raise UsageError(f"--shift {config.shift}: expected images, {spec.name} gives {spec.kind}")
    if config.class_weights == "balanced" and not task_facts.of(spec.task).classifies:
        raise UsageError(f"--class-weights balanced: expected data with classes, {spec.name} is for {spec.task}")


def origin(training: Training) -> dict[str, dict[str, Any]]:
    """Return what the checkpoints of a training belong to: the options and the data that decide its weights.

    With `--shard files` each worker has its part of the training files; the chief's is compared only between trainings
    of as many workers.
    """
    config, data = training.config, training.data
    found = digests.of_data(data)
    if config.shard == "files":
        found[f"train of 1 of {collective.workers(training.strategy)}"] = found.pop("train")
    return {"config": config.deciding(), "data": found}


def newest_snapshot(training: Training) -> checkpoints.Snapshot | None:
    """Return the checkpoint that a training resumes from, the same on every worker; None if it starts anew.

    Raises:
        UsageError: On every worker, if a checkpoint of the chief belongs to another configuration or other data.
    """
    run, resume = training.run, training.config.resume
    together, snapshot, refusal = collective.workers(training.strategy) > 1, None, ""
    if resume and not collective.worker(training.strategy):
        try:
            snapshot, told = checkpoints.newest(run.checkpoints, training.origin)
            print("".join(f"{sentence}\n" for sentence in told), file=sys.stderr, end="")
        except UsageError as error:
            refusal = str(error)
    if together:  # all resume from the checkpoint of the chief
        refusal = collective.broadcast(training.strategy, refusal.encode()).decode()
        snapshot = checkpoints.unpacked(collective.broadcast(training.strategy, checkpoints.packed(snapshot)))
    if refusal:
        raise UsageError(refusal)
    if snapshot is None and training.verbose and resume:
        print(f"no complete checkpoint in {run.checkpoints}: starting from the first step", file=sys.stderr)
    return snapshot


def restore(training: Training) -> dict[str, np.ndarray] | None:
    """Restore the compiled model, the memory, history.csv and the step from the checkpoint; return its arrays.

    Returns:
        Arrays of the checkpoint; None without one.

    Raises:
        UsageError: The checkpoint is of a model with other layers or variables.
    """
    model = {"model": {"architecture": architecture.digest(training.plain)}}
    training.origin |= model
    snapshot = training.start.snapshot
    if snapshot is None:
        return None
    if snapshot.origin is not None:
        checkpoints.check_origin(training.run.checkpoints, snapshot.origin, model)
    try:
        checkpoints.restore(training.model, snapshot.arrays)
    except ValueError as error:
        raise UsageError(f"{training.run.checkpoints}: expected checkpoints of this model: {error}") from None
    if training.verbose:
        print(f"continuing {training.run.path} after step {snapshot.step}", file=sys.stderr)
    training.step, training.memory = snapshot.step, Memory.from_snapshot(snapshot)
    if training.memory.history:
        write_history(training.run, training.memory.history)
    return snapshot.arrays


def write_config(training: Training) -> None:
    """Write config.json and the vocabularies; a resumed run keeps the record of how it was started."""
    run, data, start = training.run, training.data, training.start
    command, adapted, begun_with = start.command, start.adapted, training.begun_with
    if run.started:
        stored = run.read_config()
        command, adapted = stored["command"], stored.get("adapted")
        begun_with = begun_with or stored.get("begun_with")
    data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
    config = dataclasses.replace(training.config, resume=False)
    run.write_config(config, data.spec.to_json(), command, begun_with, adapted)


def check_disk(training: Training) -> None:
    """Raise UsageError if the files of the run will not fit on the disk."""
    space.check(training.run.path, COPIES_ON_DISK * sum(int(np.prod(v.shape)) * 4 for v in training.model.variables))
