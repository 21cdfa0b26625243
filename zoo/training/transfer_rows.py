"""Copy embeddings of a knowledge graph by name: rows of its tables in the order of other data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.data.dataset import DataSpec

ENTITIES, RELATIONS = "entities/embeddings", "relations/embeddings"


def by_name(source: Any, mine: dict[str, Any], data: Dataset) -> tuple[Any, list[str]]:
    """Return a run on triples with its tables in the order of other data, and sentences about what was found.

    Rows of another graph are found by the names of entities and relations. For texts split into words, the row of a
    token is that of the entity with the same name in lower case. Rows without a match keep their random values.

    Args:
        source: Run, a `zoo.training.transfer.SourceRun`.
        mine: Weights of the model that copies them, by name.
        data: Data of the model.

    Raises:
        UsageError: No name matches, or an embedding of texts has another width.
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
            continue  # reported with the other weights that do not fit
        places = _places(have[theirs], wanted[name], small=data.vocabulary is not None)
        found = [i for i, place in enumerate(places) if place is not None]
        if not found:
            raise UsageError(
                f"--init-from {source.path}: expected a run with names of {data.spec.name}, such as"
                f" {wanted[name][-1]!r}; none is among its {len(have[theirs]):,} {theirs.partition('/')[0]}"
            )
        rows = keras.ops.convert_to_numpy(mine[name]).copy()
        rows[found] = table[[places[i] for i in found]]
        arrays[name] = rows
        if len(found) < len(places):
            told.append(f"{name}: {len(found):,} of {len(places):,} rows copied by name, the others are random")
    return dataclasses.replace(source, arrays=arrays), told


def _names(spec: DataSpec) -> tuple[list[str], list[str]]:
    """Return the names of the rows of entities and of relations; inverse relations follow the relations."""
    # A tab keeps the names of inverses apart: no relation of a table has one in its name.
    return list(spec.class_names), [*spec.relations, *(f"\tinverse {name}" for name in spec.relations)]


def _table(source: Any, mine: dict[str, Any], spec: DataSpec) -> str:
    """Return the name of the table with the embeddings of tokens."""
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
        f"--init-from {source.path}: expected a model whose token embeddings have the width of the entities, {width},"
        f" received {received}"
    )


def _places(have: Sequence[str], wanted: Sequence[str], *, small: bool) -> list[int | None]:
    """Return the index of each wanted name among those that exist; None if it does not."""
    index = {name.lower() if small else name: i for i, name in reversed(list(enumerate(have)))}
    return [index.get(name) for name in wanted]
