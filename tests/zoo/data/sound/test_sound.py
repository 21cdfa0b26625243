"""Files of sound: every width against SciPy's writer, damaged ones, resampling, clips, groups and noise."""

import io
import struct
import wave

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.sound import clips, formats

RNG = np.random.default_rng(0)


def wav(samples, rate=8000):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def tone(hertz, seconds=0.5, rate=8000):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def folder(path, classes=("high", "low"), count=12, seconds=0.5):
    """Tones of two classes by four speakers: NAME_SPEAKER_NUMBER.wav."""
    for place, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for i in range(count):
            x = tone(200 * (1 + 4 * (place == 0)) + 5 * i, seconds)
            content = wav((32767 * x).astype(np.int16))
            (path / name / f"{name}_{'abcd'[i % 4]}_{i}.wav").write_bytes(content)
    return path


def config(path, **options):
    return TrainConfig(model="ds_cnn", data=path, **options)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("u1", 128, 128), ("<i2", 32768, 0), ("<i4", 2**31, 0), ("<f4", 1, 0), ("<f8", 1, 0)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_every_width(dtype, scale, offset, channels):
    x = RNG.uniform(-0.9, 0.9, (50, channels))
    stored = (x * scale + offset).astype(dtype)
    found, header = formats.samples(wav(stored, 11_025))
    assert (header.rate, header.channels, header.frames) == (11_025, channels, 50)
    expected = (stored.astype(np.float64) - offset) / scale
    np.testing.assert_allclose(found, expected.reshape(50, channels), atol=1e-7)


def test_samples_of_24_bits_as_the_standard_library_writes_them():
    values = np.array([0, 1, -1, 2**23 - 1, -(2**23), 12_345, -54_321], np.int32)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 3, 16_000, 0, "NONE", ""))
        out.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in values))
    found, _ = formats.samples(file.getvalue())
    np.testing.assert_allclose(found[:, 0], values / 2**23, atol=1e-7)


def test_chunks_before_the_samples_and_the_format_of_several_channels():
    inner = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 16_000, 2, 16) + struct.pack("<HHI", 22, 16, 4)
    inner += struct.pack("<H", 1) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    chunks = b"LIST" + struct.pack("<I", 5) + b"hello\0" + b"fmt " + struct.pack("<I", len(inner)) + inner
    chunks += b"data" + struct.pack("<I", 6) + np.array([1, -2, 3], "<i2").tobytes()
    found, header = formats.samples(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert header.frames == 3
    np.testing.assert_allclose(found[:, 0] * 32768, [1, -2, 3])


GOOD = wav(RNG.integers(-1000, 1000, 400).astype(np.int16))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, this is no sound at all", "not a sound"),
        (GOOD[:30], "ends within its header"),
        (GOOD[:-100], "cut off: 800 bytes of samples are promised, 700 are there"),
        (wav(np.zeros(0, np.int16)), "no samples"),
        (GOOD[:22] + b"\x00\x00" + GOOD[24:], "expected samples of 8, 16, 24 or 32 bits"),
        (GOOD[:24] + struct.pack("<I", 5) + GOOD[28:], "channels at 5 Hz"),
        (GOOD[:8] + b"AVI " + GOOD[12:], "no WAV file"),
        (wav(np.array([0.5, np.nan], np.float32)), "finite"),
    ],
)
def test_damaged_files_say_what_is_wrong(content, message, tmp_path):
    with pytest.raises(formats.Unreadable, match=message):
        formats.samples(content)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    if "finite" not in message:
        with pytest.raises(formats.Unreadable, match=message):
            formats.header(path)


def test_no_change_of_a_byte_ends_in_anything_but_a_sentence():
    for _ in range(300):
        content = bytearray(GOOD)
        content[RNG.integers(len(content))] = RNG.integers(256)
        try:
            found, header = formats.samples(bytes(content[: RNG.integers(len(content) + 1)]))
            assert found.shape == (header.frames, header.channels)
        except formats.Unreadable:
            pass


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])  # MPEG-2.5, MPEG-2 and MPEG-1
def test_mp3_of_every_version_is_recognised(rate, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(440, rate=rate), rate, format="MP3")
    assert formats.header(path).rate == rate


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_other_formats_are_read_by_soundfile(kind, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, tone(440, rate=16_000), 16_000, format=kind)
    assert formats.is_sound(path)
    assert (formats.header(path).rate, formats.header(path).frames) == (16_000, 8000)
    found = clips.mono(path.read_bytes(), 16_000)
    assert len(found) == 8000
    np.testing.assert_allclose(found, tone(440, rate=16_000), atol=1e-4 if kind == "FLAC" else 0.03)


def test_a_tone_stays_a_tone_at_another_rate_and_one_above_the_new_limit_goes():
    middle = slice(500, -500)
    low = clips.resampled(tone(440, rate=44_100).astype(np.float32), 44_100, 8000)
    np.testing.assert_allclose(low[middle], tone(440)[middle], atol=2e-3)
    high = clips.resampled(tone(6000, rate=44_100).astype(np.float32), 44_100, 8000)
    assert np.abs(high[middle]).max() < 2e-3


def test_clips_are_cut_and_padded_on_both_sides():
    x = np.arange(5) / 32768
    assert clips.as_clip(x, 3).tolist() == [1, 2, 3]
    assert clips.as_clip(x, 5).tolist() == [0, 1, 2, 3, 4]
    assert clips.as_clip(x + 1 / 32768, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert clips.as_integers(np.array([2.0, -2.0])).tolist() == [32767, -32768]


def test_a_folder_of_sounds_by_class(tmp_path):
    data = load(config(folder(tmp_path / "tones")))
    assert (data.spec.kind, data.spec.rate, data.spec.input_shape) == ("sound", 8000, (4000,))
    assert data.spec.class_names == ("high", "low")
    assert data.train.x.dtype == np.int16
    said = data.reading.line()
    assert "24 sounds found, all used" in said
    assert "sizes 8,000 Hz (24)" in said


def test_what_is_changed_is_told(tmp_path):
    root = folder(tmp_path / "tones")
    stereo = np.stack([tone(900, 1.0, 16_000)] * 2, 1)
    (root / "high" / "x.wav").write_bytes(wav(stereo.astype(np.float32), 16_000))
    (root / "low" / "y.wav").write_bytes(wav((2 * tone(100, 0.2)).astype(np.float32) * 1.5))
    (root / "low" / "notes.txt").write_text("nothing")
    found = load(config(root)).reading
    assert set(found.changed) == {
        "resampled to 8,000 Hz",
        "of several channels averaged",
        "cut to 0.5 s",
        "padded to 0.5 s",
        "clipped at full scale",
    }
    assert set(found.changed.values()) == {1}
    assert "26 used (1 no sound (.txt) left out)" in found.line()
    longer = load(config(root, seconds=0.8, rate=4000))
    assert (longer.spec.input_shape, longer.spec.rate) == ((3200,), 4000)


def test_sets_that_do_not_fit_are_decoded_batch_by_batch(tmp_path):
    root = folder(tmp_path / "tones")
    kept, read = load(config(root)), load(config(root, memory="1k"))
    assert kept.train.in_memory
    assert not read.train.in_memory
    np.testing.assert_array_equal(read.train.x[:5], kept.train.x[:5])


def test_bad_files_stop_or_are_skipped(tmp_path):
    root = folder(tmp_path / "tones")
    (root / "low" / "cut.wav").write_bytes(GOOD[:-10])
    (root / "low" / "empty.wav").write_bytes(b"")
    with pytest.raises(UsageError, match="2 of 26 sounds cannot be read: low/cut.wav, low/empty.wav; repair them"):
        load(config(root))
    data = load(config(root, skip_bad=True))
    assert data.reading.left_out == {"that cannot be read": 2}


def test_groups_stay_together(tmp_path):
    root = folder(tmp_path / "tones")
    data = load(config(root, group="_([a-d])_", test_split=0.25, validation_split=0.3))
    sides = [set(split.groups.tolist()) for split in (data.train, data.validation, data.test)]
    assert sorted(map(len, sides)) == [1, 1, 2]
    assert set.union(*sides) == set("abcd")
    assert f"drawn by group: {next(iter(sides[2]))}" in data.reading.line()
    same = load(config(root, group="_[a-d]_", test_split=0.25, validation_split=0.3))
    np.testing.assert_array_equal(same.test.x, data.test.x)


def test_groups_of_pictures(tmp_path):
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"day{i % 3}-{i}.png")
    data = load(TrainConfig(model="cnn", data=tmp_path, group=r"day\d", validation_split=0.0))
    assert set(data.test.groups.tolist()).isdisjoint(data.train.groups.tolist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "speaker"}, "expected a match in the name of every file, 24 of 24 have none"),
        ({"group": "^(h|l)"}, "expected examples of class '(high|low)' beside the held-out groups '(h|l)'"),
        ({"group": "_"}, "examples of two groups or more, received '_' alone"),
        ({"rate": 100}, "expected a whole number of samples"),
        ({"image_size": 32}, "expected with pictures, received sounds"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    with pytest.raises(UsageError, match=message.replace("'(h", "'?(h")):
        load(config(folder(tmp_path / "tones"), **options))


def test_a_wrong_expression_is_refused_at_once():
    with pytest.raises(UsageError, match="expected a regular expression"):
        TrainConfig(model="ds_cnn", group="(")


def test_groups_in_several_given_splits_are_told(tmp_path):
    for split in ("train", "test"):
        folder(tmp_path / "tones" / split, count=8)
    data = load(config(tmp_path / "tones", group="_([a-d])_"))
    assert "the groups a, b, c, d are in train and in test" in data.reading.warning()


def test_background_noise_is_no_class(tmp_path):
    root = folder(tmp_path / "tones")
    (root / "_background_noise_").mkdir()
    (root / "_background_noise_" / "hum.wav").write_bytes(wav(RNG.integers(-99, 99, 16_000).astype(np.int16), 16_000))
    plain = load(config(root))
    assert plain.spec.class_names == ("high", "low")
    assert plain.noise is None
    mixed = load(config(root, augment="noise(0.5)"))
    assert mixed.noise.shape == (8000,)
    assert "1 recordings of _background_noise_, 1 s, are mixed in as noise" in mixed.reading.warning()
    with pytest.raises(UsageError, match="--noise .*: expected together with --augment noise"):
        load(config(root, noise=root))


def test_a_file_of_several_chunks_of_samples_is_refused():
    content = wav((1000 * tone(300)).astype(np.int16))
    assert len(formats.samples(content + b"LIST\x04\0\0\0INFO" + b"junk")[0]) == 4000
    with pytest.raises(formats.Unreadable, match="it has several chunks of samples"):
        formats.samples(content + b"LIST\x04\0\0\0INFO" + content[36:])


@pytest.mark.parametrize("memory", [None, 1000])
def test_silent_sounds_are_told(memory, tmp_path):
    path = folder(tmp_path / "set")
    x = (32767 * tone(300)).astype(np.int16)
    (path / "high" / "opposite.wav").write_bytes(wav(np.stack([x, -x], axis=1)))
    (path / "low" / "nothing.wav").write_bytes(wav(0 * x))
    assert "2 of 26 sounds are silent throughout" in load(config(path, memory=memory)).reading.warning()


@pytest.mark.parametrize("column", ["file_name", "filename", "file", "path"])
@pytest.mark.parametrize("ending", [".wav", ""])
def test_the_files_of_a_table_say_whether_they_are_sounds_or_pictures(column, ending, tmp_path):
    x = (32767 * tone(300)).astype(np.int16)
    for i in range(20):
        (tmp_path / f"{i}{ending}").write_bytes(wav(x + i))
    rows = "".join(f"{i}{ending},{i % 2}\n" for i in range(20))
    (tmp_path / "all.csv").write_text(f"{column},label\n{rows}")
    assert load(config(tmp_path / "all.csv")).spec.kind == "sound"
    assert load(config(tmp_path / "all.csv", task="regression", target_column=("label",))).spec.kind == "sound"
    for i in range(20):
        Image.fromarray(np.full((8, 8), i, "uint8")).save(tmp_path / f"{i}{ending}", "png")
    if not ending:
        assert load(config(tmp_path / "all.csv")).spec.kind == "image"
