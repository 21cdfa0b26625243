"""Tables and arrays as they are exported: every example is read, with its label, or the input is refused."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.sources import classes

ROWS = [(f"{'good' if i % 2 else 'bad'} film {i}", "pos" if i % 2 else "neg") for i in range(120)]


def read(path, **options):
    return load(TrainConfig(**{"model": "lstm", "data": path} | options).resolved())


def texts(data):
    """Return the texts of all splits, as the vocabulary writes them."""
    splits = (data.train, data.validation, data.test)
    return sorted(data.vocabulary.decode(row) for split in splits for row in split.x)


def test_a_quotation_mark_in_a_tab_separated_file_is_a_character(tmp_path):
    lines = [('"' if i in (20, 80) else "") + f"{text}\t{label}\n" for i, (text, label) in enumerate(ROWS)]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(lines))
    data = read(tmp_path / "a.tsv", tokens="character")
    assert (data.reading.found, data.reading.used) == (120, 120)
    assert data.reading.classes == {"neg": 60, "pos": 60}
    assert texts(data) == sorted(('"' if i in (20, 80) else "") + text for i, (text, _) in enumerate(ROWS))


def test_quotation_marks_of_pairs_and_triples_are_kept(tmp_path):
    (tmp_path / "p.tsv").write_text(
        "source\ttarget\n" + "".join(('"' if i in (50, 150) else "") + f"{i} plus one\t{i + 1}\n" for i in range(200))
    )
    options = {"task": "translation", "tokens": "character"}
    data = load(TrainConfig(model="transformer_seq2seq", data=tmp_path / "p.tsv", **options).resolved())
    assert data.reading.used == 200
    assert sum(text.startswith('"') for text in texts(data)) == 2
    rows = [(f'"{i}' if i in (3, 9) else str(i), "before", str(i + 1)) for i in range(30)]
    (tmp_path / "t.tsv").write_text("head\trelation\ttail\n" + "".join("\t".join(row) + "\n" for row in rows))
    options = {"task": "link_prediction", "test_split": 0.0, "validation_split": 0.0}
    triples = load(TrainConfig(model="kg_embedding", data=tmp_path / "t.tsv", **options).resolved())
    assert triples.reading.used == 30 and {'"3', '"9'} <= set(triples.spec.class_names)


def test_values_that_a_csv_writer_has_quoted_are_told_of(tmp_path):
    (tmp_path / "a.tsv").write_text(
        "text\tlabel\n" + "".join(f'"a ""{text}"" of {i}"\t{label}\n' for i, (text, label) in enumerate(ROWS))
    )
    assert read(tmp_path / "a.tsv").reading.notes[0].startswith("120 lines of a.tsv have values in quotation marks")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.csv", "text,label\na,b\nwell, no,c\n", "line 3: expected 2 values, one for each of the columns text, label,"
     " received 3: 'well', ' no', 'c'; quote a text that has commas"),
    ("a.tsv", "text\tlabel\na\tb\tc\n", "line 2: expected 2 values.* received 3.*replace the tabs inside a text"),
    ("a.csv", "text;label\na;b\n", "expected a column 'text', received text;label; write commas between the values"),
    ("a.csv", "sentence,label\na,b\n", "expected a column 'text', received sentence, label; --text-column names"),
    ("a.csv", "text,label,text\na,b,c\n", "expected each column once, received 'text' 2 times"),
    ("a.csv", 'text,label\n"a,b\nc,d\ne,f\n', "line 2: expected a table: unexpected end of data; a text that begins"),
    ("a.csv", 'text,label\na,b\n"c,d\n"e,f\n', "line 3: expected a table: ',' expected after '\"'"),
    ("a.csv", 'text,label\na,"po\ns"\nb,neg\n' * 1 + 'a,"po\ns"\nb,neg\n' * 9, r"one line each, received 'po\\ns'"),
    ("a.jsonl", '{"text": "a", "label": ["b", "c"]}\n', "label: expected a text or a number, received a list"),
])  # fmt: skip
def test_what_would_be_read_wrongly_is_refused(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        read(tmp_path / name)


def test_empty_values_behind_the_columns_are_no_values(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{text},{label},\n" for text, label in ROWS))
    assert read(tmp_path / "a.csv").reading.used == 120


def test_labels_are_read_without_what_nobody_sees(tmp_path):
    names = ("caf\u00e9", "cafe\u0301", " caf\u00e9 ", "bar")  # composed, decomposed, with spaces
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"{text},{names[i % 4]}\n" for i, (text, _) in enumerate(ROWS)), encoding="utf-8"
    )
    reading = read(tmp_path / "a.csv").reading
    assert reading.classes == {"bar": 30, "caf\u00e9": 90}
    assert reading.changed == {
        "labels in Unicode's composed form": 30,
        "labels without the spaces around them": 30,
    }
    assert "30 labels without the spaces around them" in reading.line()


def test_classes_that_differ_in_case_alone_are_told_of(tmp_path):
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"{t},{'Pos' if y == 'pos' else 'pos'}\n" for t, y in ROWS)
    )
    assert read(tmp_path / "a.csv").reading.notes == ("the classes 'Pos', 'pos' differ only in upper and lower case",)


@pytest.mark.parametrize("model", ["lstm", "tabular"])
def test_classes_that_may_be_missing_labels_or_one_class_are_told_of(model, tmp_path):
    labels = ("NA", "yes", "Yes", "no")
    lines = [f"{text},{labels[i % 4]}" for i, (text, _) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    notes = read(tmp_path / "a.csv", model=model, task="classification", label_column="label").reading.notes
    assert "'NA' counts as a class; leave it out if it is a missing label" in notes
    assert "the classes 'Yes', 'yes' differ only in upper and lower case" in notes


def test_numbers_as_labels_of_objects_are_one_class(tmp_path):
    values = (0, 1.0, 1, 0.0)
    lines = [json.dumps({"text": text, "label": values[i % 4]}) for i, (text, _) in enumerate(ROWS)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path / "a.jsonl").reading.classes == {"0": 60, "1": 60}
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{t},{('0', '0.0')[y == 'pos']}\n" for t, y in ROWS))
    assert "the classes '0', '0.0' are the same number" in read(tmp_path / "a.csv").reading.notes


def test_labels_that_are_no_numbers_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{t},{'--1' if y == 'pos' else '1'}\n" for t, y in ROWS))
    assert read(tmp_path / "a.csv").reading.classes == {"--1": 60, "1": 60}


def test_lists_of_words_are_texts(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t.split(), "label": y}) + "\n" for t, y in ROWS))
    data = read(tmp_path / "a.jsonl", tokens="character")
    assert texts(data) == sorted(text for text, _ in ROWS)
    assert data.reading.changed == {"lists in 'text' joined by spaces": 120}


def test_lines_with_an_empty_field_are_left_out_when_asked(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n,pos\nlost,\n" + "".join(f"{text},{label}\n" for text, label in ROWS))
    with pytest.raises(UsageError, match="line 2: expected a text in 'text', received an empty one; --skip-bad"):
        read(tmp_path / "a.csv")
    reading = read(tmp_path / "a.csv", skip_bad=True).reading
    assert (reading.found, reading.used, reading.left_out) == (122, 120, {"with an empty field": 2})


LABELS = np.arange(120) % 10
PICTURES = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)


@pytest.mark.parametrize(("y", "changed"), [
    (LABELS[:, None], {"labels from a column (examples, 1)": 120}),
    (np.eye(10, dtype=np.uint8)[LABELS], {"one-hot labels read as classes": 120}),
    (np.eye(10, dtype=np.float32)[LABELS], {"one-hot labels read as classes": 120}),
    (np.eye(10, dtype=bool)[LABELS], {"one-hot labels read as classes": 120}),
])  # fmt: skip
def test_labels_of_arrays_in_other_forms_are_classes(y, changed, tmp_path):
    np.savez(tmp_path / "a.npz", x=PICTURES, y=y)
    data = load(TrainConfig(data=tmp_path / "a.npz", test_split=0.0, validation_split=0.0).resolved())
    assert data.train.y.tolist() == LABELS.tolist() and data.reading.changed == changed
    assert data.reading.classes == {str(i): 12 for i in range(10)}


@pytest.mark.parametrize(("x", "y", "message"), [
    (PICTURES, np.ones((120, 3), int), "received the shape .120, 3. for inputs .120, 8, 8.; an example has one class"),
    (PICTURES, np.full((120, 8), 2), "expected a label for each example"),  # rows of pixels are no time steps
    (PICTURES / 255, np.full((120, 5), 2), "received the shape .120, 5. for inputs"),
])  # fmt: skip
def test_labels_that_are_no_classes_are_refused(x, y, message, tmp_path):
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(UsageError, match=message):
        load(TrainConfig(data=tmp_path / "a.npz").resolved())


def test_a_label_for_each_step_stays_one(tmp_path):
    y = np.random.default_rng(0).integers(0, 2, (40, 6))
    np.savez(tmp_path / "a.npz", x=np.zeros((40, 6, 3), "float32"), y=y)
    data = load(TrainConfig(model="lstm", data=tmp_path / "a.npz", test_split=0.0, validation_split=0.0).resolved())
    assert data.spec.per_step and data.train.y.tolist() == y.tolist()


def test_classes_of_other_data_are_matched_by_name(tmp_path):
    def saved(name, y, names):
        np.savez(tmp_path / name, x=PICTURES[: len(y)], y=y, class_names=np.array(names))
        return TrainConfig(data=tmp_path / name, test_split=0.0, validation_split=0.0).resolved()

    like = load(saved("run.npz", np.arange(60) % 3, ["ant", "bee", "cat"])).spec
    turned = load(saved("turned.npz", np.arange(60) % 3, ["cat", "bee", "ant"]), like=like)
    assert turned.train.y.tolist() == [2 - i % 3 for i in range(60)]
    some = load(saved("some.npz", np.arange(60) % 3 + 1, ["dog", "cat", "bee", "ant"]), like=like)  # no dog
    assert some.train.y.tolist() == [2 - i % 3 for i in range(60)]
    other = load(saved("other.npz", np.arange(60) % 3, ["x", "y", "z"]), like=like)
    assert other.reading.notes == ("its classes x, y, z are taken for ant, bee, cat of the run, in this order",)
    with pytest.raises(UsageError, match="class 'x' is not one of ant, bee, cat, which the run was trained on"):
        load(saved("more.npz", np.arange(60) % 4, ["x", "ant", "bee", "cat"]), like=like)


@pytest.fixture
def listed(tmp_path):
    """A table of pictures and sounds by six people, with a class each."""
    rows = ["file_name,sound,what,who"]
    for i in range(60):
        Image.fromarray(np.full((8, 8), 40 * (i % 2) + i, np.uint8)).save(tmp_path / f"{i}.png")
        samples = (3000 * np.sin((1 + i % 2) * 0.3 * np.arange(800))).astype(np.int16)
        wavfile.write(tmp_path / f"{i}.wav", 8000, samples)
        rows.append(f"{i}.png,{i}.wav,{['dark', 'light'][i % 2]},p{i % 6}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    return tmp_path / "all.csv"


@pytest.mark.parametrize(("model", "kind", "shape"), [("cnn", "image", (8, 8, 1)), ("ds_cnn", "sound", (800,))])
def test_a_table_names_pictures_or_sounds_with_class_and_group(listed, model, kind, shape):
    config = TrainConfig(model=model, data=listed, label_column="what", group_column="who", image_size=None)
    data = load(config.resolved())
    assert (data.spec.kind, data.spec.input_shape, data.spec.class_names) == (kind, shape, ("dark", "light"))
    people = {split: set(getattr(data, split).groups.tolist()) for split in ("train", "validation", "test")}
    assert sum(map(len, people.values())) == 6 and all(people.values())  # nobody is in two splits
    if kind == "image":
        for row, label in zip(data.train.x[:], data.train.y, strict=True):
            assert row[0, 0, 0] % 2 == label  # every picture has the class of its row


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"label_column": "wat"}, "--label-column wat: expected a column of all.csv"),
        ({"label_column": "what", "group_column": "whom"}, "--group-column whom: expected a column of all.csv"),
        ({"label_column": "what", "rate": 8000.0}, "--rate 8000.0: expected with sounds, received pictures"),
    ],
)
def test_wrong_columns_of_files_end_in_a_sentence(listed, words, sentence):
    with pytest.raises(UsageError, match=sentence):
        load(TrainConfig(model="cnn", data=listed, **words).resolved())


def test_a_column_of_groups_is_refused_where_it_has_no_effect(tmp_path):
    (tmp_path / "t.csv").write_text("text,label,who\n" + "good film,a,x\nbad film,b,y\n" * 20)
    with pytest.raises(UsageError, match="--group-column who: expected with --window, with --model tabular"):
        classes.check(TrainConfig(model="transformer", data=tmp_path / "t.csv", group_column="who"))


def test_a_column_of_splits_is_taken_by_tables_of_texts_and_of_pictures(listed, tmp_path):
    parts = ["train", "dev", "test"]
    rows = [f"good film {i},{'ab'[i // 3 % 2]},{parts[i % 3]}" for i in range(60)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label,split", *rows]))
    config = TrainConfig(model="lstm", data=tmp_path / "texts.csv")
    data = load(config.resolved())
    assert len(data.validation) == len(data.test) == 20 and data.test.y.tolist() == [i % 2 for i in range(20)]
    assert "the splits are those of column 'split'" in data.reading.notes
    lines = listed.read_text().splitlines()
    listed.write_text(
        "\n".join([f"{lines[0]},split", *(f"{line},{parts[i // 2 % 3]}" for i, line in enumerate(lines[1:]))])
    )
    data = load(TrainConfig(model="cnn", data=listed, label_column="what", group_column="who").resolved())
    assert [len(getattr(data, split)) for split in ("train", "validation", "test")] == [20, 20, 20]
    assert data.test.x[0][0, 0, 0] == 4 and data.test.groups[0] == "p4"
    rows = [f"{i}.png,caption {i},{parts[i // 2 % 3]}" for i in range(60)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption,split", *rows]))
    data = load(TrainConfig(model="cross_modal", data=tmp_path / "captions.csv").resolved())
    assert [len(getattr(data, split)) for split in ("train", "validation", "test")] == [20, 20, 20]
    assert data.test.x[0][0, 0, 0] == 4
