"""Order the operators and the tensors of a file so that they take little memory in TFLite Micro.

Neither order changes an output: every operator still follows those that it reads from, and the number of a tensor only
decides which of two equally large ones TFLite Micro's memory planner places first.
"""

import random
from collections.abc import Iterable
from typing import Any

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.editing import drop_unused, number
from compression.flatbuffers.lifetimes import lifetimes, peak
from compression.memory import greedy

# Sets of finished operators that are followed at once. With fewer sets than this the order is the best there is.
MOST = 500
# Continuations of sets of operators that are looked at, in all steps together: a few seconds.
STEPS = 1_000_000
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

    It is exact unless more than MOST sets of operators can be finished first, or fewer in a large graph, where the sets
    of a step have at most STEPS / operators continuations. Then those with the least peak are followed.

    Args:
        model: Result of `flatbuffer.read`, with one graph.
    """
    nodes, graph = flatbuffer.nodes(model)[0], model.subgraphs[0]
    sizes = {index: each.bytes for index, each in lifetimes(model).items()}
    made = {index: node for node, (_, _, outputs) in enumerate(nodes) for index in outputs}
    reads = [{index for index in inputs if index in sizes} for _, inputs, _ in nodes]
    writes = [{index for index in outputs if index in sizes} for _, _, outputs in nodes]
    # Sets of operators, and of tensors, are the bits of a number.
    waits = [_bits(made[index] for index in inputs if index in made) for _, inputs, _ in nodes]
    followers = [[] for _ in nodes]
    for node, (_, inputs, _) in enumerate(nodes):
        for maker in {made[index] for index in inputs if index in made}:
            followers[maker].append(node)
    readers = {index: _bits(node for node, read in enumerate(reads) if index in read) for index in sizes}
    kept = {*map(int, graph.outputs)}
    ends = [[i for i in reads[node] | writes[node] if i not in kept] for node in range(len(nodes))]
    begun = [int(index) for index in graph.inputs if int(index) in sizes]
    first = sum(sizes[index] for index in begun)
    # By the set of finished operators: the peak so far, their order, the bytes of the live tensors, the live tensors,
    # and the operators that can follow. An order is bytes, which compare like the numbers in them.
    states = {0: (first, b"", first, _bits(begun), tuple(node for node, wait in enumerate(waits) if not wait))}
    for _ in nodes:
        found: dict[int, tuple[int, bytes, int, int, tuple[int, ...]]] = {}
        for done, (highest, order, size, live, ready) in states.items():
            for node in ready:
                after = done | 1 << node
                held = size + sum(sizes[index] for index in writes[node] if not live >> index & 1)
                reached = max(highest, held), order + node.to_bytes(4, "big")
                if after in found and found[after][:2] <= reached:
                    continue
                still = live | _bits(writes[node])
                gone = [index for index in ends[node] if still >> index & 1 and not readers[index] & ~after]
                held -= sum(sizes[index] for index in gone)
                following = [other for other in followers[node] if not waits[other] & ~after]
                found[after] = *reached, held, still & ~_bits(gone), (*(n for n in ready if n != node), *following)
        states, left = {}, max(1, STEPS // len(nodes))
        for done, state in sorted(found.items(), key=lambda pair: pair[1][:2])[:MOST]:
            states[done] = state
            left -= len(state[-1])
            if left <= 0:
                break
    ((_, best, *_),) = states.values()
    return [int.from_bytes(best[place : place + 4], "big") for place in range(0, len(best), 4)]


def _bits(places: Iterable[int]) -> int:
    """Return the number that has these bits."""
    return sum(1 << place for place in {*places})


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
