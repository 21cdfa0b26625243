"""Which weights belong to a channel of a model: measured, not derived from the kinds of layers between.

One channel is changed at a time, and what changes with it at the inputs of other layers goes when it goes. So
flattening, reshapes and raw operations in a model's `call` need no rules. Only layers with weights have one: the axes
along which they are cut.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from compression.surgery.layers import RECURRENT, with_kernels
from zoo.console.errors import UsageError
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
# To probe and to try with: more than one, because padding may hide most of an example.
EXAMPLES = 2
# Between the layers, in one batch of probing: 64 MiB in float32.
PROBED_NUMBERS = 2**24
# Names the model's output among the paths of layers.
OUTPUT = ""


@dataclass(frozen=True)
class Group:
    """Channels of a layer that can only go together, and the features of other layers that go with them.

    Args:
        channels: of the layer's output; one, or those of one attention head.
        features: indices on the last axis of the inputs of other layers, by the layer's path.
    """

    channels: tuple[int, ...]
    features: Mapping[str, tuple[int, ...]]


class Cut(NamedTuple):
    """Where channels lie in a variable: on `axis`, as `blocks` (gates) times channels times `inner` (multiplier)."""

    variable: keras.Variable
    axis: int
    blocks: int = 1
    inner: int = 1

    def channels(self) -> int:
        return self.variable.shape[self.axis] // (self.blocks * self.inner)

    def where(self, channels: Iterable[int]) -> np.ndarray:
        """Return the indices on the axis that belong to these channels."""
        block, channel, inner = np.ix_(range(self.blocks), list(channels), range(self.inner))
        return np.ravel((block * self.channels() + channel) * self.inner + inner)


class Anatomy(NamedTuple):
    """The cuts of a layer; one without `kernels` passes its channels on, as a normalisation does.

    Attributes:
        inputs: where the input's features are read.
        kernels: what makes an output channel.
        biases: what is added to it.
        feedback: where a recurrent layer reads its own output.
    """

    inputs: tuple[Cut, ...]
    kernels: tuple[Cut, ...] = ()
    biases: tuple[Cut, ...] = ()
    feedback: tuple[Cut, ...] = ()


class _Call(NamedTuple):
    inputs: list[Any]
    output: Any


def linked(model: keras.Model, x: np.ndarray) -> tuple[dict[str, tuple[Group, ...]], dict[str, str]]:
    """Group the channels of each layer by what reads them.

    Grouping what depends on each other is the idea of DepGraph (Fang et al., 2023), which reads it from a graph of
    known operations.

    Args:
        model: built, of one input.
        x: (examples, ...), as the model takes them; two are used.

    Returns:
        the groups of each layer that might be pruned, and why each other layer cannot, by path.

    Raises:
        UsageError: a model without weights yet, or no examples.
    """
    if not model.built:
        raise UsageError(
            f"model {model.name}: expected a built model, this one has no weights yet; call it or build it"
        )
    if not len(x):
        raise UsageError("x: expected at least one example, received none")
    probe = _Probe(model, x)
    changed = probe.changes([(path, slice(None)) for path in probe.closed], [*probe.layers, OUTPUT])
    reached = {
        path: {at: each[i] for at, each in changed.items() if each[i].any()} for i, path in enumerate(probe.closed)
    }
    found: dict[str, tuple[Group, ...]] = {}
    reasons: dict[str, str] = {}
    for path in probe.closed:
        reason = _refusal(path, probe, reached)
        groups = () if reason else _components(path, probe, reached[path])
        if reason := reason or _unequal(groups):
            reasons[path] = reason
        else:
            found[path] = groups
    return found, reasons


def anatomy_of(layer: keras.layers.Layer) -> Anatomy | None:
    """Return where the channels of a layer lie in its variables, or None if that is not known."""
    anatomy, bias = None, getattr(layer, "bias", None)
    biases = () if bias is None else (Cut(bias, 0),)
    if isinstance(layer, keras.layers.Dense):
        anatomy = Anatomy((Cut(layer._kernel, 0),), (Cut(layer._kernel, 1),), biases)
    elif isinstance(layer, CONVOLUTIONS) and layer.groups == 1 and layer.data_format == "channels_last":
        anatomy = Anatomy((Cut(layer._kernel, -2),), (Cut(layer._kernel, -1),), biases)
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
    # Quantized layers, and those with adapters, have other variables.
    known = {id(cut.variable) for cuts in anatomy or () for cut in cuts}
    return anatomy if known == {id(variable) for variable in layer.weights} else None


def innermost(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers with weights and no such layers inside, by path; a recurrent layer counts as one.

    Weights that a layer holds beside those of its layers are noticed by the trial.
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
    """Runs a model with random outputs of its closed layers, and says what changes with a channel of one of them.

    Args:
        model: to probe.
        x: (examples, ...).
    """

    def __init__(self, model: keras.Model, x: np.ndarray):
        self.model, self.x, self.layers = model, x[:EXAMPLES], innermost(model)
        self.anatomies = {path: anatomy_of(layer) for path, layer in self.layers.items()}
        # Those that mix channels, as far as is known: nothing is followed through them.
        self.closed = [path for path, anatomy in self.anatomies.items() if anatomy is None or anatomy.kernels]
        passing = [anatomy for path, anatomy in self.anatomies.items() if path not in self.closed]
        rng = np.random.default_rng(0)
        # Positive weights for those that pass channels on: a scale of zero would hide what follows.
        self.weights = [
            (cut.variable, rng.uniform(0.5, 1.5, cut.variable.shape).astype("float32"))
            for anatomy in passing
            for cut in anatomy.inputs
        ]
        self.before = [self._run(self.x[i : i + 1], {}) for i in range(len(self.x))]
        outputs = keras.tree.flatten([[call.output for call in self.before[0][path]] for path in self.layers])
        # How many sources are probed in one batch.
        self.chunk = max(1, PROBED_NUMBERS // max(1, sum(math.prod(y.shape) for y in outputs)))

    def calls(self, path: str) -> int:
        return len(self.before[0][path])

    def changes(self, sources: Sequence[tuple[str, Any]], readers: Collection[str]) -> dict[str, np.ndarray]:
        """Return which features change with each of some sources: channels of the output of a layer.

        Returns:
            (sources, features) bool for each of the readers, by path; OUTPUT is what the model gives, and `path:`
            stands for what a layer is given besides its input.
        """
        found: dict[str, np.ndarray] = {}
        # A relu hides what goes up, or what goes down; padding may hide an example.
        probes = itertools.product(range(0, len(sources), self.chunk), range(len(self.x)), (1, -1))
        for start, example, sign in probes:
            chunk = slice(start, start + self.chunk)
            for at, changed in self._changes(sources[chunk], readers, example, sign):
                found.setdefault(at, np.zeros((len(sources), changed.shape[1]), bool))[chunk] |= changed
        return found

    def _changes(
        self, sources: Sequence[tuple[str, Any]], readers: Collection[str], example: int, sign: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        before, batch, rng = self.before[example], 1 + len(sources), np.random.default_rng(example)

        def constant(path: str) -> Callable:
            calls = iter(before[path])

            def give(inputs: list[Any]) -> Any:
                known = next(calls)
                # 1 for what no example is part of, as positions
                copies = inputs[0].shape[0] // known.inputs[0].shape[0] if inputs and inputs[0].shape else 1
                changed = {
                    i: which for i, (source, which) in enumerate(sources, 1) if source == path and copies == batch
                }
                return keras.tree.map_structure(lambda y: _random(y, copies, changed, sign, rng), known.output)

            return give

        after = self._run(
            np.repeat(self.x[example : example + 1], batch, axis=0), {path: constant(path) for path in self.closed}
        )
        for path in readers:
            for call, known in zip(after[path], before[path], strict=True):
                for i, (now, then) in enumerate(zip(call.inputs, known.inputs, strict=True)):
                    changed = _changed(now, then, batch)
                    features = i == 0 and self.anatomies.get(path) is not None
                    yield path + ":" * (i > 0), changed if features else changed.any(1, keepdims=True)

    def _run(self, x: np.ndarray, instead: Mapping[str, Callable]) -> dict[str, list[_Call]]:
        """Return what every watched layer is given and gives, call by call, with some layers replaced."""
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
            y = self.model(keras.ops.convert_to_tensor(x), training=False)
        return seen | {OUTPUT: [_Call(keras.tree.flatten(y), None)]}


def _random(y: Any, copies: int, changed: Mapping[int, Any], sign: int, rng: np.random.Generator) -> Any:
    """Return a random output like y for several examples, all the same but for the channels changed[i] of the i-th."""
    dtype = keras.backend.standardize_dtype(y.dtype)
    if not y.shape:
        return y
    if not keras.backend.is_float_dtype(dtype):
        return keras.ops.concatenate([y] * copies)
    values = np.repeat(rng.standard_normal((1, *y.shape), "float32"), copies, axis=0)
    for i, which in changed.items():
        # Across zero, and by another amount at each position: a softmax over them hides what is common.
        values[i][..., which] += sign * (3 + np.abs(rng.standard_normal(values[i][..., which].shape, "float32")))
    return keras.ops.cast(values.reshape(-1, *y.shape[1:]), dtype)


def _changed(now: Any, before: Any, batch: int) -> np.ndarray:
    """Return (batch - 1, features) bool: where the other examples of a batch differ from its first.

    Args:
        now: of the batch.
        before: of one example.
        batch: how many examples.
    """
    features = now.shape[-1] if len(now.shape) > 1 else 1
    if tuple(now.shape) == tuple(before.shape):  # no example is part of it
        return np.zeros((batch - 1, features), bool)
    if now.shape[0] != batch * before.shape[0]:  # examples lie on another axis
        return np.ones((batch - 1, features), bool)
    values = to_numpy(now).reshape(batch, -1, features)
    with np.errstate(invalid="ignore"):  # infinite or not a number, as the logarithm of a random output may be
        return (np.abs(values[1:] - values[:1]) > 1e-5 + 1e-4 * np.abs(values[:1])).any(1)


def _refusal(path: str, probe: _Probe, reached: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """Return why no channel of a layer can be taken out, or None if all that reads it can be cut."""
    if probe.anatomies[path] is None:
        return f"{type(probe.layers[path]).__name__} of this form cannot be cut"
    if probe.calls(path) != 1:
        return f"it is called {probe.calls(path)} times"
    if not reached[path]:
        return "nothing reads it"
    for at, features in reached[path].items():
        reader = at.removesuffix(":")
        if reader == OUTPUT:
            return "the model's output is made of it"
        if reader != at or probe.anatomies[reader] is None:
            return f"{reader}, which cannot be cut, reads it"
        if probe.calls(reader) != 1:
            return f"{reader}, which is called {probe.calls(reader)} times, reads it"
        for other in reached:
            if other != path and (reached[other].get(at, False) & features).any():
                return f"{reader} reads it mixed with {other}"
    return None


def _components(path: str, probe: _Probe, reached: Mapping[str, np.ndarray]) -> tuple[Group, ...]:
    """Return the channels of a layer, grouped by the features that they share."""
    count = probe.anatomies[path].kernels[0].channels()
    changed = _singles(path, probe, reached, count)
    if changed is None:
        changed = probe.changes([(path, channel) for channel in range(count)], reached)
    together = np.concatenate(list(changed.values()), axis=1).astype("float32")
    linked = together @ together.T > 0
    np.fill_diagonal(linked, True)
    labels, before = np.arange(count), None
    while not np.array_equal(labels, before):  # the least label spreads through each component
        before, labels = labels, np.where(linked, labels, count).min(axis=1)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return tuple(
        Group(
            tuple(channels.tolist()),
            {at: tuple(np.flatnonzero(each[channels].any(0)).tolist()) for at, each in changed.items()},
        )
        for channels in members
    )


def _singles(path: str, probe: _Probe, reached: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray] | None:
    """Return (channels, features) bool by reader, or None unless each feature is made of one channel alone.

    Channels are changed by halves, those with a bit of their number and those without: as many probes as bits, not
    as channels. A feature that is made of two changes with both halves of a bit in which they differ.
    """
    bits = range(max(1, (count - 1).bit_length()))
    halves = [np.flatnonzero(np.arange(count) >> bit & 1 == side) for bit in bits for side in (0, 1)]
    found = probe.changes([(path, half) for half in halves], reached)
    singles = {}
    for at, features in reached.items():
        without, having = found[at][0::2, features], found[at][1::2, features]
        if (without == having).any():
            return None
        singles[at] = np.zeros((count, len(features)), bool)
        singles[at][(having << np.array(bits)[:, None]).sum(0), np.flatnonzero(features)] = True
    return singles


def _unequal(groups: Sequence[Group]) -> str | None:
    """Return why groups cannot be taken out one by one, or None if they can."""
    if len(groups) == 1:
        return "all its channels depend on each other"
    if len({(len(g.channels), *map(len, g.features.values())) for g in groups}) > 1:
        return "some of its channels are read otherwise than others"
    return None


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a copy, in float32 or float64."""
    value = keras.ops.convert_to_numpy(tensor)
    return np.array(value, np.result_type(value.dtype, "float32"))
