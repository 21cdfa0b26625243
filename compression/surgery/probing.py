"""Find which weights depend on a channel of a model by measurement.

One channel is perturbed at a time; the features that change at the inputs of other layers are removed together with the
channel. Therefore flattening, reshapes and raw operations in a model's `call` need no rules. Only layers with weights
have a rule: the axes along which their variables are cut.
"""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from compression.surgery.layers import RECURRENT, with_kernels
from zoo.console.errors import UsageError
from zoo.data.dataset import leaves, mapped
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
# Number of examples for probing and trials: more than one, because padding may hide most of an example.
EXAMPLES = 2
# Maximum number of activation values in one probing batch: 64 MiB in float32.
PROBED_NUMBERS = 2**24
# Least change of a random output, whose deviation is 1, in a probe: a relu hides smaller ones where it gives zero, and
# in a sum of several outputs values are further from zero.
CHANGE = 10
# Key of the model's output among the paths of layers, and why a layer that makes it is not cut.
OUTPUT = ""
OF_OUTPUT = "it is part of the model's output"


@dataclass(frozen=True)
class Group:
    """Channels of a layer that can only be removed together, and what is removed with them from other layers.

    Args:
        channels: Channels of the layer's output: one channel, or those of one attention head.
        features: Indices on the last axis of the inputs of other layers, by layer path.
        coupled: Output channels of other layers that meet these channels in a sum or a product, by layer path.
    """

    channels: tuple[int, ...]
    features: Mapping[str, tuple[int, ...]]
    coupled: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


class Cut(NamedTuple):
    """Layout of channels in a variable: `axis` has `blocks` (gates) x channels x `inner` (depth multiplier) entries."""

    variable: keras.Variable
    axis: int
    blocks: int = 1
    inner: int = 1

    def channels(self) -> int:
        return self.variable.shape[self.axis] // (self.blocks * self.inner)

    def where(self, channels: Iterable[int]) -> np.ndarray:
        """Return the indices of some channels on the axis."""
        block, channel, inner = np.ix_(range(self.blocks), list(channels), range(self.inner))
        return np.ravel((block * self.channels() + channel) * self.inner + inner)


class Anatomy(NamedTuple):
    """Layout of channels in all variables of a layer; without `kernels`, the layer passes its input channels on.

    Attributes:
        inputs: Cuts along the input features.
        kernels: Cuts along the output channels of the kernels.
        biases: Cuts along the output channels of the biases.
        feedback: Cuts along a recurrent layer's own output, which it reads back.
    """

    inputs: tuple[Cut, ...]
    kernels: tuple[Cut, ...] = ()
    biases: tuple[Cut, ...] = ()
    feedback: tuple[Cut, ...] = ()


class _Call(NamedTuple):
    inputs: list[Any]
    output: Any


def group_channels(model: keras.Model, x: Any) -> tuple[dict[str, tuple[Group, ...]], dict[str, str]]:
    """Group the channels of each layer that must be removed together.

    DepGraph (Fang et al., 2023) introduced such groups and derives them from a graph of known operations. Layers whose
    outputs meet in a sum or a product, as in a residual connection, share their groups: the first layer has them.

    Args:
        model: Built Keras model.
        x: Model inputs, (examples, ...), a structure of arrays if it takes several; two examples are used.

    Returns:
        The groups of each layer that may be prunable, and for each other layer the reason why it is not, both by path.

    Raises:
        UsageError: The model is not built, or there are no examples.
    """
    if not model.built:
        raise UsageError(
            f"model {model.name}: expected a built model, received one without weights; call it or build it first"
        )
    if not len(leaves(x)[0]):
        raise UsageError("x: expected at least one example, received none")
    probe = _Probe(model, x)
    changed = probe.changes([{path: slice(None)} for path in probe.mixing], [*probe.layers, OUTPUT])
    reached = {
        path: {at: each[i] for at, each in changed.items() if each[i].any()} for i, path in enumerate(probe.mixing)
    }
    reasons = {path: reason for path in probe.mixing if (reason := _refusal(path, probe, reached))}
    families = _families(reached)
    for family in families:
        if refused := [path for path in family if path in reasons]:
            why = f"it is added to or multiplied with {refused[0]}, which cannot be cut: {reasons[refused[0]]}"
            reasons |= dict.fromkeys([path for path in family if path not in reasons], why)
    families = [family for family in families if family[0] not in reasons]
    singles = _singles(probe, reached, families)
    found: dict[str, tuple[Group, ...]] = {}
    for first, *others in families:
        groups = _components([first, *others], probe, reached, singles)
        if reason := _unequal(groups):
            reasons |= dict.fromkeys([first, *others], reason)
        else:
            found[first] = groups
            reasons |= dict.fromkeys(others, f"it is cut together with {first}")
    return found, reasons


def anatomy_of(layer: keras.layers.Layer) -> Anatomy | None:
    """Return the layout of a layer's channels in its variables, or None if it is not known."""
    anatomy, bias = None, getattr(layer, "bias", None)
    biases = () if bias is None else (Cut(bias, 0),)
    if isinstance(layer, keras.layers.Dense):
        anatomy = Anatomy((Cut(layer._kernel, 0),), (Cut(layer._kernel, 1),), biases)
    elif isinstance(layer, CONVOLUTIONS) and layer.groups == 1 and layer.data_format == "channels_last":
        anatomy = Anatomy((Cut(layer._kernel, -2),), (Cut(layer._kernel, -1),), biases)
    elif isinstance(layer, TRANSPOSED) and layer.data_format == "channels_last":
        anatomy = Anatomy((Cut(layer.kernel, -1),), (Cut(layer.kernel, -2),), biases)
    elif isinstance(layer, SEPARABLE) and layer.data_format == "channels_last":
        pointwise = Cut(layer.pointwise_kernel, -2, 1, layer.depth_multiplier)
        anatomy = Anatomy((Cut(layer.depthwise_kernel, -2), pointwise), (Cut(layer.pointwise_kernel, -1),), biases)
    elif isinstance(layer, DEPTHWISE) and layer.data_format == "channels_last":
        anatomy = Anatomy((Cut(layer.kernel, -2), *(Cut(cut.variable, 0, 1, layer.depth_multiplier) for cut in biases)))
    elif isinstance(layer, keras.layers.BatchNormalization) and layer.axis in (-1, layer.input_spec.ndim - 1):
        anatomy = Anatomy(tuple(Cut(variable, 0) for variable in layer.weights))
    elif isinstance(layer, RECURRENT) and not layer.stateful:
        cell = layer.cell
        gates = cell.kernel.shape[1] // cell.units
        anatomy = Anatomy(
            (Cut(cell.kernel, 0),),
            (Cut(cell.kernel, 1, gates), Cut(cell.recurrent_kernel, 1, gates)),
            (Cut(cell.bias, -1, gates),) if cell.use_bias else (),
            (Cut(cell.recurrent_kernel, 0),),
        )
    # Quantized layers and layers with adapters have further variables.
    known = {id(cut.variable) for cuts in anatomy or () for cut in cuts}
    return anatomy if known == {id(variable) for variable in layer.weights} else None


def innermost(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers with weights whose sublayers have none, by path; a recurrent layer counts as one.

    Layers that hold weights besides those of their sublayers are not covered; the trial in
    `compression.passes.channels` detects them.
    """

    def inside(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
        return layers_of(layer)

    cells = {id(cell) for layer in layers_of(model) if isinstance(layer, keras.layers.RNN) for cell in inside(layer)}
    names = {id(layer): path for path, layer in with_kernels(model).items()}
    found: dict[str, keras.layers.Layer] = {}
    for layer in layers_of(model):
        whole = isinstance(layer, keras.layers.RNN) or not any(part.weights for part in inside(layer))
        if layer.weights and whole and id(layer) not in cells:
            vectors = layer.weights[0].path.rpartition("/")[0].removeprefix(f"{model.name}/")
            name = names.get(id(layer), vectors)
            found[name if name not in found else f"{name}#{len(found)}"] = layer
    return found


class _Probe:
    """Run a model with random outputs of its channel-mixing layers, to see what depends on each of their channels.

    Args:
        model: Built Keras model.
        x: Model inputs, (examples, ...), or a structure of them.
    """

    def __init__(self, model: keras.Model, x: Any):
        self.model, self.layers = model, innermost(model)
        count = min(EXAMPLES, len(leaves(x)[0]))
        self.x = [mapped(lambda array, i=i: array[i : i + 1], x) for i in range(count)]
        self.anatomies = {path: anatomy_of(layer) for path, layer in self.layers.items()}
        # Layers that mix channels, or may: dependencies are not followed through them.
        self.mixing = [path for path, anatomy in self.anatomies.items() if anatomy is None or anatomy.kernels]
        passing = [anatomy for path, anatomy in self.anatomies.items() if path not in self.mixing]
        rng = np.random.default_rng(0)
        # Positive weights for layers that pass channels on: a scale of zero would hide dependencies.
        self.weights = [
            (cut.variable, rng.uniform(0.5, 1.5, cut.variable.shape).astype("float32"))
            for anatomy in passing
            for cut in anatomy.inputs
        ]
        self.before = [self._run(one, {}) for one in self.x]
        outputs = keras.tree.flatten([[call.output for call in self.before[0][path]] for path in self.layers])
        # Number of sources probed in one batch.
        self.chunk = max(1, PROBED_NUMBERS // max(1, sum(math.prod(y.shape) for y in outputs)))

    def calls(self, path: str) -> int:
        return len(self.before[0][path])

    def changes(self, sources: Sequence[Mapping[str, Any]], readers: Collection[str]) -> dict[str, np.ndarray]:
        """Return which input features of the readers change when each source does.

        Args:
            sources: What changes at a time, an index of output channels by layer path.
            readers: Paths of layers whose inputs are compared; OUTPUT is the output of the model.

        Returns:
            (sources, features) bool by path; the key `path:` stands for a layer's inputs other than the first.
        """
        found: dict[str, np.ndarray] = {}
        # Both signs, because a relu hides changes of one sign; two examples, because padding may hide one of them.
        probes = itertools.product(range(0, len(sources), self.chunk), range(EXAMPLES), (1, -1))
        for start, example, sign in probes:
            chunk = slice(start, start + self.chunk)
            for at, changed in self._changes(sources[chunk], readers, example, sign):
                found.setdefault(at, np.zeros((len(sources), changed.shape[1]), bool))[chunk] |= changed
        return found

    def _changes(
        self, sources: Sequence[Mapping[str, Any]], readers: Collection[str], example: int, sign: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        before, batch = self.before[example % len(self.x)], 1 + len(sources)
        rng, positive = np.random.default_rng(example), bool(example % 2)

        def constant(path: str) -> Callable:
            calls = iter(before[path])

            def give(inputs: list[Any]) -> Any:
                known = next(calls)
                # 1 for inputs without a batch dimension, such as positions
                copies = inputs[0].shape[0] // known.inputs[0].shape[0] if inputs and inputs[0].shape else 1
                changed = {i: source[path] for i, source in enumerate(sources, 1) if path in source and copies == batch}
                return keras.tree.map_structure(
                    lambda y: _random(y, copies, changed, sign, rng, positive), known.output
                )

            return give

        repeated = mapped(lambda array: np.repeat(array, batch, axis=0), self.x[example % len(self.x)])
        after = self._run(repeated, {path: constant(path) for path in self.mixing})
        for path in readers:
            for call, known in zip(after[path], before[path], strict=True):
                for i, (now, then) in enumerate(zip(call.inputs, known.inputs, strict=True)):
                    changed = _changed(now, then, batch)
                    features = i == 0 and self.anatomies.get(path) is not None
                    yield path + ":" * (i > 0), changed if features else changed.any(1, keepdims=True)

    def _run(self, x: Any, instead: Mapping[str, Callable]) -> dict[str, list[_Call]]:
        """Return the inputs and outputs of every call of every watched layer, with some layers replaced."""
        seen: dict[str, list[_Call]] = {path: [] for path in self.layers}

        def watching(path: str, call: Callable) -> Callable:
            def watched(*args: Any, **kwargs: Any) -> Any:
                inputs = [t for t in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(t)]
                output = instead[path](inputs) if path in instead else call(*args, **kwargs)
                seen[path].append(_Call(inputs, output))
                return output

            return watched

        with keras.StatelessScope(self.weights), contextlib.ExitStack() as undo:
            for path, layer in self.layers.items():
                undo.enter_context(calling(layer, watching(path, layer.call)))
            y = self.model(mapped(keras.ops.convert_to_tensor, x), training=False)
        return seen | {OUTPUT: [_Call(keras.tree.flatten(y), None)]}


def _random(
    y: Any, copies: int, changed: Mapping[int, Any], sign: int, rng: np.random.Generator, positive: bool
) -> Any:
    """Return a random output like y, equal for all copies except for the channels changed[i] of copy i.

    Where all values are positive, a product with the output of an activation does not hide the change of a factor.
    """
    dtype = keras.backend.standardize_dtype(y.dtype)
    if not y.shape:
        return y
    if not keras.backend.is_float_dtype(dtype):
        return keras.ops.concatenate([y] * copies)
    one = rng.standard_normal((1, *y.shape), "float32")
    values = np.repeat(np.abs(one) if positive else one, copies, axis=0)
    for i, which in changed.items():
        # Different at each position, because a softmax hides a common offset.
        values[i][..., which] += sign * (CHANGE + np.abs(rng.standard_normal(values[i][..., which].shape, "float32")))
    return keras.ops.cast(values.reshape(-1, *y.shape[1:]), dtype)


def _changed(now: Any, before: Any, batch: int) -> np.ndarray:
    """Return where the other examples of a batch differ from its first, (batch - 1, features) bool.

    Args:
        now: Tensor of the batch.
        before: The same tensor for one example.
        batch: Number of examples in the batch.
    """
    features = now.shape[-1] if len(now.shape) > 1 else 1
    if tuple(now.shape) == tuple(before.shape):  # the tensor has no batch dimension
        return np.zeros((batch - 1, features), bool)
    if now.shape[0] != batch * before.shape[0]:  # the batch is on another axis
        return np.ones((batch - 1, features), bool)
    values = to_numpy(now).reshape(batch, -1, features)
    with np.errstate(invalid="ignore"):  # inf and NaN occur, for instance as logarithms of random outputs
        return (np.abs(values[1:] - values[:1]) > 1e-5 + 1e-4 * np.abs(values[:1])).any(1)


def _refusal(path: str, probe: _Probe, reached: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """Return why no channel of a layer can be removed, or None if all its readers can be cut."""
    if probe.anatomies[path] is None:
        return f"{type(probe.layers[path]).__name__} with these options cannot be cut"
    if probe.calls(path) != 1:
        return f"it is called {probe.calls(path)} times"
    if not reached[path]:
        return "nothing reads it"
    for at in reached[path]:
        reader = at.removesuffix(":")
        if reader == OUTPUT:
            return OF_OUTPUT
        if reader != at or probe.anatomies[reader] is None:
            return f"{reader} reads it and cannot be cut"
        if probe.calls(reader) != 1:
            return f"{reader} reads it and is called {probe.calls(reader)} times"
    return None


def _families(reached: Mapping[str, Mapping[str, np.ndarray]]) -> list[list[str]]:
    """Return the layers, those together that reach the same features; both in the order of `reached`."""
    paths = list(reached)
    sharing = np.eye(len(paths), dtype=bool)
    for i, j in itertools.combinations(range(len(paths)), 2):
        one, other = reached[paths[i]], reached[paths[j]]
        sharing[i, j] = any((one[at] & other[at]).any() for at in one.keys() & other.keys())
    _, labels = csgraph.connected_components(sharing, directed=False)
    families: dict[int, list[str]] = {}
    for path, label in zip(paths, labels.tolist(), strict=True):
        families.setdefault(label, []).append(path)
    return list(families.values())


def _components(
    paths: Sequence[str],
    probe: _Probe,
    reached: Mapping[str, Mapping[str, np.ndarray]],
    singles: Mapping[str, Mapping[str, np.ndarray] | None],
) -> tuple[Group, ...]:
    """Return the channels of a family of layers, grouped by the features they share.

    Args:
        paths: Paths of the layers.
        probe: Probe of the model.
        reached: Features that each layer reaches, by its path and by reader.
        singles: Result of `_singles`.
    """
    counts = {path: _width(probe, path) for path in paths}
    changed = {
        path: singles[path] or probe.changes([{path: channel} for channel in range(counts[path])], reached[path])
        for path in paths
    }
    readers = {at: each.shape[1] for path in paths for at, each in changed[path].items()}
    # A graph with a node for each channel and each feature, and an edge where a channel changes a feature.
    sizes = {("output", path): count for path, count in counts.items()} | {
        ("input", at): n for at, n in readers.items()
    }
    begins = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))
    edges = [
        np.argwhere(each) + (begins["output", path], begins["input", at])
        for path in paths
        for at, each in changed[path].items()
    ]
    rows, columns = np.concatenate(edges).T
    nodes = sum(sizes.values())
    graph = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), (nodes, nodes))
    labels = csgraph.connected_components(graph, directed=False)[1]
    members = {
        key: _by_label(labels[begins[key] : begins[key] + size]) for key, size in sizes.items()
    }  # indices, by label, for each layer's outputs or inputs
    first, *others = paths
    among = dict.fromkeys(label for path in paths for label in members["output", path])
    return tuple(
        Group(
            members["output", first].get(label, ()),
            {at: members["input", at].get(label, ()) for at in readers},
            {path: members["output", path].get(label, ()) for path in others},
        )
        for label in among
    )


def _by_label(labels: np.ndarray) -> dict[int, tuple[int, ...]]:
    """Return the indices of each label."""
    found: dict[int, list[int]] = {}
    for i, label in enumerate(labels.tolist()):
        found.setdefault(label, []).append(i)
    return {label: tuple(indices) for label, indices in found.items()}


def _width(probe: _Probe, path: str) -> int:
    return probe.anatomies[path].kernels[0].channels()


def _singles(
    probe: _Probe, reached: Mapping[str, Mapping[str, np.ndarray]], families: Sequence[Sequence[str]]
) -> dict[str, dict[str, np.ndarray] | None]:
    """Return (channels, features) bool by reader for each layer; None unless each feature depends on one channel.

    For each bit of the channel number, one probe changes the channels with the bit set and one the others, so the
    number of probes is logarithmic. A feature of two channels changes in both probes of a bit in which they differ. No
    feature is reached by two families, so one probe serves a layer of each.

    Args:
        probe: Probe of the model.
        reached: Features that each layer reaches, by its path and by reader.
        families: Paths of layers that reach common features.
    """
    singles = {}
    for paths in itertools.zip_longest(*families):
        counts = {path: _width(probe, path) for path in paths if path is not None}
        bits = {path: max(1, (count - 1).bit_length()) for path, count in counts.items()}
        sources = [
            {path: np.flatnonzero(np.arange(counts[path]) >> bit & 1 == side) for path in counts if bit < bits[path]}
            for bit in range(max(bits.values()))
            for side in (0, 1)
        ]
        found = probe.changes(sources, {at for path in counts for at in reached[path]})
        singles |= {path: _decoded(found, reached[path], counts[path], bits[path]) for path in counts}
    return singles


def _decoded(
    found: Mapping[str, np.ndarray], reached: Mapping[str, np.ndarray], count: int, bits: int
) -> dict[str, np.ndarray] | None:
    """Return which channel each feature depends on, (channels, features) bool by reader; None if it has several."""
    singles = {}
    for at, features in reached.items():
        without, having = (found[at][side : 2 * bits : 2, features] for side in (0, 1))
        if (without == having).any():
            return None
        singles[at] = np.zeros((count, len(features)), bool)
        singles[at][(having << np.arange(bits)[:, None]).sum(0), np.flatnonzero(features)] = True
    return singles


def _unequal(groups: Sequence[Group]) -> str | None:
    """Return why groups cannot be removed one by one, or None if they can."""
    if len(groups) == 1:
        return "all its channels depend on each other"
    if len({(len(g.channels), *map(len, (*g.features.values(), *g.coupled.values()))) for g in groups}) > 1:
        return "its channels are not all read in the same way"
    return None


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor as a float32 or float64 array."""
    value = keras.ops.convert_to_numpy(tensor)
    return np.array(value, np.result_type(value.dtype, "float32"))
