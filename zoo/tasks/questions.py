"""Questions to a run on a knowledge graph, as people write them: "Colin father ?", and what it answers."""

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, unknown
from zoo.data import DataSpec, Split

UNKNOWN = "?"


def parse(text: str, spec: DataSpec) -> tuple[int, int]:
    """Return the ids (entity, relation) of a question, of a relation's inverse where the head is asked for.

    Args:
        text: head, relation and tail, one of the ends a question mark; between them tabs, or spaces, and then a name
            with spaces stands in quotation marks.
        spec: of the run.

    Raises:
        UsageError: no such question, or a name that the run does not know.
    """
    words = text.split("\t") if "\t" in text else _words(text)
    asked = [i for i, word in enumerate(words) if word == UNKNOWN]
    if len(words) != 3 or asked not in ([0], [2]):
        raise UsageError(
            f"INPUT {text!r}: expected 'HEAD RELATION ?' or '? RELATION TAIL', names with spaces in quotation marks or"
            f" all separated by tabs, received {len(words)} words with {len(asked)} question marks"
        )
    entity = _id("entity", words[2 - asked[0]], spec.class_names)
    relation = _id("relation", words[1], spec.relations)
    return entity, relation + (len(spec.relations) if asked == [0] else 0)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe
        return text.split()


def _id(what: str, name: str, known: Sequence[str]) -> int:
    try:
        return known.index(name)
    except ValueError:
        raise unknown(what, name, known) from None


def answers(model: Any, asked: Sequence[tuple[int, int]], spec: DataSpec, top: int) -> list[list[tuple[str, float]]]:
    """Return the most probable entities of each question, with their probabilities among all entities.

    Args:
        model: of the run.
        asked: as `parse` returns them.
        spec: of the run.
        top: answers of each.
    """
    from zoo.runs.inference import BATCH, logits_of, probabilities

    x = np.array(asked, np.int32)
    found = []
    for start in range(0, len(x), BATCH):
        part = x[start : start + BATCH]
        for p in probabilities(logits_of(model, Split(part, part[:, 0]))):
            found.append([(spec.class_names[i], float(p[i])) for i in p.argsort()[::-1][:top]])
    return found
