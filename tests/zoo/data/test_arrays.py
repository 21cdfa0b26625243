"""Arrays of .npz files and arrays in Python: which are read, what their numbers mean, and what is told of it."""

import numpy as np
import pytest
from PIL import Image

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load, own
from zoo.data.fitting import resize
from zoo.data.sources import structures
from zoo.reports.mosaic import mosaic, remark
from zoo.runs import inference

RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 20)
BYTES = RNG.integers(0, 256, (60, 8, 8, 3)).astype("uint8")
FLOATS = RNG.random((60, 8, 8, 3))
FEATURES = RNG.normal(0, 1, (60, 5))


def read(folder, model="cnn", options=None, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return load(TrainConfig(model=model, data=folder / "x.npz", **(options or {})).resolved())


def examples(data):
    """Return the inputs of all splits in the order of their first numbers."""
    found = np.concatenate([data.train.x, data.validation.x, data.test.x])
    return found[np.lexsort(found.reshape(len(found), -1).T[::-1])]


@pytest.mark.parametrize("task", [None, "regression"])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_each_channel_is_resized_by_itself(channels, task, tmp_path):
    x = np.full((60, 32, 32, channels), 100, "uint8")
    x[..., -1] = np.where(np.arange(32)[:, None] < 16, 0, 50)
    data = read(tmp_path, options={"image_size": 16, "task": task}, x=x, y=Y)
    assert data.spec.input_shape == (16, 16, channels)
    assert (data.train.x[..., :-1] == 100).all() and (data.train.x[:, 10:, :, -1] == 50).all()
    assert f"32 high, 32 wide and have {channels} channels" in data.reading.warning()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_floats_are_resized_as_bytes_are(channels, fit):
    image = RNG.integers(0, 256, (30, 20, channels)).astype("uint8")
    found = resize(image.astype("float32"), (12, 12), fit)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, resize(image, (12, 12), fit), atol=1)


def test_a_size_is_refused_for_examples_that_are_no_pictures(tmp_path):
    with pytest.raises(UsageError, match="--image-size 16: expected with pictures, received x, whose examples are"):
        read(tmp_path, options={"image_size": 16}, x=FLOATS[..., 0], y=Y)


@pytest.mark.parametrize(
    ("x", "received"),
    [
        (BYTES.astype("float32"), "train from 0 to 255"),
        ((BYTES // 64).astype("float32"), "train from 0 to 3"),
        (BYTES * 0.97, r"train from 0 to 24\d.\d"),
    ],
)
def test_floating_point_pictures_that_seem_to_be_bytes_are_refused(x, received, tmp_path):
    message = (
        f"expected floating-point pictures from 0 to 1, received {received}.*; store pixels from 0 to 255 as uint8"
    )
    with pytest.raises(UsageError, match=message):
        read(tmp_path, x=x, y=Y)
    with pytest.raises(UsageError, match=message):
        load(TrainConfig(model="cnn", data=own.saved((x, Y), tmp_path)).resolved())
    kept = load(TrainConfig(data=own.saved((x, Y), tmp_path)).resolved(), own_model=True)
    assert kept.train.x.max() > 1 and "are used as they are" in kept.reading.warning()


def test_the_range_of_floating_point_pictures_is_told_unless_it_is_that_of_files(tmp_path):
    assert read(tmp_path, x=FLOATS, y=Y).reading.warning() == ""
    data = read(tmp_path, x=FLOATS * 4 - 2, y=Y)
    assert "floating-point pictures are used as they are, x from -2 to 2;" in data.reading.warning()
    assert "become 0 to 1" in data.reading.warning() and data.train.x.min() < -1
    assert "x from" in read(tmp_path, x=FLOATS * 9, y=Y).reading.warning()  # such as magnitudes of sound


def test_splits_of_several_ranges_or_types_are_refused(tmp_path):
    with pytest.raises(UsageError, match="received train from .* to 1, .* test from .* to 255"):
        read(tmp_path, x_train=FLOATS, y_train=Y, x_test=FLOATS * 255, y_test=Y)
    with pytest.raises(
        UsageError, match="one type in all splits, received x_train uint8, x_test float64; store all as"
    ):
        read(tmp_path, x_train=BYTES, y_train=Y, x_test=FLOATS, y_test=Y)


def test_booleans_are_black_and_white(tmp_path):
    x = RNG.random((60, 8, 8)) < 0.5
    data = read(tmp_path, x=x, y=Y)
    assert data.reading.changed == {"pictures of booleans with 255 for true": 60}
    assert np.unique(data.train.x).tolist() == [0, 255]
    Image.fromarray(x[0]).save(tmp_path / "one.png")
    picture = inference.read_inputs([str(tmp_path / "one.png")], data.spec, None, "")[1]
    np.testing.assert_array_equal(picture[0, ..., 0], 255 * x[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_whole_numbers_of_0_and_1_are_no_pixels(dtype, tmp_path):
    with pytest.raises(UsageError, match="only 0 and 1, so that all would be black; store them as"):
        read(tmp_path, x=(BYTES > 127).astype(dtype), y=Y)
    assert read(tmp_path, x=BYTES.astype(dtype), y=Y).train.x.dtype == np.uint8


@pytest.mark.parametrize("ending", ["val", "valid", "dev", "Validation"])
def test_names_of_folders_of_splits_are_names_of_arrays(ending, tmp_path):
    arrays = {"X_train": FEATURES, "y_train": Y, f"x_{ending}": FEATURES[::6] + 1, f"y_{ending}": Y[::6]}
    for options in ({}, {"task": "regression"}):
        data = read(tmp_path, "simplenet", options, **arrays, X_test=FEATURES[::3] + 2, y_test=Y[::3])
        assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 10, 20]
        assert "not used" not in data.reading.warning()


def test_arrays_that_are_not_used_are_told(tmp_path):
    data = read(tmp_path, "simplenet", x=FEATURES, y=Y, sample_weight=np.ones(60), x_extra=FEATURES)
    assert "arrays that are not used: sample_weight, x_extra" in data.reading.warning()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": FEATURES, "y": Y, "x_train": FEATURES, "y_train": Y}, "expected x, or x_train, received both"),
        ({"x_train": FEATURES, "y_train": Y, "y_test": Y}, "expected an array 'x_test' beside 'y_test', received"),
        ({"x": FEATURES, "y": 5}, r"y: expected a label for each example or time step, received the shape \(\)"),
        ({"x": FEATURES, "X": FEATURES, "y": Y}, "expected one array x of a split, received x and X"),
        (
            {"x_train": FEATURES, "y_train": Y, "x_val": FEATURES, "x_dev": FEATURES},
            "expected one array x of a split, received x_val and x_dev",
        ),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(arrays, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "simplenet", **arrays)


def test_two_sets_of_training_examples_for_a_model_of_ones_own_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=FEATURES, y=Y, x_train=FEATURES, y_train=Y)
    with pytest.raises(UsageError, match="x.npz: expected x, or x_train, received both"):
        structures.read(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 28, 28), (4, 20, 32)])
@pytest.mark.parametrize("scale", [255, 1.0])
def test_channels_first_are_refused(shape, scale, tmp_path):
    x = RNG.random((60, *shape)) * scale
    with pytest.raises(UsageError, match=r"has the channels first; store x.transpose\(0, 2, 3, 1\)"):
        read(tmp_path, x=x.astype("uint8" if scale > 1 else "float32"), y=Y)


@pytest.mark.parametrize("shape", [(3, 3, 16), (1, 1, 32), (4, 4, 8), (1, 64, 9), (1, 24, 3)])
def test_maps_of_features_and_rows_of_samples_have_many_channels(shape, tmp_path):
    assert read(tmp_path, x=RNG.random((60, *shape)), y=Y).spec.input_shape == shape


def test_pictures_of_any_number_of_channels_are_drawn_and_the_caption_says_how():
    x = RNG.integers(0, 256, (2, 6, 6, 5)).astype("uint8")
    grey = np.rint(x.mean(-1, keepdims=True)).astype("uint8")
    np.testing.assert_array_equal(mosaic(x, 2), mosaic(grey, 2))
    assert remark(3) == "" and remark(5) == "; drawn is the mean of the 5 channels"


@pytest.mark.parametrize("x", [RNG.integers(1, 50, (60, 3)), RNG.random((60, 3, 2))])
def test_labels_that_may_be_one_hot_or_of_each_step_are_told(x, tmp_path):
    data = read(tmp_path, "lstm", x=x, y=np.eye(3, dtype=int)[Y])
    assert "is read as a label for each of the 3 time steps; if it is one-hot, store y.argmax(1)" in (
        data.reading.warning()
    )
    assert "one-hot" not in read(tmp_path, "lstm", x=x, y=RNG.integers(0, 2, (60, 3))).reading.warning()


def test_token_ids_are_told(tmp_path):
    data = read(tmp_path, "lstm", x=RNG.integers(0, 256, (60, 64)), y=Y)
    assert "its whole numbers are read as token ids from 0 to 255; store features as floats" in data.reading.warning()


LATE = 1.7e9 + np.arange(60)


@pytest.mark.parametrize("x", [LATE[:, None] * [[1, 1]], LATE.reshape(60, 1, 1) * np.ones((60, 4, 2))])
def test_features_that_float32_does_not_tell_apart_are_refused(x, tmp_path):
    message = "x: expected numbers that float32 tells apart, received 60 different ones from 1700000000 to 1700000059"
    with pytest.raises(UsageError, match=f"{message} in column 0, of which it keeps 1; subtract their mean"):
        read(tmp_path, "conv1d" if x.ndim == 3 else "simplenet", x=x, y=Y)


@pytest.mark.parametrize("y", [LATE, LATE.astype("int64")])
def test_targets_that_float32_does_not_tell_apart_are_refused(y, tmp_path):
    with pytest.raises(UsageError, match="y: expected numbers that float32 tells apart, received 60 different ones"):
        read(tmp_path, "simplenet", {"task": "regression"}, x=FEATURES, y=y)


@pytest.mark.parametrize(
    "column", [1.7e9 + 1e4 * np.arange(60), np.where(Y, 0.3, 0.1 + 0.2), RNG.random(60) * 1e-10 + 0.5, np.full(60, 7.0)]
)
def test_features_that_float32_tells_apart_or_that_differ_by_rounding_alone_are_read(column, tmp_path):
    data = read(tmp_path, "simplenet", x=column[:, None], y=Y)
    np.testing.assert_allclose(examples(data)[:, 0], np.sort(column), rtol=1e-6)


def test_classes_of_validation_data_are_matched_by_name(tmp_path):
    names = np.array(["a", "b", "c"])
    np.savez(tmp_path / "more.npz", x=FEATURES[30:], y=names[Y[30:]])
    data = read(tmp_path, "simplenet", {"validation_data": tmp_path / "more.npz"}, x=FEATURES, y=names[Y])
    np.testing.assert_array_equal(data.validation.y, Y[30:])
    np.savez(tmp_path / "more.npz", x=FEATURES[30:], y=names[Y[30:] - 1])  # without c
    data = read(tmp_path, "simplenet", {"validation_data": tmp_path / "more.npz"}, x=FEATURES, y=names[Y])
    np.testing.assert_array_equal(data.validation.y, Y[30:] - 1)


@pytest.mark.parametrize("task", [None, "regression"])
def test_validation_data_of_several_splits_are_refused(task, tmp_path):
    np.savez(tmp_path / "more.npz", x_train=FEATURES, y_train=Y, x_test=FEATURES, y_test=Y)
    with pytest.raises(UsageError, match="expected the examples of one split, received train, test"):
        read(tmp_path, "simplenet", {"validation_data": tmp_path / "more.npz", "task": task}, x=FEATURES, y=Y)
