"""YOLO: what a line means, and which pictures and text files are read."""

import numpy as np
import pytest

from tests.zoo.data.annotations import pictures
from zoo.console.errors import UsageError
from zoo.data.annotations import layouts

BOX = "0 0.5 0.5 0.2 0.2"
NAMES = "names: [cat, dog]\n"


def write(root, folder, count, labels=None, line=BOX, start=0):
    """Write pictures into a folder, and their text files, by default into labels beside it; return the root."""
    place = root / (labels or folder.replace("images", "labels"))
    place.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        pictures.write_picture(root / folder / f"{i}.png", pictures.plain(i))
        (place / f"{i}.txt").write_text(line + "\n")
    return root


def described(root, text):
    (root / "data.yaml").write_text(NAMES + text)
    return root


def sizes(found):
    return {split: len(part) for split, part in found.splits.items()}


def first_boxes(found):
    return next(iter(found.splits.values()))[0].boxes


def test_keypoints_follow_a_box(tmp_path):
    line = f"{BOX} 0.45 0.45 2 0.55 0.55 2 0.5 0.5 1 0.4 0.4 0"
    described(write(tmp_path, "images", 3, line=line), "kpt_shape: [4, 3]\n")
    np.testing.assert_allclose(first_boxes(layouts.read(tmp_path)), [[0.4, 0.4, 0.6, 0.6]])
    described(tmp_path, "")
    assert layouts.read(tmp_path).faults.counts() == {
        "polygons in pixels, or keypoints without kpt_shape in data.yaml": 3
    }
    described(tmp_path, "kpt_shape: [17, 3]\n")
    assert layouts.read(tmp_path).faults.counts() == {"lines that are neither a box nor a polygon": 3}
    described(tmp_path, "kpt_shape: 4\n")
    with pytest.raises(UsageError, match=r"kpt_shape: expected two numbers, as in \[17, 3\], received 4"):
        layouts.read(tmp_path)


def test_lines_like_a_box_and_keypoints_are_not_read_as_polygons(tmp_path):
    described(write(tmp_path, "images", 10, line=f"{BOX} 0.45 0.45 0.55 0.55"), "")
    with pytest.raises(UsageError, match="10 lines of 8 numbers after the class that look like a box and keypoints"):
        layouts.read(tmp_path)
    assert "10 polygons became the boxes around them" in layouts.read(described(tmp_path, "kpt_shape: null\n")).notes
    described(tmp_path, "")
    (tmp_path / "labels" / "0.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.6\n")  # a polygon among them
    found = layouts.read(tmp_path)
    assert "10 polygons became the boxes around them" in found.notes
    np.testing.assert_allclose(first_boxes(found), [[0.1, 0.1, 0.5, 0.6]])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0.7 0.5 0.5 0.2 0.2", "lines whose class is no whole number (class 0.7 in 0.txt, line 1"),
        (
            "0 0.5 0.5 0.2 0.2 0.9",
            "lines that are neither a box nor a polygon (0.txt, line 1: 5 numbers after the class",
        ),
        ("inf 0.5 0.5 0.2 0.2", "lines that are no numbers (0.txt, line 1"),
        ("0 0.1 nan 0.5 0.1 0.5 0.6", "lines that are no numbers (0.txt, line 1"),
    ],
)
def test_faults_of_lines(line, fault, tmp_path):
    described(write(tmp_path, "images", 1, line=line), "")
    with pytest.raises(UsageError) as caught:
        layouts.read(tmp_path).faults.check("data")
    assert fault in str(caught.value)


def test_texts_with_a_byte_order_mark_are_read_and_others_than_utf_8_named(tmp_path):
    write(tmp_path, "images", 2)
    (tmp_path / "classes.txt").write_text("cat\ndog\n", encoding="utf-8-sig")
    (tmp_path / "labels" / "0.txt").write_text(BOX, encoding="utf-8-sig")
    (tmp_path / "labels" / "1.txt").write_text(BOX, encoding="utf-16")
    found = layouts.read(tmp_path)
    assert found.classes == ("cat",) and first_boxes(found).shape == (1, 4)
    assert found.faults.found == {"text files that are not in UTF-8": ["1.txt"]}


def test_names_of_classes_occur_once_and_without_empty_lines(tmp_path):
    write(tmp_path, "images", 1)
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(UsageError, match=r"classes.txt: expected each class once, received 'cat' twice"):
        layouts.read(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(UsageError, match=r"classes.txt: expected the name of a class in each line, found line 2 empty"):
        layouts.read(tmp_path)


def test_paths_of_data_yaml_without_pictures(tmp_path):
    for split in ("train", "valid"):
        write(tmp_path, f"{split}/images", 2)
    described(tmp_path, "train: train/images\nval: val/images\n")
    with pytest.raises(
        UsageError, match=r"val: expected pictures in val/images, found none; valid/images has 2; correct"
    ):
        layouts.read(tmp_path)
    described(tmp_path, "train: trian/images\n")
    with pytest.raises(UsageError, match=r"train: expected pictures in trian/images, found none; train/images has 2"):
        layouts.read(tmp_path)
    found = layouts.read(described(tmp_path, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"))
    assert sizes(found) == {"train": 2, "validation": 2}
    assert found.notes[0] == "data.yaml names ../test/images for test, where there are no pictures"
    for text in ("path: /content/a\ntrain: a/train\nval: a/val\n", "train: /content/a/train\nval: C:\\a\\val\n"):
        found = layouts.read(described(tmp_path, text))
        assert sizes(found) == {"train": 2, "validation": 2}
        assert found.notes[0].endswith("for train, where there are no pictures; train/images is read")


def test_pictures_outside_of_the_folder_are_told(tmp_path):
    write(tmp_path / "elsewhere", "images", 2)
    root = write(tmp_path / "data", "images", 3)
    found = layouts.read(described(root, f"train: {tmp_path}/elsewhere/images\n"))
    assert sizes(found) == {"train": 2} and found.left_out == {"outside of the folders that are read": 3}
    assert found.notes[0] == f"data.yaml names {tmp_path}/elsewhere/images for train, which is not in {root}"


def test_missing_pictures_of_a_list_are_faults(tmp_path):
    write(tmp_path, "images", 2)
    (tmp_path / "train.txt").write_text("./images/0.png\nimages/7.png\n")
    found = layouts.read(described(tmp_path, "train: train.txt\n"))
    assert sizes(found) == {"train": 1}
    assert found.faults.found == {"pictures of a list that are not there": ["images/7.png in train.txt"]}
    assert found.left_out == {"outside of the folders that are read": 1}


def test_folders_are_read_with_those_in_them_and_other_pictures_are_counted(tmp_path):
    for folder, start in (("images", 0), ("images/day", 10), ("images/night", 20)):
        write(tmp_path, folder, 3, start=start)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = layouts.read(tmp_path)
    assert sizes(found) == {"all": 9} and not found.left_out and all(one.classes for one in found.splits["all"])
    write(tmp_path, "images/train", 2, start=30)
    found = layouts.read(tmp_path)
    assert sizes(found) == {"train": 2} and found.left_out == {"outside of the folders that are read": 9}


def test_text_files_beside_pictures_below_a_folder_called_images(tmp_path):
    root = write(tmp_path / "images" / "set", "train", 2)
    found = layouts.read(described(root, "train: train\n"))
    assert [one.classes for one in found.splits["train"]] == [("cat",)] * 2
    root = write(tmp_path / "other", "images", 2, labels="images")
    found = layouts.read(described(root, ""))
    assert [one.classes for one in found.splits["all"]] == [("cat",)] * 2


def test_pictures_and_text_files_without_each_other_are_told(tmp_path):
    described(write(tmp_path, "images", 2), "")
    pictures.write_picture(tmp_path / "images" / "0.jpg", pictures.plain(0))
    pictures.write_picture(tmp_path / "images" / "5.jpg", pictures.plain(5))
    (tmp_path / "labels" / "9.txt").write_text(BOX)
    assert layouts.read(tmp_path).notes == [
        "1 pictures have no text file in labels and count as pictures without objects",
        "1 text files are of several pictures, which share their objects (0.txt)",
        "1 text files have no picture and are not read (9.txt)",
        "1 classes have no object and are left out (dog)",
    ]
    for file in (tmp_path / "labels").iterdir():
        file.unlink()
    with pytest.raises(UsageError, match=r"expected a text file for each .*labels/0.txt for .* found none for 4 pict"):
        layouts.read(tmp_path)
