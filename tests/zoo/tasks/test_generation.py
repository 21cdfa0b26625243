"""A run that draws images, from training to the images: on every engine and number of replicas."""

import contextlib
import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, blobs, run_module, stop_after
from tests.zoo.models.test_gan import SHAPE, SMALL, made
from zoo import evaluate, generate, predict, train
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted
from zoo.explain import __main__ as explain
from zoo.runs.folder import RunFolder
from zoo.scores.judges import of_pixels
from zoo.sweep import __main__ as sweep
from zoo.tasks import generation
from zoo.tasks.parts import drawing
from zoo.tasks.parts.sampler import Sampler
from zoo.training.loop import train as fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images of three classes, and a run that tells them apart."""
    folder = tmp_path_factory.mktemp("gan")
    x, y = blobs(240, (8, 12), seed=1)
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "high"])
    config = TrainConfig(
        model="cnn", data=folder / "blobs.npz", settings={"filters": (4, 6), "pools": 1, "units": 8}, epochs=5,
        batch_size=16, learning_rate=1e-2, output=folder / "classifier",
    )  # fmt: skip
    fit(config, verbose=False)
    return folder


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch):
    monkeypatch.setattr(generation, "SAMPLES", 300)


def configuration(folder, output, **changes):
    settings = {name: value for name, value in SMALL.items() if name != "num_classes"}
    settings |= {"conditional": True, "r1": 0.1} | changes.pop("settings", {})
    given = {
        "model": "gan", "data": folder / "blobs.npz", "settings": settings, "epochs": 2,
        "batch_size": 16, "learning_rate": 5e-3, "beta_1": 0.5, "clip_norm": 0.0, "warmup": 0.0, "weight_decay": 0.0,
        "output": folder / output, "seed": 3,
    } | changes  # fmt: skip
    return TrainConfig(**given)


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a run of two epochs, looked at by the classifier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "SAMPLES", 300)
        fit(configuration(folder, "run", classifier=folder / "classifier"), verbose=False)
    return folder / "run"


def test_a_run_has_its_pictures_scores_and_report(trained, folder):
    rows = list(csv.DictReader((trained / "history.csv").read_text().splitlines()))
    assert {"real_loss", "fake_loss", "generator_loss", "r1_loss", "val_frechet_distance"} <= set(rows[0])
    total = sum(float(rows[1][f"{name}_loss"]) for name in ("real", "fake", "generator", "r1"))
    assert float(rows[1]["loss"]) == pytest.approx(total, rel=1e-5)
    assert [p.name for p in sorted((trained / "samples").iterdir())] == [
        "epoch-001.png",
        "epoch-002.png",
        "training.gif",
    ]
    with Image.open(trained / "samples" / "training.gif") as movie:
        assert movie.n_frames == 2
    metrics = RunFolder(trained).read_metrics()
    test = metrics["test"]
    assert (
        test["compared_in"] == f"the features of {folder / 'classifier'}" and test["examples"] == test["compared"] == 48
    )
    assert sum(test["classes"].values()) == pytest.approx(1) and list(test["classes"]) == ["low", "middle", "high"]
    best = min(range(2), key=lambda i: float(rows[i]["val_frechet_distance"]))
    assert metrics["epoch"] == best + 1
    assert metrics["validation"]["frechet_distance"] == pytest.approx(float(rows[best]["val_frechet_distance"]))
    page = (trained / "report.html").read_text()
    assert "Frechet distance in the features of" in page and "Real images, test split" in page
    assert list((trained / "tensorboard" / "samples").glob("events*"))


@pytest.mark.slow
def test_scores_are_of_what_the_average_draws(trained, folder):
    """Recognised, histogram and classes as asked, by the classifier called directly."""
    model, classifier = RunFolder(trained).load_model(), RunFolder(folder / "classifier").load_model()
    from zoo.runs.inference import load_like

    run = RunFolder(trained)
    data = load_like(run, run.read_config()["config"])
    found, _ = generation.TASK.measure(model, data, "test", folder / "classifier")
    assert found == run.read_metrics()["test"]
    labels = np.resize(np.random.default_rng(0).permutation(data.test.y), 300)
    images = np.asarray(model.average(drawing.codes(model, 300, 0, labels), training=False))
    logits = np.asarray(classifier(images))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert found["recognised"] == pytest.approx((p.max(-1) >= 0.9).mean())
    assert found["as_asked"] == pytest.approx((p.argmax(-1) == labels).mean())
    assert found["classes"]["low"] == pytest.approx((p.argmax(-1) == 0).mean())


def test_images_are_drawn_again_from_the_same_seed(trained, tmp_path, capsys):
    words = [str(trained), "--seed", "4", "--output", str(tmp_path / "grid.png")]
    assert generate.main([*words, "--count", "7"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "grid.png")
    with np.load(tmp_path / "grid.npz") as first:
        x, y = first["x"], first["y"]
    assert x.shape == (7, *SHAPE) and x.min() >= 0 and x.max() <= 1 and y.tolist() == [0, 1, 2, 0, 1, 2, 0]
    with Image.open(tmp_path / "grid.png") as picture:
        width, height = picture.size  # three columns, a class each, and three rows, their pixels repeated
        assert (width / (3 * 12 + 2 * 2), height / (3 * 8 + 2 * 2)) == (width // 40, width // 40)
        scale = width // 40
        corner = np.asarray(picture)[: 8 * scale : scale, : 12 * scale : scale, 0]
    np.testing.assert_array_equal(corner, np.rint(x[0, ..., 0] * 255))
    assert generate.main([*words, "--count", "2", "--label", "high"]) == 0
    with np.load(tmp_path / "grid.npz") as second:
        assert second["y"].tolist() == [2, 2]
    assert generate.main([*words, "--count", "3"]) == 0
    with np.load(tmp_path / "grid.npz") as third:
        np.testing.assert_allclose(third["x"], x[:3], atol=1e-6)


@pytest.mark.parametrize(("command", "words", "message"), [
    (generate, ["{run}", "a text"], "TEXT: expected none, as this run gives images; received 'a text'"),
    (generate, ["{run}", "--temperature", "1"], "--temperature: expected a run that gives texts, this one"),
    (generate, ["{run}", "--count", "0"], "--count 0: expected 1 or more"),
    (generate, ["{run}", "--label", "hihg"], "unknown class 'hihg': expected one of .* did you mean 'high'"),
    (generate, ["{run}", "--output", "x.jpg"], "--output x.jpg: expected a name that ends in .png"),
    (generate, ["{classifier}"], "expected a run that gives texts or images, this one gives classes"),
    (predict, ["{run}", "x.png"], "this one gives images; use zoo.generate"),
    (explain, ["{run}", "x.png"], "expected a run that gives classes or texts, this one is for generation"),
    (evaluate, ["{classifier}", "--classifier", "{classifier}"], "expected a model that draws images, cnn learns"),
])  # fmt: skip
def test_other_uses_of_a_run_are_refused(command, words, message, trained, folder, capsys):
    import re

    names = {"run": trained, "classifier": folder / "classifier"}
    assert command.main([word.format(**names) for word in words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and re.search(message, error), error


@pytest.mark.parametrize(("words", "message"), [
    (["--set", "latent_size=0"], "gan: latent_size: expected positive whole numbers, received 0"),
    (["--set", "filters=8,4,2,2"], "height and width are multiples of 16 for 4 doublings, received 8x12; use --image"),
    (["--set", "loss=hing"], "--set loss: expected one of non_saturating, hinge, wasserstein, received 'hing'"),
    (["--set", "norm=batch", "--set", "r1=1"], "gan: norm=batch: expected no gradient penalty"),
    (["--set", "r1=-1"], "r1 of 0 or more"),
    (["--shift", "1"], "--shift 1 .*: expected none for generation: the generator would learn to draw"),
    (["--label-smoothing", "0.1"], "--label-smoothing 0.1: expected 0"),
    (["--beta-1", "1"], "--beta-1: expected a value from 0 to 0.9999, received 1.0"),
    (["--classifier", "absent"], "--classifier: absent: expected the folder of a run, found no such folder"),
    (["--classifier", "{run}"], "--classifier .*: expected a classification run, received a generation run"),
    (["--classifier", "{classifier}", "--image-size", "16"], "images of shape .16, 16, 1., the shape of blobs"),
    (["--task", "classification"], "--model gan: learns generation, and blobs is for classification; models for it"),
    (["--test-split", "0.01"], "--test-split: expected 6 images or more to compare with, received"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused(words, message, trained, folder, tmp_path, capsys):
    import re

    names = {"run": trained, "classifier": folder / "classifier"}
    given = ["--model", "gan", "--data", str(folder / "blobs.npz"), "--epochs", "1", "--output", str(tmp_path / "run")]
    assert train.main([*given, *(word.format(**names) for word in words)]) == 2
    error = capsys.readouterr().err
    told, refusal = error.splitlines()[:-1], error.splitlines()[-1]
    assert re.search(message, refusal), error
    assert not any(line.startswith(("zoo.train", "Traceback")) for line in told), error


def test_a_sweep_ranks_by_an_accuracy_that_samples_have_not(capsys):
    assert sweep.main(["--model", "cnn,gan", "--seeds", "2"]) == 2
    assert "--model gan: expected a model whose runs are ranked by accuracy" in capsys.readouterr().err


def weights_of(result):
    return {v.path.partition("/")[2]: v.numpy() for v in result.model.variables}


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_to_the_same_bits(trained, folder):
    stopped = configuration(folder, "stopped", classifier=folder / "classifier", checkpoint_every=1)
    with contextlib.suppress(Interrupted):
        fit(stopped, callbacks=[stop_after(15)], verbose=False)
    again = fit(dataclasses.replace(stopped, resume=True), verbose=False)
    whole = RunFolder(trained)
    assert (folder / "stopped" / "history.csv").read_bytes() == whole.history_file.read_bytes()
    for mine, theirs in zip(again.model.variables, whole.load_model().variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"norm": "none"}, {"loss": "wasserstein"}])
def test_two_replicas_train_alike(settings, folder, mirrored):
    """In float64, where rounding does not grow: penalties, normalisations over both, two rates, and the average."""
    settings = settings | {"discriminator_rate": 2.0}
    common = {"precision": "float64", "keep": "last", "settings": settings}
    name = settings.get("loss", "plain")
    one = fit(configuration(folder, f"one-{name}", **common), verbose=False)
    spread = {"strategy": "mirrored", "virtual_devices": 2}
    two = fit(configuration(folder, f"two-{name}", **common, **spread), verbose=False)
    mine, theirs = weights_of(one), weights_of(two)
    assert mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_allclose(theirs[path], mine[path], atol=1e-9, err_msg=path)
    for ours, other in zip(one.history, two.history, strict=True):
        assert other == pytest.approx(ours, rel=1e-6)


@pytest.mark.slow  # a child that imports both engines
def test_jax_trains_alike(trained, folder):
    """From the weights of the same run, through penalty, frozen pass and average."""
    config = configuration(folder, "on-jax", init_from=trained, epochs=1, settings={"discriminator_rate": 2.0})
    stored = json.dumps(config.to_json())
    run_module("tests.zoo.models.gan_jax_child", folder, stored, cwd=ROOT, check=0, timeout=200)
    ours = fit(dataclasses.replace(config, output=folder / "on-tensorflow"), verbose=False)
    theirs = np.load(folder / "jax.npz")
    for name, value in ours.history[0].items():
        assert theirs[f"0 {name}"] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    made = drawing.draw(ours.model, drawing.codes(ours.model, 9, 5, np.arange(9) % 3))
    np.testing.assert_allclose(theirs["made"], made, atol=2e-3)
    assert not np.allclose(made, drawing.draw(RunFolder(trained).load_model(), drawing.codes(ours.model, 9, 5,
                           np.arange(9) % 3)), atol=2e-3)  # fmt: skip


def history(*rows):
    return [{"epoch": i, "val_frechet_distance": d, "val_diversity": v} for i, (d, v) in enumerate(rows)]


def test_collapse_and_divergence_are_told_from_noise():
    good = [(9, 0.8), (5, 0.9), (4, 0.9)]
    assert generation.TASK.remarks(history(*good)) == {"collapsed": [], "diverged": []}
    assert generation.TASK.remarks(history(*good, (5, 0.1), (5, 0.1), (5, 0.9), (5, 0.1)))["collapsed"] == []
    assert generation.TASK.remarks(history(*good, *[(5, 0.1)] * 4))["collapsed"] == [6, 7]
    assert generation.TASK.remarks(history(*good, (13, 1), (99, 1), (12.5, 1), (11, 1)))["diverged"] == [6]
    assert generation.TASK.remarks([{"epoch": 0, "loss": 1.0}]) == {"collapsed": [], "diverged": []}


def test_a_collapse_is_said_once_in_one_sentence(folder, tmp_path, capsys):
    from zoo.data import load
    from zoo.training.callbacks import write_history

    config = configuration(folder, "unused")
    data = load(config.resolved())
    run = RunFolder(tmp_path)
    run.path.mkdir(exist_ok=True)
    sampler = Sampler(config, run, data, of_pixels(data.train))
    model = made("float32", conditional=True)
    for part in model.average.hidden:  # every image the same
        part.kernel.assign(0 * part.kernel)
    sampler.set_model(model)
    rows = []
    for epoch in range(5):
        sampler.on_epoch_end(epoch, logs := {"loss": 1.0})
        rows.append({"epoch": epoch, **logs})
        write_history(run, rows)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("epoch 3: the generator has collapsed") and "of epoch 1 is the best so far, and kept" in said
    assert generation.TASK.remarks(rows)["collapsed"] == [3, 4, 5]
