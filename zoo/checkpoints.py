"""Snapshots of a training run: everything that decides its next step, in one file that proves it is whole.

A file is a plain .npz, named `step-<global step>-<first 16 digits of its SHA-256>.npz`. It is written beside its
final name, flushed to the disk and renamed, so the name appears only when the content is complete; a file whose
content no longer has the hash in its name was altered or cut short, is reported, and the one before it is used.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.files import publish, sha256

_NAME = re.compile(r"step-(\d{10})-([0-9a-f]{16})\.npz")
_STATE = "state"
DIGITS = 16


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Args:
        step: global steps done.
        arrays: values by name, see `capture`.
        state: what the callbacks remember, JSON-able.
    """

    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


class NotFinite(ArithmeticError):
    """A weight is NaN or infinite."""


def variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield (name, backend variable) of everything a step reads or writes.

    The seeds of dropout are among the non-trainable variables; .weights.h5 files leave them out. Under a strategy
    every replica's own copy is yielded, since metrics, and the statistics of BatchNorm, differ between replicas
    within an epoch.
    """
    groups = {
        "trainable": model.trainable_variables,
        "non_trainable": model.non_trainable_variables,
        "optimizer": model.optimizer.variables,
        "metric": model.metrics_variables,
    }
    for group, members in groups.items():
        for index, variable in enumerate(members):
            for replica, copy in enumerate(_copies(variable.value)):
                yield f"{group}/{index}/{replica}", copy


def capture(model: keras.Model) -> dict[str, np.ndarray]:
    """Return a copy of every variable of a built and compiled model.

    Raises:
        NotFinite: a weight is NaN or infinite, so the state is not worth going back to.
    """
    arrays = {name: keras.ops.convert_to_numpy(value).copy() for name, value in variables(model)}
    for name, array in arrays.items():
        if name.startswith(("trainable", "non_trainable")) and not np.isfinite(array).all():
            raise NotFinite(name)
    return arrays


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give a built and compiled model the values of `capture`.

    Raises:
        ValueError: the model has other variables, or variables of other shapes.
    """
    for name, variable in variables(model):
        if name not in arrays:
            raise ValueError(f"the checkpoint has no {name}")
        if tuple(arrays[name].shape) != tuple(variable.shape):
            raise ValueError(f"the checkpoint's {name} is {arrays[name].shape}, the model's {variable.shape}")
        variable.assign(arrays[name])


def restore_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give the metrics alone the values of `capture`: `fit` resets them when it begins an epoch."""
    for name, variable in variables(model):
        if name.startswith("metric/"):
            variable.assign(arrays[name])


def weights(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of the weights alone, trainable and not."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


def save(folder: Path, snapshot: Snapshot, keep: int = 3) -> Path:
    """Write a snapshot, then remove all but the newest `keep`.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the snapshots before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = np.array(json.dumps(snapshot.state))
    temporary = folder / f".writing-{os.getpid()}.npz"
    try:
        np.savez(temporary, **snapshot.arrays, **{_STATE: state})
        path = folder / f"step-{snapshot.step:010d}-{sha256(temporary)[:DIGITS]}.npz"
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for old in listed(folder)[:-keep]:
        old.unlink()
    return path


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first, whole or not."""
    return sorted(p for p in folder.glob("step-*.npz") if _NAME.fullmatch(p.name))


def load(path: Path) -> Snapshot:
    """Read a checkpoint.

    Raises:
        ValueError: its content is not what its name says.
    """
    step, digest = _NAME.fullmatch(path.name).groups()
    if sha256(path)[:DIGITS] != digest:
        raise ValueError(f"{path} was truncated or altered: its SHA-256 does not begin with {digest}")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Snapshot(int(step), arrays, json.loads(str(arrays.pop(_STATE))))


def newest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """Return the newest whole snapshot, or None, and one sentence for each damaged one that was passed over."""
    damaged = []
    for path in reversed(listed(folder)):
        try:
            return load(path), damaged
        except ValueError as error:
            damaged.append(str(error))
    return None, damaged


def _copies(variable: Any) -> tuple:
    """Return the replicas' copies of a distributed variable, or the variable alone."""
    if keras.backend.backend() != "tensorflow":
        return (variable,)
    import tensorflow as tf

    return variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)
