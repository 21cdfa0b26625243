"""Data sources: what they read, and the messages for invalid data."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import blobs
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import from_tf_data, images, load
from zoo.data.cache import cached
from zoo.data.text import Vocabulary


def config(**values):
    return TrainConfig(**values).resolved()


@pytest.fixture
def folder(tmp_path):
    """Write 30 images of 24x20 pixels for each of two classes, dark and bright."""
    for name, level in (("bright", 200), ("dark", 30)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(30):
            picture = np.full((24, 20), level + i, "uint8")
            Image.fromarray(picture).save(tmp_path / "set" / name / f"{i:02}.png")
    return tmp_path / "set"


def write_table(path, rows, columns=("text", "label")):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        import csv

        with path.open("w", newline="") as file:
            if path.suffix == ".tsv":  # without quotation marks
                file.writelines("\t".join(map(str, row)) + "\n" for row in [columns, *rows])
            else:
                csv.writer(file).writerows([columns, *rows])
    return path


TEXTS = [
    (f'a "good", fine film {i}' if i % 2 else f"a bad,\ndull film {i}", "yes" if i % 2 else "no") for i in range(60)
]


def test_digits_are_the_scikit_learn_scans_at_another_size():
    from sklearn.datasets import load_digits

    data = load(config(dataset="digits"))
    assert data.spec.input_shape == (28, 28, 1)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [1293, 144, 360]
    own = load(config(dataset="digits", image_size=8))
    everything = np.concatenate([own.train.x, own.validation.x, own.test.x])
    expected = np.rint(load_digits().images * 255 / 16)
    assert sorted(map(bytes, everything)) == sorted(bytes(i.astype("uint8")) for i in expected)


def test_splits_are_stratified_disjoint_and_the_same_for_every_seed():
    first, second = (load(config(dataset="digits", seed=seed)) for seed in (0, 1))
    for name in ("train", "validation", "test"):
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(a.x, b.x)
        shares = np.bincount(a.y) / len(a)
        assert np.abs(shares - 0.1).max() < 0.02


def test_folder_of_images(folder):
    data = load(config(data=folder))
    assert data.spec.class_names == ("bright", "dark")
    assert data.spec.input_shape == (24, 20, 1)
    assert (data.train.x.mean((1, 2, 3)) > 120).tolist() == (data.train.y == 0).tolist()
    assert load(config(data=folder, image_size=12)).spec.input_shape == (12, 12, 1)


def test_folder_with_splits(folder):
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        (folder.parent / "split" / split).parent.mkdir(exist_ok=True)
        target = folder.parent / "split" / split
        __import__("shutil").copytree(folder, target)
        for extra in range(ord(name) - ord("a")):
            (target / "dark" / f"{extra:02}.png").unlink()
    data = load(config(data=folder.parent / "split"))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [60, 59, 58]


def test_colour_and_grey_images_together_are_colour(folder):
    Image.new("RGB", (20, 24), (255, 0, 0)).save(folder / "dark" / "red.png")
    data = load(config(data=folder))
    assert data.spec.input_shape == (24, 20, 3)
    everything = np.concatenate([data.train.x, data.validation.x, data.test.x])
    assert (everything == np.array([255, 0, 0])).all((1, 2, 3)).sum() == 1


def test_unreadable_images_are_counted_named_and_skipped_only_on_request(folder):
    (folder / "dark" / "broken.png").write_bytes(b"not an image")
    whole = (folder / "dark" / "00.png").read_bytes()
    (folder / "dark" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        UsageError, match=r"2 of 62 pictures cannot be read: dark/broken.png, dark/cut.png; .*--skip-bad"
    ):
        load(config(data=folder))
    data = load(config(data=folder, skip_bad=True))
    assert len(data.train) + len(data.validation) + len(data.test) == 60


def test_empty_class_is_named(folder):
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="class 'empty' has no images: expected .png"):
        load(config(data=folder))


def test_one_class_is_not_a_classification(folder):
    with pytest.raises(UsageError, match="two or more classes, received 0"):
        load(config(data=folder / "dark"))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), 0x8000, "uint16")).save(tmp_path / "x.png")
    assert images.decode(tmp_path / "x.png", None, 1).ravel().tolist() == [128] * 16


@pytest.mark.parametrize(("x", "kind", "shape"), [
    (np.zeros((60, 6), "float32"), "vector", (6,)),
    (np.zeros((60, 6), "int64"), "tokens", (6,)),
    (np.zeros((60, 6, 5), "float64"), "sequence", (6, 5)),
    (np.zeros((60, 6, 5), "uint8"), "image", (6, 5, 1)),
    (np.zeros((60, 6, 5, 3), "float32"), "image", (6, 5, 3)),
])  # fmt: skip
def test_npz_kinds(x, kind, shape, tmp_path):
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(60) % 3)
    spec = load(config(data=tmp_path / "x.npz")).spec
    assert (spec.kind, spec.input_shape, spec.class_names) == (kind, shape, ("0", "1", "2"))


def test_npz_with_given_splits_and_names(tmp_path):
    x, y = blobs(40, (6,))
    names = np.array(["low", "middle", "high"])
    np.savez(
        tmp_path / "x.npz",
        x_train=x[:30],
        y_train=names[y[:30]],
        x_test=x[30:],
        y_test=names[y[30:]],
        class_names=names,
    )
    data = load(config(data=tmp_path / "x.npz"))
    assert data.spec.class_names == ("low", "middle", "high")
    assert (len(data.train) + len(data.validation), len(data.test)) == (30, 10)
    np.testing.assert_array_equal(data.test.y, y[30:])


def bad_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def nan_in(x, count):
    x = x.copy()
    x[7, :count] = np.nan
    return x


X, Y = blobs(60, (6,))


@pytest.mark.parametrize(("arrays", "message"), [
    ({"x": nan_in(X, 2), "y": Y}, "x: expected finite numbers, received 2 NaN or infinite value.*first in example 7"),
    ({"x": X}, "expected an array 'y' beside 'x', received x"),
    ({"features": X, "y": Y}, "expected arrays x and y, or x_train and y_train; received features, y"),
    ({"x": X, "y": Y[:50]}, "as many labels as examples, received 60 x, 50 y"),
    ({"x": X, "y": Y - 1}, "labels out of range: expected 0 to 1 for 2 classes, received -1 to 1"),
    ({"x": X, "y": Y.astype("float32")}, "y: expected whole numbers or texts as classes, received float32"),
    ({"x": X, "y": Y * 2}, "class '1' is empty: .* number the classes without gaps"),
    ({"x": X, "y": Y * 0}, "two or more classes, received 1"),
    ({"x": X[:, :, None, None, None], "y": Y}, r"expected \(examples, features\), .* received float64 of shape"),
    ({"x": np.full((60, 4, 4), 300), "y": Y}, "x: expected pixels from 0 to 255, received 300 in example 0"),
    ({"x": X, "y": np.r_[Y[:-1] % 2, 2]}, "class '2' has 1 example.*stratified test split needs at least 2"),
])  # fmt: skip
def test_bad_npz_is_refused_with_the_reason(arrays, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        load(config(data=bad_npz(tmp_path / "bad.npz", **arrays)))


def test_labels_beyond_the_stated_classes_are_out_of_range(tmp_path):
    path = bad_npz(tmp_path / "x.npz", x=X, y=Y)
    with pytest.raises(UsageError, match="labels out of range: expected 0 to 1 for 2 classes, received 0 to 2"):
        load(config(data=path), num_classes=2)
    assert load(config(data=path), num_classes=5).spec.num_classes == 5


def test_a_file_that_is_no_npz_or_holds_objects_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UsageError, match="expected an .npz file of plain arrays"):
        load(config(data=tmp_path / "text.npz"))
    np.savez(tmp_path / "object.npz", x=np.array([{}, {}], object), y=np.arange(2))
    with pytest.raises(UsageError, match="object.npz: x: expected numbers or texts, received the type '.O'"):
        load(config(data=tmp_path / "object.npz"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables_of_text(suffix, tmp_path):
    rows = [(" ".join(text.split()) if suffix == ".tsv" else text, label) for text, label in TEXTS]
    data = load(config(data=write_table(tmp_path / f"films{suffix}", rows)))
    assert data.spec.kind == "tokens"
    assert data.spec.class_names == ("no", "yes")
    assert data.spec.vocabulary_size == len(data.vocabulary)
    decoded = data.vocabulary.decode(data.train.x[0])
    assert ("good" in decoded) == (data.train.y[0] == 1)


def test_columns_are_chosen_and_joined(tmp_path):
    rows = [(f"title {i}", f"body {i}", i % 3) for i in range(60)]
    path = write_table(tmp_path / "news.csv", rows, ("title", "body", "topic"))
    data = load(config(data=path, text_column="title,body", label_column="topic"))
    assert data.spec.class_names == ("0", "1", "2")
    assert {"title", "body"} <= set(data.vocabulary.decode(data.train.x[0]).split())


def test_given_validation_data_is_used_as_it_is(tmp_path):
    path = write_table(tmp_path / "films.csv", TEXTS)
    given = write_table(tmp_path / "more.csv", TEXTS[:7])
    data = load(config(data=path, validation_data=given))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [48, 7, 12]


def test_given_validation_images_are_brought_to_the_shape_of_the_training_images(folder, tmp_path):
    (tmp_path / "more" / "dark").mkdir(parents=True)
    (tmp_path / "more" / "bright").mkdir()
    for name in ("dark", "bright"):
        Image.new("RGB", (50, 60)).save(tmp_path / "more" / name / "0.png")
    data = load(config(data=folder, validation_data=tmp_path / "more"))
    assert data.validation.x.shape == (2, 24, 20, 1)


def test_splits_of_different_shapes_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=X, y_train=Y, x_test=X[:, :4], y_test=Y)
    with pytest.raises(UsageError, match=r"one shape in every split, received train \(6,\), test \(4,\)"):
        load(config(data=tmp_path / "x.npz"))
    np.savez(tmp_path / "x.npz", x=X, y=Y)
    np.savez(tmp_path / "more.npz", x=X[:, None], y=Y)
    with pytest.raises(UsageError, match="--validation-data: expected vector inputs as in --data, received sequence"):
        load(config(data=tmp_path / "x.npz", validation_data=tmp_path / "more.npz"))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.csv", "txt,label\nx,y\n", "expected a column 'text', received txt, label; did you mean 'txt'"),
    ("a.csv", "text,label\n", "expected at least one line after the column names"),
    ("a.csv", "text,label\nonly\n", "line 2: no value in column 'label'"),
    ("a.jsonl", '{"text": "a", "label"\n', "a.jsonl, line 1: expected JSON"),
    ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
    ("a.csv", "text,label\na,b\n ,b\n", "line 3: expected a text in 'text', received an empty one"),
    ("a.csv", b"text,label\n\xff\xfe,1\n", "expected UTF-8 text, received byte 0xff at offset 11"),
])  # fmt: skip
def test_bad_tables_are_refused_with_the_reason(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        load(config(data=path))


def test_a_class_only_in_the_validation_data_is_named(tmp_path):
    path = write_table(tmp_path / "films.csv", TEXTS)
    other = write_table(tmp_path / "more.csv", [("x", "perhaps")])
    with pytest.raises(UsageError, match="class 'perhaps' is not one of no, yes"):
        load(config(data=path, validation_data=other))


def test_vocabulary_round_trip(tmp_path):
    vocabulary = Vocabulary.train(["The cat, the dog", "the bird"], size=5)
    assert len(vocabulary) == 5
    ids = vocabulary.encode(["the CAT sat", "the"], length=4)
    assert ids.shape == (2, 4)
    assert ids[0, 0] == 2  # the most frequent word follows padding and unknown
    assert ids[0, 2] == 1
    assert ids[1].tolist() == [2, 0, 0, 0]
    vocabulary.save(tmp_path / "v.json")
    np.testing.assert_array_equal(Vocabulary.load(tmp_path / "v.json").encode(["the CAT sat", "the"], 4), ids)


def test_vocabulary_is_built_from_the_training_texts_alone(tmp_path):
    path = write_table(tmp_path / "films.csv", TEXTS)
    given = write_table(tmp_path / "more.csv", [("unheard words", "no")] * 3)
    data = load(config(data=path, validation_data=given))
    assert set(data.validation.x[data.validation.x > 0].tolist()) == {1}


def test_arrays_are_made_once_and_then_read(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(5), "y": np.ones(2)}

    for _ in range(2):
        found = cached(["key", 1], make)
        np.testing.assert_array_equal(found["x"], np.arange(5))
    assert len(made) == 1
    cached(["key", 2], make)
    assert len(made) == 2


@pytest.mark.slow
def test_mnist_is_read_whole(data_dir):
    data = load(config(model="cnn", dataset="mnist", data_dir=data_dir, validation_split=0.0))
    # Published counts of each label.
    assert np.bincount(data.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.x.shape == (60_000, 28, 28, 1)
    again = load(config(model="cnn", dataset="mnist", data_dir=data_dir, validation_split=0.0))
    np.testing.assert_array_equal(again.test.x, data.test.x)


@pytest.mark.slow
def test_mnist_is_read_at_another_size(data_dir):
    data, smaller = (load(config(model="cnn", dataset="mnist", data_dir=data_dir, image_size=n)) for n in (28, 14))
    reduced = np.stack([images.resize(image, (14, 14)) for image in data.test.x[:20]])
    np.testing.assert_array_equal(smaller.test.x[:20], reduced)


def test_texts_of_tfds(data_dir):
    sst2 = load(config(model="lstm", dataset="sst2_sentences", data_dir=data_dir))
    assert [len(s) for s in (sst2.train, sst2.validation, sst2.test)] == [6920, 872, 1821]
    assert sst2.spec.class_names == ("negative", "positive")
    news = load(config(model="lstm", dataset="ag_news_test7600", data_dir=data_dir, text_column="title,description"))
    assert [len(s) for s in (news.train, news.validation, news.test)] == [5400, 600, 1600]


@pytest.mark.parametrize(("changes", "message"), [
    ({"dataset": "multi30k", "task": "classification"}, "a text with a class label, its features are de, en"),
    ({"dataset": "sst2_sentences", "text_column": "sentense"}, "--text-column: .* did you mean 'sentence'"),
    ({"dataset": "wordnet"}, "expected one of the prepared wordnet/WN18RR"),
])  # fmt: skip
def test_tfds_sets_that_are_no_classification_are_refused(changes, message, data_dir):
    with pytest.raises(UsageError, match=message):
        load(config(model="lstm", data_dir=data_dir, **changes))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((np.zeros((6, 4)), np.eye(3)[[0, 1, 2, 0, 1, 2]]), "these are one-hot, give y.argmax"),
        ((np.zeros((6, 4)), np.ones((6, 3), int)), "received labels of shape .6, 3.; compression.api.compress"),
        ((np.zeros((6, 4)), np.full(6, 0.43)), "expected whole numbers within int32, received 0.43"),
        ((np.zeros((6, 4)), np.zeros(6), np.ones(6)), "received 3 parts; sample weights are not taken"),
        (((np.zeros((6, 4)), np.zeros((6, 4))), np.zeros(6)), "expected one array of inputs"),
        (({"a": np.zeros((6, 4))}, np.zeros(6)), "expected one array of inputs"),
        ((np.zeros((6, 4)), np.zeros(5)), "as many labels as inputs"),
        ((np.zeros(4), np.int32(1)), r"call .batch\(N\)"),
        ((np.zeros((6, 8, 8, 3), "uint8"), np.zeros((6, 8, 8), int)), "expected class indices"),
        ((np.zeros((6, 4, 4, 4, 1)), np.zeros(6, int)), "received inputs of shape"),
    ],
)
def test_batches_that_are_no_classes_are_refused(batch, message):
    with pytest.raises(UsageError, match=message):
        from_tf_data("parts", [batch], [batch])


def test_labels_of_one_column_are_class_indices():
    x, y = np.zeros((6, 4)), np.arange(6)[:, None] % 3
    found = from_tf_data("parts", [(x, y)], [(x, y)])
    assert found.train.y.shape == (6,) and not found.spec.per_step
    steps = from_tf_data(
        "steps", [(np.zeros((6, 5, 2)), np.ones((6, 5), int))], [(np.zeros((6, 5, 2)), np.ones((6, 5)))]
    )
    assert steps.spec.per_step
