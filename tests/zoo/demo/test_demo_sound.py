"""The samples that the demo page gives a file, and the events it hears, are those of zoo.data.sound and zoo.predict."""

import base64
import io

import numpy as np
import pytest
from scipy.io import wavfile

from zoo.config.task_facts import CLASSES
from zoo.data import Dataset, DataSpec, Split
from zoo.data.sound import clips, formats
from zoo.tasks.parts import listening

SAMPLES, RATE = 1000, 8000
CLIP = (
    'import { asClip, asFloats, mono, readWav, resampled } from "./sound/samples.js";\n'
    "const made = value.files.map((text) => {\n"
    "  const { buffer } = Uint8Array.from(Buffer.from(text, 'base64'));\n"
    "  const { rate, channels } = readWav(buffer);\n"
    "  return Array.from(asFloats(asClip(resampled(mono(channels), rate, value.rate), value.samples)));\n"
    "});\nconsole.log(JSON.stringify(made));"
)


def wav(samples, rate=RATE):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def clip_of_page(javascript, contents, samples=SAMPLES, rate=RATE):
    """Return what a file is given for WAV files, (files, samples)."""
    files = [base64.b64encode(content).decode() for content in contents]
    return np.float32(javascript(CLIP, {"files": files, "samples": samples, "rate": rate}))


def given(content, samples=SAMPLES, rate=RATE):
    return clips.Clips(samples, rate).decode(content) * np.float32(2**-15)


def noise(count, channels=1, seed=0):
    x = np.random.default_rng(seed).normal(0, 0.4, (count, channels))  # some is beyond full scale
    return x[:, 0] if channels == 1 else x


def test_samples_of_every_width_and_length_are_those_of_python(javascript):
    contents = []
    for channels in (1, 2, 3):
        for count in (1, 500, 501, 999, 1000, 1001, 2500):
            x = noise(count, channels, count)
            bounded = np.clip(x, -1, 0.999)
            contents += [
                *(wav((bounded * 32768).astype("<i2")), wav((bounded * 2.0**31).astype("<i4"))),
                *(wav((bounded * 128 + 128).astype("u1")), wav(x.astype("<f4")), wav(x.astype("<f8"))),
            ]
    x24 = (np.clip(noise(700), -1, 0.999) * 2**23).astype("<i4")
    head = wav(np.zeros(1, "<i2"))[:44]
    body = x24.view("u1").reshape(-1, 4)[:, :3].tobytes()
    form = head[12:20] + b"\1\0\1\0" + RATE.to_bytes(4, "little") + (3 * RATE).to_bytes(4, "little") + b"\3\0\x18\0"
    contents.append(
        b"RIFF\0\0\0\0WAVE" + b"LIST\3\0\0\0abc\0" + form + b"data" + len(body).to_bytes(4, "little") + body
    )
    expected = [given(content) for content in contents]
    np.testing.assert_array_equal(clip_of_page(javascript, contents), expected)
    assert np.abs(expected).max() == 1


@pytest.mark.parametrize("rate", [44_100, 48_000, 11_025, 4_000, 16_000])
def test_other_rates_are_resampled_as_in_python(javascript, rate):
    content = wav(noise(rate // 6, seed=rate).astype("<f4"), rate)
    (found,) = clip_of_page(javascript, [content])
    steps = np.abs(found - given(content)) * 2**15
    assert steps.max() <= 1 and (steps > 0).mean() < 0.002  # of sums of float32, rounded to 16 bits


def test_sound_that_comes_in_is_resampled_as_a_whole(javascript):
    x = noise(4000).astype(np.float32)
    found = javascript(
        'import { Resampler, joined, resampled } from "./sound/samples.js";\n'
        "const x = Float32Array.from(value);\n"
        "const rates = [[44100, 16000], [48000, 8000], [8000, 11025], [16000, 16000]];\n"
        "console.log(JSON.stringify(rates.map(([from, to]) => {\n"
        "  const resampler = new Resampler(from, to);\n"
        "  let made = new Float32Array(0);\n"
        "  for (let i = 0; i < x.length; i += 128) made = joined(made, resampler.next(x.subarray(i, i + 128)));\n"
        "  made = joined(made, resampler.next(new Float32Array(0), true));\n"
        "  return [Array.from(made), Array.from(resampled(x, from, to))];\n"
        "})));",
        x.tolist(),
    )
    for pieces, whole in found:
        assert pieces == whole and len(whole) > 100


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (wav(np.zeros(100, "<i2"))[:-2], "it is cut off: 200 bytes of samples are promised, 198 are there"),
        (wav(np.zeros(100, "<i2"))[:30], "its format is cut short"),
        (wav(np.zeros(100, "<i2"))[:36], "it ends within its header"),
        (wav(np.zeros(0, "<i2")), "it has no samples"),
        (wav(np.full(9, np.nan, "<f4")), "some of its samples are not finite"),
    ],
)
def test_damaged_files_are_refused_in_both(javascript, content, reason):
    found = javascript(
        'import { readWav } from "./sound/samples.js";\n'
        "const { buffer } = Uint8Array.from(Buffer.from(value, 'base64'));\n"
        "let said;\n"
        "try { readWav(buffer); } catch (error) { said = error.message; }\n"
        "console.log(JSON.stringify(said ?? null));",
        base64.b64encode(content).decode(),
    )
    assert found == reason
    with pytest.raises(formats.Unreadable):
        formats.samples(content)


@pytest.mark.parametrize("samples", [1000, 5041])
def test_events_are_those_of_python(javascript, samples):
    rng = np.random.default_rng(0)
    names = ("yes", "no", "_Silence_")
    spec = DataSpec("words", "sound", (samples,), names, rate=RATE)
    p = np.repeat(rng.dirichlet([0.15] * 3, 40), rng.integers(1, 6, 40), axis=0)
    step = max(1, round(listening.HOP * samples / RATE * RATE))
    width = max(1, round(listening.AVERAGED * samples / step))
    found = javascript(
        'import { averaged, eventsOf, stepOf, widthOf } from "./sound/listening.js";\n'
        "const { p, samples, rate, labels } = value;\n"
        "const [step, width] = [stepOf(samples, rate), widthOf(samples, rate)];\n"
        "const rows = averaged(p, width);\n"
        "const events = eventsOf(rows, { hop: step / rate, clip: samples / rate }, labels, 0.6);\n"
        "console.log(JSON.stringify([step, width, rows, events]));",
        {"p": p.tolist(), "samples": samples, "rate": RATE, "labels": names},
    )
    expected = listening.averaged(p, width)
    assert found[:2] == [step, width]
    np.testing.assert_allclose(found[2], expected, atol=1e-12)
    events = listening.events(expected, step / RATE, spec, 0.6)
    assert len(events) > 5 and {event.label for event in events} == {"yes", "no"}
    for one, event in zip(found[3], events, strict=True):
        assert names[one["kind"]] == event.label
        np.testing.assert_allclose(
            [one["score"], one["start"], one["end"]], [event.probability, event.start, event.end]
        )


def test_windows_slide_over_sound_that_comes_in(javascript):
    x = np.random.default_rng(0).integers(-9, 9, 457)
    found = javascript(
        'import { Windows } from "./sound/listening.js";\n'
        "const windows = new Windows(100, 8000);\n"
        "const made = [];\n"
        "for (let i = 0; i < value.length; i += 37) {\n"
        "  windows.add(Int16Array.from(value.slice(i, i + 37)));\n"
        "  for (let found = windows.next(); found; found = windows.next()) made.push(Array.from(found));\n"
        "}\nconsole.log(JSON.stringify(made));",
        x.tolist(),
    )
    assert found == np.lib.stride_tricks.sliding_window_view(x, 100)[::25].tolist()


def test_of_a_recording_the_loudest_part_is_taken(javascript):
    x = np.zeros(300)
    x[120:160] = 0.5
    found = javascript(
        'import { loudest } from "./sound/samples.js";\n'
        "const at = (n) => Array.from(loudest(Float32Array.from(value), n));\n"
        "console.log(JSON.stringify([at(40), at(300)]));",
        x.tolist(),
    )
    assert found == [[0.5] * 40, x.tolist()]


def test_a_classifier_of_samples_is_shown_with_a_microphone(javascript):
    """What a file says of itself decides about the view, and has all that the view needs."""
    from compression.tasks.classification import Classification, interface_of

    spec = DataSpec("words", "sound", (SAMPLES,), ("yes", "no"), task=CLASSES, rate=RATE)
    empty = Split(np.zeros((0, SAMPLES), np.int16), np.zeros(0, np.int32))
    about = Classification(Dataset(spec, empty, empty, empty), interface_of(spec)).about()
    assert about["labels"] == ["yes", "no"]
    assert about["input"] | {"values": ""} == {
        "name": "samples", "kind": "sound", "shape": [SAMPLES], "values": "", "rate": RATE,
    }  # fmt: skip
    ends = {"inputs": [{"name": "samples"}], "outputs": [{"name": "p", "shape": [1, 2]}]}
    streaming = {"inputs": [*ends["inputs"], {"name": "state"}], "outputs": ends["outputs"]}
    files = [{"about": about, "signatures": {"serve": each}} for each in (ends, streaming)]
    found = javascript('import { viewOf } from "./choice.js";\nconsole.log(JSON.stringify(value.map(viewOf)));', files)
    assert found == ["sound", "tensors"]


def test_pictures_of_other_numbers_than_pixels_are_shown_as_tensors(javascript):
    """The page would give such a file the pixels of a drawing, from 0 to 1."""
    from compression.tasks.classification import Classification, interface_of

    spec = DataSpec("scans", "image", (2, 2, 1), ("no", "yes"), task=CLASSES)
    ends = {"inputs": [{"name": "image"}], "outputs": [{"name": "p", "shape": [1, 2]}]}
    files, values = [], []
    for ends_at in ((0, 1), (-3, 1000)):
        split = Split(np.linspace(*ends_at, 8, dtype=np.float32).reshape(2, 2, 2, 1), np.arange(2))
        about = Classification(Dataset(spec, split, split, split), interface_of(spec)).about()
        values.append(about["input"]["values"])
        files.append({"about": about, "signatures": {"serve": ends}})
    assert values == ["pixels from 0 to 1", "numbers as they were trained on, from -3 to 1000"]
    found = javascript('import { viewOf } from "./choice.js";\nconsole.log(JSON.stringify(value.map(viewOf)));', files)
    assert found == ["image", "tensors"]


@pytest.mark.parametrize(
    ("secure", "error", "begin"),
    [
        (False, None, "Browsers give the microphone only to pages that are opened over HTTPS or on this computer"),
        (True, "NotAllowedError", "The microphone was refused. Allow it for this page in the browser's settings"),
        (True, "NotFoundError", "The browser finds no microphone on this device"),
        (True, "NotReadableError", "The microphone cannot be read. Another program may be using it"),
        (True, "OtherError", "The microphone cannot be used: no reason"),
    ],
)
def test_without_a_microphone_a_sentence_says_why(javascript, secure, error, begin):
    found = javascript(
        'import { streamOf } from "./devices.js";\n'
        "const refuse = async () => { throw Object.assign(new Error('no reason'), { name: value.error }); };\n"
        "const devices = value.secure ? { getUserMedia: refuse } : undefined;\n"
        "Object.defineProperty(globalThis, 'navigator', { value: { mediaDevices: devices }, configurable: true });\n"
        "globalThis.isSecureContext = value.secure;\n"
        "const said = await streamOf('microphone', { audio: true }).catch(({ message }) => message);\n"
        "console.log(JSON.stringify(said));",
        {"secure": secure, "error": error},
    )
    assert found.startswith(begin) and found.endswith(" Uploads work without it.")
