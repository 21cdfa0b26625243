"""Data for link prediction: triples (head, relation, tail) as questions and answers in both directions.

A triple gives two questions: the tail of (head, relation), and the head as the tail of (tail, inverse relation). The id
of an inverse relation is larger by the number of relations (Lacroix et al., 2018).
"""

import collections
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally, drawn
from zoo.data.sources import embedded, tables, tfds
from zoo.data.sources.folders import split_files, visible_files
from zoo.data.splits import SPLIT_SEED, set_validation
from zoo.data.taken import Taken

Triple = tuple[str, str, str]
NAMES = ("train", "validation", "test")
# Share of the family triples held out for validation, and again for the test. Holding out more leaves too few triples
# to learn the relations from.
FAMILY_HELD = 0.1


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read triples.

    The entities are those of all splits, as in published results, so some questions are about entities that no training
    triple names. Triples with a relation that no training triple has, or with names that the run does not know, are
    left out.

    Args:
        config: Names the triples and how they are split.
        taken: Form that they take over.

    Returns:
        Data set whose splits have x, (questions, 2) int32 entity and relation, and y, the entity that answers each. The
        first half asks for the tail of each triple, in order, the second for the head.

    Raises:
        UsageError: Data that are no triples, or too few to train on.
    """
    like = taken.like
    name = config.data_name
    tally = taken.tally
    tally.unit = "triples"
    splits = _held_out(config, _read(config, tally), tally)
    if like is None:
        entities = sorted({entity for found in splits.values() for head, _, tail in found for entity in (head, tail)})
        relations = sorted({relation for _, relation, _ in splits["train"]})
        if len(entities) < 2:
            raise UsageError(f"{name}: expected triples of two or more entities, received {len(entities)}")
    else:
        entities, relations = like.class_names, like.relations
    ids = {entity: i for i, entity in enumerate(entities)}
    relation_ids = {relation: i for i, relation in enumerate(relations)}
    arrays, left_out = {}, {}
    for split, found in splits.items():
        known = [
            (ids[head], relation_ids[relation], ids[tail])
            for head, relation, tail in found
            if head in ids and relation in relation_ids and tail in ids
        ]
        left_out[split] = len(found) - len(known)
        if left_out[split]:
            what = (
                "an entity or a relation that the run does not know"
                if like
                else "a relation that no training triple has"
            )
            print(f"{name}: {left_out[split]:,} of {len(found):,} {split} triples have {what}; they are not ranked",
                  file=sys.stderr)  # fmt: skip
        tally.examples[split] = len(known)
        tally.left_out["that cannot be ranked"] += left_out[split]
        arrays[split] = questions(np.array(known, np.int32).reshape(-1, 3), len(relations))
    spec = DataSpec(name, "triples", (2,), tuple(entities), task="link_prediction", relations=tuple(relations))
    return Dataset(spec, **arrays, left_out=left_out)


def questions(triples: np.ndarray, relations: int) -> Split:
    """Return the questions and answers of triples: first all questions for tails, then all for heads.

    Args:
        triples: Ids of head, relation and tail, (triples, 3) int32.
        relations: Number of relations, without inverses.
    """
    head, relation, tail = triples.T
    both = np.concatenate([np.stack([head, relation], 1), np.stack([tail, relation + relations], 1)])
    return Split(both, np.concatenate([tail, head]))


def _read(config: TrainConfig, tally: Tally) -> dict[str, list[Triple]]:
    """Return the triples of each split, with a single split "all" if the data has no splits."""
    if config.data is not None:
        splits = _read_files(config.data, config.skip_bad, tally)
        if config.validation_data is not None:
            given = _read_files(config.validation_data, config.skip_bad, tally)
            set_validation(splits, {"all": [triple for found in given.values() for triple in found]}, config, tally)
        return splits
    if not config.dataset_is_tfds:
        rest, test = hold_out(embedded.family(), FAMILY_HELD, "test")
        train, validation = hold_out(rest, FAMILY_HELD, "validation")
        tally.made.update(validation=drawn(FAMILY_HELD), test=drawn(FAMILY_HELD))
        return {"train": train, "validation": validation, "test": test}
    return tfds.read_triples(
        config.dataset,
        catalogue.data_dir(config),
        test_split_name=config.test_split_name,
        skip_bad=config.skip_bad,
        tally=tally,
    )


def _read_files(path: Path, skip_bad: bool, tally: Tally) -> dict[str, list[Triple]]:
    """Read a table, or a folder with tables named train, valid and test."""
    if path.is_file():
        return {"all": tables.read_triples(path, skip_bad, tally)}
    named = split_files(path, catalogue.TABLES, tally)
    if "train" not in named:
        files = [p.name for p in visible_files(path, catalogue.TABLES)]
        raise UsageError(f"{path}: expected a table named train, received {', '.join(files)}")
    return {split: tables.read_triples(file, skip_bad, tally) for split, file in named.items()}


def _held_out(config: TrainConfig, splits: dict[str, list[Triple]], tally: Tally) -> dict[str, list[Triple]]:
    """Return train, validation and test without duplicates. Splits that are not given are held out."""
    for split, found in splits.items():
        splits[split] = list(dict.fromkeys(found))
        tally.left_out["duplicates in a split"] += len(found) - len(splits[split])
    whole = splits.pop("all", None) or splits["train"]
    if "test" not in splits:
        whole, splits["test"] = hold_out(whole, config.test_split, "test")
        tally.made["test"] = drawn(config.test_split)
    if "validation" not in splits:
        whole, splits["validation"] = hold_out(whole, config.validation_split, "validation")
        tally.made["validation"] = drawn(config.validation_split)
    splits["train"] = whole
    return {split: splits[split] for split in NAMES}


def hold_out(triples: Sequence[Triple], share: float, what: str) -> tuple[list[Triple], list[Triple]]:
    """Return (the rest, the held-out triples) such that the rest contains every entity and every relation.

    Args:
        triples: Triples without duplicates.
        share: Share of the triples to hold out, in [0, 1).
        what: "validation" or "test", for the message.

    Raises:
        UsageError: If no triple can be held out.
    """
    wanted = round(len(triples) * share)
    if not wanted:
        return list(triples), []
    entities = collections.Counter(entity for head, _, tail in triples for entity in (head, tail))
    relations = collections.Counter(relation for _, relation, _ in triples)
    held = set()
    for i in np.random.default_rng(SPLIT_SEED).permutation(len(triples)).tolist():
        head, relation, tail = triples[i]
        ends = collections.Counter((head, tail))
        if relations[relation] > 1 and all(entities[entity] > count for entity, count in ends.items()):
            entities.subtract(ends)
            relations[relation] -= 1
            held.add(i)
        if len(held) == wanted:
            break
    if not held:
        raise UsageError(
            f"--{what}-split {share:g} of {len(triples)} triples: expected triples whose entities and relation also"
            " occur in other triples, received none; pass the split as separate data"
        )
    if len(held) < wanted:
        print(f"--{what}-split {share:g}: held out {len(held):,} triples instead of {wanted:,}, so that training has"
              " every entity and relation", file=sys.stderr)  # fmt: skip
    return [t for i, t in enumerate(triples) if i not in held], [triples[i] for i in sorted(held)]
