"""A known text through the functions of a file, a token a step: what calibrates a file, and what measures it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

# A function of a file: its name and its inputs, to its outputs.
Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
CACHE = ("keys", "values")


def rolled_out(
    call: Call, cache: Mapping[str, np.ndarray], tokens: np.ndarray, source: np.ndarray | None = None
) -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Yield the name, the inputs and the outputs of every call that a text takes.

    Args:
        call: computes.
        cache: empty, keys and values.
        tokens: of the text, (steps,); each step is given the one that the text has, whatever was predicted.
        source: (1, source time) ids, where there is one.
    """
    context: dict[str, Any] = {}
    if source is not None:
        context = dict(call("encode", {"source": source}))
        yield "encode", {"source": source}, context
    for position, token in enumerate(tokens):
        given = {"token": np.array([token], np.int32), "position": np.array(position, np.int32), **cache, **context}
        made = call("decode_step", given)
        yield "decode_step", given, made
        cache = {name: made[name] for name in CACHE}
