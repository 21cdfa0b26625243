"""Structured pruning: units, filters, recurrent cells and attention heads are taken out of a model, which gets smaller.

What goes with a channel is found by `compression.surgery.probing`; here is chosen what stays, and the rest taken out.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from compression.surgery.layers import RECURRENT, matching, with_kernels
from compression.surgery.probing import EXAMPLES, Cut, Group, anatomy_of, group_channels, innermost, to_numpy
from zoo.console.errors import UsageError, nearest, unknown
from zoo.introspection.layers import layers_of, with_itself

IMPORTANCES = ("l1", "taylor")
# Examples of one step of the Taylor importance.
BATCH = 64
# How much the logits of a trial may differ, of the largest: sums are added in another order.
TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1}

Edits = list[tuple[Any, str, Any]]


@dataclass(frozen=True)
class Kept:
    """The indices that stay, of `of` in all."""

    of: int
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What stays of a model, by the paths of its layers.

    Args:
        outputs: the channels that stay, of each layer that is pruned.
        inputs: the features that stay, of each layer that reads what others no longer make.
        heads: how many attention heads stay, of each pruned layer whose groups are those of heads.
    """

    outputs: Mapping[str, Kept]
    inputs: Mapping[str, Kept]
    heads: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as dictionaries, lists and numbers."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` gave."""
        outputs, inputs = (
            {path: Kept(kept["of"], tuple(kept["indices"])) for path, kept in content[side].items()}
            for side in ("outputs", "inputs")
        )
        return cls(outputs, inputs, dict(content["heads"]))


def groups(model: keras.Model, x: np.ndarray) -> dict[str, tuple[Group, ...]]:
    """Return the groups of channels that can be taken out, by the path of their layer; see `removable`."""
    return removable(model, x)[0]


def removable(model: keras.Model, x: np.ndarray) -> tuple[dict[str, tuple[Group, ...]], dict[str, str]]:
    """Find what can be taken out of a model; every group is, on trial, so that code which fixes a width is noticed.

    Args:
        model: built, of one input.
        x: (examples, ...), as the model takes them; two are used.

    Returns:
        the groups of each layer that can be pruned, and why each other layer cannot, by path.

    Raises:
        UsageError: a model without weights yet, or no examples.
    """
    found, reasons = group_channels(model, x)
    for path, each in found.items():
        if reason := _trial(model, path, each, x[:EXAMPLES]):
            reasons[path] = reason
    return {path: each for path, each in found.items() if path not in reasons}, reasons


def plan(
    model: keras.Model,
    share: float | None = None,
    *,
    keep: Mapping[str, int] | None = None,
    importance: str = "l1",
    skip: Sequence[str] = (),
    x: np.ndarray,
    y: np.ndarray | None = None,
    found: tuple[dict[str, tuple[Group, ...]], dict[str, str]] | None = None,
) -> Plan:
    """Choose what stays: of every layer that is pruned, the most important groups.

    Args:
        model: built, of one input; gives logits.
        share: of the groups of each layer that go, in (0, 1); `round(groups * (1 - share))` stay, at least one. None:
            only the layers that `keep` names are pruned.
        keep: how many groups stay instead (units, filters, cells, or heads), by pattern of the layers.
        importance: "l1", the mean absolute weight of what makes a group (Li et al., 2017), or "taylor", the
            absolute sum of gradient times weight over it, a first-order estimate of how the cross-entropy changes
            without it (Molchanov et al., 2017 and 2019). Biases do not count.
        skip: patterns of the layers to leave as wide as they are, for a whole path or its end, as those of `keep`.
        x: (examples, ...), as the model takes them.
        y: (examples,) class ids, or (examples, time) where the model labels every step; for "taylor".
        found: what `removable` says of this model, where it is known.

    Raises:
        UsageError: an argument that is not as described, a pattern that matches nothing, a layer named by `keep` that
            cannot be pruned or has fewer groups, or nothing to take out.
    """
    keep = keep or {}
    if share is None and not keep:
        raise UsageError("share: expected a number between 0 and 1, both excluded, or keep, received neither")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"share: expected a number between 0 and 1, both excluded, received {share}")
    if importance not in IMPORTANCES:
        raise unknown("importance", importance, IMPORTANCES)
    if importance == "taylor" and (y is None or len(y) != len(x)):
        received = "none" if y is None else len(y)
        raise UsageError(f"y: importance taylor: expected a label for each of {len(x)} examples, received {received}")
    paths = with_kernels(model)
    skipped = matching(paths, skip, "skip")
    named = [(pattern, count, path) for pattern, count in keep.items() for path in matching(paths, [pattern], "keep")]
    found, reasons = found or removable(model, x)
    reasons = reasons | {path: "it is skipped" for path in skipped if path in found}
    found = {path: each for path, each in found.items() if path not in skipped}
    if not found:
        listed = "; ".join(f"{path}: {reason}" for path, reason in reasons.items())
        raise UsageError(f"model {model.name}: no layer can be pruned: {listed or 'none has kernels'}")
    widths = {path: len(each) for path, each in found.items()}
    counts = {path: max(1, round(width * (1 - (share or 0)))) for path, width in widths.items()}
    counts |= _exact(named, widths, reasons)
    found = {path: each for path, each in found.items() if counts[path] < widths[path]}
    if not found:
        name, received = ("keep", dict(keep)) if keep else ("share", share)
        widest = max(widths.values())
        raise UsageError(f"{name}: expected one that takes out at least one of {widest} channels, received {received}")
    layers = innermost(model)
    kernels = {path: anatomy_of(layers[path]).kernels for path in found}
    variables = [cut.variable for cuts in kernels.values() for cut in cuts]
    weights = {id(v): np.abs(to_numpy(v)) for v in variables}
    if importance == "taylor":
        weights = {id(v): g * to_numpy(v) for v, g in zip(variables, _gradients(model, variables, x, y), strict=True)}
    order = {path: np.argsort(-_scores(kernels[path], each, weights), kind="stable") for path, each in found.items()}
    return _plan(model, found, {path: set(numbers[: counts[path]]) for path, numbers in order.items()})


def apply(model: keras.Model, plan: Plan) -> None:
    """Take out of a model what a plan does not keep; its variables stay the same objects, smaller.

    A compiled model has to be compiled again: its optimizer holds state of the old shapes.

    Args:
        model: the one that was planned for, or a copy of what it was then.
        plan: of `plan`.

    Raises:
        UsageError: the plan has layers or widths that the model has not.
    """
    for target, name, value in _edits(model, plan):
        setattr(target, name, value)
    for layer in layers_of(model):
        layer._build_shapes_dict = None  # saved with each layer, which loading would build for its old input
    model.compiled = False
    model.train_function = model.test_function = model.predict_function = None


def _exact(
    named: Sequence[tuple[str, int, str]], widths: Mapping[str, int], reasons: Mapping[str, str]
) -> dict[str, int]:
    """Return how many groups stay of each layer that is named, by path.

    Args:
        named: (pattern, how many stay, path) of each layer that a pattern matches.
        widths: how many groups there are, by the path of each layer that can be pruned.
        reasons: why others cannot.

    Raises:
        UsageError: a layer that cannot be pruned, has fewer groups, or is named with two numbers.
    """
    counts: dict[str, int] = {}
    for pattern, count, path in named:
        given = f"--recipe keep={pattern}:{count}: {path}"
        if path not in widths:
            raise UsageError(f"{given} cannot be pruned: {reasons.get(path, 'it makes no channels of its own')}")
        if not 1 <= count <= widths[path]:
            raise UsageError(f"{given}: expected from 1 to the {widths[path]} that it has, received {count}")
        if counts.setdefault(path, count) != count:
            raise UsageError(f"{given}: another pattern keeps {counts[path]} of it")
    return counts


def _gradients(
    model: keras.Model, variables: Sequence[keras.Variable], x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
    """Return the gradients of the mean cross-entropy of some examples."""
    import tensorflow as tf

    # Tensors in place of the variables: a mirrored one has no gradient outside of a replica.
    values = [keras.ops.convert_to_tensor(to_numpy(v), v.dtype) for v in variables]
    totals = [np.zeros(v.shape) for v in variables]
    for i in range(0, len(x), BATCH):
        with tf.GradientTape() as tape, keras.StatelessScope(list(zip(variables, values, strict=True))):
            tape.watch(values)
            logits = model(keras.ops.convert_to_tensor(x[i : i + BATCH]), training=False)
            losses = keras.losses.sparse_categorical_crossentropy(y[i : i + BATCH], logits, from_logits=True)
            loss = keras.ops.mean(losses) * (len(logits) / len(x))
        for total, gradient in zip(totals, tape.gradient(loss, values), strict=True):
            total += to_numpy(gradient)
    return totals


def _scores(kernels: Sequence[Cut], groups: Sequence[Group], weights: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return (groups,): the absolute mean of what `weights` has for the slices that make each group."""
    total, count = 0.0, 0
    for cut in kernels:
        values = np.moveaxis(weights[id(cut.variable)], cut.axis, -1).reshape(-1, cut.channels())
        total, count = total + values.sum(0), count + len(values)
    return np.array([abs(np.mean(total[list(group.channels)] / count)) for group in groups])


def _plan(model: keras.Model, groups: Mapping[str, Sequence[Group]], kept: Mapping[str, set[int]]) -> Plan:
    """Return the plan that keeps, of each layer's groups, those with these numbers."""
    layers = innermost(model)
    outputs, heads = {}, {}
    gone: dict[str, set[int]] = {}
    for path, each in groups.items():
        stay = sorted(channel for i in kept[path] for channel in each[i].channels)
        outputs[path] = Kept(sum(len(group.channels) for group in each), tuple(stay))
        owner = _owner(model, layers[path])
        if len(each[0].channels) > 1 and getattr(owner, "num_heads", None) == len(each):
            heads[path] = len(kept[path])
        for group in (group for i, group in enumerate(each) if i not in kept[path]):
            for at, features in group.features.items():
                gone.setdefault(at, set()).update(features)
    inputs = {}
    for at, features in gone.items():
        of = anatomy_of(layers[at]).inputs[0].channels()
        inputs[at] = Kept(of, tuple(i for i in range(of) if i not in features))
    return Plan(outputs, inputs, heads)


def _owner(model: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer, or the model, that a layer is an attribute of."""
    return next(o for o in with_itself(model) if any(part is layer for part in o._layers))


def _trial(model: keras.Model, path: str, groups: Sequence[Group], x: np.ndarray) -> str | None:
    """Return what goes wrong when every second group is taken out, compared to when nothing reads it any more."""
    lesser = _plan(model, {path: groups}, {path: set(range(1, len(groups), 2))})
    with keras.StatelessScope(_silenced(model, lesser)):
        expected = [to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]
    try:
        with _edited(_edits(model, lesser)):
            outputs = [to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]
    except Exception as error:  # whatever the model's own code raises
        return f"the model does not run without some of its channels ({str(error).strip().splitlines()[0]})"
    tolerance = TOLERANCE.get(model.compute_dtype, 1e-3)
    same = all(
        y.shape == z.shape and np.allclose(y, z, rtol=0, atol=tolerance * np.abs(z).max(initial=1e-6))
        for y, z in zip(outputs, expected, strict=True)
    )
    return None if same else "the model depends on how many channels it has"


def _silenced(model: keras.Model, plan: Plan) -> list[tuple[keras.Variable, np.ndarray]]:
    """Return the weights with which what a plan does not keep is read as zero."""
    layers = innermost(model)
    anatomies = {path: anatomy_of(layers[path]) for path in (*plan.outputs, *plan.inputs)}
    read = [
        (cut, kept) for path, kept in plan.inputs.items() if anatomies[path].kernels for cut in anatomies[path].inputs
    ]
    read += [(cut, kept) for path, kept in plan.outputs.items() for cut in anatomies[path].feedback]
    values: dict[int, tuple[keras.Variable, np.ndarray]] = {}
    for cut, kept in read:
        _, value = values.setdefault(id(cut.variable), (cut.variable, to_numpy(cut.variable)))
        np.moveaxis(value, cut.axis, 0)[cut.where(np.setdiff1d(range(kept.of), kept.indices))] = 0
    return list(values.values())


def _edits(model: keras.Model, plan: Plan) -> Edits:
    """Return what has to be set so that only what a plan keeps is left of a model.

    Raises:
        UsageError: the plan has layers or widths that the model has not.
    """
    layers = innermost(model)
    edits: Edits = []
    values: dict[int, tuple[keras.Variable, np.ndarray]] = {}
    for side in ("inputs", "outputs"):
        for path, kept in getattr(plan, side).items():
            anatomy = anatomy_of(layers[path]) if path in layers else None
            cuts = () if anatomy is None else anatomy.inputs if side == "inputs" else sum(anatomy[1:], ())
            if not cuts or cuts[0].channels() != kept.of:
                raise UsageError(
                    f"plan: {path}: expected a layer with {kept.of} {side}, this model has"
                    f" {cuts[0].channels() if cuts else 'none that can be cut' + nearest(path, layers)}"
                )
            for cut in cuts:
                _, value = values.get(id(cut.variable), (None, to_numpy(cut.variable)))
                values[id(cut.variable)] = (cut.variable, np.take(value, cut.where(kept.indices), cut.axis))
            width = _input_width if side == "inputs" else _output_width
            edits += width(layers[path], len(kept.indices))
    edits += [(_owner(model, layers[path]), "num_heads", count) for path, count in plan.heads.items()]
    return edits + _replacing(values.values())


def _input_width(layer: keras.layers.Layer, width: int) -> Edits:
    """Return what a layer notes of its input's width."""
    spec = copy.copy(layer.input_spec)
    if not getattr(spec, "axes", None):
        return []
    spec.axes = dict.fromkeys(spec.axes, width)
    return [(layer, "input_spec", spec)]


def _output_width(layer: keras.layers.Layer, width: int) -> Edits:
    """Return what a layer notes of its output's width."""
    if not isinstance(layer, RECURRENT):
        return [(layer, "units" if isinstance(layer, keras.layers.Dense) else "filters", width)]
    cell = layer.cell
    state = width if isinstance(cell.state_size, int) else [width] * len(cell.state_size)
    return [
        (cell, "units", width),
        (cell, "output_size", width),
        (cell, "state_size", state),
        (layer, "state_size", [width] * len(layer.state_size)),
    ]


def _replacing(values: Iterable[tuple[keras.Variable, np.ndarray]]) -> Edits:
    """Return the edits that give variables other values, of any shape, on the devices that they are on.

    Keras has no public way to another shape; the value of a new variable has all that depends on it.
    """
    edits: Edits = []
    for variable, value in values:
        strategy = getattr(variable.value, "distribute_strategy", None)
        with strategy.scope() if strategy else contextlib.nullcontext():
            new = keras.Variable(
                value,
                dtype=variable.dtype,
                trainable=variable.trainable,
                aggregation=variable.aggregation,
                synchronization=variable.synchronization,
                name=variable.name,
            )
        edits += [(variable, "_value", new.value), (variable, "_shape", tuple(new.shape))]
    return edits


@contextlib.contextmanager
def _edited(edits: Edits) -> Iterator[None]:
    """Let edits be made, and afterwards undone."""
    with contextlib.ExitStack() as undo:
        for target, name, value in edits:
            undo.callback(setattr, target, name, getattr(target, name))
            setattr(target, name, value)
        yield
