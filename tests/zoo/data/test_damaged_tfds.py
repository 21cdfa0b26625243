"""Prepared TFDS sets that were damaged: files that are cut, descriptions that are altered."""

import numpy as np
import pytest

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The files of a small set of texts, by name."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("prepared")
    examples = list(enumerate({"text": f"word{i % 5} word", "label": i % 2} for i in range(30)))
    tfds.dataset_builders.store_as_tfds_dataset(
        name="texts",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
        ),
        split_datasets={"train": examples, "test": examples},
        data_dir=str(folder),
    )
    return {p.name: p.read_bytes() for p in (folder / "texts" / "1.0.0").iterdir()}


def read(folder, files):
    place = folder / "texts" / "1.0.0"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return load(TrainConfig(model="lstm", dataset="texts", data_dir=folder, vocabulary_size=50))


def records(files):
    return next(name for name in files if "train.tfrecord" in name)


def test_the_whole_set_is_read(prepared, tmp_path):
    assert np.bincount(read(tmp_path, prepared).test.y).tolist() == [15, 15]


def test_a_file_that_is_cut_between_two_examples(prepared, tmp_path):
    name = records(prepared)
    size = 16 + int.from_bytes(prepared[name][:8], "little")
    with pytest.raises(UsageError, match="1.0.0: train examples 0 to 1,023 cannot be read: Input dataset .* 30 elem"):
        read(tmp_path, prepared | {name: prepared[name][size:]})


@pytest.mark.parametrize("change", [lambda c: c[:-3], lambda c: c[:40] + b"\0" + c[41:], lambda c: b""])
def test_records_that_are_altered(change, prepared, tmp_path):
    name = records(prepared)
    with pytest.raises(UsageError, match="1.0.0: train examples 0 to 1,023 cannot be read"):
        read(tmp_path, prepared | {name: change(prepared[name])})


@pytest.mark.parametrize(("name", "content"), [
    ("features.json", b"{"), ("features.json", b"[1]"), ("features.json", b"\xff"), ("features.json", b"[" * 100_000),
    ("features.json", b'{"featuresDict": {"features": {"a": {}}}}'), ("dataset_info.json", b"{"),
    ("dataset_info.json", b"{}"),
])  # fmt: skip
def test_descriptions_that_are_altered(name, content, prepared, tmp_path):
    with pytest.raises(UsageError, match="texts"):
        read(tmp_path, prepared | {name: content})


def test_one_label_below_zero_is_not_taken_for_an_unlabelled_split(prepared, tmp_path):
    import tensorflow as tf

    name, path = records(prepared), tmp_path / "records"
    found = []
    for content in tf.data.TFRecordDataset(_file(tmp_path, prepared[name])).as_numpy_iterator():
        example = tf.train.Example.FromString(content)
        found.append(example)
    found[3].features.feature["label"].int64_list.value[0] = -1
    found[5].features.feature["label"].int64_list.value[0] = 2**32
    for wrong, message in ((3, "received -1 to 1"), (5, "within int32, received 4294967296 in example 5")):
        kept = [e if i in (wrong,) or i not in (3, 5) else found[0] for i, e in enumerate(found)]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in kept:
                writer.write(example.SerializeToString())
        with pytest.raises(UsageError, match=message):
            read(tmp_path / str(wrong), prepared | {name: path.read_bytes()})


def _file(folder, content):
    (folder / "whole").write_bytes(content)
    return str(folder / "whole")
