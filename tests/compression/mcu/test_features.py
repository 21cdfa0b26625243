"""Features in whole numbers: the C code equals Python, integer for integer; both are near the float ones."""

import ctypes
import dataclasses
import json
import shutil
import subprocess

import keras
import numpy as np
import pytest

from compression.mcu import features as c_code
from compression.mcu.sound import settings_of, without_front_end
from compression.on_device import features
from compression.on_device.features import Features, Settings
from tests.zoo.models.test_sound import clips
from zoo.models.ds_cnn import DSCNN
from zoo.models.parts.sound import SoundFeatures

STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
FRONTS = {
    "mfcc": SoundFeatures("mfcc", 8000),
    "logmel": SoundFeatures("logmel", 16_000, 25.0, 10.0, mels=24, highest_hz=7600.0, level="none", floor=0.01),
    "a frame of a power of two": SoundFeatures("mfcc", 8000, 32.0, 16.0, coefficients=13, level="none"),
}


def sounds(rate, samples=4000):
    rng = np.random.default_rng(5)
    loud = np.rint(32767 * clips(3, samples, rate)).astype(np.int16)
    odd = [np.zeros(samples), np.full(samples, -32768), rng.integers(-32768, 32768, samples), -(np.arange(samples) % 7)]
    return np.concatenate([loud, np.array(odd).astype(np.int16), loud[:1] // 500])


@pytest.mark.parametrize("name", FRONTS)
def test_values_are_near_those_of_the_front_end(name):
    front = FRONTS[name]
    x = sounds(front.rate)[:3]
    found = np.stack([Features(settings_of(front)).values(clip) for clip in x]) / (1 << features.VALUES)
    assert np.abs(found - np.asarray(front(x / np.float32(32768)))[..., 0]).max() < 0.05


@compiler
@pytest.mark.parametrize("name", FRONTS)
def test_the_c_code_is_python_integer_for_integer(name, tmp_path):
    front, samples = FRONTS[name], 4000
    made = Features(settings_of(front, scale=0.37, zero_point=-11))
    c_code.write(made, samples, tmp_path)
    library = tmp_path / "features.so"
    subprocess.run(["cc", *STRICT, "-shared", "-fPIC", "-o", library, tmp_path / "features.c"], check=True)
    compute = ctypes.CDLL(str(library)).features
    for clip in sounds(front.rate, samples):
        expected = made.quantized(clip)
        found = np.zeros(expected.shape, np.int8)
        compute(clip.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p))
        np.testing.assert_array_equal(found, expected)
        assert expected.shape == (front.frames(samples), front.columns)


def test_the_script_prints_the_integers_of_a_file(tmp_path, capsys):
    import wave

    clip = sounds(8000)[0]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(clip.tobytes())
    settings = settings_of(FRONTS["mfcc"], 0.5, 3)
    (tmp_path / "features.json").write_text(json.dumps(dataclasses.asdict(settings)))
    assert features.main([str(tmp_path / "features.json"), str(tmp_path / "a.wav")]) == 0
    printed = np.array([line.split() for line in capsys.readouterr().out.splitlines()], int)
    np.testing.assert_array_equal(printed, Features(settings).quantized(clip))
    assert features.main(["features.json"]) == 2


def test_a_model_without_its_front_end_takes_what_the_front_end_gives():
    keras.utils.set_random_seed(0)
    model = DSCNN(num_classes=3, filters=8, rate=8000)
    model.build((None, 4000))
    x = clips(3, 4000)
    inner = without_front_end(model, 4000)
    np.testing.assert_allclose(inner(model.front(x)), model(x), atol=1e-6)


def test_roots_and_logarithms_of_every_size():
    rng = np.random.default_rng(0)
    x = (rng.integers(1, 1 << 31, 2000) ** 2 + rng.integers(-3, 4, 2000)).astype(np.int64)
    x = np.concatenate([x, [0, 1, 2, 3, 4, (1 << 62) - 1, 1 << 62]])
    roots = features._roots(x)
    assert all(r * r <= v < (r + 1) * (r + 1) for r, v in zip(map(int, roots), map(int, x), strict=True))
    made = Features(Settings("logmel", 8000, 240, 160, 256, 40, 10, 4000.0, False))
    values = np.unique(np.geomspace(1, 1e11, 500).astype(np.int64))
    exact = np.log(values / float(1 << made.unit))
    np.testing.assert_allclose(made._natural_logarithm(values) / (1 << features.LOG), exact, atol=5e-5)
