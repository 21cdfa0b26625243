"""Folders of pictures and masks: layouts, codings, faults, sizes, and both ways of keeping them."""

import json

import numpy as np
import pytest
from PIL import Image

from zoo.config.catalogue import check_source, task_of
from zoo.config.masks import Coding, written_classes
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.batches.pipeline import evaluation_batches
from zoo.data.digests import of_data
from zoo.data.fitting import placed_back, resize, resize_mask
from zoo.data.stored.masks import classes_of, values_of, written

RNG = np.random.default_rng(0)
VALUES = np.arange(12, dtype="uint8").reshape(3, 4) % 3


def write(folder, name, mask, picture=None, suffix=".png", end="", split=""):
    """Write a picture and its mask; a mask of three axes is stored as colours."""
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    size = mask.shape[:2] if mask is not None else (3, 4)
    picture = RNG.integers(0, 255, (*size, 3)).astype("uint8") if picture is None else picture
    Image.fromarray(picture).save(folder / "images" / split / f"{name}{suffix}")
    if mask is not None:
        Image.fromarray(mask).save(folder / "masks" / split / f"{name}{end}.png")


def read(folder, **options):
    return load(TrainConfig(model="unet", data=folder, **options))


@pytest.fixture
def few(tmp_path):
    """Ten pictures of 4x3 pixels in three classes."""
    for i in range(10):
        write(tmp_path, f"p{i}", np.roll(VALUES, i), suffix=".jpg" if i % 2 else ".png")
    return tmp_path


def test_a_folder_is_for_segmentation_whatever_the_model(few):
    for model in ("unet", "lraspp", "cnn"):
        assert task_of(TrainConfig(model=model, data=few)) == "segmentation"
    check_source(TrainConfig(model="unet", data=few))
    with pytest.raises(UsageError, match="expected a folder with the folders images and masks"):
        check_source(TrainConfig(model="unet", data=few / "images"))


def test_values_are_classes_and_told_by_their_numbers(few):
    data = read(few, test_split=0.2, validation_split=0.2)
    assert data.spec.class_names == ("0", "1", "2") and data.spec.input_shape == (3, 4, 3)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert data.train.y.dtype == np.uint8 and data.train.y.shape == (6, 3, 4)
    assert "classes are called by their values" in data.reading.warning() and data.reading.classes == {
        "0": 10, "1": 10, "2": 10,
    }  # fmt: skip


def test_a_mask_belongs_to_its_picture(tmp_path):
    for i in range(8):
        mask = np.full((5, 6), i % 2, "uint8")
        write(tmp_path, f"x{i}", mask, np.repeat(mask[..., None] * 200, 3, axis=-1), end="_mask")
    data = read(tmp_path, test_split=0.25, validation_split=0.25)
    for split in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(split.x[..., 0] // 200, split.y)
    assert "masks are called as their pictures with the end _mask" in data.reading.warning()


@pytest.mark.parametrize("above", [True, False])
def test_splits_may_lie_above_or_below(above, tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for i in range(count):
            folder = tmp_path / split if above else tmp_path
            write(folder, f"{split}{i}", VALUES, split="" if above else split)
    data = read(tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [3, 2, 1]
    assert data.reading.made == {"validation": "folder val"}


def test_names_come_from_a_file(few):
    (few / "classes.txt").write_text("road\nsky\ncar\n")
    assert read(few).spec.class_names == ("road", "sky", "car")
    (few / "classes.txt").write_text("road\nsky\n")
    with pytest.raises(UsageError, match=r"10 with unknown values in the mask \(images/p0.*value 2 is none of the 2"):
        read(few)
    (few / "classes.txt").write_text("road\nvoid\ncar\n")  # a void class is ignored
    data = read(few)
    assert data.spec.class_names == ("road", "car") and set(np.unique(data.train.y)) == {0, 1, 255}


def test_binary_masks_have_two_classes(tmp_path):
    for i in range(6):
        write(tmp_path, f"p{i}", np.where(VALUES > 1, 255, 0).astype("uint8"))
    data = read(tmp_path)
    assert data.spec.class_names == ("background", "foreground") and set(np.unique(data.train.y)) == {0, 1}


def test_ignored_pixels_keep_255(tmp_path):
    mask = VALUES.copy()
    mask[0] = 255
    for i in range(6):
        write(tmp_path, f"p{i}", mask)
    data = read(tmp_path)
    assert data.spec.class_names == ("0", "1", "2") and (data.train.y[:, 0] == 255).all()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("colors.txt", "road 128 64 128\nsky 70 130 180\nvoid 0 0 0\n"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\nsky,70,130,180\nvoid,0,0,0\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:70,130,180::\nvoid:0,0,0::\n"),
        ("colours.txt", "#804080 road\n#4682b4 sky\n#000000 void\n"),
    ],
)
def test_colours_mean_what_a_file_says(file, text, tmp_path):
    colours = np.array([(128, 64, 128), (70, 130, 180), (0, 0, 0)], "uint8")
    for i in range(6):
        write(tmp_path, f"p{i}", colours[VALUES])
    with pytest.raises(UsageError, match=r"received colours; colors.txt in .* says what they mean"):
        read(tmp_path)
    (tmp_path / file).write_text(text)
    data = read(tmp_path)
    assert data.spec.class_names == ("road", "sky")
    np.testing.assert_array_equal(data.train.y[0], np.where(VALUES == 2, 255, VALUES))
    (tmp_path / file).write_text(text.replace("70", "71").replace("4682b4", "4782b4"))
    with pytest.raises(UsageError, match="its colour #4682b4 is none of the 2 classes|#4682b4"):
        read(tmp_path)


def test_a_palette_keeps_its_indices():
    content = written(VALUES, np.array([(9, 9, 9), (200, 0, 0), (0, 200, 0)], "uint8"))
    np.testing.assert_array_equal(values_of(content), VALUES)
    np.testing.assert_array_equal(values_of(content, colours=True)[0, 1], (200, 0, 0))
    with pytest.raises(ValueError, match="its value 2 is none of the 2 classes"):
        classes_of(VALUES, Coding(("a", "b"), (0, 1)))


def test_faults_are_counted_named_refused_or_left_out(few):
    write(few, "lonely", None)
    write(few, "larger", np.zeros((3, 4), "uint8"), RNG.integers(0, 255, (6, 8, 3)).astype("uint8"))
    Image.fromarray(VALUES).save(few / "masks" / "orphan.png")
    (few / "images" / "broken.png").write_bytes(b"no picture")
    Image.fromarray(VALUES).save(few / "masks" / "broken.png")
    Image.fromarray(np.repeat(VALUES[..., None], 3, -1)).save(few / "images" / "jpeg.png")
    Image.fromarray(VALUES).save(few / "masks" / "jpeg.jpg")
    with pytest.raises(UsageError) as refused:
        read(few)
    said = str(refused.value)
    for part in ("expected a mask for each picture and a picture for each mask and", "1 pictures without a mask",
                 "1 masks without a picture", "1 with a mask of another size",
                 "2 that cannot be read", "images/lonely.png", "--skip-bad"):  # fmt: skip
        assert part in said
    data = read(few, skip_bad=True)
    assert data.reading.used == 10 and sum(data.reading.left_out.values()) == 5
    assert "with a mask of another size" in data.reading.line()


def test_wrong_folders_are_refused_in_a_sentence(tmp_path):
    write(tmp_path / "one", "p", VALUES)
    write(tmp_path / "one", "q", VALUES, end="_mask")
    Image.fromarray(VALUES).save(tmp_path / "one" / "masks" / "q.png")
    with pytest.raises(UsageError, match="expected one file of each name, received q.png and q_mask.png"):
        read(tmp_path / "one")
    for kind in ("images", "masks"):
        (tmp_path / "empty" / kind).mkdir(parents=True)
    with pytest.raises(UsageError, match="expected pictures in .* with masks of the same names"):
        read(tmp_path / "empty")
    (tmp_path / "colors.txt").write_text("road 1 2 3\nsky\n")
    with pytest.raises(UsageError, match="expected a name and a colour such as 'road 128 64 128', received 'sky'"):
        written_classes(tmp_path, colours=True)


def test_sets_that_do_not_fit_are_decoded_for_each_batch_and_are_the_same(few):
    whole, lazy = read(few, test_split=0.2), read(few, test_split=0.2, memory="10")
    assert whole.train.in_memory and not lazy.train.in_memory
    np.testing.assert_array_equal(np.asarray(lazy.train.y), whole.train.y)
    assert of_data(whole) == of_data(lazy)
    for split in (whole.train, lazy.train):
        x, y = next(iter(evaluation_batches(split, batch_size=4)))
        assert y.shape == (4, 3, 4) and np.asarray(y).dtype == np.uint8
        np.testing.assert_array_equal(np.asarray(y), whole.train.y[:4])


def test_a_run_finds_its_classes_by_name_in_other_data(few, tmp_path):
    (few / "classes.txt").write_text("road\nsky\ncar\n")
    like, other = read(few).spec, tmp_path / "other"
    for i in range(4):
        write(other, f"p{i}", (VALUES == 0).astype("uint8"))
    (other / "classes.txt").write_text("sky\nroad\n")  # in another order, and without cars
    data = load(TrainConfig(model="unet", data=other), like=like)
    assert data.spec.class_names == like.class_names
    np.testing.assert_array_equal(data.train.y[0], np.where(VALUES == 0, 0, 1))
    (other / "classes.txt").write_text("sky\nriver\n")
    with pytest.raises(UsageError, match="class 'river' is not one of road, sky, car"):
        load(TrainConfig(model="unet", data=other), like=like)


def test_files_beside_the_folders_of_splits_do_not_dissolve_them(tmp_path):
    for split in ("train", "val"):
        for i in range(4):
            write(tmp_path, f"{split}{i}", VALUES, split=split)
    (tmp_path / "images" / "README.txt").write_text("from Monday")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / "masks" / "@eaDir").mkdir()
    data = read(tmp_path)
    assert (len(data.validation), data.reading.made["validation"]) == (4, "folder val")
    write(tmp_path, "loose", VALUES)
    with pytest.raises(
        UsageError, match="images: expected nothing beside the folders of splits train, val, received 1 p"
    ):
        read(tmp_path)


@pytest.mark.parametrize(("extra", "message"), [
    (("val/images", "val/labels"), "val: expected the folders images and masks, .* received 'images', 'labels'"),
    (("test",), "test: expected the folders images and masks, as this is the name of a split, received none"),
    (("holdout/images", "holdout/masks"), "expected train, validation and test beside train, received 'holdout'"),
    (("images", "masks"), "expected the folders images and masks, or a folder for each split .*, with train; move"),
])  # fmt: skip
def test_splits_above_that_are_not_clear_are_refused(extra, message, tmp_path):
    for i in range(6):
        write(tmp_path / "train", f"p{i}", VALUES)
    (tmp_path / "notes").mkdir()
    assert "notes beside the folders of splits is not read" in read(tmp_path).reading.warning()
    for name in extra:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [("images", "holdout"), ("masks", "test")])
def test_splits_below_that_are_not_clear_are_refused(kind, name, tmp_path):
    for i in range(6):
        write(tmp_path, f"p{i}", VALUES, split="train")
    (tmp_path / kind / name).mkdir()
    with pytest.raises(
        UsageError, match=f"{kind}: expected nothing beside the folders of splits train, received '{name}'"
    ):
        read(tmp_path)


def test_validation_data_are_one_split(few, tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "other", split, VALUES, split=split)
    with pytest.raises(UsageError, match="expected the examples of one split, received test, train"):
        read(few, validation_data=tmp_path / "other")


@pytest.mark.parametrize("names", ["sky\ncat\n", "sky\ncat\nvoid\n"])
@pytest.mark.parametrize("kind", ["uint8", "bool"])
def test_255_is_the_second_of_two_named_classes_if_there_is_no_1(names, kind, tmp_path):
    for i in range(6):
        write(tmp_path, f"p{i}", np.where(VALUES > 1, 255, 0).astype(kind))
    (tmp_path / "classes.txt").write_text(names)
    data = read(tmp_path)
    assert data.reading.classes == {"sky": 6, "cat": 6} and set(np.unique(data.train.y)) == {0, 1}
    assert "masks have only 0 and 255: sky and cat" in data.reading.warning()
    (tmp_path / "classes.txt").unlink()
    again = load(TrainConfig(model="unet", data=tmp_path), like=data.spec)
    np.testing.assert_array_equal(again.train.y, data.train.y)


def test_classes_without_pixels_and_the_share_of_ignored_pixels_are_told(few):
    (few / "classes.txt").write_text("road\nsky\ncar\nriver\n")
    assert "no mask has pixels of river" in read(few).reading.warning()
    for path in (few / "masks").iterdir():
        Image.fromarray(np.where(VALUES == 0, 255, VALUES)).save(path)
    assert "33.3 % of the pixels are ignored: 255" in read(few).reading.warning()
    for path in (few / "masks").iterdir():
        Image.fromarray(VALUES // 2 * 255).save(path)  # 255 is no class among four
    with pytest.raises(
        UsageError, match="pixels of two classes or more of road, sky, car, river, received values 0, 255"
    ):
        read(few)


def test_a_class_that_no_training_mask_has_is_told(tmp_path):
    for split in ("train", "test"):
        for i in range(4):
            write(tmp_path / split, f"{split}{i}", VALUES % 2 if split == "train" else VALUES)
    assert "no training mask has pixels of 2, which other splits have" in read(tmp_path).reading.warning()


def test_palettes_in_which_a_value_is_another_colour_are_refused_or_read_by_colour(tmp_path):
    for i in range(6):  # programs that save few colours number those in use
        write(tmp_path, f"p{i}", VALUES)
        index, colours = (
            (VALUES, [(0, 0, 0), (0, 200, 0), (200, 0, 0)]) if i % 2 else (VALUES // 2, [(0,) * 3, (200, 0, 0)])
        )
        (tmp_path / "masks" / f"p{i}.png").write_bytes(written(index, np.array(colours, "uint8")))
    with pytest.raises(UsageError, match=r"received value 1 as #c80000 in masks/p0.png and as #00c800 in masks/p1.png"):
        read(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    with pytest.raises(UsageError, match="expected masks with one palette"):
        read(tmp_path)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "colors.txt").write_text("sky 0 0 0\nroad 0 200 0\ncar 200 0 0\n")
    data = read(tmp_path, test_split=0)
    assert data.reading.classes == {"sky": 6, "road": 3, "car": 6}
    assert (data.train.y[:, VALUES == 2] == 2).all()


def test_a_palette_in_another_order_than_the_file_of_colours_is_refused(tmp_path):
    for i in range(6):
        write(tmp_path, f"p{i}", VALUES)
        palette = np.array([(0, 0, 0), (200, 0, 0), (9, 9, 9)], "uint8")
        (tmp_path / "masks" / f"p{i}.png").write_bytes(written(VALUES, palette))
    (tmp_path / "colors.txt").write_text("sky 0 0 0\nroad 0 200 0\ncar 200 0 0\n")
    with pytest.raises(UsageError, match="received value 1 as #c80000, which is 'car'; name all colours"):
        read(tmp_path)


def test_masks_that_change_or_exceed_values_are_refused_with_the_reason(few):
    for path in (few / "masks").iterdir():
        Image.fromarray(VALUES.astype("uint16") * 500).save(path)
    with pytest.raises(UsageError, match=r"10 that cannot be read \(the first, masks/p0.png: its values reach 1,000"):
        read(few)
    for path in (few / "masks").iterdir():
        path.unlink()
        several = {"save_all": True, "append_images": [Image.fromarray(VALUES)]}
        Image.fromarray(VALUES).save(path.with_suffix(".tif"), **several)
    with pytest.raises(UsageError, match="it has several frames; expected one"):
        read(few)
    for path in (few / "masks").iterdir():
        path.unlink()
        Image.fromarray(VALUES).save(path.with_suffix(".gif"))
    with pytest.raises(UsageError, match="this one is GIF, which changes values"):
        read(few)


def test_pictures_that_exif_turns_are_told_of_their_masks(few):
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (few / "images").glob("*.jpg"):
        Image.open(path).save(path, exif=exif)
    assert "5 pictures are turned upright by EXIF and their masks are not" in read(few).reading.warning()


def test_pictures_of_a_group_are_in_one_split(few):
    for kind in ("images", "masks"):
        for path in sorted((few / kind).iterdir()):
            path.rename(path.with_stem(f"day{int(path.stem[1]) // 2}_{path.stem}"))
    data = read(few, group="day[0-9]", test_split=0.2, validation_split=0.2)
    found = [set(split.groups.tolist()) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, found)) == 5 and all(found) and "drawn by group" in data.reading.made["test"]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(16, 16), (30, 12), (7, 19)])
def test_masks_are_fitted_as_their_pictures_and_placed_back(fit, size):
    shown = (24, 40)
    mask = np.zeros(shown, "uint8")
    mask[8:20, 10:28] = 1
    picture = resize(mask[..., None] * 255, size, fit)[..., 0]
    found = resize_mask(mask, size, fit, 255)
    inside = found != 255
    assert np.mean((picture[inside] > 127) == found[inside]) > 0.93
    assert (fit == "pad") or inside.all()
    back = placed_back(found, shown, fit, 255)
    assert back.shape == shown
    kept = back != 255
    assert (fit == "crop") or kept.all()
    assert np.mean(back[kept] == mask[kept]) > 0.85


def test_what_was_read_is_recorded(few):
    assert json.loads(json.dumps(read(few).reading.to_json()))["unit"] == "pictures"
