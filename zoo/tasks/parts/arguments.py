"""Constructor arguments of models that the data decide."""

from collections.abc import Container
from typing import Any

from zoo.data import DataSpec
from zoo.data.tabular import encoding


def from_data(known: Container[str], spec: DataSpec) -> dict[str, Any]:
    """Return the arguments of a model that takes such inputs: columns, size of the vocabulary, rate of sound.

    Args:
        known: Names of the model's arguments.
        spec: Form of the data.
    """
    found: dict[str, Any] = {}
    if "vocabulary_size" in known:
        found["vocabulary_size"] = spec.vocabulary_size
    if "rate" in known:
        found["rate"] = spec.rate
    if "columns" in known:
        found["columns"] = encoding.for_model(spec.inputs)
    return found
