"""What is known of entities, taken over by name: the rows of a knowledge graph's tables in the order of other data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.data.dataset import DataSpec

ENTITIES, RELATIONS = "entities/embeddings", "relations/embeddings"


def by_name(source: Any, mine: dict[str, Any], data: Dataset) -> tuple[Any, list[str]]:
    """Return a run on triples with its tables brought to the order of other data, and what was found, in sentences.

    Another graph's rows are found by the names of its entities and relations. Of texts in words, the row of a token is
    that of the entity of this name, in small letters. Rows without one stay as random as they begin.

    Args:
        source: the `zoo.training.transfer.Source`.
        mine: weights of the model that begins with it, by name.
        data: that the model is for.

    Raises:
        UsageError: no name is the same, or tables of texts whose rows have another width.
    """
    if data.spec.kind == "triples":
        pairs = {ENTITIES: ENTITIES, RELATIONS: RELATIONS}
        wanted = dict(zip(pairs, _names(data.spec), strict=True))
    elif data.vocabulary is not None and data.vocabulary.tokens == "word":
        name = _table(source, mine, data.spec)
        pairs, wanted = {name: ENTITIES}, {name: data.vocabulary.pieces(range(len(data.vocabulary)))}
    else:
        return source, []
    have = dict(zip((ENTITIES, RELATIONS), _names(source.spec), strict=True))
    arrays, told = dict(source.arrays), []
    for name, theirs in pairs.items():
        table = source.arrays[theirs]
        if tuple(mine[name].shape)[1:] != table.shape[1:]:
            continue  # told of with all that does not fit
        places = _places(have[theirs], wanted[name], small=data.vocabulary is not None)
        found = [i for i, place in enumerate(places) if place is not None]
        if not found:
            raise UsageError(
                f"--init-from {source.path}: expected a run that knows names of {data.spec.name}, such as"
                f" {wanted[name][-1]!r}; none is among its {len(have[theirs]):,} {theirs.partition('/')[0]}"
            )
        rows = keras.ops.convert_to_numpy(mine[name]).copy()
        rows[found] = table[[places[i] for i in found]]
        arrays[name] = rows
        if len(found) < len(places):
            told.append(f"{name}: {len(found):,} of {len(places):,} rows by name, the others begin at random")
    return dataclasses.replace(source, arrays=arrays), told


def _names(spec: DataSpec) -> tuple[list[str], list[str]]:
    """Return the names of the rows of entities and of relations, whose inverses come behind them."""
    # No relation of a table has a tab in its name.
    return list(spec.class_names), [*spec.relations, *(f"\tinverse {name}" for name in spec.relations)]


def _table(source: Any, mine: dict[str, Any], spec: DataSpec) -> str:
    """Return the name of the table that embeds tokens."""
    width = source.arrays[ENTITIES].shape[1]
    tables = {
        name: tuple(v.shape)
        for name, v in mine.items()
        if name.endswith("embeddings") and v.shape[0] == spec.vocabulary_size
    }
    for name, shape in tables.items():
        if shape[1] == width:
            return name
    received = ", ".join(f"{name} {shape}" for name, shape in tables.items()) or "none"
    raise UsageError(
        f"--init-from {source.path}: expected a model whose tokens have {width} numbers, as the entities there have,"
        f" received {received}"
    )


def _places(have: Sequence[str], wanted: Sequence[str], *, small: bool) -> list[int | None]:
    """Return for each wanted name its place in those that there are, None where it is not."""
    index = {name.lower() if small else name: i for i, name in reversed(list(enumerate(have)))}
    return [index.get(name) for name in wanted]
