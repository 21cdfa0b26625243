"""Triples: their sources, their questions and answers, and the messages for invalid triples."""

import json

import numpy as np
import pytest

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.dataset import DataSpec
from zoo.data.sources import embedded
from zoo.data.sources.triples import hold_out

# Every town is in a country, and roads connect the towns in a ring.
TRIPLES = [(f"town {i}", "in", f"country {i % 3}") for i in range(30)] + [
    (f"town {i}", "road to", f"town {(i + 1) % 30}") for i in range(30)
]


def config(**values):
    return TrainConfig(model="kg_embedding", **values).resolved()


def write(path, triples=TRIPLES, columns=("head", "relation", "tail")):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in triples))
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        path.write_text("".join(separator.join(row) + "\n" for row in ([columns] if columns else []) + list(triples)))
    return path


def asked(data):
    """Return all triples of a set by name, recovered from the questions in both directions."""
    names, number, found = data.spec.class_names, len(data.spec.relations), {}
    for part in ("train", "validation", "test"):
        split, half = getattr(data, part), len(getattr(data, part)) // 2
        rows = [(int(e), int(r), int(y)) for (e, r), y in zip(split.x, split.y, strict=True)]
        assert rows[half:] == [(y, r + number, e) for e, r, y in rows[:half]]
        found[part] = [(names[e], data.spec.relations[r], names[y]) for e, r, y in rows[:half]]
    return found


def test_a_family_is_what_its_trees_say():
    family = embedded.family()
    assert len(family) == len(set(family)) == 112
    assert len({person for head, _, tail in family for person in (head, tail)}) == 24
    told = {(head, relation): {t for h, r, t in family if (h, r) == (head, relation)} for head, relation, _ in family}
    assert told["Colin", "father"] == {"James"} and told["Colin", "sister"] == {"Charlotte"}
    assert told["Colin", "uncle"] == {"Arthur", "Charles"} and told["Sophia", "aunt"] == {"Angela", "Gina"}
    assert told["Charles", "niece"] == {"Charlotte"}  # by marriage
    assert told["Christopher", "wife"] == {"Penelope"} and ("Christopher", "father") not in told
    # Relations have their inverses: a son's or daughter's relative is the father or mother, and so on.
    back = {"husband": {"wife"}, "wife": {"husband"}, "father": {"son", "daughter"}, "mother": {"son", "daughter"},
            "son": {"father", "mother"}, "daughter": {"father", "mother"}, "brother": {"brother", "sister"},
            "sister": {"brother", "sister"}, "uncle": {"nephew", "niece"}, "aunt": {"nephew", "niece"},
            "nephew": {"uncle", "aunt"}, "niece": {"uncle", "aunt"}}  # fmt: skip
    for head, relation, tail in family:
        assert any(head in told.get((tail, other), ()) for other in back[relation]), (head, relation, tail)


def test_training_has_every_entity_and_relation():
    data = load(config(dataset="family"))
    found = asked(data)
    every = found["train"] + found["validation"] + found["test"]
    assert sorted(every) == sorted(embedded.family())
    assert {entity for h, _, t in found["train"] for entity in (h, t)} == set(data.spec.class_names)
    assert {relation for _, relation, _ in found["train"]} == set(data.spec.relations)
    assert len(found["test"]) >= 10 and len(found["validation"]) >= 5
    assert asked(load(config(dataset="family", seed=5))) == found  # independent of the training seed
    spec = data.spec
    assert (spec.task, spec.kind, spec.input_shape, spec.input_dtype) == ("link_prediction", "triples", (2,), "int32")
    assert data.train.x.dtype == data.train.y.dtype == np.int32
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_nothing_is_held_out_that_training_would_miss(capsys):
    chain = [(str(i), "next", str(i + 1)) for i in range(10)]  # each end has one triple
    rest, held = hold_out(chain, 0.5, "test")
    assert sorted(rest + held) == sorted(chain)
    assert {e for h, _, t in rest for e in (h, t)} == {str(i) for i in range(11)}
    assert 0 < len(held) < 5
    assert f"--test-split 0.5: held out {len(held)} triples instead of 5" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--test-split 0.5 of 2 triples: expected triples whose entities"):
        hold_out([("a", "r", "b"), ("c", "r", "d")], 0.5, "test")


@pytest.mark.parametrize(("suffix", "columns"), [
    (".tsv", None),
    (".tsv", ("tail", "head", "relation")),
    (".csv", ("head", "relation", "tail")),
    (".csv", None),
    (".jsonl", ("lhs", "relation", "rhs")),
])  # fmt: skip
def test_tables_of_triples(suffix, columns, tmp_path):
    rows = [(t, h, r) for h, r, t in TRIPLES] if columns and columns[0] == "tail" else TRIPLES
    data = load(config(data=write(tmp_path / f"roads{suffix}", rows, columns)))
    found = asked(data)
    assert sorted(found["train"] + found["validation"] + found["test"]) == sorted(TRIPLES)
    assert data.spec.relations == ("in", "road to")
    assert [len(found[part]) for part in found] == [43, 5, 12]


def test_a_folder_of_splits_and_what_cannot_be_asked(tmp_path, capsys):
    write(tmp_path / "train.tsv", TRIPLES[:50], None)
    write(tmp_path / "valid.tsv", TRIPLES[50:55], None)
    write(tmp_path / "test.tsv", [*TRIPLES[55:], ("town 1", "twin of", "town 2"), ("new", "road to", "town 3")], None)
    data = load(config(data=tmp_path))
    found = asked(data)
    assert [len(found[part]) for part in found] == [50, 5, 6]
    assert ("new", "road to", "town 3") in found["test"]  # ranked, as in published results
    assert data.left_out == {"train": 0, "validation": 0, "test": 1}
    assert "1 of 7 test triples have a relation that no training triple has" in capsys.readouterr().err
    other = config(data=write(tmp_path / "other.tsv", [*TRIPLES[:3], ("x", "in", "y")], None), test_split=0.0,
                   validation_split=0.0)  # fmt: skip
    like = load(other, like=data.spec)
    assert like.left_out["train"] == 1 and len(like.train) == 6
    assert "1 of 4 train triples have an entity or a relation that the run does not know" in capsys.readouterr().err


def test_a_first_line_that_may_be_names_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("source,rel,dest\n" + "\n".join(map(",".join, TRIPLES)))
    assert "line 1 of t.csv is read as a triple, though no other has its relation: source, rel, dest" in "".join(
        load(config(data=tmp_path / "t.csv")).reading.notes
    )
    assert not load(config(data=write(tmp_path / "o.csv"))).reading.notes


def test_repetitions_are_left_out(tmp_path):
    data = load(config(data=write(tmp_path / "p.tsv", TRIPLES + TRIPLES[:7], None)))
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 2 * len(TRIPLES)
    assert data.reading.left_out == {"duplicates in a split": 7}
    assert (data.reading.unit, data.reading.found, data.reading.used) == ("triples", 67, 60)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("p.tsv", "a\tr\tb\nc\tr\n", "line 2: expected a head, a relation and a tail, received 'c', 'r'; use --skip-bad"),
    ("p.tsv", "a\tr\tb\n\tr\td\n", "line 2: expected a head, a relation and a tail, received '', 'r', 'd'"),
    ("p.tsv", "a\tr\tb\tc\n", "line 1: expected a head, a relation and a tail, received 'a', 'r', 'b', 'c'"),
    ("p.csv", "head,relation,tail\na,r,b\na,,b\n", "line 3: expected a head, a relation and a tail"),
    ("p.jsonl", '{"head": "a", "relation": "r"}\n', "expected a column 'tail', received head, relation"),
    ("p.jsonl", '{"head": "a", "relation": "r", "tail": null}\n', "line 1: expected a head, a relation and a tail"),
    ("p.tsv", "", "expected at least one triple, received none"),
    ("p.tsv", "a\tr\ta\n", "expected triples of two or more entities, received 1"),
    ("p.txt", "a\tr\tb\n", "--data .*p.txt: expected a table of triples that ends in .csv, .tsv, .jsonl, or a folder"),
])  # fmt: skip
def test_what_is_no_triple_is_refused_with_the_reason(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        load(config(data=tmp_path / name, task="link_prediction", test_split=0.0, validation_split=0.0))


def test_bad_lines_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "p.tsv", [*TRIPLES, ("a", "", "b"), ("c", "r")], None)
    data = load(config(data=path, skip_bad=True))
    assert len(asked(data)["train"]) == 43 and data.reading.left_out == {"that are no triples": 2}


def test_a_folder_without_a_training_table_is_refused(tmp_path):
    write(tmp_path / "test.tsv")
    with pytest.raises(UsageError, match="expected a table named train, received test.tsv"):
        load(config(data=tmp_path))


def test_what_a_table_is_for_is_the_models_to_say(tmp_path):
    path = write(tmp_path / "p.tsv")
    assert catalogue.task_of(config(data=path)) == "link_prediction"
    assert catalogue.task_of(TrainConfig(model="lstm", data=path)) == "classification"
    assert catalogue.task_of(TrainConfig(model="lstm", data=path, task="link_prediction")) == "link_prediction"


@pytest.mark.slow
def test_wordnet_is_read_whole(data_dir):
    data = load(config(dataset="wordnet/WN18RR", data_dir=data_dir))
    assert [len(split) // 2 for split in (data.train, data.validation, data.test)] == [86_835, 3_034, 3_134]
    assert (data.spec.num_classes, len(data.spec.relations)) == (40_943, 11)
    assert catalogue.task_of(config(dataset="wordnet/WN18RR", data_dir=data_dir)) == "link_prediction"
