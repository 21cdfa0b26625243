"""Grids of the tensors of a traced model: which tensors share the scale and zero point of another."""

from collections.abc import Sequence
from typing import Any

from compression.surgery.survey import LayerCall

# Operators of TensorFlow whose output is a selection of the values of their inputs.
SELECTING = {
    "BatchToSpaceND",
    "BroadcastTo",
    "ConcatV2",
    "DepthToSpace",
    "ExpandDims",
    "GatherV2",
    "Identity",
    "Max",
    "MaxPool",
    "MaxPoolV2",
    "Maximum",
    "Min",
    "Minimum",
    "MirrorPad",
    "Pack",
    "Pad",
    "PadV2",
    "Reshape",
    "ResizeNearestNeighbor",
    "ReverseV2",
    "Slice",
    "SpaceToBatchND",
    "SpaceToDepth",
    "Split",
    "SplitV",
    "Squeeze",
    "StopGradient",
    "StridedSlice",
    "Tile",
    "Transpose",
    "Unpack",
}
# Operators with new values on the grid of their input.
BLENDING = {"AvgPool", "ResizeBilinear"}
CLIPPING = {"Relu", "Relu6"}


class Grid:
    """Scale and zero point of one or more tensors.

    Args:
        name: Name of the point whose range gives the grid; None for a grid that TFLite fixes.
    """

    def __init__(self, name: str | None = None):
        self.name = name
        self._same: Grid | None = None

    @property
    def root(self) -> "Grid":
        return self if self._same is None else self._same.root

    def join(self, other: "Grid") -> None:
        """Make two grids one, with the name of the first; a fixed grid stays apart."""
        mine, theirs = self.root, other.root
        if mine is not theirs and mine.name and theirs.name:
            theirs._same = mine


class Passed:
    """The grids of the inputs that an output is a selection or a mean of.

    Args:
        grids: Grids; None for an input that is not rounded.
        blended: Whether some values are new.
    """

    def __init__(self, grids: list[Grid | None], blended: bool):
        self.grids, self.blended = grids, blended


class Tensors:
    """Grids of the symbolic tensors of a traced model."""

    def __init__(self, passive: set[str], kept: set[str]) -> None:
        self.passive, self.kept = passive, kept
        self.named: dict[str, Grid] = {}  # by name of the point
        self._grids: dict[Any, Grid | None] = {}
        self._constants: dict[Any, bool] = {}
        self._entered: set[Any] = set()  # rounded at each use, not where they are computed
        self.floats: set[Any] = set()  # given by layers in float32, and rounded by the others that use them

    def new(self, tensor: Any, name: str) -> None:
        """Note that a tensor is rounded under a name."""
        self._grids[key_of(tensor)] = self.named.setdefault(name, Grid(name))

    def fixed(self, made: Sequence[Any]) -> None:
        """Note that tensors are on a grid that needs no range."""
        self._grids |= {key_of(tensor): Grid() for tensor in made}

    def unrounded(self, made: Sequence[Any]) -> None:
        """Note that tensors are not rounded."""
        self._grids |= {key_of(tensor): None for tensor in made}

    def left_in_float(self, made: Sequence[Any]) -> None:
        """Note that tensors are in float32, and are rounded where a layer of integers uses them."""
        self.floats |= {key_of(tensor) for tensor in made}

    def same(self, made: Sequence[Any], found: Passed) -> None:
        """Note that tensors share the grids of the inputs that they consist of, which become one."""
        known = [grid for grid in found.grids if grid is not None]
        named = sorted((grid for grid in known if grid.root.name), key=lambda grid: self._order(grid))
        for other in named[1:]:
            named[0].join(other)
        grid = next(iter(named or known), None)
        self._grids |= {key_of(tensor): grid for tensor in made}

    def knows(self, tensor: Any) -> bool:
        """Return whether a tensor is the input of the model, or the output of a known call."""
        # A layer that is called with an array, such as positions, has a tensor of values, which is in no graph.
        return not hasattr(tensor, "numpy") and key_of(tensor) in self._grids

    def grid(self, tensor: Any) -> Grid | None:
        """Return the grid of a known tensor."""
        return self._grids[key_of(tensor)]

    def enter(self, tensor: Any, name: str) -> str | None:
        """Return the name under which a tensor must be rounded where it is used, or None if its grid is known.

        Args:
            tensor: Input of a call.
            name: Name to give to it.
        """
        if not tensor.dtype.is_floating or self.is_constant(tensor):
            return None
        grids, unknown, blended = self._origins(tensor)
        if not unknown:
            roots = {grid.root.name for grid in grids if grid is not None and grid.root.name}
            if not roots or (len(roots) == 1 and not blended):
                return None
            # Unknown operators join or average known grids, or another layer has rounded the tensor for itself alone.
            self.same([tensor], Passed(grids, blended))
            self.named[name] = self.grid(tensor)
            (self.passive if blended else self.kept).add(name)
            return name
        for other in unknown:
            self.new(other, name)
            self._entered.add(key_of(other))
        if grids:
            self.same(unknown, Passed([self.named[name], *grids], False))
        return name

    def passing(self, call: LayerCall, through_clipping: bool) -> Passed | None:
        """Return the grids of the inputs whose values the output has, or None if it has others.

        Args:
            call: Call of a layer.
            through_clipping: Whether a ReLU counts as a selection of values.
        """
        stops = {key_of(t): t for t in call.inputs if t.dtype.is_floating}
        types = SELECTING | BLENDING | (CLIPPING if through_clipping else set())
        grids: list[Grid | None] = []
        blended = False
        for made in call.outputs:
            found, unknown, averaged = self._origins(made, stops, types)
            if unknown:
                return None
            grids, blended = [*grids, *found], blended or averaged
        return Passed(grids, blended) if grids else None

    def is_constant(self, tensor: Any) -> bool:
        """Return whether a tensor depends on no known tensor."""
        key = key_of(tensor)
        if key not in self._constants:
            self._constants[key] = not self.knows(tensor) and all(map(self.is_constant, tensor.op.inputs))
        return self._constants[key]

    def _origins(
        self, tensor: Any, stops: dict[Any, Any] | None = None, types: set[str] = SELECTING | BLENDING
    ) -> tuple[list[Grid | None], list[Any], bool]:
        """Return the grids of known tensors that a tensor consists of, unknown such tensors, and whether it has means.

        Args:
            tensor: Tensor to begin with.
            stops: Tensors to go back to; by default, all known tensors.
            types: Operators to go through.
        """
        key = key_of(tensor)
        if stops is None and key in self._grids:
            return [self._grids[key]], [], key in self._entered
        if stops is not None and key in stops:
            return self._origins(tensor)[0] or [None], [], False
        if tensor.op.type not in types or key in self.floats:
            return [], [tensor], False
        grids, unknown, blended = [], [], tensor.op.type in BLENDING
        for given in tensor.op.inputs:
            if given.dtype.is_floating and not self.is_constant(given):
                found, more, averaged = self._origins(given, stops, types)
                grids, unknown, blended = [*grids, *found], [*unknown, *more], blended or averaged
        return grids, unknown, blended

    def _order(self, grid: Grid) -> int:
        return list(self.named).index(grid.root.name)


def key_of(tensor: Any) -> tuple[int, str]:
    """Return what a symbolic tensor is known by."""
    return id(tensor.graph), tensor.name
