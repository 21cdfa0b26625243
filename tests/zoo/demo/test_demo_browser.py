"""The demo page in headless Chromium gives the answers that LiteRT for Python computes for the same input."""

import base64
import functools
import http.server
import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, blobs
from zoo.config.train_config import TrainConfig
from zoo.data.images import decode, scaled
from zoo.demo import __main__ as demo
from zoo.demo import runtime as demo_runtime
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec
from zoo.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

# Files that compute in float32 may sum in a different order than LiteRT for Python.
FLOAT_TOLERANCE = 1e-4
BANDS = {"high": 0.17, "middle": 0.5, "low": 0.83}  # vertical centre of each class's bright band
LENET = ROOT / "benchmarks" / "results" / "lenet5-5936.tflite"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def images(place):
    """Return a run on images whose class is the brightest third."""
    x, y = blobs(240, (20, 20))
    np.savez(place / "bands.npz", x=(x * 255).astype("uint8"), y=y, class_names=["high", "middle", "low"])
    options = {"settings": {"filters": (6, 6, 6)}, "epochs": 6, "batch_size": 8, "learning_rate": 1e-2}
    train(TrainConfig(model="cnn", data=place / "bands.npz", output=place / "bands", **options), verbose=False)
    return place / "bands"


@pytest.fixture(scope="module")
def texts(place):
    """Return a run that classifies texts as good or dull."""
    rows = ["text,label", *(f"such a {w} film {i % 7},{w}" for i in range(60) for w in ("good", "dull"))]
    (place / "films.csv").write_text("\n".join(rows))
    options = {"settings": {"units": (8,)}, "epochs": 8, "batch_size": 8, "learning_rate": 2e-2}
    train(TrainConfig(model="lstm", data=place / "films.csv", output=place / "films", **options), verbose=False)
    return place / "films"


@pytest.fixture(scope="module")
def drawn(place):
    """Return a run that generates images by class."""
    x, y = blobs(120, (12, 12))
    np.savez(place / "drawn.npz", x=(x * 255).astype("uint8"), y=y, class_names=["high", "middle", "low"])
    settings = {"units": (12,), "latent_size": 6, "conditional": True}
    options = {"settings": settings, "epochs": 1, "batch_size": 16}
    train(TrainConfig(model="gan_dense", data=place / "drawn.npz", output=place / "gan", **options), verbose=False)
    return place / "gan"


def by_litert(path, given):
    """Return the flattened outputs of LiteRT for Python for quantized inputs, by name."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    details = runner.get_input_details()
    made = runner(**{k: np.array(v, details[k]["dtype"]).reshape(details[k]["shape"]) for k, v in given.items()})
    return {name: values.reshape(-1) for name, values in made.items()}


def check_outputs(folder, files):
    """Compare every output of the browser with LiteRT for Python, within one step of an integer."""
    assert files
    for file in files:
        expected = by_litert(folder / file["file"], file["given"])
        assert set(expected) == set(file["made"])
        for name, values in expected.items():
            tolerance = FLOAT_TOLERANCE if np.issubdtype(values.dtype, np.floating) else 1
            difference = np.abs(np.array(file["made"][name], np.float64) - values.astype(np.float64))
            assert difference.max() <= tolerance, (file["name"], name)
            assert len(set(values.tolist())) > 1


def stroke(height, **more):
    return {"do": "draw", "points": [[0.1, height], [0.9, height]], **more}


def band(name):
    """Return strokes that fill the third of the frame that belongs to a class."""
    return [stroke(BANDS[name] + offset) for offset in (-0.12, -0.06, 0, 0.06, 0.12)]


def test_drawings_are_answered_as_in_python(browse, images, tmp_path):
    clear, read = {"do": "click", "text": "Clear"}, {"do": "read"}
    steps = [read, *band("high"), read, clear, *band("low"), read, clear, read]
    empty, high, low, cleared = browse(images, steps)  # compresses to float32 and int8 first
    assert (high["state"], high["view"], high["title"]) == ("ready", "image", "bands")
    assert empty["labels"] == cleared["labels"] == ["–", "–"]
    assert high["labels"] == ["high", "high"]
    assert low["labels"] == ["low", "low"]
    assert [file["name"] for file in high["files"]] == ["float32", "int8"]
    for found in (high, low):
        check_outputs(images / "artifacts", found["files"])
        assert "Largest difference between the two" in " ".join(found["notes"])
        assert not found["problems"] and not found["unnamed"]


def test_touch_and_keyboard_draw_on_a_phones_width(browse, images):
    # The pen starts in the middle of 20 x 20 pixels, moves up by 7, and draws rows there.
    up = ["ArrowUp"] * 7 + ["ArrowLeft"] * 8
    rows = [*["ArrowRight"] * 16, "ArrowUp", *["ArrowLeft"] * 16, "ArrowUp", *["ArrowRight"] * 16]
    keys = {"do": "keys", "into": ".sheet canvas", "keys": [*up, " ", *rows, " "]}
    wipe = {"do": "keys", "into": ".sheet canvas", "keys": ["Delete"]}
    touches = [{**each, "touch": True} for each in band("low")]
    by_keys, wiped, by_touch = browse(
        images, [keys, {"do": "read"}, wipe, {"do": "read"}, *touches, {"do": "read"}], width=360
    )
    assert by_keys["labels"] == ["high", "high"]
    assert wiped["labels"] == ["–", "–"]
    assert by_touch["labels"] == ["low", "low"]
    assert by_touch["overflow"] <= 0


def test_dark_and_light(browse, images):
    (light,) = browse(images, [{"do": "read"}], scheme="light")
    (dark,) = browse(images, [{"do": "read"}], scheme="dark")
    brightness = [sum(map(int, found["background"][4:-1].split(","))) for found in (light, dark)]
    assert brightness[0] > 600 > 150 > brightness[1]


def test_an_uploaded_picture_becomes_the_numbers_that_python_reads(browse, images, tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "noise.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    steps = [{"do": "upload", "path": str(tmp_path / f"{name}.png")} for name in ("noise", "broken")]
    found, broken = browse(images, [steps[0], {"do": "read"}, steps[1], {"do": "read"}])
    expected = scaled(decode(tmp_path / "noise.png", (20, 20), 1)).reshape(-1)
    given = {file["name"]: file["given"]["image"] for file in found["files"]}
    assert np.array_equal(np.float32(given["float32"]), expected)
    check_outputs(images / "artifacts", found["files"])
    assert broken["problems"] == ["This browser cannot read broken.png as a picture."]


def test_texts_are_answered_as_in_python(browse, texts):
    text = "such a GOOD film, unheard of"
    (found,) = browse(texts, [{"do": "type", "into": "#text", "text": text}, {"do": "read"}])
    spec, vocabulary = read_spec(RunFolder(texts))
    assert found["view"] == "tokens"
    assert found["labels"] == ["good", "good"]
    for file in found["files"]:
        assert file["given"]["tokens"] == vocabulary.encode([text], spec.input_shape[0])[0].tolist()
    check_outputs(texts / "artifacts", found["files"])
    assert "are not in its vocabulary" in " ".join(found["notes"])


def test_a_generator_draws_as_in_python(browse, drawn):
    steps = [{"do": "read"}, {"do": "click", "text": "Sample"}, {"do": "choose", "into": "#class", "value": "1"}]
    first, second = browse(drawn, [*steps, {"do": "read"}])
    assert first["view"] == "code"
    for found in (first, second):
        check_outputs(drawn / "artifacts", found["files"])
    codes = [found["files"][0]["given"]["code"] for found in (first, second)]
    assert codes[1][-3:] == [0, 1, 0]
    assert codes[0][:6] != codes[1][:6]


def test_a_file_of_an_unknown_task_is_shown_as_tensors(browse, tmp_path):
    shutil.copyfile(LENET, tmp_path / "unknown.tflite")  # without its receipt
    steps = [{"do": "click", "text": "Run with random numbers"}, {"do": "read"}]
    (found,) = browse(tmp_path / "unknown.tflite", steps)
    assert (found["view"], found["problems"]) == ("tensors", [])
    check_outputs(tmp_path, found["files"])


@pytest.mark.parametrize("without, sentence", [("wasm", "it has no WebAssembly"), ("simd", "no SIMD here")])
def test_a_browser_without_webassembly_is_told_so(browse, without, sentence):
    (found,) = browse(LENET, [{"do": "read"}], without=without)
    assert found["state"] == "failed"
    (problem,) = found["problems"]
    assert problem.startswith("This browser cannot run the model: ") and sentence in problem


def test_an_export_works_on_any_web_server_and_says_which_file_is_damaged(browse, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    assert demo.main([str(LENET), "--export", str(tmp_path / "site" / "below")]) == 0
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/below/"
        (whole,) = browse(url, [*band("middle"), {"do": "read"}])
        file = tmp_path / "site" / "below" / "models" / LENET.name
        file.write_bytes(file.read_bytes()[:2000])
        (damaged,) = browse(url, [{"do": "read"}], damaged=True)
        server.shutdown()
    assert (whole["state"], whole["view"], whole["problems"]) == ("ready", "image", [])
    check_outputs(LENET.parent, whole["files"])
    assert damaged["state"] == "failed"
    assert damaged["problems"][0].startswith(f"LiteRT.js cannot run {LENET.name}: ")


def test_the_pinned_packages_are_those_of_npm(packages):
    for package in demo_runtime.pinned()["packages"]:
        spec = f"{package['name']}@{demo_runtime.pinned()['version']}"
        done = subprocess.run(["npm", "view", spec, "dist.integrity"], capture_output=True, text=True)
        assert done.stdout.strip() == package["integrity"]
        assert len(base64.b64decode(package["integrity"].removeprefix("sha512-"))) == 64
