"""Snapshots of a training run: everything that decides its next step, in one file that proves it is whole.

A file is a plain .npz, named `step-<global step>-<first 16 digits of its SHA-256>.npz`. It is written beside its
final name, flushed to the disk and renamed, so the name appears only when the content is complete; a file whose
content no longer has the hash in its name was altered or cut short, is reported, and the one before it is used.
"""

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from strategies import collective
from zoo.system.files import publish, sha256

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
    the copy of every replica of this process is yielded: metrics differ between replicas within an epoch.
    """
    groups = {
        "trainable": model.trainable_variables,
        "non_trainable": model.non_trainable_variables,
        "optimizer": model.optimizer.variables,
        "metric": model.metrics_variables,
    }
    synchronise(model)
    for group, members in groups.items():
        for index, variable in enumerate(members):
            for replica, copy in enumerate(_copies(variable)):
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
    return arrays | _of_other_workers(model, {n: a for n, a in arrays.items() if n.startswith("metric/")})


def _of_other_workers(model: keras.Model, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every worker's metrics, by the name that each gives its own; of a single process, none."""
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or collective.workers(strategy) == 1 or not metrics:
        return {}
    # As float64, which holds the sums and counts of all metrics of Keras, in one message.
    flat = np.concatenate([array.reshape(-1).astype(np.float64) for array in metrics.values()])
    found: dict[str, np.ndarray] = {}
    for worker, values in enumerate(collective.gather(strategy, flat)):
        parts = np.split(values, np.cumsum([array.size for array in metrics.values()])[:-1])
        for (name, array), part in zip(metrics.items(), parts, strict=True):
            found[_of_worker(name, worker)] = part.reshape(array.shape).astype(array.dtype)
    return found


def _of_worker(name: str, worker: int) -> str:
    return f"worker {worker}/{name}"


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give a built and compiled model the values of `capture`, also of another engine or number of replicas.

    Raises:
        ValueError: the model has other variables, or variables of other shapes.
    """
    for name, variable in variables(model):
        if name.startswith("metric/"):
            continue
        first = f"{name.rpartition('/')[0]}/0"  # the replica that others are copies of
        if first not in arrays:
            raise ValueError(f"the checkpoint has no {first}")
        _assign(variable, arrays.get(name, arrays[first]), name)
    restore_metrics(model, arrays)


def restore_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give the metrics alone the values of `capture`: `fit` resets them when it begins an epoch.

    Every replica of every worker gets its own. Where there were more or fewer of them, the first gets the sums of all:
    metrics of Keras are totals and counts.
    """
    strategy = getattr(model, "distribute_strategy", None)
    workers, worker = (collective.workers(strategy), collective.worker(strategy)) if strategy is not None else (1, 0)
    held = dict(variables(model))
    for name in [name for name in held if name.endswith("/0") and name.startswith("metric/")]:
        group = name.removesuffix("0")
        there = {key for key in arrays if re.fullmatch(rf"worker \d+/{group}\d+", key)} or {
            key for key in arrays if re.fullmatch(rf"{group}\d+", key)
        }
        replicas = [key for key in held if key.startswith(group)]
        here = {_of_worker(key, w) for key in replicas for w in range(workers)} if workers > 1 else set(replicas)
        for replica, key in enumerate(replicas):
            if there == here:
                value = arrays[_of_worker(key, worker) if workers > 1 else key]
            else:
                total = sum(arrays[found] for found in sorted(there))
                value = total if (worker, replica) == (0, 0) else np.zeros_like(total)
            _assign(held[key], value, key)


def _assign(variable: Any, value: np.ndarray, name: str) -> None:
    if tuple(value.shape) != tuple(variable.shape):
        raise ValueError(f"the checkpoint's {name} is {value.shape}, the model's {tuple(variable.shape)}")
    variable.assign(value.astype(keras.backend.standardize_dtype(variable.dtype)))


def weights(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of the weights alone, trainable and not, after `synchronise` of what is trained."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


def save(folder: Path, snapshot: Snapshot, keep: int = 3) -> Path:
    """Write a snapshot, then remove all but the newest `keep`.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the snapshots before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".writing-{os.getpid()}.npz"
    try:
        _write(temporary, snapshot)
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
    return _read(path, int(step))


def packed(snapshot: Snapshot | None) -> bytes:
    """Return a snapshot as bytes, none as no bytes: what the chief sends to other workers."""
    if snapshot is None:
        return b""
    file = io.BytesIO()
    _write(file, snapshot)
    return snapshot.step.to_bytes(8, "little") + file.getvalue()


def unpacked(content: bytes) -> Snapshot | None:
    """Return the snapshot of `packed`."""
    return _read(io.BytesIO(content[8:]), int.from_bytes(content[:8], "little")) if content else None


def _write(file: Path | io.BytesIO, snapshot: Snapshot) -> None:
    np.savez(file, **snapshot.arrays, **{_STATE: np.array(json.dumps(snapshot.state))})


def _read(file: Path | io.BytesIO, step: int) -> Snapshot:
    with np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    return Snapshot(step, arrays, json.loads(str(arrays.pop(_STATE))))


def newest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """Return the newest whole snapshot, or None, and one sentence for each damaged one that was passed over."""
    damaged = []
    for path in reversed(listed(folder)):
        try:
            return load(path), damaged
        except ValueError as error:
            damaged.append(str(error))
    return None, damaged


def synchronise(model: keras.Model) -> None:
    """On JAX, give the variables the values that `fit` holds apart from them while an epoch lasts."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def _copies(variable: keras.Variable) -> tuple:
    """Return the replicas' copies of a distributed variable, or the variable alone."""
    if keras.backend.backend() != "tensorflow":
        return (variable,)
    import tensorflow as tf

    value = variable.value
    return value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)
