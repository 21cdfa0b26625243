"""Order the operators and the tensors of a file so that they take little memory in TFLite Micro.

Neither order changes an output: every operator still follows those that it reads from, and the number of a tensor only
decides which of two equally large ones TFLite Micro's memory planner places first.
"""

import random
from typing import Any

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.editing import drop_unused, number
from compression.flatbuffers.lifetimes import lifetimes, peak
from compression.memory import greedy

# Sets of finished operators that are followed at once. With fewer sets than this the order is the best there is.
MOST = 500
# Random orders of tensors that are tried.
TRIES = 100
# Metadata entry with an order of operators that tensors do not show.
_DEPENDENCIES = "model_control_dependencies"
# Operators that act on something besides their outputs; a file with one of them keeps its order.
_EFFECTS = ("ASSIGN_VARIABLE", "CALL_ONCE", "IF", "READ_VARIABLE", "VAR_HANDLE", "WHILE")


def fixed(model: Any) -> bool:
    """Return whether the operators of a file must keep their order: they have effects, or there are several graphs.

    Args:
        model: Result of `flatbuffer.read`.
    """
    effects = {name for name, _, _ in flatbuffer.nodes(model)[0]} & {*_EFFECTS}
    effects |= {*flatbuffer.metadata_sizes(model)} & {_DEPENDENCIES}
    return len(model.subgraphs) > 1 or flatbuffer.keeps_state(model) or bool(effects)


def arrange(model: Any) -> bool:
    """Order operators and tensors by the memory they take in TFLite Micro, and return whether that changed anything.

    Both orders are kept unless another one takes less, as the memory planner of TFLite Micro fills the arena.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
    """
    if fixed(model):
        return False
    graph = model.subgraphs[0]
    count = len(graph.tensors)
    drop_unused(model)
    before, operators = greedy.bytes_taken(model), graph.operators
    graph.operators = [operators[node] for node in least(model)]
    if greedy.bytes_taken(model) >= before:
        graph.operators = operators
    place(model)
    return greedy.bytes_taken(model) < before or len(graph.tensors) < count


def place(model: Any) -> None:
    """Number the tensors of a file so that they take least in TFLite Micro.

    Args:
        model: Result of `flatbuffer.read`, with one graph, which is changed.
    """
    live = {*(placed := _placed(model))}
    slots = iter(placed)
    number(model, [next(slots) if index in live else index for index in range(len(model.subgraphs[0].tensors))])


def least(model: Any) -> list[int]:
    """Return the numbers of the operators in an order with the least peak of live tensors.

    It is exact unless more than MOST sets of operators can be finished first; then those with the least peak are
    followed.

    Args:
        model: Result of `flatbuffer.read`, with one graph.
    """
    nodes, graph = flatbuffer.nodes(model)[0], model.subgraphs[0]
    sizes = {index: each.bytes for index, each in lifetimes(model).items()}
    made = {index: node for node, (_, _, outputs) in enumerate(nodes) for index in outputs}
    reads = [{index for index in inputs if index in sizes} for _, inputs, _ in nodes]
    writes = [{index for index in outputs if index in sizes} for _, _, outputs in nodes]
    waits = [{made[index] for index in inputs if index in made} for _, inputs, _ in nodes]
    readers = {index: {node for node, read in enumerate(reads) if index in read} for index in sizes}
    kept = {*map(int, graph.outputs)}
    begun = frozenset(int(index) for index in graph.inputs if int(index) in sizes)
    # By the set of finished operators: the peak so far, their order, and the tensors that are live.
    states = {frozenset(): (sum(sizes[index] for index in begun), (), begun)}
    for _ in nodes:
        found: dict[frozenset, tuple[int, tuple[int, ...], frozenset]] = {}
        for done, (highest, order, live) in states.items():
            for node in range(len(nodes)):
                if node in done or not waits[node] <= done:
                    continue
                after, held = done | {node}, live | writes[node]
                reached = max(highest, sum(sizes[index] for index in held)), (*order, node)
                if after not in found or reached < found[after][:2]:
                    found[after] = *reached, frozenset(i for i in held if i in kept or readers[i] - after)
        states = dict(sorted(found.items(), key=lambda pair: pair[1][:2])[:MOST])
    ((_, best, _),) = states.values()
    return list(best)


def _placed(model: Any) -> list[int]:
    """Return the tensors that are not constants in the order in which they take least; their own if none takes less."""
    found = lifetimes(model)
    own, lowest = sorted(found), peak(model)
    best, taken = own, greedy.bytes_of(found[index] for index in own)
    generator = random.Random(0)
    tries = [sorted(own, key=lambda i: (found[i].first, i)), sorted(own, key=lambda i: (-found[i].first, i))]
    for attempt in range(TRIES):
        if taken <= lowest:
            break
        trial = tries[attempt] if attempt < len(tries) else generator.sample(own, len(own))
        if (size := greedy.bytes_of(found[index] for index in trial)) < taken:
            best, taken = trial, size
    return best
