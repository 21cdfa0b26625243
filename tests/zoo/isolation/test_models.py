"""Model files from elsewhere: bombs are refused in a sentence, honest files open, known ones are not tried."""

import io
import json
import shutil
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tests.conftest import run_module
from zoo import stock
from zoo.console.errors import UsageError
from zoo.isolation import archive, child, models, passed
from zoo.runs.folder import RunFolder


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("honest") / "honest.keras"
    keras.Sequential([keras.Input((28,)), keras.layers.Dense(32), keras.layers.Dense(10)]).save(path)
    return path


@pytest.fixture
def edited(honest, tmp_path):
    def edit(config=lambda text: text, weights=lambda data: data, packing=zipfile.ZIP_DEFLATED):
        path = tmp_path / "edited.keras"
        with zipfile.ZipFile(honest) as old, zipfile.ZipFile(path, "w", packing) as new:
            changes = {"config.json": config, "model.weights.h5": weights}
            for name in old.namelist():
                new.writestr(name, changes.get(name, lambda data: data)(old.read(name)))
        return path

    return edit


def with_layers(change):
    """Return a function that changes the list of layers in a configuration."""

    def config(text):
        found = json.loads(text)
        found["config"]["layers"] = change(found["config"]["layers"])
        return json.dumps(found).encode()

    return config


def with_kernel(store):
    """Return a function that replaces the first kernel in a file of weights."""

    def weights(data):
        content = io.BytesIO(data)
        with h5py.File(content, "r+") as file:
            group = file["layers/dense/vars"]
            del group["0"]
            store(group)
        return content.getvalue()

    return weights


def wide(layers):
    layers[1]["config"]["units"] = 2_000_000_000
    return layers


def nested(text):
    found = json.loads(text)
    for _ in range(80):
        found = found | {"config": {"name": "outer", "layers": [found]}}
    return json.dumps(found).encode()


def test_bombs_are_refused_at_once_without_keras(edited):
    relu = {"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": None}
    bombs = [
        ({"weights": lambda data: bytes(1 << 28)}, "model.weights.h5 has .* bytes and unpacks to 268,435,456"),
        ({"config": lambda text: text + b" " * (17 << 20), "packing": zipfile.ZIP_STORED}, "config.json of at most"),
        ({"config": with_layers(wide)}, "Dense 'dense.*' has units=2,000,000,000"),
        ({"config": with_layers(lambda layers: layers + [relu] * 200_000)}, "unpacks to 1"),
        ({"config": with_layers(lambda layers: layers + [relu] * 20_000), "packing": 0}, "at most 5,000 layers"),
        ({"config": nested}, "at most 200 levels"),
        ({"config": lambda text: b'{"class_name": "A", "config": ' + b"[" * 100_000}, "at most 200 levels"),
        ({"config": lambda text: b"[]"}, "configuration of a model"),
        ({"config": lambda text: b"{"}, "no JSON"),
    ]
    for change, sentence in bombs:
        path, began = edited(**change), time.perf_counter()
        with pytest.raises(UsageError, match=sentence) as caught:
            archive.look(path)
        assert "\n" not in str(caught.value)
        assert time.perf_counter() - began < 5


def test_archives_that_keras_does_not_write_are_refused(honest, tmp_path):
    path = tmp_path / "odd.keras"
    for content, sentence in ((b"hello", "not a zip file"), (honest.read_bytes()[:5000], "not a zip file")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=sentence):
            archive.look(path)
    for name in ("../config.json", "/etc/passwd", "extra.py"):
        shutil.copy(honest, path)
        with zipfile.ZipFile(path, "a") as added:
            added.writestr(name, "x")
        with pytest.raises(UsageError, match="expected .*members"):
            archive.look(path)
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("metadata.json", "{}")
    with pytest.raises(UsageError, match="without config.json"):
        archive.look(path)


def test_python_code_is_refused(tmp_path):
    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1), keras.layers.Dense(2)]).save(path)
    with pytest.raises(UsageError, match="without Python code, received a Lambda layer"):
        models.load(path)


def test_an_honest_file_passes_its_trial_once(honest, monkeypatch):
    before = models.load(honest)
    monkeypatch.setattr(child, "run", None)
    assert before.count_params() == models.load(honest).count_params() == 28 * 32 + 32 + 32 * 10 + 10


def test_shipped_models_and_those_of_a_training_are_not_tried(monkeypatch, tmp_path):
    monkeypatch.setattr(child, "run", None)
    models.check(stock.FOLDER / "cnn-digits" / "model.keras")
    path = tmp_path / "mine.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    passed.remember(models.sha256(path))
    models.check(path)


def test_a_cache_that_cannot_be_written_costs_a_trial_and_no_error(monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", "/dev/null/nowhere")
    passed.remember("0" * 64)
    assert not passed.knows("0" * 64)


def test_the_limits_grow_with_the_file():
    small, large = archive.ModelArchive(0, 0, frozenset()), archive.ModelArchive(10**9, 10**6, frozenset())
    assert models.memory_bytes(small) == 2 << 30 and models.memory_bytes(large) == 8 * 10**9 + (2 << 30)
    assert models.seconds(small) == 120 and models.seconds(large) == 240


def test_weights_that_unpack_to_more_than_they_store_are_refused(edited):
    path = edited(weights=with_kernel(lambda group: group.create_dataset("0", (1 << 20, 1 << 16), chunks=(256, 256))))
    with pytest.raises(UsageError, match="has 0 bytes and unpacks to 274,877,906,944"):
        models.check(path)


@pytest.mark.slow
def test_each_trial_ends_in_a_sentence(edited, monkeypatch):
    relu = {"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": None}
    with pytest.raises(UsageError, match="unpacks to 8"):
        archive.look(edited(config=with_layers(lambda layers: layers + [relu] * 1_000_000)))
    zeros = {"data": np.zeros((1 << 13, 1 << 13), "float32"), "compression": "gzip", "chunks": (1 << 10, 1 << 13)}
    bombs = [
        ({"weights": with_kernel(lambda group: group.create_dataset("0", **zeros))}, "more than 100 times"),
        ({"weights": with_kernel(lambda g: g.update({"0": h5py.ExternalLink("/etc/passwd", "x")}))}, "is a link"),
        ({"weights": lambda data: b"hello" * 100}, "cannot be read"),
        (
            {"config": with_layers(lambda layers: [layers[0], layers[1] | {"module": "mine", "class_name": "Absent"}])},
            "names the class 'Absent'",
        ),
    ]
    for change, sentence in bombs:
        with pytest.raises(UsageError, match=sentence) as caught:
            models.check(edited(**change))
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(models, "FURTHER_WEIGHTS", 1 << 60)
    monkeypatch.setattr(archive, "_WIDTHS", ())
    with pytest.raises(UsageError, match="more than 2.1 GB of memory"):
        models.check(edited(config=with_layers(wide)))
    monkeypatch.setattr(models, "seconds", lambda declared: 0.5)
    with pytest.raises(UsageError, match="time limit of 0.5 s"):
        models.check(edited(config=lambda text: text + b" "))


@pytest.mark.slow
def test_a_run_from_elsewhere_is_refused_by_a_command(tmp_path):
    """The hash in metrics.json agrees: whoever alters a model can alter that, too."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(stock.FOLDER / "cnn-digits", run.path)
    with (
        zipfile.ZipFile(stock.FOLDER / "cnn-digits" / "model.keras") as old,
        zipfile.ZipFile(run.model_file, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                data = json.dumps({**(c := json.loads(data)), "config": c["config"] | {"num_classes": 2 * 10**9}})
            new.writestr(name, data)
    metrics = run.read_metrics() | {"model_sha256": models.sha256(run.model_file)}
    run.metrics_file.write_text(json.dumps(metrics))
    done = run_module("zoo.evaluate", run.path, cwd=tmp_path)
    assert done.returncode == 2 and "describes 130,000,0" in done.stderr and "Traceback" not in done.stderr
