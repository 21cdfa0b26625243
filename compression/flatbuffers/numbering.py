"""Change the numbers of the tensors of a file with one graph."""

from collections.abc import Sequence
from typing import Any


def number(model: Any, order: Sequence[int]) -> None:
    """Put the tensors of the only graph into an order; those that are left out are removed.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
        order: Numbers of the tensors that stay.
    """
    (graph,) = model.subgraphs
    places = {index: place for place, index in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in order]

    def renamed(indices: Any) -> list[int] | None:
        return None if indices is None else [places[int(index)] for index in indices]

    for holder in (graph, *graph.operators):
        holder.inputs, holder.outputs = renamed(holder.inputs), renamed(holder.outputs)
    for operator in graph.operators:
        operator.intermediates = renamed(operator.intermediates)
    for signed in model.signatureDefs or ():
        for end in (*(signed.inputs or ()), *(signed.outputs or ())):
            end.tensorIndex = places[end.tensorIndex]


def drop_unused(model: Any) -> None:
    """Remove the tensors of the only graph that no operator uses; TFLite Micro would give them memory.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
    """
    (graph,) = model.subgraphs
    holders = (graph, *graph.operators)
    used = {int(index) for holder in holders for indices in (holder.inputs, holder.outputs) for index in indices}
    used |= {int(index) for operator in graph.operators for index in _listed(operator.intermediates)}
    number(model, sorted(used - {-1}))


def _listed(indices: Any) -> Any:
    return () if indices is None else indices
