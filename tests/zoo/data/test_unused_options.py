"""Options that would change nothing in the data they are given with: refused or told, never ignored."""

import numpy as np
import pytest
from PIL import Image

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table of texts, one of a series, arrays of numbers, and pictures in their own splits."""
    made = tmp_path_factory.mktemp("data")
    texts = [f"{'good' if i % 2 else 'bad'} film {i},{'pos' if i % 2 else 'neg'}" for i in range(60)]
    (made / "texts.csv").write_text("\n".join(["text,label", *texts]))
    hours = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{i % 24}" for i in range(400)]
    (made / "series.csv").write_text("\n".join(["time,load", *hours]))
    np.savez(made / "vectors.npz", x=np.random.default_rng(0).random((60, 5), np.float32), y=np.arange(60) % 3)
    for split in ("train", "validation", "test"):
        for i in range(12):
            place = made / "pictures" / split / "ab"[i % 2] / f"{split}{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(place)
    return made


def read(model, path, **options):
    return load(TrainConfig(model=model, data=path, **options).resolved())


@pytest.mark.parametrize(("model", "name", "option", "value", "what", "examples"), [
    ("cnn", "pictures", "sequence_length", 32, "texts", "pictures"),
    ("cnn", "pictures", "tokens", "word", "texts", "pictures"),
    ("cnn", "pictures", "vocabulary_size", 50, "texts", "pictures"),
    ("cnn", "pictures", "text_column", "a", "texts", "pictures"),
    ("cnn", "pictures", "label_column", "a", "a table or recordings with a class for each row", "pictures"),
    ("lstm", "texts.csv", "image_size", 8, "pictures", "texts"),
    ("lstm", "texts.csv", "fit", "pad", "pictures", "texts"),
    ("lstm", "texts.csv", "rate", 8000.0, "sounds", "texts"),
    ("simplenet", "vectors.npz", "image_size", 8, "pictures", "arrays of numbers"),
    ("dlinear", "series.csv", "image_size", 8, "pictures", "series"),
    ("dlinear", "series.csv", "label_column", "load", "a table or recordings with a class for each row", "series"),
])  # fmt: skip
def test_an_option_for_other_data_is_refused(folder, model, name, option, value, what, examples):
    with pytest.raises(UsageError) as refused:
        read(model, folder / name, **{option: value})
    given = f"--{option.replace('_', '-')} {value:g}" if isinstance(value, float) else f"--{option.replace('_', '-')}"
    assert str(refused.value).startswith(given)
    assert f"expected with {what}, received {name.split('.')[0]}, whose examples are {examples}" in str(refused.value)


def test_options_that_apply_are_taken(folder):
    assert read("cnn", folder / "pictures", image_size=12, fit="pad").spec.input_shape == (12, 12, 3)
    texts = read("lstm", folder / "texts.csv", text_column="text", label_column="label", sequence_length=2)
    assert texts.spec.input_shape == (2,)
    assert read("dlinear", folder / "series.csv", time_column="time", horizon=6).spec.kind == "series"


def test_a_share_of_a_split_that_is_given_is_told(folder):
    notes = read("cnn", folder / "pictures", test_split=0.4).reading.notes
    assert "--test-split 0.4 is not used: the test examples are given" in notes
    assert not any("--validation-split" in note for note in notes)
    embedded = load(TrainConfig(model="kg_embedding", dataset="family", test_split=0.4).resolved())
    assert "--test-split 0.4 is not used: the test examples are given" in embedded.reading.notes
    drawn = read("simplenet", folder / "vectors.npz", test_split=0.4)
    assert len(drawn.test) == 24 and not any("--test-split" in note for note in drawn.reading.notes)


def test_validation_data_beside_a_validation_split_are_refused(folder, tmp_path):
    (tmp_path / "more").symlink_to(folder / "pictures" / "test")
    refused = r"--validation-data \S*: expected data without a validation split, received pictures, which has one"
    with pytest.raises(UsageError, match=refused):
        read("cnn", folder / "pictures", validation_data=tmp_path / "more")


def test_validation_data_beside_a_validation_table_are_refused(tmp_path):
    rows = "a,y\n" + "".join(f"{i},{2 * i}\n" for i in range(40))
    for name in ("set/train.csv", "set/validation.csv", "more.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(rows)
    with pytest.raises(UsageError, match="expected data without a validation split, received set, which has one"):
        read("tabular", tmp_path / "set", target_column=("y",), validation_data=tmp_path / "more.csv")


def test_validation_data_of_several_splits_are_refused(folder):
    refused = r"--validation-data \S*: expected the examples of one split, received test, train, validation"
    with pytest.raises(UsageError, match=refused):
        read("cnn", folder / "pictures" / "train", validation_data=folder / "pictures")
