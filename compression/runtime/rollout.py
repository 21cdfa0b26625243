"""Teacher forcing: run a known text through a file's functions one token per step, to calibrate or measure the file."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

# Calls a function of a file: from its name and inputs to its outputs.
Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
CACHE = ("keys", "values")


def rolled_out(
    call: Call, cache: Mapping[str, np.ndarray], tokens: np.ndarray, source: np.ndarray | None = None
) -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Yield the function name, inputs and outputs of every call for a text.

    Args:
        call: Function that runs a function of the file.
        cache: Empty cache of keys and values.
        tokens: (steps,) ids of the text, the input of each step regardless of predictions.
        source: (1, source time) ids of the source text, for files with `encode`.
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
