"""Find where the TFLite converter rounds activations, and which tensors it stores on one grid.

The rules are those of TensorFlow 2.21; tests/compression/passes/test_grids.py compares them with converted files. A
grid is the scale and zero point of a tensor. They follow from the operators of the traced model:

- An operator that selects values, averages or interpolates keeps the grid of its input.
- Concatenation, minimum and maximum have one grid for all inputs and the output, which reaches back to the operators
  that computed the inputs.
- A ReLU is fused into most operators before it; their result is rounded only after the ReLU.
- Sigmoid, softmax and tanh have fixed grids.
- Batch normalisation and rescaling are folded into the kernel before them, and are a product and a sum elsewhere.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import layers

from compression.passes.rounding import FIXED, FLOAT, Place, Rounding, RoundingPoint, changed, is_apart, kind_of
from compression.passes.shared_grids import CLIPPING, Tensors, key_of
from compression.surgery import operators
from compression.surgery.folding import is_identity
from compression.surgery.layers import RECURRENT, kernels_of, matching, stays_in_float, with_kernels
from compression.surgery.survey import LayerCall, Survey, consumers, leaves, survey
from zoo.console.errors import UsageError
from zoo.models.parts.attention import PositionEncoding

POOLING = {"AvgPool", "MaxPool", "MaxPoolV2"}
# Operators that a ReLU after them is fused into.
FUSING = {
    *("Add", "AddV2", "BiasAdd", "Sub", "Mul", "RealDiv"),
    *("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"),
}
# A kernel takes in these operators after it, if their other operand is a constant.
FOLDED = {"Add", "AddV2", "Sub", "Mul", "RealDiv"}
# The same values in another shape, or in another order.
RESHAPING = {"Identity", "StopGradient", "Reshape", "Squeeze", "ExpandDims"}
ARRANGING = {*RESHAPING, "Transpose"}
FIXED_BY_OPERATOR = {
    "Sigmoid": FIXED[keras.activations.sigmoid],
    "Softmax": FIXED[keras.activations.softmax],
    "Tanh": FIXED[keras.activations.tanh],
}
INPUT, OUTPUT = "input", "output"


class Points:
    """The rounding points of a model's activations.

    Args:
        model: Built Keras model.
        x: A few examples, (examples, ...), or a structure of arrays for several inputs.
        skip: Patterns of layers that stay in float32.

    Raises:
        UsageError: A pattern matches no layer, or a layer is computed inside a loop that is not a recurrent layer's.

    Attributes:
        points: What is rounded, by layer.
        passive: Names of points whose values lie within the range of another point with the same grid.
        kept: Names of points whose values are on the grid of another point already.
        averaged: Names of points that are rounded as TFLite's average pooling does.
        inputs: Name of each input of the model, flattened; None for an input of whole numbers, or of a layer in
            float32.
    """

    def __init__(self, model: keras.Model, x: Any, skip: Sequence[str] = ()):
        named = with_kernels(model)
        left_out = {id(named[path]) for path in matching(named, skip, "skip")}
        # Keras numbers automatic layer names per process; indices in the model are reproducible.
        names = {id(layer): f"{type(layer).__name__.lower()}_{i}" for i, layer in enumerate(leaves(model))}
        names |= {id(layer): path for path, layer in named.items()}
        traced = survey(model, x)
        self.passive: set[str] = set()
        self.kept: set[str] = set()
        self.averaged: set[str] = set()
        tensors, points, given = Tensors(self.passive, self.kept), {}, {}
        self.inputs = [f"{INPUT}:{i}" if i else INPUT for i in range(len(traced.inputs))]
        for i, tensor in enumerate(traced.inputs):
            if tensor.dtype.is_floating and any(_takes_in_float(call, tensor) for call in traced.calls):
                self.inputs[i] = None
                tensors.unrounded([tensor])
            elif tensor.dtype.is_floating:
                tensors.new(tensor, self.inputs[i])
            else:
                self.inputs[i] = None
        for call in traced.calls:
            layer = call.layer
            _check_outside_loops(call, names[id(layer)], traced, id(layer) in left_out)
            point = points.setdefault(id(layer), RoundingPoint(layer, _kind(call, traced, tensors)))
            given.setdefault(id(layer), []).append(call)
            name = f"{names[id(layer)]}:{len(point.places)}" if point.places else names[id(layer)]
            point.places.append(self._place(point, call, name, traced, tensors, id(layer) in left_out))
        last = RoundingPoint(model, "model")
        for i, tensor in enumerate(traced.outputs):
            name = tensors.enter(tensor, f"{OUTPUT}:{i}" if i else OUTPUT)
            last.places.append(Place(name, name))
        self.points = [point for point in (*points.values(), last) if point.rounds]
        for call in traced.calls:
            if (into := _following_positions(call, traced.calls)) and points[id(call.layer)].places[0].name:
                points[id(call.layer)].kind, points[id(call.layer)].other = "embedding", into
                points[id(into)].other = call.layer
        self._grids = tensors.named
        # Which tensors share a grid is known only now.
        alone = {key: found[0].inputs[0] for key, found in given.items() if len(found) == 1 and found[0].inputs}
        self._given = {
            key: tensors.grid(tensor).root.name
            for key, tensor in alone.items()
            if tensors.knows(tensor) and tensors.grid(tensor) is not None
        }

    def given(self, layer: layers.Layer) -> str | None:
        """Return the name of the grid of a layer's input, or None if it is fixed, unknown, or not always the same."""
        return self._given.get(id(layer))

    def grid(self, name: str) -> str:
        """Return the name of the point that stands for all points with the grid of this one."""
        found = self._grids.get(name)
        return name if found is None else found.root.name

    def in_loop(self, name: str) -> bool:
        """Return whether a point is inside a recurrent layer."""
        return any(name.startswith(f"{point.prefix}/") for point in self.points if point.kind == "states")

    @contextlib.contextmanager
    def rounding(self, at: Callable[[str, Any], Any], **more: Any) -> Iterator[None]:
        """Round in every call of the model inside this context.

        Args:
            at: Function applied to every activation that the file rounds.
            **more: Further arguments of `Rounding`.
        """
        with contextlib.ExitStack() as undo:
            for point in self.points:
                undo.enter_context(changed(point, Rounding(at, **more)))
            yield

    def _place(
        self, point: RoundingPoint, call: LayerCall, name: str, traced: Survey, tensors: "Tensors", left_out: bool
    ) -> Place:
        """Return where a call is rounded, and note the grids of its outputs."""
        made = [tensor for tensor in call.outputs if tensor.dtype.is_floating]
        if left_out or not made:
            tensors.unrounded(made)
            return Place(None, None)
        if point.kind == "states":
            for tensor, part in zip(made, _states(call), strict=False):
                tensors.new(tensor, f"{name}/{part}")
            return Place(name, name, _entered(call, name, tensors))
        if isinstance(point.layer, layers.Embedding):
            tensors.fixed(made)  # values of the table, which is rounded
            return Place(None, None)
        if stays_in_float(call.layer):
            if any(tensor is end for tensor in made for end in traced.outputs):
                tensors.unrounded(made)
            else:
                tensors.left_in_float(made)
            return Place(name, None, _entered(call, name, tensors))
        unchanged = any(made[0] is tensor for tensor in call.inputs)
        if unchanged and not tensors.knows(made[0]):  # something unknown computed it
            tensors.new(made[0], name)
            return Place(name, name)
        clips = _clips(call)
        inputs = () if clips and _fuses(call.inputs[0], tensors) else _entered(call, name, tensors)
        found = tensors.passing(call, through_clipping=clips and _is_pooled(call))
        if found is not None:
            tensors.same(made, found)
            if len(made) == 1 and (grid := tensors.grid(made[0])) and grid.root.name:
                tensors.named[name] = grid
                (self.passive if found.blended else self.kept).add(name)
                if _source(made[0]).type == "AvgPool":
                    self.averaged.add(name)
                return Place(name, name, inputs)
            return Place(name if any(inputs) else None, None, inputs)
        if _is_fused(call, traced, tensors):
            tensors.unrounded(made)
            return Place(name, None, inputs)
        if limits := _limits(point, made[0]):
            tensors.fixed(made)
            point.limits = limits if point.kind == "output" else None
            point.ends |= not limits[0] and any(tensor is end for tensor in made for end in traced.outputs)
            return Place(name, None, inputs)
        if len(made) > 1 and point.kind == "output":  # several new values: each is rounded where it is used
            return Place(name if any(inputs) else None, None, inputs)
        last = {"attention": f"{name}/heads", "normalization": f"{name}/output"}.get(point.kind, name)
        tensors.new(made[0], last)
        return Place(name, last, inputs)


def _takes_in_float(call: LayerCall, tensor: Any) -> bool:
    """Return whether a call is one of a layer that stays in float32 and takes this tensor."""
    return stays_in_float(call.layer) and any(tensor is given for given in call.inputs)


def _check_outside_loops(call: LayerCall, name: str, traced: Survey, left_out: bool) -> None:
    """Raise UsageError if a call is inside a loop, whose tensors no range can follow."""
    inside = call.outputs and call.outputs[0].graph is not traced.graph
    if inside and not left_out:
        raise UsageError(
            f"--recipe qat: expected layers outside loops, received {name} inside one, where activations cannot be"
            f" rounded; leave it out with skip={name}, or unroll the loop"
        )


def _kind(call: LayerCall, traced: Survey, tensors: Tensors) -> str:
    layer = call.layer
    if stays_in_float(layer):
        return "output"
    if isinstance(layer, RECURRENT):
        return "states"
    if isinstance(layer, PositionEncoding):
        return "positions"
    if isinstance(layer, layers.Layer) and operators.is_affine(layer):
        folded = call.source is not None and _is_fused(call.source, traced, tensors)
        if not folded:
            return "affine"
        if not isinstance(layer, layers.BatchNormalization):
            return "output"
        return "absorbed" if is_identity(layer) else "folded"
    if isinstance(layer, layers.Activation):
        return "function"
    kind = kind_of(layer)
    kernels = kind == "output" and isinstance(layer, layers.Layer) and kernels_of(layer)
    return "activation" if kernels and hasattr(layer, "activation") else kind


def _states(call: LayerCall) -> list[str]:
    """Return the part that each output of a recurrent layer is: its sequence or last state, then its states."""
    return ["hidden", "hidden", "cell"][: len(call.outputs)]


def _entered(call: LayerCall, name: str, tensors: Tensors) -> tuple[str | None, ...]:
    if call.layer.__class__ is layers.MultiHeadAttention:
        return ()
    names = [f"{name}/given:{i}" if i else f"{name}/given" for i in range(len(call.inputs))]
    kept = [stays_in_float(call.layer) and key_of(tensor) in tensors.floats for tensor in call.inputs]
    each = zip(call.inputs, names, kept, strict=True)
    found = tuple(None if unchanged else tensors.enter(tensor, given) for tensor, given, unchanged in each)
    return found if any(found) else ()


def _clips(call: LayerCall) -> bool:
    """Return whether a call is a ReLU and nothing else."""
    made = call.outputs[0]
    return len(call.inputs) == 1 and made.op.type in CLIPPING and key_of(made.op.inputs[0]) == key_of(call.inputs[0])


def _is_pooled(call: LayerCall) -> bool:
    """Return whether the file fuses a ReLU into the pooling before it, and keeps the grid of the pooling's input."""
    given = call.inputs[0]
    return given.op.type in POOLING and len(given.consumers()) == 1


def _fuses(tensor: Any, tensors: Tensors) -> bool:
    """Return whether the file fuses a ReLU into the unknown operator before it."""
    return not tensors.knows(tensor) and tensor.op.type in FUSING and len(tensor.consumers()) == 1


def _is_fused(call: LayerCall, traced: Survey, tensors: Tensors) -> bool:
    """Return whether the file fuses a call with the operators that follow, and rounds only after them."""
    if len(call.outputs) != 1 or isinstance(call.layer, RECURRENT):
        return False
    made = call.outputs[0]
    user = _only_user(made)
    if user is None or any(made is end for end in traced.outputs):
        return False
    kernel = isinstance(call.layer, layers.Layer) and bool(kernels_of(call.layer))
    linear = getattr(call.layer, "activation", None) in (None, keras.activations.linear)
    if not linear and isinstance(call.layer, layers.Activation):
        return False
    if kernel and linear and not isinstance(call.layer, (*FLOAT, layers.Embedding)):
        others = [t for t in user.inputs if t.dtype.is_floating and key_of(t) != key_of(made)]
        if user.type in FOLDED and len(others) == 1 and tensors.is_constant(others[0]) and _by_channel(others[0], made):
            return True
    fusing = _source(made).type in FUSING and linear and not (kernel and is_apart(call.layer))
    return fusing and user.type in CLIPPING


def _by_channel(constant: Any, made: Any) -> bool:
    """Return whether a constant has one value, or one for each channel, so that a kernel can take it in."""
    size = constant.shape.num_elements()
    return size == 1 or (size is not None and size == made.shape[-1])


def _source(tensor: Any) -> Any:
    """Return the operator that computed a tensor, in whatever shape."""
    op = tensor.op
    while op.type in RESHAPING and op.inputs:
        op = op.inputs[0].op
    return op


def _only_user(tensor: Any) -> Any:
    """Return the only operator that uses a tensor, in whatever shape, or None."""
    users = tensor.consumers()
    if len(users) != 1:
        return None
    return _only_user(users[0].outputs[0]) if users[0].type in RESHAPING else users[0]


def _limits(point: RoundingPoint, made: Any) -> tuple[float, float] | None:
    """Return the range that TFLite fixes for the output of a call, or None."""
    if point.kind not in ("output", "activation", "function"):
        return None
    return FIXED_BY_OPERATOR.get(_source(made).type)


def _following_positions(call: LayerCall, found: list[LayerCall]) -> PositionEncoding | None:
    """Return the position encoding that is the only consumer of a Dense output, or None.

    The file has one constant for the bias and the positions together.
    """
    layer, after = call.layer, consumers(found, call)
    if not (isinstance(layer, layers.Dense) and layer.use_bias and len(after) == 1):
        return None
    alone = sum(other.layer in (layer, after[0].layer) for other in found) == 2
    linear = layer.activation in (None, keras.activations.linear)
    return after[0].layer if alone and linear and isinstance(after[0].layer, PositionEncoding) else None
