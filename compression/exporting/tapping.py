"""Run a .tflite file in this process and look at tensors inside it. Only child processes do this."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer

# Inputs by name, or the name of a signature and its inputs.
Call = Mapping[str, Any] | tuple[str, Mapping[str, Any]]
Calls = Callable[[], Iterator[Call]]
_NAME = "tapped_{}"


def run(model: schema.ModelT, calls: Calls, wanted: Mapping[int, set[int]]) -> Iterator[tuple[int, dict[int, Any]]]:
    """Run every call, and yield the index of its graph and the values of the tensors that are wanted of this graph.

    The tensors become outputs of the file while it runs, so that XNNPACK computes it as usual.

    Args:
        model: File with signatures; it is as before when this returns.
        calls: Function that returns an iterator of calls.
        wanted: Tensors of each graph, by its index. Graphs without a signature, such as the body of a loop, have none.
    """
    from ai_edge_litert.interpreter import Interpreter

    graphs = {found.signatureKey.decode(): found for found in model.signatureDefs}
    content = _tapped(model, wanted)
    interpreter = Interpreter(model_content=content, num_threads=1)
    runners = {key: interpreter.get_signature_runner(key) for key in graphs}
    (only, *_) = graphs
    for call in calls():
        key, inputs = call if isinstance(call, tuple) else (only, call)
        graph = graphs[key].subgraphIndex
        own = {int(each.tensorIndex): each.name.decode() for each in graphs[key].inputs}
        interpreter.reset_all_variables()  # the states of fused LSTMs
        made = runners[key](**inputs)
        tensors = wanted.get(graph, set())
        yield graph, {t: np.asarray(inputs[own[t]] if t in own else made[_NAME.format(t)]) for t in tensors}


def _tapped(model: schema.ModelT, wanted: Mapping[int, set[int]]) -> bytes:
    before = [(graph, graph.outputs) for graph in model.subgraphs]
    named = [(found, found.outputs) for found in model.signatureDefs]
    try:
        for found in model.signatureDefs:
            graph = model.subgraphs[found.subgraphIndex]
            inside = sorted(wanted.get(found.subgraphIndex, set()) - {int(i) for i in graph.inputs})
            known = {int(i) for i in graph.outputs}
            graph.outputs = [*graph.outputs, *(t for t in inside if t not in known)]
            found.outputs = [*found.outputs, *map(_entry, inside)]
        return flatbuffer.pack(model)
    finally:
        for graph, outputs in before:
            graph.outputs = outputs
        for found, outputs in named:
            found.outputs = outputs


def _entry(tensor: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = _NAME.format(tensor), tensor
    return entry


def before_softmax(model: schema.ModelT, graph: int) -> set[int]:
    """Return the outputs of a graph; of a softmax or a logistic function its input, which does not saturate."""
    found = model.subgraphs[graph]
    made = {int(op.outputs[0]): op for op in found.operators or ()}
    squashing = (schema.BuiltinOperator.SOFTMAX, schema.BuiltinOperator.LOGISTIC)
    ends = (int(i) for i in found.outputs)
    return {int(made[i].inputs[0]) if i in made and flatbuffer.code(model, made[i]) in squashing else i for i in ends}
