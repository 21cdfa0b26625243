"""The weights that a training begins with, those of a run, and which of them it leaves as they are."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import Dataset, DataSpec
from zoo.introspection.freezing import freeze
from zoo.introspection.variables import named
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec
from zoo.training import layerwise, transfer_rows


@dataclass(frozen=True)
class Source:
    """A run whose weights another training begins with.

    Args:
        path: its folder.
        model_sha256: of its model.keras.
        spec: the form of its data.
        vocabulary_sha256: empty where it has none.
        arrays: its weights by name, see `named`.
    """

    path: Path
    model_sha256: str
    spec: DataSpec
    vocabulary_sha256: str
    arrays: dict[str, np.ndarray]


def read(path: Path) -> Source:
    """Read the weights of a finished run.

    Raises:
        UsageError: it is none, or its model or vocabulary was altered.
    """
    run = RunFolder(path)
    spec, vocabulary = read_spec(run)
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in named(run.load_model()).items()}
    sha256 = vocabulary.sha256 if vocabulary is not None else ""
    return Source(path, run.read_metrics()["model_sha256"], spec, sha256, arrays)


def begin(
    model: keras.Model,
    config: TrainConfig,
    data: Dataset,
    source: Source | None,
    order: layerwise.Order | None,
    verbose: bool,
) -> dict[str, Any] | None:
    """Give a model the weights that it begins with, and set apart those that are not trained.

    Args:
        model: built and not compiled yet, in its strategy's scope.
        config: says what is not trained, and whether its head begins anew.
        data: that it is for.
        source: the run that it begins with; None leaves its weights.
        order: of its layers, where the configuration needs it.
        verbose: say on standard error what was done.

    Returns:
        what is to be remembered of the source.

    Raises:
        UsageError: a source whose weights this model cannot take, patterns that match nothing, everything or what is
            still random, a head that the model does not have, or layers that would wait for no good.
    """
    told: list[str] = []
    if source and source.spec.kind == "triples":  # whose rows have names
        source, told = transfer_rows.by_name(source, named(model), data)
    anew = layerwise.head(order) if source and config.new_head else []
    new = take(model, source, data.spec, anew) if source else []
    frozen = freeze(model, config.freeze, new) if config.freeze else []
    if config.unfreeze_every:
        layerwise.check_unfreezing(model, config, order, new)
    mine = named(model)
    if verbose and source:
        print("\n".join([_sentence(mine, source, new), *told]), file=sys.stderr)
    if verbose and frozen:
        count = sum(int(np.prod(mine[name].shape)) for name in frozen)
        total = model.count_params()
        print(f"not trained: {len(frozen)} of {len(mine)} variables, {count:,} of {total:,} numbers", file=sys.stderr)
    if source is None:
        return None
    found = {"run": str(source.path), "model_sha256": source.model_sha256, "taken": len(mine) - len(new), "new": new}
    return found | {"reshaped": _reshaped(mine, source, new), "left": [n for n in source.arrays if n not in mine]}


def take(model: keras.Model, source: Source, spec: DataSpec, anew: Sequence[str] = ()) -> list[str]:
    """Copy every weight of a run that has the same path and shape in a model; return the names of the model's others.

    Args:
        model: built.
        source: the run.
        spec: of the model's data.
        anew: names of weights that begin anew all the same.

    Raises:
        UsageError: no kernel is the same, sizes of examples differ that weights depend on, or ids mean other tokens.
    """
    mine, theirs = named(model), source.arrays
    _check_tokens(source, spec)
    _check_sizes(mine, source, spec)
    same = [n for n, v in mine.items() if n not in anew and n in theirs and theirs[n].shape == tuple(v.shape)]
    if not any(theirs[name].ndim > 1 for name in same):  # biases alone say nothing without what they belong to
        raise UsageError(
            f"--init-from {source.path}: expected a run with kernels of the same path and shape as this model's"
            f" {_shapes(mine)}; it has {_shapes(theirs)}"
        )
    for name in same:
        mine[name].assign(theirs[name])
    return [name for name in mine if name not in same]


def _check_tokens(source: Source, spec: DataSpec) -> None:
    """Raise UsageError where rows of an embedding would be given to other tokens."""
    on_tokens = {source.spec.kind, spec.kind} <= {"tokens", "pairs"}
    if on_tokens and source.vocabulary_sha256 != spec.vocabulary_sha256:
        received = "a vocabulary of its own" if spec.vocabulary_sha256 else "token ids without one"
        expected = "texts, for its vocabulary" if source.vocabulary_sha256 else "token ids, as it has no vocabulary"
        raise UsageError(f"--init-from {source.path}: expected {expected}, received {spec.name} with {received}")


def _check_sizes(mine: dict[str, Any], source: Source, spec: DataSpec) -> None:
    """Raise UsageError where examples have another size, and weights that depend on it could not be taken over.

    The last axis of a weight counts outputs, such as classes, which may be others; those before it see the input.
    """
    there, here = (s.input_shape + (s.target_shape if s.kind == "pairs" else ()) for s in (source.spec, spec))
    if there == here:
        return
    for name, variable in mine.items():
        array = source.arrays.get(name)
        if array is not None and array.shape[:-1] != tuple(variable.shape)[:-1]:
            raise UsageError(
                f"--init-from {source.path}: its examples have the shape {there}, those of {spec.name} {here}; with"
                f" that {name} is {array.shape} there and {tuple(variable.shape)} here{_hint(source.spec, spec)}"
            )


def _hint(there: DataSpec, here: DataSpec) -> str:
    """Return the option that brings examples to the size of others, where there is one."""
    if here.kind == there.kind == "image":
        height, width, channels = there.input_shape
        return f"; --image-size {height} would fit" if height == width and channels == here.input_shape[2] else ""
    if here.kind == there.kind == "tokens":
        return f"; --sequence-length {there.input_shape[0]} would fit"
    return ""


def _reshaped(mine: dict[str, Any], source: Source, new: Sequence[str]) -> list[str]:
    """Return what the run has too, in another shape."""
    return [n for n in new if n in source.arrays and source.arrays[n].shape != tuple(mine[n].shape)]


def _sentence(mine: dict[str, Any], source: Source, new: Sequence[str]) -> str:
    """Return in one line what was taken over, what was not, and why."""
    taken = [name for name in mine if name not in new]
    text = f"{len(taken)} of {len(mine)} variables from {source.path}: {few(taken)}"
    if new:
        reshaped = _reshaped(mine, source, new)
        before = {name: f" {source.arrays[name].shape} ->" if name in reshaped else "" for name in new}
        shown = [f"{name}{before[name]} {tuple(mine[name].shape)}" for name in new]
        text += f"; {len(new)} new: {few(shown)}"
    if left := [name for name in source.arrays if name not in mine]:
        text += f"; {len(left)} left there: {few(left)}"
    return text


def _shapes(variables: dict[str, Any]) -> str:
    return few([f"{name} {tuple(v.shape)}" for name, v in variables.items() if len(v.shape) > 1])
