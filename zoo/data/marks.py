"""A mark of each example, by which it is known again: in another split, or after the data changed."""

import hashlib
from collections.abc import Sequence

import numpy as np

from zoo.data.dataset import Split, leaves

BYTES = 16
# Kinds of data whose examples are questions, which are the same only if their answers are, too.
QUESTIONS = ("triples", "events")


def of_split(split: Split, answers: bool = False) -> np.ndarray:
    """Return the BLAKE2b hash of each example's inputs, (examples, 16) uint8.

    Args:
        split: Examples. Those that have marks, because they are read from files or are texts, keep them.
        answers: Whether the labels belong to an example, as the answer of a question does.
    """
    if split.marks is not None and not answers:
        return split.marks
    return of_rows([*leaves(split.x), *(leaves(split.y) if answers else [])])


def of_rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the hash of each row of arrays (examples, ...) together, (examples, 16) uint8."""
    if not len(arrays[0]):
        return np.zeros((0, BYTES), np.uint8)
    columns = [np.ascontiguousarray(array).reshape(len(array), -1) for array in arrays]
    return of_contents([b"".join(row.tobytes() for row in rows) for rows in zip(*columns, strict=True)])


def of_texts(texts: Sequence[str]) -> np.ndarray:
    """Return the hash of each text, (texts, 16) uint8."""
    return of_contents([text.encode() for text in texts])


def of_contents(contents: Sequence[bytes | memoryview]) -> np.ndarray:
    """Return the hash of each content, (contents, 16) uint8."""
    digests = b"".join(hashlib.blake2b(content, digest_size=BYTES).digest() for content in contents)
    return np.frombuffer(digests, np.uint8).reshape(-1, BYTES)


def as_keys(marks: np.ndarray) -> np.ndarray:
    """Return marks as one value each, which can be compared and sorted, (examples,)."""
    return np.ascontiguousarray(marks).view(f"S{BYTES}").reshape(-1) if len(marks) else np.zeros(0, f"S{BYTES}")


def as_bytes(keys: np.ndarray) -> np.ndarray:
    """Return the marks of keys, (examples, 16) uint8."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, BYTES)
