"""Checkpoints of a training run: everything that its next step depends on, in one checksummed file.

A checkpoint is a plain .npz file named `step-<global step>-<first 16 digits of its SHA-256>.npz`. It is written to a
temporary file in the same folder, flushed to disk and renamed, so the name appears only when the content is complete. A
file whose content does not match the hash in its name is renamed to `damaged-...` and reported, and the checkpoint
before it is used.

What is hashed includes the step and the origin: the options that decide the weights, and the digests of the data. A
checkpoint of another step than its name says, or of another origin than its run, is refused. Checkpoints of version
0.1 have no origin.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from strategies import collective
from zoo.config.train_config import flag
from zoo.console.errors import UsageError
from zoo.data import digests
from zoo.introspection.variables import derive
from zoo.system.files import publish, sha256
from zoo.system.temporary import beside

_NAME = re.compile(r"step-(\d{10})-([0-9a-f]{16})\.npz")
_STATE, _ORIGIN = "state", "origin"
DIGITS = 16
DAMAGED = "damaged-"
# Values of an origin that are hashes, in words.
_HASHED = {
    "train": "training examples",
    "validation": "validation examples",
    "test": "test examples",
    "form": "classes, shapes or vocabularies of the data",
    "captions": "captions",
    "model_sha256": "weights that it began with",
    "architecture": "layers of the model or their arguments",
}

# What a checkpoint belongs to: a group of values, by name, for each thing that decides the weights.
Origin = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """The content of a checkpoint.

    Args:
        step: Number of completed global steps.
        arrays: Values of the variables by name; see `capture`.
        state: State of the callbacks, JSON-serializable.
        origin: What the checkpoint belongs to, JSON-serializable; None for a checkpoint of version 0.1.
    """

    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]
    origin: Origin | None = None


class NotFinite(ArithmeticError):
    """A weight is NaN or infinite."""


def variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield (name, backend variable) for every variable that a training step reads or writes.

    The non-trainable variables include the seeds of dropout, which .weights.h5 files leave out. Under a strategy, the
    copies of all replicas of this process are yielded, because metrics differ between replicas within an epoch.

    Args:
        model: Built and compiled model.
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
    """Return a copy of every variable of a model, by name.

    Args:
        model: Built and compiled model.

    Raises:
        NotFinite: If a weight is NaN or infinite; training could not resume from it.
    """
    arrays = {name: keras.ops.convert_to_numpy(value).copy() for name, value in variables(model)}
    for name, array in arrays.items():
        if name.startswith(("trainable", "non_trainable")) and not np.isfinite(array).all():
            raise NotFinite(name)
    return arrays | _of_other_workers(model, {n: a for n, a in arrays.items() if n.startswith("metric/")})


def _of_other_workers(model: keras.Model, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the metrics of all workers, by worker and name; nothing for a single process."""
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or collective.workers(strategy) == 1 or not metrics:
        return {}
    # Sent as one float64 array, which represents the sums and counts of all Keras metrics.
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
    """Set the variables of a model to the values of `capture`, possibly from another backend or number of replicas.

    Args:
        model: Built and compiled model.
        arrays: Values from `capture`.

    Raises:
        ValueError: If the model has other variables, or variables with other shapes.
    """
    for name, variable in variables(model):
        if name.startswith("metric/"):
            continue
        first = f"{name.rpartition('/')[0]}/0"  # all replicas start as copies of the first
        if first not in arrays:
            raise ValueError(f"the checkpoint has no {first}")
        _assign(variable, arrays.get(name, arrays[first]), name)
    derive(model)
    restore_metrics(model, arrays)


def restore_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Set only the metrics to the values of `capture`, because `fit` resets them at the start of an epoch.

    Every replica of every worker gets its own values. If the number of workers or replicas has changed, the first
    replica gets the sums over all, since Keras metrics are totals and counts.

    Args:
        model: Built and compiled model.
        arrays: Values from `capture`.
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
    """Return a copy of the model's weights, trainable and not. On JAX, call `synchronise` first during training."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


def save(folder: Path, snapshot: Snapshot, keep: int = 3) -> Path:
    """Write a checkpoint, remove all but the newest intact ones, and return its path.

    Damaged ones are not counted, because `newest` has set them aside before a training resumes.

    Args:
        folder: Folder of the checkpoints.
        snapshot: Content to write.
        keep: Number of checkpoints to keep.

    Raises:
        OSError: If the disk is full or the folder cannot be written. Earlier checkpoints are not changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = beside(folder / "checkpoint.npz")
    try:
        _write(temporary, snapshot)
        path = folder / f"step-{snapshot.step:010d}-{sha256(temporary)[:DIGITS]}.npz"
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    others = [other for other in listed(folder) if other != path]
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink()
    return path


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first, including damaged ones."""
    return sorted(p for p in folder.glob("step-*.npz") if _NAME.fullmatch(p.name))


def load(path: Path) -> Snapshot:
    """Read a checkpoint.

    Args:
        path: Path of the checkpoint.

    Raises:
        ValueError: If its content does not match the hash in its name, or is no checkpoint.
        UsageError: If it was made at another step than its name says.
    """
    return _checked(path, whole=True)


def _checked(path: Path, whole: bool) -> Snapshot:
    """Read a checkpoint, with its arrays if `whole`; the errors are those of `load`."""
    step, digest = _NAME.fullmatch(path.name).groups()
    if not path.is_file() or sha256(path)[:DIGITS] != digest:
        raise ValueError(f"{path} was truncated or altered: its SHA-256 does not begin with {digest}")
    try:
        found = _read(path, int(step), whole)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint: {error}") from None
    if found.step != int(step):
        raise UsageError(
            f"{path} was renamed: expected the checkpoint of step {int(step)}, it was made after step {found.step}"
        )
    return found


def packed(snapshot: Snapshot | None) -> bytes:
    """Serialize a snapshot, for the chief to send to other workers; None becomes empty bytes."""
    if snapshot is None:
        return b""
    file = io.BytesIO()
    _write(file, snapshot)
    return snapshot.step.to_bytes(8, "little") + file.getvalue()


def unpacked(content: bytes) -> Snapshot | None:
    """Deserialize the result of `packed`."""
    return _read(io.BytesIO(content[8:]), int.from_bytes(content[:8], "little")) if content else None


def _write(file: Path | io.BytesIO, snapshot: Snapshot) -> None:
    texts = {_STATE: np.array(json.dumps(snapshot.state))}
    if snapshot.origin is not None:
        texts[_ORIGIN] = np.array(json.dumps({"step": snapshot.step, "of": snapshot.origin}))
    np.savez(file, **snapshot.arrays, **texts)


def _read(file: Path | io.BytesIO, step: int, whole: bool = True) -> Snapshot:
    with np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files if whole or name in (_STATE, _ORIGIN)}
    state, origin = json.loads(str(arrays.pop(_STATE))), None
    if _ORIGIN in arrays:
        stored = json.loads(str(arrays.pop(_ORIGIN)))
        step, origin = stored["step"], stored["of"]
    return Snapshot(step, arrays, state, origin)


def newest(folder: Path, origin: Origin | None = None) -> tuple[Snapshot | None, list[str]]:
    """Return the newest intact checkpoint, or None, and a sentence for each that is damaged or could not be checked.

    Every checkpoint is checked. Damaged ones are renamed to `damaged-...` in the same folder, where they are neither
    counted nor removed.

    Args:
        folder: Folder of the checkpoints.
        origin: Origin that the checkpoints must have; None to accept any.

    Raises:
        UsageError: If a checkpoint is of another step than its name says, or of another origin.
    """
    told, intact = [], []
    for path in listed(folder):
        try:
            found = _checked(path, whole=False)
        except UsageError:
            raise
        except ValueError as error:
            told.append(f"{error}; it is set aside as {_set_aside(path).name}")
            continue
        if origin is not None and found.origin is not None:
            check_origin(path, found.origin, origin)
        intact.append(path)
    if not intact:
        return None, told
    snapshot = load(intact[-1])
    if origin is not None and snapshot.origin is None:
        told.append(
            f"{intact[-1]} was written by version 0.1: whether it belongs to this configuration and these data"
            " could not be checked"
        )
    return snapshot, told


def _set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint and return its new path, which no other file had."""
    aside, number = path.with_name(f"{DAMAGED}{path.name}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{DAMAGED}{number}-{path.name}")
    return path.rename(aside)


def check_origin(path: Path, theirs: Origin, ours: Origin) -> None:
    """Raise UsageError with all differences unless a checkpoint has the origin of the run that resumes from it.

    A name that one of the two does not have is not compared: another version had that option or argument.

    Args:
        path: Path of the checkpoint, for the message.
        theirs: Origin of the checkpoint.
        ours: Origin of the run.
    """
    texts = []
    for group, values in json.loads(json.dumps(ours)).items():
        for name, now in values.items():
            then = theirs.get(group, {}).get(name, now)
            if isinstance(then, dict) and isinstance(now, dict):
                differ = [key for key in now if then.get(key, now[key]) != now[key]]
                then, now = ({key: of[key] for key in differ} for of in (then, now))
            if then != now:
                had = f"{flag(name)} was {json.dumps(then)}, now {json.dumps(now)}"
                hashed = name.removesuffix(digests.BY_EXAMPLE)
                texts.append(f"the {_HASHED[hashed]} differ" if hashed in _HASHED else had)
    if texts:
        raise UsageError(
            f"{path} belongs to another run, or the run was changed since: {'; '.join(texts)}; undo the change, or move"
            " the checkpoint away"
        )


def synchronise(model: keras.Model) -> None:
    """On JAX, copy the state that `fit` keeps outside the variables during an epoch into the variables."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def _copies(variable: keras.Variable) -> tuple:
    """Return the replicas' copies of a distributed variable, or the variable alone."""
    if keras.backend.backend() != "tensorflow":
        return (variable,)
    import tensorflow as tf

    value = variable.value
    return value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)
