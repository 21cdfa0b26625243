"""Structured pruning: remove units, filters, recurrent cells and attention heads from a model.

`compression.surgery.probing` finds what depends on each channel; this module chooses the channels to keep and removes
the others.
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
from compression.surgery.probing import (
    EXAMPLES,
    OF_OUTPUT,
    Cut,
    Group,
    anatomy_of,
    group_channels,
    innermost,
    to_numpy,
)
from zoo.config.masks import IGNORED
from zoo.console.errors import UsageError, few, nearest, unknown
from zoo.data.dataset import leaves, mapped
from zoo.introspection.layers import layers_of, with_itself

IMPORTANCES = ("l1", "taylor")
# Batch size for the gradients of the Taylor importance.
BATCH = 64
# Argument of the recipe that cuts what a sum or a product joins.
COUPLED = "coupled=true"
# Tolerance for the logits of a trial, relative to the largest logit: sums are computed in a different order.
TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1}

Edits = list[tuple[Any, str, Any]]


@dataclass(frozen=True)
class KeptIndices:
    """Indices to keep, out of `of`."""

    of: int
    indices: tuple[int, ...]


@dataclass(frozen=True)
class ChannelPlan:
    """Channels of a model to keep, by layer path.

    Args:
        outputs: Output channels to keep in each pruned layer.
        inputs: Input features to keep in each layer that reads pruned channels.
        heads: Number of attention heads to keep in each pruned layer whose groups are heads.
        uncut: Reasons why other layers keep their width, without those of the model's output.
    """

    outputs: Mapping[str, KeptIndices]
    inputs: Mapping[str, KeptIndices]
    heads: Mapping[str, int]
    uncut: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def told(self) -> str:
        """Return in a sentence which layers get narrower, and which do not."""
        narrower = [f"{path} {kept.of} to {len(kept.indices)}" for path, kept in self.outputs.items()]
        coupled = sum(COUPLED in reason for reason in self.uncut.values())
        return (
            f"channels: {few(narrower)}"
            + (f"; as wide as before: {few(list(self.uncut))}" if self.uncut else "")
            + (f"; {COUPLED} cuts {coupled} of them" if coupled else "")
        )

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ChannelPlan":
        """Return the plan that `to_json` described."""
        outputs, inputs = (
            {path: KeptIndices(kept["of"], tuple(kept["indices"])) for path, kept in content[side].items()}
            for side in ("outputs", "inputs")
        )
        return cls(outputs, inputs, dict(content["heads"]), dict(content.get("uncut", {})))


def groups(model: keras.Model, x: Any) -> dict[str, tuple[Group, ...]]:
    """Return the removable groups of channels, by layer path; see `removable`."""
    return removable(model, x)[0]


def removable(model: keras.Model, x: Any) -> tuple[dict[str, tuple[Group, ...]], dict[str, str]]:
    """Find the groups of channels that can be removed from a model.

    The model is tried with half of the groups removed, which detects code that assumes a fixed width.

    Args:
        model: Built Keras model.
        x: Model inputs, (examples, ...), a structure of arrays if it takes several; two examples are used.

    Returns:
        The groups of each prunable layer, and for each other layer the reason why it is not prunable, both by path.

    Raises:
        UsageError: The model is not built, or there are no examples.
    """
    found, reasons = group_channels(model, x)
    examples = mapped(lambda array: array[:EXAMPLES], x)
    if _trial(model, found, examples):  # one of them at least cannot be cut
        for path, each in found.items():
            if reason := _trial(model, {path: each}, examples):
                reasons |= dict.fromkeys((path, *each[0].coupled), reason)
    return {path: each for path, each in found.items() if path not in reasons}, reasons


def plan(
    model: keras.Model,
    share: float | None = None,
    *,
    keep: Mapping[str, int] | None = None,
    importance: str = "l1",
    skip: Sequence[str] = (),
    coupled: bool = False,
    x: Any,
    y: Any = None,
    found: tuple[dict[str, tuple[Group, ...]], dict[str, str]] | None = None,
) -> ChannelPlan:
    """Choose the most important groups of every prunable layer to keep.

    Args:
        model: Built Keras model. "taylor" needs one input, and one output of logits or probabilities of classes.
        share: Share of each layer's groups to remove, in (0, 1); `round(groups * (1 - share))` are kept, at least one.
            None prunes only the layers named in `keep`.
        keep: Number of groups (units, filters, cells or heads) to keep, by layer pattern; takes precedence over
            `share`. For layers that are cut together, the name of one is enough.
        importance: Importance of a group: "l1", the mean absolute weight of the slices that produce it (Li et al.,
            2017), or "taylor", the absolute sum of gradient times weight over them, a first-order estimate of the
            change in cross-entropy without the group (Molchanov et al., 2017 and 2019). Biases do not count.
        skip: Patterns of layers that keep their width. Like those of `keep`, they match a whole path or its end.
        coupled: Whether `share` also counts for layers whose outputs meet in a sum or a product, such as a residual
            connection; they keep the same channels.
        x: Model inputs, (examples, ...).
        y: Class ids for "taylor", (examples,), (examples, time) for models that label every step, or masks (examples,
            height, width).
        found: Result of `removable` for this model, if known.

    Raises:
        UsageError: An argument is invalid, a pattern matches nothing, a layer named in `keep` cannot be pruned or has
            fewer groups, or there is nothing to remove.
    """
    keep = keep or {}
    if share is None and not keep:
        raise UsageError("share: expected a number between 0 and 1, both excluded, or keep, received neither")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"share: expected a number between 0 and 1, both excluded, received {share}")
    if importance not in IMPORTANCES:
        raise unknown("importance", importance, IMPORTANCES)
    if importance == "taylor":
        _check_labels(x, y)
    paths = with_kernels(model)
    skipped = matching(paths, skip, "skip")
    named = [(pattern, count, path) for pattern, count in keep.items() for path in matching(paths, [pattern], "keep")]
    found, reasons = found or removable(model, x)
    first = {other: path for path, each in found.items() for other in (path, *each[0].coupled)}
    named = [(pattern, count, first.get(path, path)) for pattern, count, path in named]
    left_out = {first[path]: "it is skipped" for path in skipped if path in first}
    by_name = {path for _, _, path in named}
    for path, each in found.items():
        if (others := each[0].coupled) and not coupled and path not in by_name:
            why = f"{', '.join((path, *others))} are added or multiplied; {COUPLED} cuts them together"
            left_out.setdefault(path, why)
    reasons = dict(reasons)
    for path, why in left_out.items():
        reasons |= dict.fromkeys((path, *found[path][0].coupled), why)
    found = {path: each for path, each in found.items() if path not in reasons}
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
        raise UsageError(
            f"{name}: expected a value that removes at least one of {widest} channels, received {received}"
        )
    scores = importances(model, found, importance, x, y)
    order = {path: np.argsort(-each, kind="stable") for path, each in scores.items()}
    chosen = _plan(model, found, {path: set(numbers[: counts[path]]) for path, numbers in order.items()})
    left = [path for path in paths if path in reasons and path not in chosen.outputs and reasons[path] != OF_OUTPUT]
    return dataclasses.replace(chosen, uncut={path: reasons[path] for path in left})


def importances(
    model: keras.Model, found: Mapping[str, Sequence[Group]], importance: str = "l1", x: Any = None, y: Any = None
) -> dict[str, np.ndarray]:
    """Return the importance of each group of channels, (groups,), by layer path.

    Args:
        model: Built Keras model.
        found: Groups of layers, as `removable` returns them.
        importance: As of `plan`.
        x: Model inputs, for "taylor".
        y: Class ids, for "taylor".
    """
    layers = innermost(model)
    kernels = {
        path: anatomy_of(layers[path]).kernels for path, each in found.items() for path in (path, *each[0].coupled)
    }
    variables = [cut.variable for cuts in kernels.values() for cut in cuts]
    weights = {id(v): np.abs(to_numpy(v)) for v in variables}
    if importance == "taylor":
        weights = {id(v): g * to_numpy(v) for v, g in zip(variables, _gradients(model, variables, x, y), strict=True)}
    return {path: _scores(path, each, kernels, weights) for path, each in found.items()}


def apply(model: keras.Model, plan: ChannelPlan) -> None:
    """Remove from a model the channels that a plan does not keep; variables stay the same objects and get smaller.

    A compiled model must be compiled again, because its optimizer's state has the old shapes.

    Args:
        model: Model that was passed to `plan`, or a copy of it.
        plan: Result of `plan`.

    Raises:
        UsageError: The plan has layers or widths that the model does not have.
    """
    for target, name, value in _edits(model, plan):
        setattr(target, name, value)
    for layer in layers_of(model):
        layer._build_shapes_dict = None  # saved with the layer; loading would build it for its old input shape
    model.compiled = False
    model.train_function = model.test_function = model.predict_function = None


def _check_labels(x: Any, y: Any) -> None:
    """Raise UsageError unless there is one input, and a class index for each of its examples."""
    count, labels = len(leaves(x)[0]), leaves(y)
    received = f"{len(leaves(x))} inputs" if not isinstance(x, np.ndarray) else "none" if not labels else ""
    if not received and (len(labels) > 1 or labels[0].dtype.kind not in "iu"):
        received = f"{len(labels)} labels of {labels[0].dtype}"
    if not received and len(labels[0]) != count:
        received = str(len(labels[0]))
    if received:
        raise UsageError(
            f"y: importance taylor: expected one input and a class index for each of {count} examples, received"
            f" {received}"
        )


def _exact(
    named: Sequence[tuple[str, int, str]], widths: Mapping[str, int], reasons: Mapping[str, str]
) -> dict[str, int]:
    """Return the number of groups to keep in each layer named by `keep`, by path.

    Args:
        named: (pattern, number to keep, path) for each layer that a pattern matches.
        widths: Number of groups in each prunable layer, by path.
        reasons: Reasons why other layers are not prunable, by path.

    Raises:
        UsageError: A layer cannot be pruned, has fewer groups, or is named with two numbers.
    """
    counts: dict[str, int] = {}
    for pattern, count, path in named:
        given = f"--recipe keep={pattern}:{count}: {path}"
        if path not in widths:
            raise UsageError(f"{given} cannot be pruned: {reasons.get(path, 'it has no output channels of its own')}")
        if not 1 <= count <= widths[path]:
            raise UsageError(f"{given}: expected a number from 1 to {widths[path]}, received {count}")
        if counts.setdefault(path, count) != count:
            raise UsageError(f"{given}: expected one number for each layer, another pattern keeps {counts[path]}")
    return counts


def _gradients(
    model: keras.Model, variables: Sequence[keras.Variable], x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
    """Return the gradients of the mean cross-entropy over some examples."""
    import tensorflow as tf

    # Tensors replace the variables: a mirrored variable has no gradient outside a replica context.
    values = [keras.ops.convert_to_tensor(to_numpy(v), v.dtype) for v in variables]
    totals = [np.zeros(v.shape) for v in variables]
    for i in range(0, len(x), BATCH):
        with tf.GradientTape() as tape, keras.StatelessScope(list(zip(variables, values, strict=True))):
            tape.watch(values)
            outputs = model(keras.ops.convert_to_tensor(x[i : i + BATCH]), training=False)
            logits = not _are_probabilities(to_numpy(outputs))
            ignored = IGNORED if y.ndim == 3 else None  # of masks
            losses = keras.losses.sparse_categorical_crossentropy(
                y[i : i + BATCH], outputs, from_logits=logits, ignore_class=ignored
            )
            loss = keras.ops.mean(losses) * (len(outputs) / len(x))
        for total, gradient in zip(totals, tape.gradient(loss, values), strict=True):
            total += to_numpy(gradient)
    return totals


def _are_probabilities(outputs: np.ndarray) -> bool:
    return bool((outputs >= 0).all()) and np.allclose(outputs.sum(-1), 1, atol=1e-3)


def _scores(
    path: str, groups: Sequence[Group], kernels: Mapping[str, Sequence[Cut]], weights: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Return the importance of each group, (groups,): the absolute mean of `weights` over the slices that produce it.

    Args:
        path: Path of the layer that has the groups.
        groups: Groups of the layer's channels.
        kernels: Cuts along the output channels of each layer, by path.
        weights: Importance of every weight, by the variable's id.
    """
    totals, counts = {}, {}
    for at in (path, *groups[0].coupled):
        slices = [np.moveaxis(weights[id(c.variable)], c.axis, -1).reshape(-1, c.channels()) for c in kernels[at]]
        totals[at], counts[at] = sum(values.sum(0) for values in slices), sum(map(len, slices))
    members = [{path: group.channels, **group.coupled} for group in groups]
    sums = [sum(totals[at][list(channels)].sum() for at, channels in each.items()) for each in members]
    sizes = [sum(counts[at] * len(channels) for at, channels in each.items()) for each in members]
    return np.abs(np.array(sums) / np.array(sizes))


def _plan(model: keras.Model, groups: Mapping[str, Sequence[Group]], kept: Mapping[str, set[int]]) -> ChannelPlan:
    """Return the plan that keeps the groups with the given numbers in each layer."""
    layers = innermost(model)
    outputs, heads = {}, {}
    gone: dict[str, set[int]] = {}
    for path, each in groups.items():
        for at in (path, *each[0].coupled):
            channels = [group.channels if at == path else group.coupled[at] for group in each]
            stay = sorted(channel for i in kept[path] for channel in channels[i])
            outputs[at] = KeptIndices(sum(map(len, channels)), tuple(stay))
        owner = _owner(model, layers[path])
        if len(each[0].channels) > 1 and getattr(owner, "num_heads", None) == len(each):
            heads[path] = len(kept[path])
        for group in (group for i, group in enumerate(each) if i not in kept[path]):
            for at, features in group.features.items():
                gone.setdefault(at, set()).update(features)
    inputs = {}
    for at, features in gone.items():
        of = anatomy_of(layers[at]).inputs[0].channels()
        inputs[at] = KeptIndices(of, tuple(i for i in range(of) if i not in features))
    return ChannelPlan(outputs, inputs, heads)


def _owner(model: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer or model that directly contains a layer."""
    return next(o for o in with_itself(model) if any(part is layer for part in o._layers))


def _trial(model: keras.Model, groups: Mapping[str, Sequence[Group]], x: Any) -> str | None:
    """Remove every second group of some layers and return what goes wrong, or None.

    The outputs must equal those of the whole model with the removed channels read as zero.
    """
    lesser = _plan(model, groups, {path: set(range(1, len(each), 2)) for path, each in groups.items()})
    with keras.StatelessScope(_silenced(model, lesser)):
        expected = [
            to_numpy(y) for y in keras.tree.flatten(model(mapped(keras.ops.convert_to_tensor, x), training=False))
        ]
    try:
        with _edited(_edits(model, lesser)):
            outputs = [
                to_numpy(y) for y in keras.tree.flatten(model(mapped(keras.ops.convert_to_tensor, x), training=False))
            ]
    except Exception as error:  # the model's own code may raise anything
        return f"the model does not run without some of its channels ({str(error).strip().splitlines()[0]})"
    tolerance = TOLERANCE.get(model.compute_dtype, 1e-3)
    same = all(
        y.shape == z.shape and np.allclose(y, z, rtol=0, atol=tolerance * np.abs(z).max(initial=1e-6))
        for y, z in zip(outputs, expected, strict=True)
    )
    return None if same else "the model's outputs depend on its number of channels"


def _outputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    return [to_numpy(y) for y in keras.tree.flatten(model(mapped(keras.ops.convert_to_tensor, x), training=False))]


def _silenced(model: keras.Model, plan: ChannelPlan) -> list[tuple[keras.Variable, np.ndarray]]:
    """Return variables and the values with which the model reads the channels that a plan removes as zero."""
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


def _edits(model: keras.Model, plan: ChannelPlan) -> Edits:
    """Return the attributes to set to apply a plan to a model, as (object, attribute, value).

    Raises:
        UsageError: The plan has layers or widths that the model does not have.
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
    # The last axis of a reshape, as in Keras' squeeze-and-excite, is what the other axes leave.
    shaping = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.Reshape)]
    edits += [(r, "target_shape", (*r.target_shape[:-1], -1)) for r in shaping if -1 not in r.target_shape]
    return edits + _replacing(values.values())


def _input_width(layer: keras.layers.Layer, width: int) -> Edits:
    """Return the edits to the input width that a layer stores."""
    spec = copy.copy(layer.input_spec)
    if not getattr(spec, "axes", None):
        return []
    spec.axes = dict.fromkeys(spec.axes, width)
    return [(layer, "input_spec", spec)]


def _output_width(layer: keras.layers.Layer, width: int) -> Edits:
    """Return the edits to the output width that a layer stores."""
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
    """Return the edits that give variables new values of any shape, on the devices where they are.

    Keras has no public way to change a variable's shape. A new variable is created under the same strategy, and its
    value is moved into the old one.
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
    """Apply edits, and undo them on exit."""
    with contextlib.ExitStack() as undo:
        for target, name, value in edits:
            undo.callback(setattr, target, name, getattr(target, name))
            setattr(target, name, value)
        yield
