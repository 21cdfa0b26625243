"""From data to a verified file: the rules of the choice, and the whole road."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from tests.compression.test_commands import said
from tests.conftest import ROOT, blobs, run_module
from tests.zoo.data.annotations import pictures as annotated
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.make import __main__ as make
from zoo.make import choice
from zoo.pretrained import kept
from zoo.runs.folder import RunFolder


def pictures(folder, side, channels, count=16):
    """Write pictures of two classes, and return their folder."""
    rng = np.random.default_rng(side)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            values = rng.integers(0, 256, (side, side, 3), np.uint8)
            image = Image.fromarray(values).convert("L" if channels == 1 else "RGB")
            image.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(kept.cache, "folder", lambda: tmp_path / "cache")


@pytest.mark.parametrize(
    ("side", "channels", "model", "reading"),
    [
        (28, 1, "cnn", ()),
        (16, 1, "cnn", ("--image-size", "28")),
        (32, 3, "resnet", ()),
        (64, 3, "mobilenet_v2", ("--image-size", "96")),
        (64, 1, "mobilenet_v2", ("--image-size", "96")),
    ],
)
def test_pictures_get_a_model_of_their_size(tmp_path, side, channels, model, reading):
    made, data = choice.choose(pictures(tmp_path / "data", side, channels), {})
    assert (made.model, made.reading) == (model, reading) and data.spec.input_shape == (side, side, channels)
    assert f"{side}x{side}" in choice.described(made) and made.why in choice.described(made)


def test_trained_weights_are_used_where_they_were_fetched(tmp_path):
    folder = pictures(tmp_path / "data", 64, 3)
    kept.path("efficientnet_lite").parent.mkdir(parents=True)
    kept.path("efficientnet_lite").touch()
    made, _ = choice.choose(folder, {})
    assert (made.model, made.words) == ("efficientnet_lite", ("--pretrained", "imagenet"))
    assert choice.choose(folder, {"image_size": 128})[0].reading == ()


def test_tables_and_arrays_get_models_of_their_kind(tmp_path):
    table = tmp_path / "texts.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((f"word{i % 7} and {i % 3}", "ab"[i % 2]) for i in range(60))])
    assert choice.choose(table, {})[0].model == "transformer"
    for shape, model in (((5,), "simplenet"), ((6, 3), "lstm")):
        x = np.random.default_rng(0).random((40, *shape), np.float32)
        np.savez(tmp_path / f"{model}.npz", x=x, y=np.arange(40) % 2)
        assert choice.choose(tmp_path / f"{model}.npz", {})[0].model == model


def test_series_and_sensors_are_told_from_rows_by_what_was_asked(tmp_path):
    hours = [f"2024-01-{1 + i // 24:02}T{i % 24:02}:00,{np.sin(i / 4):.3f},{'ab'[i // 120 % 2]}" for i in range(480)]
    (tmp_path / "t.csv").write_text("\n".join(["time,load,state", *hours]))
    made, data = choice.choose(tmp_path / "t.csv", {"horizon": 6, "lookback": 24, "columns": ("load",)})
    assert (made.model, made.reading, data.spec.task) == ("dlinear", ("--task", "forecasting"), "forecasting")
    made, data = choice.choose(tmp_path / "t.csv", {"window": 20, "hop": 20, "label_column": "state"})
    assert made.model == "conv1d" and made.taken_for == "windows of 20 samples of 1 column"
    assert data.spec.class_names == ("a", "b")


@pytest.mark.parametrize(("side", "model", "reading"), [(24, "unet", ()), (300, "lraspp", ("--image-size", "256"))])
def test_masks_get_a_model_of_their_size(tmp_path, side, model, reading):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(10):
        mask = np.zeros((side, side), np.uint8)
        mask[number:] = 1
        Image.fromarray(mask * 100).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    made, data = choice.choose(tmp_path, {})
    assert (made.model, made.reading) == (model, reading) and "with masks" in made.taken_for
    assert data.spec.class_names == ("0", "1")


def test_sounds_get_a_network_that_takes_samples(tmp_path):
    for place, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        for i in range(12):
            x = 9000 * np.sin((place + 1) * 0.2 * np.arange(4000 + i))
            wavfile.write(tmp_path / name / f"{i}.wav", 8000, x.astype(np.int16))
    found, data = choice.choose(tmp_path, {})
    assert (found.model, found.words) == ("ds_cnn", ("--augment", "sound"))
    assert found.taken_for == "sounds of 0.51 s at 8,000 Hz by class"
    assert data.spec.kind == "sound"


def test_a_named_normal_class_makes_anomalies_of_all_others(tmp_path):
    made, data = choice.choose(pictures(tmp_path / "data", 24, 1), {"normal_class": ("right",)})
    assert (made.model, made.reading) == ("autoencoder_conv", ("--task", "anomaly"))
    assert data.spec.task == "anomaly" and data.spec.normal == ("right",) and "pictures (right)" in made.taken_for
    x = np.random.default_rng(0).random((40, 5), np.float32)
    np.savez(tmp_path / "vectors.npz", x=x, y=np.arange(40) % 2)
    assert choice.choose(tmp_path / "vectors.npz", {"normal_class": ("0",)})[0].model == "autoencoder"


def test_a_table_of_users_and_items_is_taken_for_recommendations(tmp_path):
    rows = [f"u{user},i{(user * 3 + step * 5) % 11},{1 + (user + step) % 5}" for user in range(12) for step in range(6)]
    (tmp_path / "bought.csv").write_text("\n".join(["user_id,product,stars", *rows]))
    made, data = choice.choose(tmp_path / "bought.csv", {})
    assert (made.model, made.recipe, data.spec.task) == ("two_tower", "dynamic", "recommendation")
    assert made.taken_for == "events of 12 users and 11 items"
    made, _ = choice.choose(tmp_path / "bought.csv", {"rating_column": "stars", "liked": 3.0})
    assert made.model == "matrix_factorization"
    assert choice.choose(tmp_path / "bought.csv", {"target_column": ("stars",)})[0].model == "tabular"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("absent",), "absent: expected a folder or a file of data, found none"),
        ((".", "--recipe", "int8", "--max-bytes", "5k"), "--recipe int8: expected without --max-bytes"),
        ((".", "--minutes", "0"), "--minutes: expected a value from 0.5"),
        ((".", "--output", "file"), "--output file: expected a folder, found a file"),
    ],
)
def test_mistakes(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, _, error = said(capsys, make, *words)
    assert status == 2 and sentence in error


def test_help_imports_no_backend():
    code = "import sys; from zoo.make import __main__ as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_a_folder_of_other_options_is_refused(tmp_path):
    data = tmp_path / "vectors.npz"
    np.savez(data, x=np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), y=np.arange(40) % 2)
    options = {"data": data, "output": tmp_path / "made", "epochs": 1}
    config = TrainConfig(model="simplenet", data=data, epochs=1).resolved()
    run = RunFolder(tmp_path / "made")
    form = {"kind": "vector", "input_shape": [3], "class_names": ["0", "1"], "per_step": False}
    run.write_config(config, {"name": "vectors"} | form, ["python"])
    run.history_file.write_text("epoch,loss\n0,0.5\n")
    run.model_file.touch()
    run.write_metrics({"test": {"accuracy": 0.5}, "model_sha256": "0" * 64})
    words, _ = make._Road(make.Options(**options), run.path).choose()
    make._Road(make.Options(**options), run.path).train(words)  # is trained already
    other = make._Road(make.Options(**options | {"epochs": 2}), run.path)
    with pytest.raises(UsageError, match="begun with others: --epochs was 1, now 2"):
        other.train(words)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_road_within_a_budget_and_again(tmp_path):
    x, y = blobs(240, (12, 12), 3)
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "high"])
    words = (tmp_path / "blobs.npz", "--max-bytes", "12k", "--min-accuracy", "0.5", "--trials", "2", "--epochs", "4")
    words += ("--model", "cnn", "--set", "pools=1", "--set", "filters=8,8", "--json")
    done = run_module("zoo.make", *words, cwd=tmp_path, check=0)
    result = json.loads(done.stdout)
    file = tmp_path / result["path"]
    assert file.stat().st_size == result["bytes"] <= 12_000 and result["test"]["accuracy"] >= 0.5
    beside = {path.name for path in file.parent.iterdir()}
    assert {file.name, f"{file.stem}.receipt.json", f"{file.stem}.labels.txt", "MODEL_CARD.md", "android.kt"} <= beside
    notes = json.loads((tmp_path / result["folder"] / "make.json").read_text())
    assert [step["command"].split()[2] for step in notes["steps"]][:3] == [
        "zoo.train",
        "compression.search",
        "compression.verify",
    ]
    verified = notes["steps"][2]["command"].split()[3]
    assert (tmp_path / verified).read_bytes() == file.read_bytes()
    again = run_module("zoo.make", *words, cwd=tmp_path, check=0)
    assert "is trained already" in again.stderr and json.loads(again.stdout)["bytes"] == result["bytes"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["events", "anomalies"])
def test_the_whole_road_of_recommendations_and_of_anomalies(tmp_path, kind):
    if kind == "events":
        rows = [f"u{user},i{(user * 3 + step * 5) % 31}" for user in range(40) for step in range(8)]
        (tmp_path / "bought.csv").write_text("\n".join(["user,item", *rows]))
        words, figure = (tmp_path / "bought.csv",), "recall_at_10"
    else:
        words, figure = (pictures(tmp_path / "parts", 24, 1, 60), "--normal-class", "left"), "auc"
    done = run_module("zoo.make", *words, "--epochs", "1", "--json", cwd=tmp_path, check=0)
    result = json.loads(done.stdout)
    assert (tmp_path / result["path"]).stat().st_size == result["bytes"] and figure in result["test"]
    assert result["recipe"] == ("dynamic" if kind == "events" else "int8")


def test_boxes_get_a_detector(tmp_path):
    annotated.voc(tmp_path / "boxes", {"train": 12, "val": 4, "test": 4})
    made, data = choice.choose(tmp_path / "boxes", {"image_size": 64})
    assert made.model == "detector" and "64x64 with boxes" in made.taken_for and data.spec.task == "detection"
