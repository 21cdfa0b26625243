"""The start of a training: its folder, checks of its data and of the disk, the checkpoint that it resumes from."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from strategies import collective, devices_of
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import many
from zoo.data import digests
from zoo.data.dataset import steps_per_epoch
from zoo.introspection import architecture, operations
from zoo.runs import checkpoints, examples, space
from zoo.runs.folder import RunFolder, default_output
from zoo.system import machine, temporary
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


def origin(training: Training) -> dict[str, dict[str, Any]]:
    """Return what the checkpoints of a training belong to: the options and the data that decide its weights."""
    return {"config": training.config.deciding(), "data": digests.of_data(training.data)}


def newest_snapshot(training: Training) -> checkpoints.Snapshot | None:
    """Return the checkpoint that a training resumes from, the same on every worker; None if it starts anew.

    Raises:
        UsageError: On every worker, if a checkpoint of the chief belongs to another configuration or other data.
    """
    run, resume = training.run, training.config.resume
    together, snapshot, refusal = collective.workers(training.strategy) > 1, None, ""
    if resume and not collective.worker(training.strategy):
        try:
            _check_examples(training)
            snapshot, told = checkpoints.newest(run.checkpoints, _compared(training))
            for sentence in told:
                cli.say(sentence)
        except UsageError as error:
            refusal = str(error)
    if together:  # all resume from the checkpoint of the chief
        refusal = collective.broadcast(training.strategy, refusal.encode()).decode()
        snapshot = checkpoints.unpacked(collective.broadcast(training.strategy, checkpoints.packed(snapshot)))
    if refusal:
        raise UsageError(refusal)
    if snapshot is None and training.verbose and resume:
        cli.say(f"no complete checkpoint in {run.checkpoints}: starting from the first step")
    return snapshot


def _check_examples(training: Training) -> None:
    """Raise UsageError if the examples of a resumed run are not those that it was started with, unless accepted."""
    then = examples.read(training.run)
    if then is None or training.config.shard == "files":
        return
    changed = examples.differences(then, examples.of_data(training.data))
    if changed and not training.config.accept_changed_data:
        raise UsageError(
            f"{training.run.path}: the data changed since the run was started: {'; '.join(changed)}; undo the change,"
            " or go on with --accept-changed-data, which keeps every example in the split that it had"
        )
    if changed and training.verbose:
        cli.say(f"{training.run.path}: the data changed, which is accepted: {'; '.join(changed)}")


def _compared(training: Training) -> dict[str, dict[str, Any]]:
    """Return the origin that checkpoints must have: without the examples if their change is accepted."""
    if not training.config.accept_changed_data:
        return training.origin
    form = {name: value for name, value in training.origin["data"].items() if name == "form"}
    return training.origin | {"data": form}


def accept(training: Training) -> None:
    """Bring the checkpoint of a run whose data changed to the new number of steps, and note the new examples.

    The step is at the same place of the same epoch. Earlier checkpoints, which belong to the data before, are removed.
    """
    snapshot, then = training.start.snapshot, examples.read(training.run)
    if snapshot is None or then is None or not training.config.accept_changed_data:
        return
    config = training.config
    steps = config.steps_per_epoch or steps_per_epoch(len(then["train"][0]), config.batch_size)
    epoch, place = divmod(snapshot.step, steps)
    snapshot = dataclasses.replace(
        snapshot, step=epoch * training.steps + place * training.steps // steps, origin=training.origin
    )
    before = checkpoints.listed(training.run.checkpoints)
    kept = checkpoints.save(training.run.checkpoints, snapshot, keep=len(before) + 1)
    for path in before:
        if path != kept:
            path.unlink()
    examples.write(training.run, examples.of_data(training.data), accepted=True)
    training.start = dataclasses.replace(training.start, snapshot=snapshot)


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
        cli.say(f"continuing {training.run.path} after step {snapshot.step}")
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
    if not run.examples_file.is_file():
        examples.write(run, examples.of_data(data))
    config = dataclasses.replace(training.config, resume=False, accept_changed_data=False)
    run.write_config(config, data.spec.to_json(), command, begun_with, adapted, training.own_model)


def check_disk(training: Training) -> None:
    """Raise UsageError if the files of the run will not fit on the disk."""
    space.check(training.run.path, COPIES_ON_DISK * sum(int(np.prod(v.shape)) * 4 for v in training.model.variables))


def tell_size(training: Training) -> None:
    """Print the parameters of the model and the steps to train, before the first of them is traced."""
    if not training.verbose:
        return
    config, count, spec = training.config, training.plain.count_params(), training.data.spec
    trained = sum(math.prod(variable.shape) for variable in training.plain.trainable_variables)
    frozen = f", {trained:,} of them trained" if trained < count else ""
    replicas = training.strategy.num_replicas_in_sync
    shared = f" on {replicas} replicas" if replicas > 1 else ""
    epochs = f"{config.epochs} epoch{'s' * (config.epochs != 1)}"
    steps = f"{training.steps:,} step{'s' * (training.steps != 1)}"
    found = operations.of_model(training.plain, training.task.inputs(training.plain, spec))
    work = f", {many(found)} operations an example" if found else ""
    cli.say(
        f"{count:,} parameters{frozen}{work}; {epochs} of {steps}, batches of"
        f" {config.batch_size}{shared}; on {_devices(training)}"
    )


def _devices(training: Training) -> str:
    """Return the devices of a training in words; of a CPU its name and the cores that may be used."""
    found = devices_of(training.strategy)
    if any("CPU" not in name for name in found):
        return ", ".join(found)
    facts = machine.processor()
    parts = f" as {len(found)} devices" if len(found) > 1 else ""
    return f"{facts['name']}, {facts['cores']} cores{parts}"
