"""Pictures of another aspect ratio, compared with Pillow's own functions, and JPEG files at a smaller scale."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from zoo.config.task_facts import FIRST_FIT, USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.data import DataSpec, load
from zoo.data.fitting import resize
from zoo.data.images import decode

SHAPES = [((40, 60), (24, 24)), ((61, 33), (24, 24)), ((30, 100), (20, 40)), ((9, 7), (32, 16))]


def smooth(height, width, channels=3):
    """Return a picture without fine detail, so that the scale at which it is decoded hardly matters."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(4 * y / height + i) + np.cos(3 * x / width - i) for i in range(channels)]
    return np.clip(128 + 55 * np.stack(waves, -1), 0, 255).astype("uint8")


@pytest.mark.parametrize(("shown", "size"), SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_crop_is_that_of_pillow(shown, size, channels):
    image = np.random.default_rng(0).integers(0, 256, (*shown, channels), np.uint8)
    expected = ImageOps.fit(Image.fromarray(image.squeeze()), size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(image, size, "crop"), np.asarray(expected).reshape(*size, channels))


@pytest.mark.parametrize(("shown", "size"), SHAPES)
def test_pad_keeps_the_whole_picture_in_the_middle_of_black(shown, size):
    image = np.random.default_rng(0).integers(1, 256, (*shown, 3), np.uint8)
    found = resize(image, size, "pad")
    rows, columns = np.flatnonzero(found.any((1, 2))), np.flatnonzero(found.any((0, 2)))
    inner = len(rows), len(columns)
    assert size[0] in inner or size[1] in inner
    assert abs(inner[0] / inner[1] - shown[0] / shown[1]) < 0.6 / min(inner)
    assert abs((size[0] - 1) / 2 - rows.mean()) <= 0.5 and abs((size[1] - 1) / 2 - columns.mean()) <= 0.5
    kept = Image.fromarray(image).resize(inner[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.asarray(kept))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_pictures_of_the_same_aspect_ratio_are_resized_alike(fit):
    image = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)
    np.testing.assert_array_equal(resize(image, (20, 30), fit), resize(image, (20, 30), "stretch"))
    np.testing.assert_array_equal(resize(image, (30, 45), fit), image)
    assert resize(image, None, fit) is image


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_photographs_are_decoded_at_a_smaller_scale(fit, orientation, monkeypatch):
    image = smooth(1500, 2000)
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(buffer, "JPEG", quality=95, exif=exif)
    upright = image if orientation == 1 else np.rot90(image, 3)
    drafts = []
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", _drafted(drafts))
    found = decode(buffer.getvalue(), (96, 96), 3, fit)
    assert drafts == [(250, 188)]  # an eighth, in both directions larger than what is needed
    assert np.abs(found.astype(int) - resize(np.ascontiguousarray(upright), (96, 96), fit)).max() <= 4


def _drafted(drafts):
    from PIL.JpegImagePlugin import JpegImageFile

    draft = JpegImageFile.draft

    def spy(self, mode, size):
        found = draft(self, mode, size)
        drafts.append(self.size)
        return found

    return spy


def test_runs_of_earlier_versions_stretch():
    assert DataSpec.from_json({"name": "a", "kind": "image", "input_shape": [4, 4, 3], "class_names": ["a"]}).fit == (
        FIRST_FIT
    )
    stored = {name: value for name, value in TrainConfig().to_json().items() if name != "fit"}
    assert TrainConfig.from_json(stored).resolved().fit == FIRST_FIT == "stretch"
    assert TrainConfig().resolved().fit == USUAL_FIT == "crop"


def test_the_fit_of_a_run_decides_for_other_data(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        place = tmp_path / "set" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(place / f"{i:02}.png")
    found = {}
    for fit in ("crop", "pad", "stretch"):
        run = load(TrainConfig(data=tmp_path / "set", image_size=16, fit=fit))
        assert run.spec.fit == fit
        again = load(TrainConfig(data=tmp_path / "set", fit="pad"), like=run.spec)
        np.testing.assert_array_equal(again.test.x, run.test.x)
        found[fit] = run.test.x
    assert (found["crop"] != found["stretch"]).any() and not found["pad"][:, 0].any()
