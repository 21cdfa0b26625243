"""Copy the weights of a run into another model, wherever path and shape are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import Dataset, DataSpec
from zoo.introspection.variables import named
from zoo.pretrained import sources
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec
from zoo.training import transfer_rows


@dataclass(frozen=True)
class SourceRun:
    """A run whose weights another training starts with.

    Args:
        path: Run folder.
        model_sha256: SHA-256 of its model.keras.
        spec: Form of its data.
        vocabulary_sha256: SHA-256 of its vocabulary; empty if it has none.
        arrays: Weights by name, see `named`.
    """

    path: Path
    model_sha256: str
    spec: DataSpec
    vocabulary_sha256: str
    arrays: dict[str, np.ndarray]


def read(path: Path) -> SourceRun:
    """Read the weights of a finished run.

    Raises:
        UsageError: The folder is no finished run, or its model or vocabulary was altered.
    """
    run = RunFolder(path)
    spec, vocabulary = read_spec(run)
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in named(run.load_model()).items()}
    sha256 = vocabulary.sha256 if vocabulary is not None else ""
    return SourceRun(path, run.read_metrics()["model_sha256"], spec, sha256, arrays)


def renamed(source: SourceRun, model: keras.Model, data: Dataset) -> tuple[SourceRun, list[str]]:
    """Return a run with the rows of its tables in the order of other data, and sentences about what was found.

    Args:
        source: Run that the weights come from; its rows have names if it was trained on triples.
        model: Built model that takes them.
        data: Data of the model.
    """
    if source.spec.kind != "triples":
        return source, []
    return transfer_rows.by_name(source, named(model), data)


def record(model: keras.Model, source: SourceRun, random: Sequence[str]) -> dict[str, Any]:
    """Return `begun_with` of config.json.

    Args:
        model: Model that took the weights.
        source: Run that they come from.
        random: Names of the model's weights that were not copied.
    """
    mine = named(model)
    return {
        "run": str(source.path),
        "model_sha256": source.model_sha256,
        "taken": len(mine) - len(random),
        "new": random,
        "reshaped": _reshaped(mine, source, random),
        "left": [name for name in source.arrays if name not in mine],
    }


def take(model: keras.Model, source: SourceRun, spec: DataSpec, anew: Sequence[str] = ()) -> list[str]:
    """Copy every weight of a run with the same path and shape into a model; return the names of the model's others.

    Args:
        model: Built model.
        source: Run that the weights come from.
        spec: Form of the model's data.
        anew: Names of weights that are not copied in any case.

    Raises:
        UsageError: No kernel has the same path and shape, the size of the examples differs in a way that matters to
            the weights, or ids stand for other tokens.
    """
    mine, theirs = named(model), source.arrays
    _check_tokens(source, spec)
    _check_sizes(mine, source, spec)
    same = [n for n, v in mine.items() if n not in anew and n in theirs and theirs[n].shape == tuple(v.shape)]
    if not any(theirs[name].ndim > 1 for name in same):  # biases are of no use without their kernels
        raise UsageError(
            f"--init-from {source.path}: expected a run with kernels of the same path and shape as this model's"
            f" {_shapes(mine)}; its kernels are {_shapes(theirs)}"
        )
    for name in same:
        mine[name].assign(theirs[name])
    return [name for name in mine if name not in same]


def take_pretrained(
    config: TrainConfig, model: keras.Model, spec: DataSpec, anew: Sequence[str] = ()
) -> tuple[sources.Weights, list[str]]:
    """Copy trained weights from elsewhere into a model; return them, and the names of the model's other weights.

    Args:
        config: Configuration with `pretrained`.
        model: Built model for pictures.
        spec: Form of its data.
        anew: Names of weights that are not copied in any case.

    Raises:
        UsageError: There are no such weights, or they are of a network of another structure.
    """
    found = sources.weights(config, model, spec.input_shape)
    mine = named(model)
    taken = {name: array for name, array in found.arrays.items() if name not in anew}
    for name, array in taken.items():
        mine[name].assign(array)
    return found, [name for name in mine if name not in taken]


def _check_tokens(source: SourceRun, spec: DataSpec) -> None:
    """Raise UsageError if rows of an embedding would be assigned to other tokens."""
    on_tokens = {source.spec.kind, spec.kind} <= {"tokens", "pairs"}
    if on_tokens and source.vocabulary_sha256 != spec.vocabulary_sha256:
        received = "a vocabulary of its own" if spec.vocabulary_sha256 else "token ids without a vocabulary"
        expected = "texts, for its vocabulary" if source.vocabulary_sha256 else "token ids, as it has no vocabulary"
        raise UsageError(f"--init-from {source.path}: expected {expected}, received {spec.name} with {received}")


def _check_sizes(mine: dict[str, Any], source: SourceRun, spec: DataSpec) -> None:
    """Raise UsageError if examples have another size, and weights that depend on it cannot be copied.

    The last axis of a weight counts outputs, such as classes, and may differ; the axes before it depend on the input.
    """
    there, here = (s.input_shape + (s.target_shape if s.kind == "pairs" else ()) for s in (source.spec, spec))
    if there == here:
        return
    for name, variable in mine.items():
        array = source.arrays.get(name)
        if array is not None and array.shape[:-1] != tuple(variable.shape)[:-1]:
            raise UsageError(
                f"--init-from {source.path}: its examples have the shape {there}, those of {spec.name} {here}, so"
                f" that {name} is {array.shape} there and {tuple(variable.shape)} here{_hint(source.spec, spec)}"
            )


def _hint(there: DataSpec, here: DataSpec) -> str:
    """Return the option that gives examples the size of others, if there is one."""
    if here.kind == there.kind == "image":
        height, width, channels = there.input_shape
        return f"; --image-size {height} would fit" if height == width and channels == here.input_shape[2] else ""
    if here.kind == there.kind == "tokens":
        return f"; --sequence-length {there.input_shape[0]} would fit"
    return ""


def _reshaped(mine: dict[str, Any], source: SourceRun, new: Sequence[str]) -> list[str]:
    """Return the names of weights that the run has in another shape."""
    return [n for n in new if n in source.arrays and source.arrays[n].shape != tuple(mine[n].shape)]


def sentence(model: keras.Model, source: SourceRun, new: Sequence[str]) -> str:
    """Return one line that says which weights were copied, which were not, and why.

    Args:
        model: Model that took the weights.
        source: Run that they come from.
        new: Names of the model's weights that were not copied.
    """
    mine = named(model)
    taken = [name for name in mine if name not in new]
    text = f"{len(taken)} of {len(mine)} variables from {source.path}: {few(taken)}"
    if new:
        reshaped = _reshaped(mine, source, new)
        before = {name: f" {source.arrays[name].shape} ->" if name in reshaped else "" for name in new}
        shown = [f"{name}{before[name]} {tuple(mine[name].shape)}" for name in new]
        text += f"; {len(new)} new: {few(shown)}"
    if left := [name for name in source.arrays if name not in mine]:
        text += f"; {len(left)} of the run not used: {few(left)}"
    return text


def _shapes(variables: dict[str, Any]) -> str:
    """Return the names and shapes of the first kernels and tables."""
    return few([f"{name} {tuple(v.shape)}" for name, v in variables.items() if len(v.shape) > 1])
