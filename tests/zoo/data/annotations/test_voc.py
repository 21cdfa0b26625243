"""Pascal VOC: which picture an XML file belongs to, and what is not read."""

import shutil

import numpy as np
import pytest

from tests.zoo.data.annotations import pictures
from zoo.console.errors import UsageError
from zoo.data.annotations import layouts

BOX = [("cat", 5, 5, 30, 30)]


def write(folder, name, value, suffix=".png", stated=None, beside=None):
    """Write a picture of one value and its XML file, by default into the same folder."""
    picture = pictures.plain(value)
    pictures.write_picture(folder / f"{name}{suffix}", picture)
    place = beside or folder
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.xml").write_text(pictures.xml(stated or name, picture.shape[:2], BOX, suffix))


def names(found, root):
    return {split: [one.file.relative_to(root).as_posix() for one in part] for split, part in found.splits.items()}


def split_folders(root):
    for split in ("train", "valid", "test"):
        for i in range(2):
            write(root / split, str(i), 50)


def test_an_xml_file_takes_the_picture_beside_it(tmp_path):
    split_folders(tmp_path)
    write(tmp_path / "JPEGImages", "0", 0)
    (tmp_path / "JPEGImages" / "0.xml").unlink()
    found = layouts.read(tmp_path)
    assert names(found, tmp_path) == {
        "test": ["test/0.png", "test/1.png"],
        "train": ["train/0.png", "train/1.png"],
        "validation": ["valid/0.png", "valid/1.png"],
    }
    assert found.left_out == {"without an annotation": 1}


def test_the_stated_suffix_decides_between_pictures_of_one_name(tmp_path):
    for i in range(3):
        write(tmp_path, str(i), 10, suffix=".jpg")
        pictures.write_picture(tmp_path / f"{i}.png", pictures.plain(0))
    found = layouts.read(tmp_path)
    assert names(found, tmp_path) == {"all": ["0.jpg", "1.jpg", "2.jpg"]}
    assert found.left_out == {"without an annotation": 3}
    (tmp_path / "0.xml").write_text(pictures.xml("0", (64, 64), BOX, suffix=""))
    found = layouts.read(tmp_path)
    assert found.faults.found == {"annotations of several pictures": ["0.xml: 0.jpg, 0.png"]}
    assert found.left_out == {"without an annotation": 2}


def test_another_picture_that_an_xml_file_states_is_told(tmp_path):
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 2, stated="a")
    found = layouts.read(tmp_path)
    assert names(found, tmp_path) == {"all": ["a.png", "b.png"]}
    assert found.notes == ["1 XML files state another picture than that of their own name, which is read (b.xml)"]
    (tmp_path / "b.png").unlink()
    found = layouts.read(tmp_path)
    assert names(found, tmp_path) == {"all": ["a.png"]} and "1 pictures have several entries" in found.notes[-1]
    np.testing.assert_array_equal(found.splits["all"][0].boxes, [[5, 5, 30, 30]])


def test_xml_files_beside_the_folders_that_are_read(tmp_path):
    split_folders(tmp_path)
    (tmp_path / "notes.xml").write_text("<annotation/>")
    with pytest.raises(UsageError, match=r"pictures of test, train, valid alone, received notes.xml .* move it away"):
        layouts.read(tmp_path)
    write(tmp_path / "JPEGImages", "0", 0, beside=tmp_path / "Annotations")
    found = layouts.read(tmp_path)
    assert found.notes == [
        "the XML files in the folder itself, test, train, valid are not read, those in Annotations are"
    ]
    assert found.left_out == {"without an annotation": 6}


def test_a_folder_of_a_split_without_xml_files_is_no_empty_split(tmp_path):
    split_folders(tmp_path)
    for file in (tmp_path / "test").glob("*.xml"):
        file.unlink()
    found = layouts.read(tmp_path)
    assert set(found.splits) == {"train", "validation"} and found.left_out == {"without an annotation": 2}


def test_lists_name_pictures_with_spaces_and_masks_are_no_pictures(tmp_path):
    for name in ("my cat", "my dog", "other"):
        write(tmp_path / "JPEGImages", name, 1, beside=tmp_path / "Annotations")
    shutil.copytree(tmp_path / "JPEGImages", tmp_path / "SegmentationClass")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("my cat\n", encoding="utf-8-sig")
    (lists / "test.txt").write_text("other 1\n")
    found = layouts.read(tmp_path)
    assert names(found, tmp_path) == {"train": ["JPEGImages/my cat.png"], "test": ["JPEGImages/other.png"]}
    assert found.left_out == {"in no list of ImageSets": 1}
    (lists / "test.txt").write_text("other", encoding="utf-16")
    with pytest.raises(UsageError, match=r"test.txt: expected a text in UTF-8"):
        layouts.read(tmp_path)
