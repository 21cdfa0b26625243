"""COCO: ids, the folders of pictures, and what no file names."""

import json

import pytest

from tests.zoo.data.annotations import pictures
from zoo.console.errors import UsageError
from zoo.data.annotations import layouts

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def write(file, count, box=(5, 5, 20, 20), **changed):
    """Write a file of COCO with a box for each picture I.png; `changed` replaces its lists."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(count)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": box} for i in range(count)],
        "categories": CATEGORIES,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content | changed))


def write_pictures(folder, count):
    for i in range(count):
        pictures.write_picture(folder / f"{i}.png", pictures.plain(i))


def test_pictures_of_equal_names_are_those_of_the_split(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / "annotations" / f"instances_{split}.json", 2)
        write_pictures(tmp_path / split, 2)
    write_pictures(tmp_path / "images", 3)
    found = layouts.read(tmp_path)
    names = {split: [one.file.parent.name for one in part] for split, part in found.splits.items()}
    assert names == {"train": ["train"] * 2, "validation": ["val"] * 2}
    assert found.left_out == {"that no file of COCO names": 3}


def test_an_id_is_of_one_picture_and_of_one_category(tmp_path):
    file = tmp_path / "all.json"
    write_pictures(tmp_path, 2)
    write(file, 2, images=[{"id": 7, "file_name": f"{i}.png"} for i in range(2)])
    with pytest.raises(UsageError, match=r"^[^:]*all.json: images: expected an id of each, received 7 for '0.png' and"):
        layouts.read(tmp_path)
    write(file, 2, categories=[*CATEGORIES, {"id": 2, "name": "cow"}])
    with pytest.raises(
        UsageError, match=r"^[^:]*all.json: categories: expected an id of each, received 2 for 'dog' and"
    ):
        layouts.read(tmp_path)
    write(file, 2, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}])
    found = layouts.read(tmp_path)
    assert found.classes == ("cat",) and found.notes == [
        "all.json has several categories called cat, which are one class"
    ]


def test_a_picture_with_two_ids_is_read_once_with_all_of_its_boxes(tmp_path):
    write_pictures(tmp_path, 2)
    write(tmp_path / "all.json", 4, images=[{"id": i, "file_name": f"{i // 2}.png"} for i in range(4)])
    found = layouts.read(tmp_path)
    assert [one.classes for one in found.splits["all"]] == [("cat", "dog")] * 2
    assert found.notes == ["2 pictures have several entries; each is read once, with the boxes of all of them"]


def test_boxes_that_look_like_corners_are_told(tmp_path):
    write_pictures(tmp_path, 10)
    for box, told in (((30, 30, 60, 60), True), ((2, 2, 60, 60), False), ((30, 30, 29, 60), False)):
        write(tmp_path / "all.json", 10, box=box)
        assert any("the boxes may be corners" in note for note in layouts.read(tmp_path).notes) == told


def test_an_incomplete_file_is_refused_by_what_it_lacks(tmp_path):
    write(tmp_path / "all.json", 1, images=[{"id": 0}])
    with pytest.raises(UsageError, match="all.json: expected images, annotations .* found KeyError: 'file_name'"):
        layouts.read(tmp_path)
