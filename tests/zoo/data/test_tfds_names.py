"""TFDS sets by their usual names, and sets that name classes without an example."""

import json

import numpy as np
import pytest

from zoo import train
from zoo.config import prepared
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Return a folder with reviews in a default configuration, and with letters of which some have no example."""
    import tensorflow_datasets as tfds

    place = tmp_path_factory.mktemp("sets")

    def prepare(name, config, features, examples):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            config=config,
            version="1.0.0",
            features=features,
            split_datasets={split: list(enumerate(rows)) for split, rows in examples.items()},
            data_dir=str(place),
        )

    reviews = tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
    )
    rows = [{"text": f"{'good' if i % 2 else 'bad'} film {i}", "label": i % 2} for i in range(60)]
    prepare("imdb_reviews", "plain_text", reviews, {"train": rows[:40], "test": rows[40:]})
    letters = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 1)),
            "label": tfds.features.ClassLabel(names=["0", "1", "a", "b", "c", "z"]),
        }
    )
    rng = np.random.default_rng(0)
    pictures = [
        {"image": rng.integers(0, 256, (8, 8, 1), dtype=np.uint8), "label": (2, 3, 5)[i % 3]} for i in range(90)
    ]
    prepare("emnist", "letters", letters, {"train": pictures[:60], "test": pictures[60:]})
    (place / "emnist" / ".config").mkdir(exist_ok=True)
    (place / "emnist" / ".config" / "metadata.json").write_text(json.dumps({"default_config_name": "byclass"}))
    return place


def test_the_name_of_a_set_means_its_default_configuration(sets):
    data = load(TrainConfig(model="lstm", dataset="imdb_reviews", data_dir=sets).resolved())
    assert data.spec.name == "imdb_reviews" and data.reading.classes == {"neg": 30, "pos": 30}
    assert data.reading.notes == ("imdb_reviews means its default configuration imdb_reviews/plain_text",)
    assert data.reading.unit == "texts" and data.reading.examples == {"train": 36, "validation": 4, "test": 20}
    with pytest.raises(UsageError, match="expected one of the prepared emnist/letters"):  # the default is byclass
        load(TrainConfig(dataset="emnist", data_dir=sets).resolved())


def test_the_default_configuration_is_that_of_tfds(tmp_path):
    for name in ("plain_text", "bytes"):
        (tmp_path / "set" / name / "1.0.0").mkdir(parents=True)
        (tmp_path / "set" / name / "1.0.0" / "features.json").write_text("{}")
    assert prepared.find_prepared("set", tmp_path) is None  # several, and none is said to be the default
    (tmp_path / "set" / ".config").mkdir()
    (tmp_path / "set" / ".config" / "metadata.json").write_text('{"default_config_name": "plain_text"}')
    assert prepared.find_prepared("set", tmp_path) == tmp_path / "set" / "plain_text" / "1.0.0"
    assert prepared.find_prepared("set:1.0.0", tmp_path) == tmp_path / "set" / "plain_text" / "1.0.0"
    assert prepared.find_prepared("set:2.0.0", tmp_path) is None
    assert prepared.find_prepared("set/bytes", tmp_path) == tmp_path / "set" / "bytes" / "1.0.0"


def test_classes_without_an_example_are_told_of_and_left_out(sets, tmp_path, capsys):
    words = ["--model", "simplenet", "--set", "units=4", "--dataset", "emnist/letters", "--data-dir", str(sets)]
    assert train.main([*words, "--epochs", "1", "--batch-size", "16", "--output", str(tmp_path / "run")]) == 0
    assert "3 of 6 classes have no example and are left out (0, 1, c), 3 are trained on" in capsys.readouterr().err
    run = RunFolder(tmp_path / "run")
    assert run.read_config()["data"]["class_names"] == ["a", "b", "z"]
    assert run.read_metrics()["data"]["classes"] == {"a": 30, "b": 30, "z": 30}
    assert [row["class"] for row in run.read_metrics()["per_class"]] == ["a", "b", "z"]
    again = load_like(run, run.read_config()["config"])  # as zoo.evaluate reads them
    assert np.unique(again.test.y).tolist() == [0, 1, 2] and len(again.test) == 30
