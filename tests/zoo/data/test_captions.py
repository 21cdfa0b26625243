"""Captions: made from class names, read from tables, and the messages for invalid ones."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import blobs
from zoo.config import caption_templates, catalogue
from zoo.config.augmentation import parse
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec, load
from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches.captions import evaluation_batches, training_batches


def config(**values):
    return TrainConfig(**{"model": "cross_modal", **values}).resolved()


def test_a_class_has_a_caption_for_each_template_and_each_way_to_call_it():
    three, eight = caption_templates.of_classes(["3", "8"])
    assert {"3", "three", "a three", "a 3", "a photo of a three", "the digit 3"} <= set(three)
    assert {"an eight", "an image of an eight", "a handwritten eight"} <= set(eight) and "a eight" not in eight
    assert len(three) == len(set(three)) == 2 * (len(caption_templates.TEMPLATES) + len(caption_templates.OF_NUMBERS))
    (tree, _) = caption_templates.of_classes(["maple_tree", "Oak"])
    assert "a photo of a maple tree" in tree and "the digit maple tree" not in tree
    assert caption_templates.of_classes(["owl", "cat"], ("A {}!",)) == [["An owl!"], ["A cat!"]]
    assert caption_templates.places([["a", "b"], ["c"]]) == ((0, 1), (2,))


def test_templates_are_given_with_bars_between():
    assert caption_templates.templates(" a  {} | {} in the snow") == ("a {}", "{} in the snow")
    for wrong in ("a photo", "{} and {}", "a {}|", "{x} {}"):
        with pytest.raises(UsageError, match="--caption-templates: expected templates separated by"):
            caption_templates.templates(wrong)


def test_classes_with_the_same_caption_are_refused():
    with pytest.raises(UsageError, match="'a b' and 'a_b' have the same one, 'a b'"):
        caption_templates.of_classes(["a b", "a_b"])
    with pytest.raises(UsageError, match="'3' and 'three' have the same one, 'three'"):
        caption_templates.of_classes(["3", "three"])


def test_digits_by_default_and_what_the_model_decides():
    assert catalogue.task_of(config(dataset="digits")) == "contrastive"
    assert catalogue.task_of(config(model="cnn", dataset="digits")) == "classification"
    assert catalogue.task_of(config(dataset="addition")) == "translation"
    data = load(config(dataset="digits"))
    spec, known = data.spec, data.captions
    assert (spec.task, spec.kind, spec.input_shape, spec.target_shape) == ("contrastive", "image", (28, 28, 1), (16,))
    assert spec.vocabulary_size == len(data.vocabulary) and spec.vocabulary_sha256 == data.vocabulary.sha256
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1293, 144, 360]
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    plain = load(config(model="cnn", dataset="digits"))
    np.testing.assert_array_equal(data.test.y[:, 0], plain.test.y)
    for target, row in zip(data.test.y[:, 0], data.test.y[:, 1:], strict=True):
        assert tuple(row) == known.of_class[target]
        assert all(
            str(target) in known.texts[i] or caption_templates.NUMBER_WORDS[target] in known.texts[i] for i in row
        )
    assert data.vocabulary.decode(known.ids[known.texts.index("a photo of a seven")]) == "a photo of a seven"


@pytest.fixture
def table(tmp_path):
    """Write twelve images, some of which share captions; one has three lines."""
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (9, 9)).astype("uint8")).save(tmp_path / f"{i}.png")
    said = [("0.png", "A dog  runs"), ("0.png", "a brown dog"), ("0.png", "it runs"), ("1.png", "a dog runs")]
    said += [("2.png", "it runs"), ("2.png", "a cat"), ("3.png", "a cat")]
    said += [(f"{i}.png", f"thing {i}") for i in range(4, 12)]
    (tmp_path / "said.csv").write_text("image,caption\n" + "".join(f"{name},{text}\n" for name, text in said))
    return tmp_path / "said.csv"


def test_images_that_share_a_caption_are_of_one_target(table):
    data = load(config(data=table, test_split=0.25))
    assert (data.spec.kind, data.spec.input_shape, data.spec.class_names) == ("image", (9, 9, 1), ())
    every = np.concatenate([split.y for split in (data.train, data.validation, data.test)])
    texts = data.captions.texts
    assert texts[:3] == ("A dog  runs", "a brown dog", "it runs") and len(texts) == 4 + 8
    of = {frozenset(texts[i] for i in row if i >= 0): target for target, *row in every.tolist()}
    first = of[frozenset(texts[:3])]
    assert of[frozenset(["A dog  runs"])] == of[frozenset(["it runs", "a cat"])] == of[frozenset(["a cat"])] == first
    assert len({target for said, target in of.items() if target != first}) == 8
    assert sorted(map(len, (data.train, data.validation, data.test))) == [1, 3, 8]
    # The vocabulary has the words of the training captions only.
    taught = {word for i in np.unique(data.train.y[:, 1:]) if i >= 0 for word in texts[i].lower().split()}
    assert len(data.vocabulary) == len(taught) + 2


def test_a_table_of_validation_data_and_other_columns(table, tmp_path):
    other = tmp_path / "more.jsonl"
    other.write_text('{"image": "5.png", "caption": "a red ball"}\n{"image": "6.png", "caption": "a cat"}\n')
    data = load(config(data=table, validation_data=other))
    assert [data.captions.texts[i] for i in data.validation.y[:, 1]] == ["a red ball", "a cat"]
    with pytest.raises(UsageError, match="expected a column 'says', received image, caption"):
        load(config(data=table, text_column="says"))


def pictures(tmp_path, **classes):
    for name, count in classes.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((8, 8), 20 * i, "uint8")).save(tmp_path / "set" / name / f"{i}.png")
    return tmp_path / "set"


def test_what_no_pairs_can_be_made_of_is_refused(table, tmp_path, image_npz):
    (tmp_path / "gone.tsv").write_text("image\tcaption\n0.png\ta dog\nnone.png\ta cat\nother.png\ta cat\n")
    with pytest.raises(UsageError, match=r"gone.tsv: .* 2 of 3 files do not exist, the first is .*none.png"):
        load(config(data=tmp_path / "gone.tsv"))
    (tmp_path / "empty.csv").write_text("image,caption\n0.png,a dog\n1.png, \n")
    with pytest.raises(UsageError, match="line 3: expected a text in 'caption', received an empty one"):
        load(config(data=tmp_path / "empty.csv"))
    (tmp_path / "11.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"1 of 12 pictures cannot be read: .*11.png"):
        load(config(data=table))
    assert sum(map(len, (lambda d: (d.train, d.validation, d.test))(load(config(data=table, skip_bad=True))))) == 11
    with pytest.raises(UsageError, match="class 'bird' has 1 example: a stratified test split needs at least 2"):
        load(config(data=pictures(tmp_path, ant=4, bird=1)))
    np.savez(tmp_path / "tokens.npz", x=np.arange(40).reshape(20, 2) % 7, y=np.arange(20) % 2)
    with pytest.raises(UsageError, match="expected images to match with captions, received tokens inputs"):
        load(config(data=tmp_path / "tokens.npz"))
    with pytest.raises(UsageError, match="have the same 2 tokens"):
        load(config(dataset="digits", sequence_length=2))
    with pytest.raises(UsageError, match="--batch-size 1: expected 2 or more for contrastive"):
        load(config(data=image_npz, batch_size=1))
    with pytest.raises(UsageError, match="--caption-templates: expected classes, from whose names captions are made"):
        load(config(data=table, caption_templates="a {}"))
    with pytest.raises(UsageError, match="--caption-templates: expected --task contrastive, received digits for cl"):
        load(config(model="cnn", dataset="digits", caption_templates="a {}"))


def test_a_step_draws_captions_of_each_image_by_seed_and_step_alone(tmp_path):
    x, y = blobs(40, (8, 8))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "high"])
    data = load(config(data=tmp_path / "blobs.npz", caption_templates="a {}|the {}|{}"))
    options = {"batch_size": 6, "seed": 1, "augment": Augmenter(parse("shift(1)"), 1, 3)}
    train = data.train
    whole = list(training_batches(train, data.captions.ids, start=0, stop=12, **options).as_numpy_iterator())
    rest = list(training_batches(train, data.captions.ids, start=5, stop=12, **options).as_numpy_iterator())
    for ((a, b), c), ((d, e), f) in zip(rest, whole[5:], strict=True):
        np.testing.assert_array_equal(a, d)
        np.testing.assert_array_equal(b, e)
        np.testing.assert_array_equal(c, f)
    drawn = set()
    for (images, ids), targets in whole:
        assert images.shape == (6, 8, 8, 1) and images.dtype == np.float32 and images.max() <= 1
        for row, target in zip(ids, targets, strict=True):
            (place,) = np.flatnonzero((data.captions.ids == row).all(1))
            assert place in data.captions.of_class[target]
            drawn.add(int(place))
    assert len(drawn) == 9


def test_evaluation_gives_every_image_once_and_fills_up_with_none():
    data = load(config(dataset="digits"))
    split = data.test.take(np.arange(22))
    seen, weights = [], []
    for (images, ids), targets, weight in evaluation_batches(
        split, data.captions.ids, batch_size=8, stride=2
    ).as_numpy_iterator():
        assert images.shape == (8, 28, 28, 1) and ((targets == -1) == (weight == 0)).all()
        np.testing.assert_array_equal(
            ids[weight > 0], data.captions.ids[[data.captions.of_class[t][0] for t in targets[weight > 0]]]
        )
        seen += targets[weight > 0].tolist()
        weights += weight.tolist()
    assert seen == split.y[:, 0].tolist() and np.mean(weights) == pytest.approx(1)
