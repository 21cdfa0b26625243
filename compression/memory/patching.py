"""Compute the first operators of a file patch by patch, so that their large tensors are never whole in memory.

After Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021. A patch is a band of
rows. The operators of the first stage run on the rows of the input that a patch of the stage's output needs, for one
patch after the other, and the patches are joined. Neighbouring patches compute some rows twice.

The outputs are the same integers. Where a band ends inside of the picture, padding makes its outermost rows wrong: the
band has so many more rows that these are cut off, or never read.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import editing
from compression.memory.local import ROWS, Window, activations, window

_Rows = tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """The first operators of a file, which patches are computed by.

    Args:
        given: Tensor that they read from: the input of the file, or what is cut out of it.
        operators: Their numbers.
        outputs: Rows of each tensor that they give to the rest of the file, by its index.
    """

    given: int
    operators: tuple[int, ...]
    outputs: Mapping[int, int]


def stages(model: Any) -> list[Stage]:
    """Return the stages that can be computed in patches, the shortest first.

    Args:
        model: Result of `flatbuffer.read`.
    """
    graph = model.subgraphs[0]
    if len(model.subgraphs) > 1 or len(graph.inputs) != 1:
        return []
    reads = [activations(model, operator) for operator in graph.operators]
    local = [window(model, operator) for operator in graph.operators]
    begin = next((number for number, rows in enumerate(local) if rows is not None), len(local))
    given = int(graph.operators[begin - 1].outputs[0] if begin else graph.inputs[0])
    if any(_read_after(graph, reads, range(begin), i) for i in {*_made(graph, range(begin)), *graph.inputs} - {given}):
        return []
    found: list[Stage] = []
    for end in range(begin + 1, len(local) + 1):
        if local[end - 1] is None or not {*reads[end - 1]} <= _made(graph, range(begin, end - 1)) | {given}:
            break
        chosen = [*range(begin, end)]
        made = _made(graph, chosen) | {given}
        # Further operators that are the last to read a tensor, such as the convolution of a shortcut.
        for number in range(end, len(local)):
            done = [*range(begin), *chosen, number]
            alone = any(not _read_after(graph, reads, done, index) for index in reads[number])
            if local[number] is not None and {*reads[number]} <= made and alone:
                chosen.append(number)
        for operators in {tuple(range(begin, end)): None, tuple(chosen): None}:
            done = [*range(begin), *operators]
            outputs = [i for i in sorted(_made(graph, operators)) if _read_after(graph, reads, done, i)]
            heights = {index: int(graph.tensors[index].shape[ROWS]) for index in outputs}
            reaches = any(local[number].rows > 1 for number in operators)
            if reaches and outputs and min(heights.values()) > 1 and not _read_after(graph, reads, done, given):
                found.append(Stage(given, operators, heights))
    return list({stage.operators: stage for stage in found}.values())


def _made(graph: schema.SubGraphT, operators: Iterable[int]) -> set[int]:
    return {int(graph.operators[number].outputs[0]) for number in operators}


def _read_after(graph: schema.SubGraphT, reads: Sequence[Sequence[int]], operators: Sequence[int], index: int) -> bool:
    """Return whether a tensor is an output of the file, or read by an operator that is not among some."""
    others = (read for number, read in enumerate(reads) if number not in operators)
    return index in {*map(int, graph.outputs)} or any(index in read for read in others)


def patch(model: Any, stage: Stage, patches: int, cut: bool = True, upwards: bool = False) -> None:
    """Compute a stage in patches.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
        stage: One of `stages`.
        patches: Number of patches, from 2 to the least height of the stage's outputs.
        cut: Whether rows that no later operator needs are cut off after each operator. This takes an operator, and
            saves multiply-adds and memory.
        upwards: Whether the lowest patch is computed first.
    """
    graph = model.subgraphs[0]
    operators = [graph.operators[number] for number in stage.operators]
    rest = [operator for number, operator in enumerate(graph.operators) if number not in stage.operators]
    before = stage.operators[0]
    windows = [window(model, operator) for operator in operators]
    added: list[schema.OperatorT] = []
    parts: dict[int, list[int]] = {output: [] for output in stage.outputs}
    for number in sorted(range(patches), reverse=upwards):
        band = _Band(model, number, added, stage.given)
        ends = {i: (rows * number // patches, rows * (number + 1) // patches) for i, rows in stage.outputs.items()}
        for output, part in band.computed(operators, windows, ends, cut).items():
            parts[output].append(part)
    for output, joined in parts.items():
        joined = joined[::-1] if upwards else joined
        options = schema.ConcatenationOptionsT()
        options.axis = ROWS
        added.append(editing.operator(model, schema.BuiltinOperator.CONCATENATION, joined, [output], options))
    graph.operators = [*rest[:before], *added, *rest[before:]]
    editing.drop_unused(model)


class _Band:
    """The rows of every tensor of a stage that one patch needs.

    Args:
        model: The file.
        number: Number of the patch.
        operators: List that the operators of the patch are added to.
        given: Input of the stage, of which all rows are there.
    """

    def __init__(self, model: Any, number: int, operators: list[schema.OperatorT], given: int):
        self.model, self.number, self.operators = model, number, operators
        self.graph, self.given = model.subgraphs[0], given
        whole = 0, int(self.graph.tensors[given].shape[ROWS])
        # By tensor of the file: the tensor with some of its rows, these rows, and those of them that are right.
        self.held = {given: (given, whole, whole)}
        self.cuts: dict[tuple[int, _Rows], int] = {}

    def computed(
        self,
        operators: Sequence[schema.OperatorT],
        windows: Sequence[Window],
        wanted: Mapping[int, _Rows],
        cut: bool,
    ) -> dict[int, int]:
        """Add the operators that compute some rows of the stage's outputs, and return the tensors that have them."""
        needs = dict(wanted)
        for operator, rows in zip(reversed(operators), reversed(windows), strict=True):
            made = int(operator.outputs[0])
            for index in activations(self.model, operator) if made in needs else ():
                low, high = rows.input(needs[made])
                before = needs.get(index, (low, high))
                needs[index] = min(low, before[0]), max(high, before[1])
        for operator, rows in zip(operators, windows, strict=True):
            if int(operator.outputs[0]) in needs:
                self._run(operator, rows, needs[int(operator.outputs[0])], cut)
        return {output: self._rows(output, rows) for output, rows in wanted.items()}

    def _run(self, operator: schema.OperatorT, rows: Window, wanted: _Rows, cut: bool) -> None:
        given = activations(self.model, operator)
        held = [self.held[index] for index in given]
        read = max(each[1][0] for each in held), min(each[1][1] for each in held)
        found = rows.output(read)
        first = self.given in given  # whose rows are all there
        if cut or first or found is None or found[0] > wanted[0] or found[1] < wanted[1]:
            read = rows.input(wanted)
            found = rows.output(read)
        correct = max(read[0], *(each[2][0] for each in held)), min(read[1], *(each[2][1] for each in held))
        right = rows.right(read, correct)
        if right[0] > wanted[0] or right[1] < wanted[1]:
            raise ValueError(f"rows {wanted} of a patch cannot be computed from the rows {read}")
        made, added = int(operator.outputs[0]), copy.copy(operator)
        output = self._tensor(made, found[1] - found[0])
        new = {index: self._rows(index, read) for index in given}
        added.inputs = [new.get(int(index), int(index)) for index in operator.inputs]
        added.outputs = [output]
        self.operators.append(added)
        self.held[made] = output, found, right

    def _rows(self, index: int, wanted: _Rows) -> int:
        """Return a tensor with exactly some rows of one of the file, cutting off the others."""
        tensor, held, _ = self.held[index]
        if held == wanted:
            return tensor
        if (index, wanted) not in self.cuts:
            made = self._tensor(index, wanted[1] - wanted[0])
            shape = [int(size) for size in self.graph.tensors[made].shape]
            begin = editing.constant(self.model, self.graph, (0, wanted[0] - held[0], 0, 0), "patch")
            size = editing.constant(self.model, self.graph, shape, "patch")
            options = schema.SliceOptionsT()
            operator = editing.operator(
                self.model, schema.BuiltinOperator.SLICE, [tensor, begin, size], [made], options
            )
            self.operators.append(operator)
            self.cuts[index, wanted] = made
        return self.cuts[index, wanted]

    def _tensor(self, like: int, height: int) -> int:
        tensor = self.graph.tensors[like]
        batch, _, *others = map(int, tensor.shape)
        return editing.activation(self.graph, tensor, (batch, height, *others), f"_patch_{self.number}")
