"""Folders of pictures as they are found: what is read, what is left out and why, and what is refused."""

import os
import re
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.sources import folders

# Every picture of a test has its own grey level, so that none is like another.
LEVELS = iter(range(10**6))


def pictures(folder, *names, count=4, suffix=".png"):
    """Write pictures of 6x4 pixels into a folder for each class."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            level = next(LEVELS)
            picture = np.full((4, 6), level % 200, np.uint8)
            picture[0, :3] = level // 200 % 256, level // 51_200 % 256, 7
            made = folder / name / f"{i:02}.png"
            Image.fromarray(picture).save(made)
            made.rename(made.with_suffix(suffix))
    return folder


def read(folder, **options):
    return load(TrainConfig(data=folder, **options).resolved())


def test_what_begins_with_a_dot_is_left_out(tmp_path):
    root = pictures(tmp_path / "set", "a", "b", count=10)
    shutil.copytree(root / "a", root / "a" / ".ipynb_checkpoints")
    shutil.copytree(root / "b", root / ".trash" / "b")
    shutil.copy(root / "a" / "00.png", root / "a" / "._00.png")
    reading = read(root).reading
    assert (reading.used, reading.classes) == (20, {"a": 10, "b": 10})
    assert reading.left_out == {"hidden": 11}
    assert "31 pictures found, 20 used (11 hidden left out)" in reading.line()


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "#recycle"])
def test_folders_that_systems_write_are_left_out(name, tmp_path):
    root = pictures(tmp_path / "set", "a", "b", count=10)
    shutil.copytree(root / "a", root / name / "a")
    shutil.copytree(root / "a", root / "b" / name / "00.png")
    reading = read(root).reading
    assert (reading.classes, reading.left_out) == ({"a": 10, "b": 10}, {"hidden": 10})


def test_pictures_are_known_by_their_content(tmp_path):
    root = pictures(tmp_path / "set", "a", "b", count=10)
    for k, file in enumerate(sorted(root.rglob("*.png"))):
        file.rename(file.with_suffix((".jfif", ".heic", "", ".PNG")[k % 4]))
    (root / "a" / "notes.txt").write_text("from Monday")
    (root / "a" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    Image.new("L", (4, 4)).save(root / "loose.png")
    reading = read(root).reading
    assert (reading.used, reading.sizes) == (20, {"6x4": 20})
    assert reading.left_out == {"no picture (.db)": 1, "no picture (.txt)": 1, "outside the folders of classes": 1}


def test_a_class_of_files_that_are_no_pictures_says_what_they_are(tmp_path):
    root = pictures(tmp_path / "set", "a", "b", count=10)
    (root / "c").mkdir()
    for i in range(3):
        (root / "c" / f"{i}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "c" / ".DS_Store").touch()
    with pytest.raises(UsageError, match=r"class 'c' has no images: .*, found 1 hidden, 3 no picture \(.heic\)"):
        read(root)


def test_texts_in_folders_of_classes_say_which_form_they_need(tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.txt").write_text("a good film")
    message = r"found 1 no picture \(.txt\); texts with classes are read from a table \(.csv, .tsv, .jsonl\) with"
    with pytest.raises(UsageError, match=message):
        load(TrainConfig(model="lstm", data=tmp_path).resolved())


def test_too_few_pictures_are_told_with_those_that_are_left_out(tmp_path):
    root = pictures(tmp_path, "a", "b", count=6)
    for i in range(6):
        (root / "a" / f"{i}.jp2").write_bytes(b"\0\0\0\x0cjP  ")
    with pytest.raises(UsageError, match=r"received 9 examples in total; 6 no picture \(.jp2\) left out"):
        read(root)


def test_linked_folders_are_read_but_not_in_circles(tmp_path):
    pictures(tmp_path / "elsewhere", "a", "b", count=15)
    root = pictures(tmp_path / "set", "a", "b", count=5)
    for name in "ab":
        (root / name / "more").symlink_to(f"../../elsewhere/{name}", target_is_directory=True)
    (root / "a" / "circle").symlink_to("..", target_is_directory=True)
    (root / "b" / "again").symlink_to("../../elsewhere/b", target_is_directory=True)
    (root / "c").symlink_to("../elsewhere/a", target_is_directory=True)
    found = folders.listed(root)
    assert found.classes == ["a", "b", "c"]
    # The circle leads from a to the whole set, but not back into a.
    assert sum(name == "b" for _, name in found.files["all"]) == 20
    assert sum(name == "c" for _, name in found.files["all"]) == 15
    assert sum("again" in note for note in found.notes) + sum("more" in note for note in found.notes) >= 1


@pytest.mark.parametrize(("splits", "expected"), [
    ({"train": "ab", "val": "ab", "test": "ab"}, {"train": 8, "validation": 8, "test": 8}),
    ({"Training": "ab", "EVAL": "ab", "testing": "ab"}, {"train": 8, "validation": 8, "test": 8}),
])  # fmt: skip
def test_folders_of_splits_under_usual_names(splits, expected, tmp_path):
    for split, names in splits.items():
        pictures(tmp_path / split, *names)
    reading = read(tmp_path).reading
    assert reading.examples == expected
    assert reading.made.get("validation", "folder val") in ("folder val", "folder EVAL")


@pytest.mark.parametrize(("names", "message"), [
    (("train", "val", "valid"), "expected one folder for a split, received 'val' and 'valid' for validation"),
    (("train", "Train"), "received 'Train' and 'train' for train"),
    (("training_set", "test_set"), "expected the folders train, validation and test, received test_set, training_set"),
    (("val", "test"), "expected a folder 'train' beside 'test', 'val', received none"),
    (("train", "extra"), "expected train, validation and test beside 'train', received 'extra', which are no splits"),
])  # fmt: skip
def test_folders_of_splits_that_are_not_clear_are_refused(names, message, tmp_path):
    for name in names:
        pictures(tmp_path / name, "a", "b")
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


def test_classes_may_be_called_like_splits(tmp_path):
    assert read(pictures(tmp_path / "one", "bus", "car", "train", count=9)).reading.classes == dict.fromkeys(
        ("bus", "car", "train"), 9
    )
    assert read(pictures(tmp_path / "two", "dev", "test", count=9)).spec.class_names == ("dev", "test")
    nested = pictures(tmp_path / "three", "bus/day", "bus/night", "car/day", "car/night", count=5)
    assert read(nested).reading.classes == {"bus": 10, "car": 10}


def test_a_split_without_classes_is_refused(tmp_path):
    pictures(tmp_path / "train", "a", "b")
    pictures(tmp_path, "test")
    with pytest.raises(UsageError, match="test: expected a folder for each class, received none"):
        read(tmp_path)


def test_names_in_two_forms_of_unicode_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    pictures(tmp_path / "train", composed, "bar", count=20)
    pictures(tmp_path / "test", decomposed, "bar", count=5)
    data = read(tmp_path)
    assert data.spec.class_names == ("bar", composed) and data.reading.classes == {"bar": 25, composed: 25}
    pictures(tmp_path / "train", decomposed)
    assert "differ in Unicode's form alone" in read(tmp_path).reading.warning()


@pytest.mark.parametrize(("name", "message"), [
    (os.fsdecode(b"caf\xe9"), r"class folder b'caf\\xe9': expected a name in UTF-8, received other bytes; rename it"),
    ("po\ns", r"expected names of classes that are one line each, received 'po\\ns'; rename it"),
    (" ", "expected names of classes that are one line each, received ' '"),
])  # fmt: skip
def test_names_of_classes_that_no_file_could_hold_are_refused(name, message, tmp_path):
    try:
        pictures(tmp_path, name, "b", count=10)
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


def test_what_no_picture_can_be_is_not_opened(tmp_path):
    root = pictures(tmp_path / "set", "a", "b", count=10)
    os.mkfifo(root / "a" / "pipe.png")  # opening it would wait for ever
    reading = read(root).reading
    assert reading.left_out == {"no picture (.png)": 1} and reading.used == 20


def test_photographs_that_no_step_could_hold_are_refused_with_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.stored.media.available_memory", lambda: 8_000_000_000)
    root = pictures(tmp_path / "set", "a", "b", count=0)
    for name in "ab":
        Image.new("L", (4000, 3000)).save(root / name / "0.png")
    message = "--image-size: expected with pictures of 4000x3000 pixels, received none: a step of 64 of them takes"
    with pytest.raises(UsageError, match=f"{message} about 197 GB of memory and 8 GB are free; --image-size 224"):
        read(root, batch_size=64)


@pytest.mark.parametrize("coloured", [range(1, 40, 2), [39]], ids=["every second", "one"])
def test_colours_are_kept_wherever_they_are(coloured, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.images.LOOKED_AT", 20)
    root = pictures(tmp_path, "a", "b", count=20)
    files = sorted(root.rglob("*.png"))
    for place in coloured:
        Image.open(files[place]).convert("RGB").save(files[place])
    assert read(root).spec.input_shape == (4, 6, 3)


def test_sizes_of_a_sample_are_told_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.images.LOOKED_AT", 20)
    root = pictures(tmp_path, "a", "b", count=40)
    for file in sorted(root.rglob("*.png"))[1::2]:
        Image.open(file).resize((3, 2)).save(file)
    for _ in range(2):  # also from the cache
        reading = read(root).reading
        assert set(reading.sizes) == {"6x4", "3x2"} and sum(reading.sizes.values()) == 20
        assert re.search(r"; sizes \d+x\d \(\d+\), \d+x\d \(\d+\), of 20 looked at;", reading.line())


def test_dark_pictures_of_16_bits_are_told(tmp_path):
    root = pictures(tmp_path, "a", "b", count=10)
    for file in root.rglob("*.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 4096, (4, 6)).astype("uint16")).save(file)
    for _ in range(2):  # also from the cache
        reading = read(root).reading
        assert reading.changed == {"reduced to 8 bits": 20}
        assert "of 16 pictures with 16 bits, none exceeds 4,095 of 65,535" in reading.warning()
        assert "read as dark as 15 of 255" in reading.warning()
