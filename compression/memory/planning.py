"""Plan where the tensors of a file lie in the arena, and write the plan into the file for TFLite Micro.

The plan saves memory in four ways that TFLite Micro's own planner lacks. It is searched for, and not only greedy.
Tensors that hold the same bytes share them: the output of a reshape, rows cut out of a tensor, and parts that are
joined. Sums and activations are computed in place. Rows of a tensor that are no longer read make room for others.

Other runtimes ignore the plan, and the outputs are the same.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import arena_plan, flatbuffer
from compression.flatbuffers.lifetimes import ALIGNMENT, Lifetime, aligned, lifetimes
from compression.memory import greedy
from compression.memory.ordering import fixed

# Orders in which groups of tensors are placed.
TRIES = 100
# Operators that may write over an input: a value of the output depends on the values at its place alone.
_IN_PLACE = ("ADD", "MUL", "RELU", "RELU6", "SUB")
_RESHAPES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")


@dataclass(frozen=True)
class _Piece:
    """Bytes of a group that are in memory for some time.

    Args:
        low: First byte.
        high: Byte after the last.
        life: Time.
        tensor: The tensor that they belong to.
        content: Tensor whose bytes they hold, and where that tensor would begin; pieces with equal ones may overlap.
    """

    low: int
    high: int
    life: Lifetime
    tensor: int
    content: tuple[int, int]


@dataclass
class _Groups:
    """Tensors that lie at fixed distances from each other, because they share bytes.

    Args:
        model: The file.
        lives: Lifetime of each tensor.
        place: For each tensor its group, and its offset there.
        content: For each tensor the one whose bytes it holds, and the first of them.
        over: Tensors that are written over others, as (new, old).
    """

    model: Any
    lives: dict[int, Lifetime]
    place: dict[int, tuple[int, int]] = field(default_factory=dict)
    content: dict[int, tuple[int, int]] = field(default_factory=dict)
    over: set[tuple[int, int]] = field(default_factory=set)
    parts: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = {index: each["bytes"] for index, each in enumerate(flatbuffer.tensors(self.model)[0])}
        self.place = {index: (index, 0) for index in self.lives}
        self.content = {index: (index, 0) for index in self.lives}

    def pieces(self, group: int) -> list[_Piece]:
        """Return the pieces of a group, whose lowest byte is 0."""
        found = []
        for tensor, (of, at) in self.place.items():
            if of == group:
                root, shift = self.content[tensor]
                for low, high, life in self._split(tensor):
                    found.append(_Piece(at + low, at + high, life, tensor, (root, at - shift)))
        lowest = min(piece.low for piece in found)
        return [replace(p, low=p.low - lowest, high=p.high - lowest) for p in found] if lowest else found

    def _split(self, tensor: int) -> list[tuple[int, int, Lifetime]]:
        """Return byte ranges of a tensor with their lifetimes, which differ if only parts of it are read."""
        life, parts = self.lives[tensor], self.parts.get(tensor)
        if not parts:
            return [(0, aligned(self.sizes[tensor]), life)]
        ends = sorted({0, aligned(self.sizes[tensor]), *(end for low, high, _ in parts for end in (low, high))})
        return [
            (low, high, replace(life, last=max((s for a, b, s in parts if a < high and b > low), default=life.first)))
            for low, high in zip(ends, ends[1:], strict=False)
        ]

    def join(self, tensor: int, other: int, offset: int) -> bool:
        """Put a tensor at an offset from the begin of another, with all that shares bytes with it, if that is possible.

        Returns:
            Whether it was done.
        """
        (mine, at), (theirs, there) = self.place[tensor], self.place[other]
        if mine == theirs or (offset + there - at) % ALIGNMENT:
            return mine == theirs and there + offset == at
        before = dict(self.place)
        moved = there + offset - at
        self.place |= {each: (theirs, where + moved) for each, (of, where) in before.items() if of == mine}
        pieces = self.pieces(theirs)
        if all(self._agree(one, two) for i, one in enumerate(pieces) for two in pieces[:i]):
            return True
        self.place = before
        return False

    def _agree(self, one: _Piece, two: _Piece) -> bool:
        if not (one.low < two.high and two.low < one.high and _meet(one.life, two.life)):
            return True
        if one.content == two.content:
            return True
        new, old = (one, two) if one.life.first > two.life.first else (two, one)
        # In place: the old tensor is read for the last time when the new one is written over all of it.
        return (new.tensor, old.tensor) in self.over and (new.low, new.high) == (old.low, old.high)


def _meet(one: Lifetime, two: Lifetime) -> bool:
    return one.first <= two.last and two.first <= one.last


def plan(model: Any) -> int:
    """Write a plan of the arena into a file, and return the bytes that its tensors take.

    Nothing is written if the plan saves nothing, or the file has several graphs, a state, or operators with effects.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
    """
    usual = greedy.bytes_taken(model)
    if fixed(model):
        return usual
    groups = _grouped(model)
    offsets, size = _placed(groups)
    if size >= usual:
        return usual
    arena_plan.write(model, offsets)
    return size


def least(model: Any) -> int:
    """Return the bytes that the tensors of a file take by any plan, at least."""
    groups = _grouped(model)
    return _least([groups.pieces(group) for group in {of for of, _ in groups.place.values()}])


def _grouped(model: Any) -> _Groups:
    groups, nodes = _Groups(model, lifetimes(model)), flatbuffer.nodes(model)[0]
    parts = [_parts(model, name, inputs, outputs) for name, inputs, outputs in nodes]
    _read_in_parts(groups, parts, nodes)
    for (name, _, _), found in zip(nodes, parts, strict=True):  # parts of what is joined come before those that are cut
        if name == "CONCATENATION":
            for part, whole, offset in found:
                if groups.content[part] == (part, 0):
                    groups.content[part] = whole, offset
                groups.join(part, whole, offset)
    for (name, _, _), found in zip(nodes, parts, strict=True):
        for part, whole, offset in found if name != "CONCATENATION" else ():
            root, shift = groups.content[whole]
            own = groups.content[part] == (part, 0)
            groups.content[part] = (root, shift + offset) if own else groups.content[part]
            if not groups.join(part, whole, offset) and own:
                groups.content[part] = part, 0
    for number, (name, inputs, outputs) in enumerate(nodes):
        for index in inputs if name in _IN_PLACE else ():
            alike = index in groups.lives and groups.sizes[index] == groups.sizes[outputs[0]]
            if alike and groups.lives[index].last == number + 1:
                groups.over.add((outputs[0], index))
                if groups.join(outputs[0], index, 0):
                    break
    return groups


def _read_in_parts(groups: _Groups, parts: Sequence[list[tuple[int, int, int]]], nodes: Sequence[Any]) -> None:
    """Note which bytes of a tensor are read when, if every operator that reads it cuts out a part."""
    readers: dict[int, list[int]] = {}
    for number, (_, inputs, _) in enumerate(nodes):
        for index in inputs:
            readers.setdefault(index, []).append(number)
    ends = {int(index) for index in groups.model.subgraphs[0].outputs}
    for index in groups.lives:
        numbers = readers.get(index, [])
        cuts = [(number, part) for number in numbers for part in parts[number] if nodes[number][0] == "SLICE"]
        if index not in ends and numbers and len(cuts) == len(numbers):
            groups.parts[index] = [(at, at + groups.sizes[part], number + 1) for number, (part, _, at) in cuts]


def _parts(model: Any, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return which tensors of an operator hold bytes of another in one piece, as (part, whole, first byte)."""
    graph = model.subgraphs[0]
    tensors = [graph.tensors[index] for index in inputs]
    if name in _RESHAPES and _same_form(tensors[0], graph.tensors[outputs[0]]):
        return [(outputs[0], inputs[0], 0)]
    if name == "SLICE":
        begin = [model.buffers[each.buffer].data for each in tensors[1:3]]
        if any(each is None for each in begin) or tensors[1].type != schema.TensorType.INT32:
            return []
        first = np.frombuffer(bytes(begin[0]), np.int32)
        whole, part = (list(map(int, each.shape)) for each in (tensors[0], graph.tensors[outputs[0]]))
        axis = next((i for i, (a, b) in enumerate(zip(whole, part, strict=True)) if a != b), 0)
        if part[axis + 1 :] != whole[axis + 1 :] or any(size != 1 for size in whole[:axis]):
            return []
        return [(outputs[0], inputs[0], int(first[axis]) * _row_bytes(model, inputs[0], axis))]
    if name == "CONCATENATION":
        return _joined(model, inputs, outputs[0])
    return []


def _joined(model: Any, inputs: Sequence[int], output: int) -> list[tuple[int, int, int]]:
    graph = model.subgraphs[0]
    operator = next(op for op in graph.operators if output in op.outputs)
    whole = graph.tensors[output]
    axis = operator.builtinOptions.axis % len(whole.shape)
    constant = any(model.buffers[graph.tensors[index].buffer].data is not None for index in inputs)
    alike = all(_same_form(graph.tensors[index], whole) for index in inputs)
    in_one = all(int(size) == 1 for size in whole.shape[:axis])
    plain = operator.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.NONE
    given = {int(index) for index in (*graph.inputs, *graph.outputs)}
    if constant or not (alike and in_one and plain) or len({*inputs}) < len(inputs) or given & {*inputs}:
        return []
    found, at = [], 0
    for index in inputs:
        found.append((index, output, at))
        at += int(graph.tensors[index].shape[axis]) * _row_bytes(model, output, axis)
    return found


def _same_form(one: schema.TensorT, other: schema.TensorT) -> bool:
    """Return whether two tensors hold the same values in the same bytes."""

    def form(tensor: schema.TensorT) -> tuple[Any, ...]:
        found = tensor.quantization
        scales = [] if found is None or found.scale is None else [*map(float, found.scale)]
        return tensor.type, scales, [] if found is None or found.zeroPoint is None else [*map(int, found.zeroPoint)]

    return form(one) == form(other)


def _row_bytes(model: Any, index: int, axis: int) -> int:
    tensor = model.subgraphs[0].tensors[index]
    return flatbuffer.tensors(model)[0][index]["bytes"] // int(np.prod(tensor.shape[: axis + 1]))


def _placed(groups: _Groups) -> tuple[dict[int, int], int]:
    """Return the offset of each tensor, and the bytes that all take."""
    shapes = {group: groups.pieces(group) for group in {of for of, _ in groups.place.values()}}
    sizes = {group: max(piece.high for piece in pieces) for group, pieces in shapes.items()}
    spans = {group: sum((p.high - p.low) * (p.life.last - p.life.first + 1) for p in shapes[group]) for group in shapes}
    least, generator = _least(shapes.values()), random.Random(0)
    orders = [sorted(shapes, key=lambda g: (-sizes[g], g)), sorted(shapes, key=lambda g: (-spans[g], g))]
    best: dict[int, int] = {}
    taken = 0
    for number in range(TRIES):
        order = orders[number] if number < len(orders) else sorted(shapes, key=lambda g: -sizes[g] * generator.random())
        found = _fill([(group, shapes[group]) for group in order])
        size = max(found[group] + sizes[group] for group in found)
        if not best or size < taken:
            best, taken = found, size
        if taken <= least:
            break
    lowest = {group: min(at for of, at in groups.place.values() if of == group) for group in shapes}
    return {index: best[of] + at - lowest[of] for index, (of, at) in groups.place.items()}, taken


def _least(shapes: Any) -> int:
    """Return the bytes that the pieces of all groups take at least at one time."""
    shapes = [*shapes]
    steps = {piece.life.first for pieces in shapes for piece in pieces}
    return max(sum(_covered(pieces, step) for pieces in shapes) for step in steps)


def _covered(pieces: Sequence[_Piece], step: int) -> int:
    total = end = 0
    for low, high in sorted((p.low, p.high) for p in pieces if p.life.first <= step <= p.life.last):
        total += max(high - max(low, end), 0)
        end = max(end, high)
    return total


def _fill(groups: Sequence[tuple[int, list[_Piece]]]) -> dict[int, int]:
    """Place one group after the other at the lowest offset that is free for all of its pieces."""
    found: dict[int, int] = {}
    placed: list[tuple[int, int, Lifetime]] = []
    for group, pieces in groups:
        taken = sorted(
            (low - piece.high, high - piece.low)  # offsets between these are not free
            for piece in pieces
            for low, high, life in placed
            if _meet(piece.life, life)
        )
        at = 0
        for low, high in taken:
            if low < at < high:
                at = aligned(high)
        while any(low < at < high for low, high in taken):
            at = aligned(max(high for low, high in taken if low < at < high))
        found[group] = at
        placed += [(at + piece.low, at + piece.high, piece.life) for piece in pieces]
    return found
