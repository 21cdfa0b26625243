"""Answers that a file changed are those in which its outputs and those of Keras differ."""

import base64
import io
import json

import keras
import numpy as np
import pytest
from PIL import Image

from compression.comparison import described
from compression.pipeline import pipeline, source
from compression.receipts.artifacts import shown_path
from compression.runtime import litert
from compression.tasks.parts import changes
from zoo.data import Dataset, DataSpec, Split

NAMES = ("一只猫", "dog", "x" * 60)


def pictures(count, side=200):
    x = np.random.default_rng(0).integers(0, 256, (count, side, side // 2, 3), np.uint8)
    split = Split(x, np.arange(count) % 3)
    return Dataset(DataSpec("three", "image", x.shape[1:], NAMES), split, split, split)


def test_changes_are_counted_and_the_worst_comes_first():
    y = np.array([0, 1, 2, 0, 1])
    before = np.array([[0.9, 0.1, 0], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    found = np.array([[0.4, 0.6, 0], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.3, 0.1, 0.6], [0.1, 0.8, 0.1]])
    made = changes.changed(found, before, y, pictures(5))
    assert {name: made[name] for name in ("examples", "changed", "lost", "gained")} == {
        "examples": 5, "changed": 4, "lost": 3, "gained": 1
    }  # fmt: skip
    assert [row["index"] for row in made["rows"]] == [0, 1, 3, 2]  # 0.5, 0.2, 0.2 lost, and 0.5 gained
    assert made["rows"][0]["true"] == "一只猫" and made["rows"][0]["before"] == ["一只猫", 0.9]
    assert made["rows"][0]["now"] == ["dog", 0.6] and made["rows"][3]["change"] == "gained"
    shown = Image.open(io.BytesIO(base64.b64decode(made["rows"][0]["picture"].partition(",")[2])))
    assert shown.size == (changes.SIDE // 2, changes.SIDE)


def test_wrong_before_and_after_is_neither_lost_nor_gained():
    made = changes.changed(np.eye(3)[[2]], np.eye(3)[[1]], np.array([0]), pictures(1))
    assert (made["changed"], made["lost"], made["gained"]) == (1, 0, 0) and made["rows"][0]["change"] == "wrong"


def test_no_more_rows_than_the_page_shows():
    y = np.zeros(40, int)
    made = changes.changed(np.eye(3)[y + 1], np.eye(3)[y], y, pictures(40, 8))
    assert made["changed"] == made["lost"] == 40 and len(made["rows"]) == changes.SHOWN


@pytest.fixture(scope="module")
def made(image_run, tmp_path_factory):
    model, data = source.open_run(image_run, {}).load()
    kernel, bias = model.head.weights  # almost equal logits, whose order int8 changes
    bias.assign(0 * bias)
    rng = np.random.default_rng(0)
    kernel.assign(rng.normal(size=(kernel.shape[0], 1)) + rng.normal(0, 0.01, kernel.shape))
    folder = tmp_path_factory.mktemp("changed")
    return model, data, pipeline.compress(model, data, "int8", folder)


def test_a_file_is_compared_with_keras_when_it_is_measured(made):
    model, data, found = made
    x = data.test.x.astype("float32") / 255
    file, theirs = litert.run(found.path, x), keras.ops.convert_to_numpy(keras.ops.softmax(model(x)))
    differ = np.flatnonzero(file.argmax(-1) != theirs.argmax(-1))
    shown = json.loads(shown_path(found.path).read_text())
    assert len(differ) == shown["changed"]["changed"] > 0
    assert shown_path(found.path).parent == found.path.parent / "page"  # zoo.publish and zoo.make copy files alone
    assert {row["index"] for row in shown["changed"]["rows"]} <= set(differ.tolist())
    right = [(outputs.argmax(-1) == data.test.y).mean() for outputs in (file, theirs)]
    balance = shown["changed"]["gained"] - shown["changed"]["lost"]
    assert balance == pytest.approx((right[0] - right[1]) * len(x))
    row = described.file(found.path)
    assert row["changed"] == shown["changed"] and row["errors"]["layers"] == shown["layers"]["layers"]


def test_what_is_known_of_another_file_is_not_shown(made, tmp_path):
    path = made[2].path
    for file in (path, path.with_name(f"{path.stem}.receipt.json")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert described.file(tmp_path / path.name)["errors"] is None
    stale = json.loads(shown_path(path).read_text()) | {"sha256": "0" * 64}
    shown_path(tmp_path / path.name).parent.mkdir()
    shown_path(tmp_path / path.name).write_text(json.dumps(stale))
    assert described.file(tmp_path / path.name)["changed"] is None
