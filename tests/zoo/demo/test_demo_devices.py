"""Boxes, camera and microphone in headless Chromium: the page finds and hears what zoo.predict finds and hears."""

import contextlib
import functools
import http.server
import json
import threading

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from compression import api
from tests.zoo.data.annotations import pictures
from tests.zoo.data.sound.test_sound import folder, tone
from zoo import predict, stock
from zoo.config.train_config import TrainConfig
from zoo.data import images
from zoo.data.annotations.placing import Placing
from zoo.data.sound import clips
from zoo.demo import __main__ as demo
from zoo.objectives.priors import Priors
from zoo.scores import detections
from zoo.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LEAST = 0.05
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
REFUSING = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny"]
PHONE = {"width": 390, "height": 844}
READ = {"do": "read"}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Return a run that finds discs and squares, with a file that suppresses overlapping boxes itself."""
    place = tmp_path_factory.mktemp("boxes")
    pictures.voc(place / "annotated", {"train": 48, "val": 8, "test": 8})
    settings = {"backbone": "mobilenet_v2", "alpha": 0.1, "width": 8, "depth": 1, "blocks": 7}
    options = {"image_size": 32, "fit": "pad", "epochs": 30, "batch_size": 8, "learning_rate": 1e-2}
    data = place / "annotated"
    train(TrainConfig(model="detector", data=data, settings=settings, output=place / "run", **options), verbose=False)
    for recipe, nms in (("float32", "host"), ("int8", "host"), ("float32", "file")):
        api.compress(place / "run", recipe, nms=nms)
    return place / "run"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Return a run that tells high from low tones, in clips of half a second at 8 kHz."""
    place = tmp_path_factory.mktemp("words")
    data = folder(place / "tones", classes=("high", "low"), count=40)
    settings = {"filters": 8, "num_blocks": 1, "dropout": 0.0}
    options = {"epochs": 12, "batch_size": 16, "learning_rate": 1e-2, "augment": "timeshift(0.1)"}
    train(TrainConfig(model="ds_cnn", data=data, settings=settings, output=place / "run", **options), verbose=False)
    return place / "run"


def predicted(capsys, *given):
    """Return the rows of zoo.predict."""
    capsys.readouterr()
    assert predict.main([*map(str, given), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def sounding(path, parts, rate=8000):
    """Write a sound of silence with tones in it: (begin in seconds, hertz, seconds)."""
    x = np.zeros(round(rate * (parts[-1][0] + parts[-1][2] + 0.5)))
    for begin, hertz, seconds in parts:
        x[round(begin * rate) :][: round(seconds * rate)] = tone(hertz, seconds, rate)
    wavfile.write(path, rate, (32767 * x).astype(np.int16))
    return path


def test_boxes_of_every_file_are_those_of_python(browse, boxes, tmp_path, capsys):
    (picture,) = (boxes.parent / "annotated" / "JPEGImages").glob("test_0.png")
    set_least = {"do": "set", "into": "#least", "value": str(LEAST)}
    other = {"do": "choose", "into": ".chooser label:last-child select", "value": "float32-nms"}
    steps = [{"do": "upload", "path": str(picture)}, set_least, READ, other, READ]
    first, second = browse(boxes, steps, **PHONE)
    assert (first["state"], first["view"], first["problems"]) == ("ready", "boxes", [])
    assert max(first["bottoms"]) < PHONE["height"] and first["overflow"] <= 0 and not first["unnamed"]
    files = {file["name"]: file for file in first["files"]}
    expected = images.decode(picture, (32, 32), 3, "pad")
    np.testing.assert_array_equal(np.float32(files["float32"]["given"]["image"]), images.scaled(expected).reshape(-1))
    # The boxes from the very numbers that the file gave in the browser.
    names = ("disc", "square")
    for name in ("float32", "int8"):
        check_boxes(files[name], receipt(boxes, name), picture)
    # And those of zoo.predict, which has the Keras model.
    (row,) = predicted(capsys, boxes, picture, "--min-score", LEAST)
    suppressing = next(file for file in second["files"] if file["name"] == "float32-nms")
    for found in (files["float32"]["objects"], suppressing["objects"]):
        assert len(found) == len(row["objects"]) > 3
        for one, other in zip(found, row["objects"], strict=True):
            assert names[one["kind"]] == other["label"]
            np.testing.assert_allclose(one["box"], other["box"], atol=0.2)
            assert one["score"] == pytest.approx(other["probability"], abs=1e-3)
    assert len(first["rows"]) >= len(files["float32"]["objects"])
    assert first["rows"][0][0].endswith(names[files["float32"]["objects"][0]["kind"]])


def receipt(run, name):
    return json.loads((run / "artifacts" / f"{name}.receipt.json").read_text())


def check_boxes(file, receipt, picture):
    """Compare the objects of the page with what zoo.scores makes of the outputs in the browser."""
    rows = {row["name"]: row for row in receipt["signature"]["outputs"]}
    raw, logits = (
        (np.float32(file["made"][name]) - (rows[name].get("zero_point") or 0))
        * np.float32(rows[name].get("scale") or 1)
        for name in ("boxes", "scores")
    )
    priors = Priors.from_json({k: receipt["about"]["decoding"][k] for k in ("coding", "levels")})
    outputs = raw.reshape(1, -1, 4), logits.reshape(1, -1, 2)
    (found,) = detections.detected(*outputs, priors, (32, 32), least=LEAST)
    shown = images.size_of(picture)
    expected = Placing.of(shown, (32, 32), "pad").to_picture(found.boxes, shown)
    assert [one["kind"] for one in file["objects"]] == found.classes.tolist()
    np.testing.assert_allclose([one["box"] for one in file["objects"]], expected, atol=1e-3)
    np.testing.assert_allclose([one["score"] for one in file["objects"]], found.scores, atol=1e-6)


def test_the_camera_is_seen_until_it_is_stopped_or_refused(browse, boxes):
    start, stop = {"do": "click", "text": "Use the camera"}, {"do": "click", "text": "Stop the camera"}
    seen, stopped, later = browse(boxes, [start, READ, stop, READ, READ], args=FAKE)
    assert (seen["problems"], seen["buttons"], stopped["buttons"]) == ([], ["Stop the camera"], ["Use the camera"])
    given = [found["files"][0]["given"]["image"] for found in (seen, stopped, later)]
    assert len(set(given[0])) > 10 and given[0] != given[1] == given[2]  # the fake camera shows a clock
    (refused,) = browse(boxes, [start, READ], args=REFUSING)
    (problem,) = refused["problems"]
    assert problem.startswith("The camera was refused.") and refused["buttons"] == ["Use the camera"]


def test_colour_pictures_are_classified_from_a_file_and_from_the_camera(browse, tmp_path, capsys):
    picture, run = tmp_path / "noise.png", stock.FOLDER / "resnet8-cifar10"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)).save(picture)
    start, stroke = {"do": "click", "text": "Use the camera"}, {"do": "draw", "points": [[0.2, 0.5], [0.8, 0.5]]}
    uploaded, seen, drawn = browse(
        run, [{"do": "upload", "path": str(picture)}, READ, start, READ, stroke, READ], args=FAKE
    )
    (row,) = predicted(capsys, run, picture)
    assert (uploaded["view"], uploaded["problems"]) == ("image", [])
    assert uploaded["labels"][0] == row["label"]
    given = [np.float32(found["files"][0]["given"]["image"]).reshape(32, 32, 3) for found in (uploaded, seen, drawn)]
    np.testing.assert_array_equal(given[0], images.scaled(images.decode(picture, (32, 32), 3, "crop")))
    assert np.ptp(given[1], axis=-1).max() > 0.2  # the fake camera shows colours
    assert np.ptp(given[2], axis=-1).max() == 0 and "Use the camera" in drawn["buttons"]


def test_an_uploaded_sound_is_heard_as_in_python(browse, words, tmp_path, capsys):
    low = sounding(tmp_path / "low.wav", [(0.1, 230, 0.3)])
    wavfile.write(tmp_path / "high.wav", 44_100, np.stack([tone(1100, 0.3, 44_100)] * 2, axis=1).astype(np.float32))
    (tmp_path / "broken.wav").write_bytes(low.read_bytes()[:500])
    files = [low, tmp_path / "high.wav", tmp_path / "broken.wav"]
    steps = [step for path in files for step in ({"do": "upload", "path": str(path)}, READ)]
    *heard, broken = browse(words, steps, **PHONE)
    for path, found in zip(files[:2], heard, strict=True):
        assert (found["view"], found["problems"], found["unnamed"]) == ("sound", [], 0)
        assert max(found["bottoms"]) < PHONE["height"] and found["overflow"] <= 0
        expected = clips.Clips(4000, 8000).decode(path.read_bytes())
        apart = np.abs(np.array(found["files"][0]["given"]["samples"]) * 2**15 - expected)
        assert apart.max() <= (path != low) and (apart > 0).mean() < 0.002
        (row,) = predicted(capsys, words, path)
        assert found["labels"] == [row["label"]] * 2
        shares = [float(share.split()[0]) for share in found["shares"]]
        assert shares == pytest.approx([100 * row["probability"]] * 2, abs=8)
        assert shares[0] == pytest.approx(100 * row["probability"], abs=0.06)
    assert heard[0]["labels"] != heard[1]["labels"]
    assert "resampled from 44,100 to 8,000 Hz, the mean of its 2 channels" in heard[1]["notes"][0]
    (problem,) = broken["problems"]
    assert problem.startswith("This browser cannot read broken.wav as a sound: it is cut off: ")


def test_in_a_long_sound_the_events_of_python_are_listed(browse, words, tmp_path, capsys):
    long = sounding(tmp_path / "long.wav", [(0.6, 230, 0.5), (1.9, 1100, 0.5), (3.0, 230, 0.5)])
    (found,) = browse(words, [{"do": "upload", "path": str(long)}, READ])
    rows = predicted(capsys, words, long)
    check_events(found["files"][0]["events"], rows)
    assert {row["label"] for row in rows} == {"high", "low"}
    assert found["rows"][0][1] == rows[-1]["label"]  # the last is listed first


def check_events(events, rows):
    assert [("high", "low")[event["kind"]] for event in events] == [row["label"] for row in rows]
    for event, row in zip(events, rows, strict=True):
        np.testing.assert_allclose([event["start"], event["end"]], [row["start"], row["end"]], atol=1e-9)
        assert event["score"] == pytest.approx(row["probability"], abs=1e-3)


def test_the_microphone_is_recorded_and_listened_to(browse, words, tmp_path):
    long = sounding(tmp_path / "long.wav", [(0.0, 1100, 30)])
    args = [*FAKE, f"--use-file-for-fake-audio-capture={long}"]
    record, listen = {"do": "click", "text": "Record"}, {"do": "click", "text": "Listen live"}
    recorded = {"do": "until", "selector": ".note", "begins": "Of 1.5"}
    heard = {"do": "until", "selector": ".events tbody th", "begins": "high"}
    steps = [record, recorded, READ, listen, heard, READ]
    recorded, live = browse(words, [*steps, {"do": "click", "text": "Stop listening"}, READ], args=args)[:2]
    assert (recorded["problems"], recorded["labels"]) == ([], ["high", "high"])
    given = np.array(recorded["files"][0]["given"]["samples"])
    assert given.shape == (4000,)
    frequencies = np.fft.rfftfreq(4000, 1 / 8000)
    assert frequencies[np.abs(np.fft.rfft(given)).argmax()] == pytest.approx(1100, abs=4)
    assert live["labels"] == ["high", "high"] and "Stop listening" in live["buttons"]
    (event, *_) = live["files"][0]["events"]
    assert event["kind"] == 0 and event["end"] >= 0.5
    assert [row for row in live["rows"] if row[1] == "high"]


def test_a_page_without_a_microphone_says_why(browse, words, cache, tmp_path, monkeypatch):
    record = {"do": "click", "text": "Record"}
    (refused,) = browse(words, [record, READ], args=REFUSING)
    (problem,) = refused["problems"]
    assert problem.startswith("The microphone was refused.") and "Record" in refused["buttons"]
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    assert demo.main([str(words), "--export", str(tmp_path / "site")]) == 0
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        url = f"http://page.example:{server.server_address[1]}/"
        args = [*FAKE, "--host-resolver-rules=MAP page.example 127.0.0.1"]
        (insecure,) = browse(url, [record, READ], args=args)
    (problem,) = insecure["problems"]
    assert problem.startswith("Browsers give the microphone only to pages that are opened over HTTPS")
