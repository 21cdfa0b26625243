"""Annotated pictures in each layout, and the faults that they can have."""

import json
import shutil

import numpy as np
import pytest

from tests.zoo.data.annotations import pictures
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.annotations import layouts
from zoo.data.annotations.placing import Placing, visible
from zoo.data.fitting import resize
from zoo.data.load import load

LAYOUTS = {"Pascal VOC": pictures.voc, "COCO": pictures.coco, "YOLO": pictures.yolo}


def read(folder, **options):
    return load(
        TrainConfig(model="detector", data=folder, **{"image_size": 64, "fit": "stretch", **options}).resolved()
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, write in LAYOUTS.items():
        made[name] = tmp_path_factory.mktemp(name.replace(" ", ""))
        write(made[name])
    return made


def test_a_layout_is_recognised_by_its_content(folders):
    for name, folder in folders.items():
        found = layouts.read(folder)
        assert found.layout == name and found.classes == pictures.CLASSES and not found.faults.found
        assert {split: len(part) for split, part in found.splits.items()} == {"train": 24, "validation": 8, "test": 8}


def test_all_layouts_give_the_same_objects_and_pictures(folders):
    made = pictures.scenes({"train": 24, "val": 8, "test": 8})
    for name, folder in folders.items():
        data = read(folder)
        assert (
            data.spec.class_names == pictures.CLASSES and data.spec.task == "detection" and data.spec.fit == "stretch"
        )
        names = [f"train_{i}" for i in range(24)]
        order = sorted(range(24), key=lambda i: names[i]) if name != "COCO" and name != "Pascal VOC" else range(24)
        for row, index in enumerate(order):
            _, picture, objects = made["train"][index]
            y = data.train.y[row]
            kept = y[y[:, 4] >= 0]
            assert [pictures.CLASSES[int(k)] for k in kept[:, 4]] == [one[0] for one in objects]
            factors = [64 / picture.shape[1], 64 / picture.shape[0]] * 2
            np.testing.assert_allclose(kept[:, :4], np.array([one[1:] for one in objects]) * factors, rtol=1e-5)
            np.testing.assert_array_equal(data.train.x[row], resize(picture, (64, 64), "stretch"))
        assert data.reading.classes == {
            kind: sum(one[0] == kind for part in made.values() for _, _, objects in part for one in objects)
            for kind in pictures.CLASSES
        }
        assert f"layout of {name}" in data.reading.warning()


def test_a_folder_in_a_folder_is_looked_into(folders, tmp_path):
    shutil.copytree(folders["YOLO"], tmp_path / "outer" / "inner")
    assert layouts.read(tmp_path / "outer").layout == "YOLO"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected annotated pictures: Pascal VOC .* COCO .* YOLO"):
        layouts.read(tmp_path / "empty")


def test_a_picture_and_its_boxes_are_moved_alike():
    """A white box in a black picture is where the moved box says, for each fit."""
    for shown in ((60, 100), (100, 60), (80, 80)):
        picture = np.zeros((*shown, 1), np.uint8)
        picture[24:50, 20:44] = 255
        for fit in ("stretch", "pad", "crop"):
            placing = Placing.of(shown, (128, 128), fit)
            moved = placing.to_input(np.array([[20.0, 24.0, 44.0, 50.0]]))
            cut, share = visible(moved, (128, 128))
            rows, columns = np.nonzero(resize(picture, (128, 128), fit)[..., 0] > 127)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(cut[0], found, atol=1.0)
            if share[0] == 1:
                np.testing.assert_allclose(placing.to_picture(moved, shown), [[20, 24, 44, 50]], atol=1e-9)


def _altered(folder, change):
    file = next((folder / "Annotations").glob("train_*.xml"))
    file.write_text(change(file.read_text()))
    return file.stem


def _objects(text, box):
    first, _, last = text.partition("<object>")
    row = "<object><name>disc</name><bndbox>{}</bndbox></object>".format(
        "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    )
    return f"{first}{row}<object>{last}"


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((30, 10, 20, 20), "boxes with swapped corners"),
        ((30, 10, 30, 20), "empty boxes"),
        ((70, 10, 90, 20), "boxes outside their picture"),
        ((0.1, 0.1, 0.5, 0.6), "boxes within the first pixel, as if they were shares of the sides"),
        (("nan", 10, 90, 20), "boxes that are no numbers"),
        (("", 10, 90, 20), "objects without a class or a box"),
    ],
)
def test_faults_of_boxes_are_counted_named_and_refused_or_skipped(box, fault, tmp_path):
    pictures.voc(tmp_path / "voc")
    name = _altered(tmp_path / "voc", lambda text: _objects(text, box))
    with pytest.raises(UsageError, match=rf"1 {fault} \(.*{name}.*--skip-bad"):
        read(tmp_path / "voc")
    assert read(tmp_path / "voc", skip_bad=True).reading.changed == {f"{fault} left out": 1}


def test_boxes_that_reach_beyond_the_picture_are_cut_and_told(tmp_path):
    pictures.voc(tmp_path / "voc")
    _altered(tmp_path / "voc", lambda text: _objects(text, (-10, 5, 20, 30)))
    data = read(tmp_path / "voc")
    assert data.reading.changed == {"boxes cut at the edge of their picture": 1}
    assert (data.train.y[..., :4] >= 0).all()


def test_a_box_that_occurs_twice_is_taken_once_and_told(tmp_path):
    made = pictures.voc(tmp_path / "voc")
    name, _, objects = made["train"][0]
    file = tmp_path / "voc" / "Annotations" / f"{name}.xml"
    file.write_text(pictures.xml(name, (48, 64), [*objects, objects[0]]))
    data = read(tmp_path / "voc")
    assert data.reading.changed == {"boxes that occur twice left out": 1}
    assert (data.train.y[0, :, 4] >= 0).sum() == len(objects)


def test_pictures_that_are_missing_or_of_another_size_are_refused_or_left_out(tmp_path):
    pictures.voc(tmp_path / "voc")
    _altered(tmp_path / "voc", lambda text: text.replace("<width>64</width>", "<width>65</width>"))
    (tmp_path / "voc" / "JPEGImages" / "train_9.png").unlink()
    with pytest.raises(UsageError, match="65x48, the picture has 64x48"):
        read(tmp_path / "voc")
    data = read(tmp_path / "voc", skip_bad=True)
    assert len(data.train) == 22 and data.reading.left_out == {
        "annotations of another picture size": 1, "annotations without their picture": 1
    }  # fmt: skip


def test_faults_of_coco_and_yolo(tmp_path):
    pictures.coco(tmp_path / "coco")
    file = tmp_path / "coco" / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 99
    content["annotations"][1]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"1 boxes of an unknown class \(category 99 in instances_train.json"):
        read(tmp_path / "coco")
    assert "1 boxes around crowds" in read(tmp_path / "coco", skip_bad=True).reading.warning()
    pictures.yolo(tmp_path / "yolo")
    label = tmp_path / "yolo" / "labels" / "train" / "train_0.txt"
    label.write_text("7 0.5 0.5 0.1 0.1\nx\n0 0.1 0.1 0.5 0.1 0.5 0.6\n")
    with pytest.raises(
        UsageError, match=r"1 boxes of an unknown class \(class 7 in train_0.txt, line 1\); 1 lines that"
    ):
        read(tmp_path / "yolo")
    (tmp_path / "yolo" / "labels" / "train" / "train_1.txt").unlink()
    data = read(tmp_path / "yolo", skip_bad=True)
    np.testing.assert_allclose(data.train.y[0, 0], [6.4, 6.4, 32, 38.4, 0], rtol=1e-6)  # the box around the polygon
    assert "1 pictures have no text file" in data.reading.warning()


def test_faults_are_named_where_they_leave_no_objects(tmp_path):
    pictures.yolo(tmp_path / "yolo", {"train": 4})
    for file in (tmp_path / "yolo" / "labels" / "train").iterdir():
        file.write_text("0,0.5,0.5,0.2,0.2\n")
    with pytest.raises(UsageError, match=r"4 lines that are no numbers \(train_0.txt, line 1"):
        read(tmp_path / "yolo")
    with pytest.raises(
        UsageError, match="objects in the annotations of 4 pictures, found none beside 4 faults that are"
    ):
        read(tmp_path / "yolo", skip_bad=True)


def test_classes_that_differ_in_case_alone_are_told(tmp_path):
    pictures.voc(tmp_path / "voc")
    _altered(tmp_path / "voc", lambda text: _objects(text, (1, 1, 20, 20)).replace("disc", "Disc", 1))
    assert "the classes 'Disc', 'disc' differ only in upper and lower case" in read(tmp_path / "voc").reading.warning()


def test_validation_data_are_one_split_beside_data_without_their_own(folders, tmp_path):
    pictures.voc(tmp_path / "given", {"train": 4, "val": 2})
    with pytest.raises(UsageError, match="expected data without a validation split"):
        read(folders["YOLO"], validation_data=folders["COCO"])
    pictures.yolo(tmp_path / "data", {"train": 12})
    with pytest.raises(UsageError, match="expected the examples of one split, received train, validation; give one"):
        read(tmp_path / "data", validation_data=tmp_path / "given")
    shutil.rmtree(tmp_path / "given" / "ImageSets")
    reading = read(tmp_path / "data", validation_data=tmp_path / "given").reading
    assert reading.examples["validation"] == 6 and reading.made["validation"] == "--validation-data"


def test_groups_are_held_out_whole(tmp_path):
    made = pictures.voc(tmp_path / "voc", {"day1": 8, "day2": 8, "day3": 4, "day4": 4})
    shutil.rmtree(tmp_path / "voc" / "ImageSets")
    reading = read(tmp_path / "voc", group="day[0-9]").reading
    held = {split: how.partition("by group: ")[2].split(", ") for split, how in reading.made.items()}
    assert {len(made[day]) for day in held["test"] + held["validation"]} <= {4, 8}
    assert reading.examples["test"] == sum(len(made[day]) for day in held["test"])
    assert reading.examples["validation"] == sum(len(made[day]) for day in held["validation"])
    assert reading.examples["train"] == 24 - reading.examples["test"] - reading.examples["validation"]
    with pytest.raises(
        UsageError, match=r"--group night: expected a match in the name of every file, 24 of 24 have none"
    ):
        read(tmp_path / "voc", group="night")
    pictures.yolo(tmp_path / "yolo", {"train": 4, "val": 2})
    told = read(tmp_path / "yolo", group="_([0-9])").reading.warning()
    assert "the groups 0, 1 are in train and in validation, as the data name these splits" in told


def test_classes_of_a_run_are_kept_and_others_refused(tmp_path):
    pictures.voc(tmp_path / "voc")
    like = read(tmp_path / "voc").spec
    for file in (tmp_path / "voc" / "Annotations").glob("test_*.xml"):
        file.write_text(file.read_text().replace("disc", "ring"))
    config = TrainConfig(model="detector", data=tmp_path / "voc", image_size=64).resolved()
    with pytest.raises(UsageError, match="'ring' in test_"):
        load(config, like=like)
