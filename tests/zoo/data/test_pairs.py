"""Pairs for translation: their sources, their token ids, and the messages for invalid pairs."""

import json

import numpy as np
import pytest

from tests.zoo.data.test_text import written_run
from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.batches import buckets
from zoo.data.dataset import DataSpec
from zoo.data.reading import Tally
from zoo.data.sources import embedded, tfds
from zoo.data.text import BEGIN_ID, END_ID
from zoo.runs import inference

PAIRS = [(f"Der Hund Nummer {i} läuft.", f'The "dog" number {i} runs.') for i in range(60)]


def config(**values):
    return TrainConfig(model="lstm", **values).resolved()


def write_pairs(path, pairs=PAIRS, columns=("source", "target")):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, pair, strict=True))) + "\n" for pair in pairs))
    elif path.suffix == ".csv":
        rows = [columns, *pairs]
        path.write_text("".join(",".join('"' + t.replace('"', '""') + '"' for t in row) + "\n" for row in rows))
    else:
        path.write_text("".join("\t".join(row) + "\n" for row in ([columns] if columns else []) + list(pairs)))
    return path


@pytest.fixture(scope="module")
def addition():
    return load(config(dataset="addition"))


def test_sums_are_right_and_their_numbers_in_one_split_alone():
    splits = embedded.addition()
    assert splits == embedded.addition()
    sources = [source for columns in splits.values() for source in columns[0]]
    numbers = [tuple(map(int, source.split("+"))) for source in sources]
    assert [str(a + b) for a, b in numbers] == [target for columns in splits.values() for target in columns[1]]
    assert {len(source) for source in sources} == {7}
    assert len({frozenset(pair) for pair in numbers}) == 50_000


def test_the_form_of_pairs(addition):
    spec = addition.spec
    assert (spec.task, spec.kind, spec.input_dtype) == ("translation", "pairs", "int32")
    assert (spec.input_shape, spec.target_shape) == ((7,), (6,))
    assert (spec.vocabulary_size, spec.target_vocabulary_size) == (11 + 4, 10 + 4)
    assert spec.vocabulary_sha256 != spec.target_vocabulary_sha256
    y = addition.train.y
    assert y.dtype == addition.train.x.dtype == np.int32
    assert (y[:, 0] == BEGIN_ID).all()
    assert ((y == END_ID).sum(1) == 1).all()
    ends = (y == END_ID).argmax(1)
    assert all((row[end + 1 :] == 0).all() and (row[:end] > 0).all() for row, end in zip(y, ends, strict=True))
    assert addition.vocabulary.decode(addition.test.x[0]) == embedded.addition()["test"][0][0]
    assert addition.target_vocabulary.decode(addition.test.y[0]) == addition.references["test"][0]
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(("tokens", "shared"), [("word", False), ("character", False), ("subword", True)])
def test_vocabularies_of_a_run_are_saved_and_read(tokens, shared, tmp_path):
    data = load(config(data=write_pairs(tmp_path / "p.tsv"), task="translation", tokens=tokens, vocabulary_size=300))
    assert (data.vocabulary is data.target_vocabulary) == shared
    run = written_run(tmp_path / "run", data)
    assert run.target_vocabulary_file.exists() != shared
    spec, vocabulary = inference.read_spec(run)
    target = inference.read_target_vocabulary(run, spec)
    assert spec == data.spec
    assert vocabulary.rows(["Der Hund"]) == data.vocabulary.rows(["Der Hund"])
    if tokens != "word":  # words may be unknown
        assert [target.decode(row) for row in data.test.y] == data.references["test"]
    wanted = config(data=tmp_path / "p.tsv", test_split=0.0, validation_split=0.0)
    like = inference.load_like(run, wanted)
    assert like.spec == data.spec
    assert len(like.train) == 60
    if not shared:
        vocabulary.save(run.target_vocabulary_file)
        with pytest.raises(UsageError, match="target_vocabulary.json was altered or is another run's"):
            inference.read_target_vocabulary(run, spec)


@pytest.mark.parametrize(("suffix", "columns", "options"), [
    (".csv", ("source", "target"), {}),
    (".jsonl", ("source", "target"), {}),
    (".csv", ("de", "en"), {"source": "de", "target": "en"}),
    (".csv", ("target", "source"), {"source": "target", "target": "source"}),
    (".tsv", None, {}),
])  # fmt: skip
def test_tables_of_pairs(suffix, columns, options, tmp_path):
    path = write_pairs(tmp_path / f"p{suffix}", columns=columns)
    data = load(config(data=path, task="translation", vocabulary_size=300, **options))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [43, 5, 12]
    found = {
        (data.vocabulary.decode(x), reference)
        for split in ("train", "validation", "test")
        for x, reference in zip(getattr(data, split).x, data.references[split], strict=True)
    }
    assert found == set(PAIRS)


def test_a_tsv_without_names_says_what_it_is_taken_for(tmp_path, capsys):
    path = write_pairs(tmp_path / "p.tsv", [(*pair, "third column") for pair in PAIRS], ("de", "en", "from"))
    data = load(config(data=path, task="translation", vocabulary_size=300))
    assert sum(map(len, data.references.values())) == 61
    assert "so it is read as a pair: 'de', 'en'" in capsys.readouterr().err


def test_given_validation_pairs_are_used_as_they_are(tmp_path):
    given = write_pairs(tmp_path / "v.csv", PAIRS[:7])
    path = write_pairs(tmp_path / "p.csv")
    data = load(config(data=path, validation_data=given, task="translation", vocabulary_size=300))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [48, 7, 12]
    assert data.references["validation"] == [target for _, target in PAIRS[:7]]


def test_long_training_pairs_are_left_out_and_others_cut(tmp_path, capsys):
    long = [("lang " * 9, "long")] * 4
    path = write_pairs(tmp_path / "p.csv", [*PAIRS, *long])
    given = write_pairs(tmp_path / "v.csv", [("kurz", "long " * 20)])
    data = load(
        config(data=path, validation_data=given, task="translation", tokens="word", sequence_length=8, test_split=0.0)
    )
    assert len(data.train) == len(data.references["train"]) == 60
    assert capsys.readouterr().err == (
        "p: 4 of 64 training pairs are longer than 8 tokens and are left out; use --sequence-length to keep more\n"
    )
    assert data.validation.x.shape == (1, 8)
    assert data.validation.y.shape == (1, 10)
    assert END_ID not in data.validation.y  # the target is cut before its end token
    assert data.references["validation"] == ["long " * 20]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("p.csv", "src,tgt\na,b\n", "expected a column 'source', received src, tgt"),
    ("p.csv", "source,targte\na,b\n", "expected a column 'target', received .*did you mean 'targte'"),
    ("p.csv", "source,target\na,b\nc,\n", "line 3: expected a text in 'target', received an empty one"),
    ("p.csv", "source,target\na\n", "line 2: no value in column 'target'"),
    ("p.jsonl", '{"source": "a", "target": " "}\n', "line 1: expected a text in 'target', received an empty one"),
    ("p.tsv", "a\tb\nc\n", "line 2: expected two texts with a tab between them, received 'c'"),
    ("p.tsv", "a\tb\n\t \n", "line 2: expected two texts with a tab between them"),
    ("p.tsv", "", "expected at least one line, received none"),
    ("p.tsv", b"a\tb\nc\td\xe4\n", "expected UTF-8 text, received byte 0xe4 at offset 7"),
    ("p.txt", "a\tb\n", "--data .*p.txt: expected a table of pairs that ends in .csv, .tsv, .jsonl"),
])  # fmt: skip
def test_bad_pairs_are_refused_with_the_reason(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        load(config(data=tmp_path / name, task="translation"))


def test_pairs_read_as_classes_are_told_how_to_be_read(tmp_path):
    with pytest.raises(UsageError, match="expected a column 'text', received source, target; --task translation reads"):
        load(config(data=write_pairs(tmp_path / "p.csv")))


def test_no_pair_that_is_short_enough_is_refused(tmp_path):
    with pytest.raises(
        UsageError, match="--sequence-length 2: expected training pairs of p with at most that many tokens"
    ):
        load(config(data=write_pairs(tmp_path / "p.csv"), task="translation", sequence_length=2))


@pytest.mark.parametrize(("features", "keys", "task"), [
    ({"text": "Text", "label": "ClassLabel"}, None, "classification"),
    ({"text": "Text"}, None, "language_model"),
    ({"document": "Text", "summary": "Text", "id": "Text"}, ("document", "summary"), "translation"),
    ({"lhs": "Text", "relation": "Text", "rhs": "Text"}, None, "link_prediction"),
    ({"image": "Image", "caption": "Text"}, ("image", "caption"), "classification"),
])  # fmt: skip
def test_a_prepared_set_is_for_what_its_features_are(features, keys, task, tmp_path):
    folder = tmp_path / "some" / "1.0.0"
    folder.mkdir(parents=True)
    named = {name: {"pythonClassName": f"tensorflow_datasets.core.features.{kind}"} for name, kind in features.items()}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": named}}))
    supervised = {"supervisedKeys": {"tuple": {"items": [{"featureKey": key} for key in keys]}}} if keys else {}
    (folder / "dataset_info.json").write_text(json.dumps(supervised))
    assert catalogue.task_of(config(dataset="some", data_dir=tmp_path)) == task
    asked = config(dataset="some", data_dir=tmp_path, task="language_model")
    assert catalogue.task_of(asked) == "language_model"


@pytest.mark.slow
def test_multi30k_is_read_whole_and_little_of_its_batches_is_padding(data_dir):
    data = load(config(dataset="multi30k", data_dir=data_dir))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [29_000, 1_014, 1_000]
    shown = [data.target_vocabulary.decode(row) for row in data.test.y]
    assert shown == data.references["test"]
    source, target = buckets.lengths(data.train.x), buckets.lengths(data.train.y)

    def padding(count):
        chosen = buckets.choose(source, target, count)
        return buckets.padding(source, target, buckets.batches(source, target, chosen, batch_size=64, seed=0, epoch=0))

    # With a vocabulary of 10,000, the shares are 70.1 % and 22.1 %.
    assert padding(1) > 0.69
    assert padding(4) < 0.23


def test_the_direction_and_the_test_split_are_chosen(data_dir):
    chosen = {"source": None, "target": "de", "test_split_name": "test_2018_flickr"}
    splits = tfds.read_pairs("multi30k", data_dir, **chosen, tally=Tally())
    assert {split: len(columns[0]) for split, columns in splits.items()} == {
        "train": 29_000,
        "validation": 1_014,
        "test": 1_071,
    }
    english, german = splits["train"]
    place = german.index("Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.")
    assert english[place] == "Two young, White males are outside near many bushes."


@pytest.mark.parametrize(("changes", "message"), [
    ({"source": "fr"}, "--source: multi30k has no text feature 'fr', it has de, en"),
    ({"target": "ne"}, "--target: multi30k has no text feature 'ne', .*did you mean 'en'"),
    ({"test_split_name": "test_2017"}, "--test-split-name: expected one of validation, test_2016_flickr, .* received"),
    ({"test_split_name": "train"}, "--test-split-name: expected one of validation, .*received 'train'"),
    ({"dataset": "sst2_sentences", "task": "translation"}, "expected two text features for --task translation"),
    ({"dataset": "mnist", "task": "language_model"}, "--dataset mnist: expected texts, its features are "),
    ({"dataset": "sst2_sentences", "source": "de"}, "--source de: expected with --task translation, received for"),
])  # fmt: skip
def test_tfds_sets_that_are_no_pairs_are_refused(changes, message, data_dir):
    with pytest.raises(UsageError, match=message):
        load(config(**{"dataset": "multi30k", "data_dir": data_dir} | changes))


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl", "pairs.tsv"])
def test_a_column_of_splits_is_followed_and_told(tmp_path, name):
    rows = [(*pair, ("train", "train", "test", "dev")[i % 4]) for i, pair in enumerate(PAIRS)]
    path = write_pairs(tmp_path / name, rows, ("source", "target", "split"))
    found = load(config(data=path, task="translation", vocabulary_size=300))
    assert [found.references[split] for split in ("train", "validation", "test")] == [
        [target for _, target, split in rows if split == named] for named in ("train", "dev", "test")
    ]
    assert "the splits are those of column 'split'" in found.reading.notes
