"""GANs: what reaches which network, the penalties, the average, and a run from training to drawn images."""

import contextlib
import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import ROOT, blobs, run_module, stop_after
from zoo import evaluate, explain, generate, predict, sweep, train
from zoo.config import TrainConfig
from zoo.errors import Interrupted
from zoo.judges import of_pixels
from zoo.models import GAN, Adversarial, ScaledAdamW
from zoo.models.gradients import gradient
from zoo.runs import RunFolder
from zoo.sampler import Sampler
from zoo.tasks import generation
from zoo.training import train as fit

SHAPE = (8, 12, 1)
SMALL = {"num_classes": 3, "latent_size": 5, "filters": (6, 4), "units": (7, 9)}
KINDS = ("non_saturating", "hinge", "wasserstein")
# Smooth all the way: a relu has kinks, at which a finite difference is no slope.
SMOOTH = {"architecture": "dense", "conditional": True}


def made(dtype="float64", **settings):
    keras.utils.set_random_seed(1)
    model = GAN(**SMALL | settings, dtype=dtype)
    model.build((None, *SHAPE))
    rng = np.random.default_rng(2)
    for variable in model.discriminator.trainable_variables:  # biases are built as zeros
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    return model


def batch(model, count=6, seed=0):
    rng = np.random.default_rng(seed)
    codes = generation.codes(model, count, seed, np.arange(count) % 3)
    return rng.random((count, *SHAPE)), codes.astype("float64"), rng.random((count, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_their_papers(kind):
    logits = np.array([[-3.0], [-0.2], [0.5], [4.0]])
    p = 1 / (1 + np.exp(-logits))
    expected = {
        "non_saturating": (-np.log(p), -np.log(1 - p), -np.log(p)),
        "hinge": (np.maximum(0, 1 - logits), np.maximum(0, 1 + logits), -logits),
        "wasserstein": (-logits, logits, -logits),
    }[kind]
    for side, values in zip(("real", "fake", "generator"), expected, strict=True):
        loss = Adversarial(kind, side, dtype="float64")
        assert float(loss(np.zeros((4, 1)), logits)) == pytest.approx(values.mean(), rel=1e-9)


@pytest.mark.parametrize("settings", [{}, {"conditional": True, "norm": "batch"}, {"architecture": "dense"}])
def test_each_side_learns_from_its_own_outputs_alone(settings):
    model = made(**settings)
    inputs = batch(model)
    mine, theirs = model.generator.trainable_variables, model.discriminator.trainable_variables
    for name, learns, not_ in (("generator", mine, theirs), ("fake", theirs, mine), ("real", theirs, mine)):
        with tf.GradientTape(persistent=True) as tape:
            total = tf.reduce_sum(model(inputs, training=True)[name])
        assert all(g is None for g in tape.gradient(total, [v.value for v in not_])), name
        # A constant added to the discriminator's logits moves no image.
        found = tape.gradient(total, [v.value for v in learns])
        assert all(np.any(np.asarray(g) != 0) for g in found if g is not None), name
        assert sum(g is None for g in found) == 0, name
    # The frozen discriminator says what the other does.
    outputs = model(inputs, training=True)
    np.testing.assert_allclose(outputs["generator"], outputs["fake"], rtol=1e-9)
    assert len(model.trainable_variables) == len(mine) + len(theirs)


def test_the_frozen_pass_leaves_averages_alone():
    """Of the three passes of the discriminator two move its normalisations' averages: by real and by made images."""
    model = made(norm="batch")
    inputs = batch(model)
    (norm,) = model.discriminator.norms
    expected = [v.numpy() for v in norm.non_trainable_variables]
    hidden = model.discriminator.hidden[1]
    first = model.discriminator.hidden[0]
    images = model.generator(inputs[1], training=True)
    for x in (inputs[0], images):
        y = first(x)
        y = np.asarray(hidden(np.maximum(y, 0.2 * np.asarray(y))))
        moments = y.mean((0, 1, 2)), y.var((0, 1, 2))
        expected = [0.99 * old + 0.01 * new for old, new in zip(expected, moments, strict=True)]
    model(inputs, training=True)
    for variable, value in zip(norm.non_trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-6)


def slopes(model, images, classes, step=1e-6):
    """Return the squared norm of the discriminator's gradient at each image, by differences."""
    total = np.zeros(len(images))
    for index in np.ndindex(images.shape[1:]):
        moved = np.zeros_like(images)
        moved[(slice(None), *index)] = step
        above, below = (np.asarray(model.discriminator(images + sign * moved, classes))[:, 0] for sign in (1, -1))
        total += ((above - below) / (2 * step)) ** 2
    return total


@pytest.mark.parametrize("kind", ["r1", "gradient_penalty"])
def test_penalties_are_the_slope_by_finite_differences(kind):
    model = made(**SMOOTH, **({"r1": 3.0} if kind == "r1" else {"loss": "wasserstein", "gradient_penalty": 4.0}))
    images, codes, mix = batch(model)
    found = model((images, codes, mix), training=False)[kind][:, 0]
    if kind == "r1":
        expected = 3.0 / 2 * slopes(model, images, codes[:, 5:])
    else:
        between = mix[:, None, None] * images + (1 - mix[:, None, None]) * np.asarray(model.generator(codes))
        expected = 4.0 * (np.sqrt(slopes(model, between, codes[:, 5:])) - 1) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_a_penalty_teaches_the_discriminator_is_its_derivative():
    """A gradient of a gradient, against a difference of the penalty itself."""
    model = made(**SMOOTH, r1=3.0)
    inputs = batch(model)
    kernel = model.discriminator.hidden[0].kernel
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(inputs)["r1"])
    found = np.asarray(tape.gradient(total, kernel.value))
    value, step = kernel.numpy(), 1e-6
    for place in ((3, 4), (50, 0), (95, 8)):
        sides = []
        for sign in (1, -1):
            moved = value.copy()
            moved[place] += sign * step
            kernel.assign(moved)
            sides.append(float(tf.reduce_sum(model(inputs)["r1"])))
        kernel.assign(value)
        assert found[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4)


def test_a_gradient_that_is_not_connected_is_zero():
    x = tf.ones((2, 3))
    np.testing.assert_array_equal(gradient(lambda _: tf.ones(2), x), np.zeros((2, 3)))


def test_the_average_follows_one_step_late_and_faster_in_the_beginning():
    model = made(average_decay=0.3)
    variable, mine = model.generator.hidden[0].kernel, model.average.hidden[0].kernel
    expected = variable.numpy()
    np.testing.assert_array_equal(mine, expected)
    for step in range(5):
        variable.assign(variable + 1.0)
        model(batch(model), training=True)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * variable.numpy()
        np.testing.assert_allclose(mine, expected, rtol=1e-9)
    model(batch(model), training=False)
    np.testing.assert_allclose(mine, expected, rtol=1e-9)
    np.testing.assert_array_equal(model.sample(batch(model)[1]), model.average(batch(model)[1], training=False))


@pytest.mark.parametrize(("name", "count"), [
    # By hand: generators (with the average, each with four numbers a normalised channel), discriminator, one counter.
    ("gan", 2 * (64 * 3136 + 4 * 64 + 16 * 32 * 64 + 4 * 32 + 16 * 32 + 1)
     + (16 * 32 + 32) + (16 * 32 * 64 + 64) + 3136 + 1 + 1),
    ("gan_dense", 2 * (64 * 256 + 4 * 256 + 256 * 512 + 4 * 512 + 512 * 784 + 784)
     + (784 * 512 + 512) + (512 * 256 + 256) + 256 + 1 + 1),
])  # fmt: skip
def test_parameter_counts_are_exact(name, count):
    from zoo import registry

    model = registry.model_class(name)(**registry.entry(name).preset)
    model.build((None, 28, 28, 1))
    assert model.count_params() == count


OTHER = {"num_classes": 4, "conditional": True, "latent_size": 6, "architecture": "dense", "filters": (5,),
         "kernel_size": 3, "units": (8, 7), "norm": "layer", "loss": "wasserstein", "gradient_penalty": 5.0, "r1": 0.5,
         "discriminator_rate": 2.0, "average_decay": 0.9}  # fmt: skip


@pytest.mark.parametrize("arguments", [OTHER, {"dtype": "mixed_bfloat16", "conditional": True}])
def test_saves_and_loads(arguments, tmp_path):
    model = GAN(**arguments)
    model.build((None, *SHAPE))
    config = TrainConfig(
        model="gan", settings={k: v for k, v in arguments.items() if k not in ("dtype", "num_classes")}
    )
    model.compile(ScaledAdamW(model.rates, learning_rate=0.1), **generation.compiled_with(config, None))
    model.optimizer.build(model.trainable_variables)
    images, codes, mix = batch(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.optimizer.rates == model.rates and loaded.loss.keys() == model.loss.keys()
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    for name, found in loaded((images, codes, mix)).items():
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, model((images, codes, mix))[name])
    if "dtype" in arguments:
        assert loaded.generator.hidden[0].compute_dtype == "bfloat16" and loaded.generator.image.dtype == "float32"
        assert loaded.updates.dtype == "float32"


def test_other_arguments_differ_from_the_defaults():
    from zoo import registry

    known = registry.arguments("gan")
    assert set(known) == set(OTHER) and all(known[name].default != value for name, value in OTHER.items())


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


def test_scores_are_of_what_the_average_draws(trained, folder):
    """Recognised, histogram and classes as asked, by the classifier called directly."""
    model, classifier = RunFolder(trained).load_model(), RunFolder(folder / "classifier").load_model()
    from zoo.inference import load_like

    run = RunFolder(trained)
    data = load_like(run, run.read_config()["config"])
    found, _ = generation.measure(model, data, "test", folder / "classifier")
    assert found == run.read_metrics()["test"]
    labels = np.resize(np.random.default_rng(0).permutation(data.test.y), 300)
    images = np.asarray(model.average(generation.codes(model, 300, 0, labels), training=False))
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
    (generate, ["{run}", "a text"], "TEXT: expected none, as this run draws images; received 'a text'"),
    (generate, ["{run}", "--temperature", "1"], "--temperature: expected a run that gives texts, this one draws"),
    (generate, ["{run}", "--count", "0"], "--count 0: expected 1 or more"),
    (generate, ["{run}", "--label", "hihg"], "unknown class 'hihg': expected one of .* did you mean 'high'"),
    (generate, ["{run}", "--output", "x.jpg"], "--output x.jpg: expected a name that ends in .png"),
    (generate, ["{classifier}"], "expected a run that gives texts or draws images, this one gives classes"),
    (predict, ["{run}", "x.png"], "expected a run that gives classes, this one gives images; use zoo.generate"),
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
    (["--set", "filters=8,4,2,2"], "4 doublings make images whose height and width 16 divides, received 8x12; --image"),
    (["--set", "loss=hing"], "--set loss: expected one of non_saturating, hinge, wasserstein, received 'hing'"),
    (["--set", "norm=batch", "--set", "r1=1"], "gan: norm=batch: expected no penalty beside it"),
    (["--set", "r1=-1"], "r1 of 0 or more"),
    (["--optimizer", "sgd", "--set", "discriminator_rate=2"], "--optimizer sgd: expected adamw for a model with two"),
    (["--shift", "1"], "--shift 1: expected 0: a generator would learn to draw"),
    (["--label-smoothing", "0.1"], "--label-smoothing 0.1: expected 0"),
    (["--beta-1", "1"], "--beta-1: expected a value from 0 to 0.9999, received 1.0"),
    (["--classifier", "absent"], "--classifier: absent: expected the folder of a run, found no such folder"),
    (["--classifier", "{run}"], "--classifier .*: expected a run that gives classes, this one is for generation"),
    (["--classifier", "{classifier}", "--image-size", "16"], "expected a run on images of shape .16, 16, 1., as blobs"),
    (["--task", "classification"], "--model gan: learns generation, and blobs is for classification; models for it"),
    (["--test-split", "0.01"], "--test-split: expected 6 images or more to compare with, received"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused(words, message, trained, folder, tmp_path, capsys):
    import re

    names = {"run": trained, "classifier": folder / "classifier"}
    given = ["--model", "gan", "--data", str(folder / "blobs.npz"), "--epochs", "1", "--output", str(tmp_path / "run")]
    assert train.main([*given, *(word.format(**names) for word in words)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and re.search(message, error), error


def test_a_sweep_ranks_by_an_accuracy_that_samples_have_not(capsys):
    assert sweep.main(["--model", "cnn,gan", "--seeds", "2"]) == 2
    assert "--model gan: expected a model whose runs are ranked by accuracy" in capsys.readouterr().err


def weights_of(result):
    return {v.path.partition("/")[2]: v.numpy() for v in result.model.variables}


def test_a_run_that_stopped_goes_on_to_the_same_bits(trained, folder):
    stopped = configuration(folder, "stopped", classifier=folder / "classifier", checkpoint_every=1)
    with contextlib.suppress(Interrupted):
        fit(stopped, callbacks=[stop_after(15)], verbose=False)
    again = fit(dataclasses.replace(stopped, resume=True), verbose=False)
    whole = RunFolder(trained)
    assert (folder / "stopped" / "history.csv").read_bytes() == whole.history_file.read_bytes()
    for mine, theirs in zip(again.model.variables, whole.load_model().variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("settings", [{"norm": "none"}, pytest.param({"loss": "wasserstein"}, marks=pytest.mark.slow)])
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
    run_module("tests.zoo.gan_jax_child", folder, stored, cwd=ROOT, check=0, timeout=200)
    ours = fit(dataclasses.replace(config, output=folder / "on-tensorflow"), verbose=False)
    theirs = np.load(folder / "jax.npz")
    for name, value in ours.history[0].items():
        assert theirs[f"0 {name}"] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    made = generation.draw(ours.model, generation.codes(ours.model, 9, 5, np.arange(9) % 3))
    np.testing.assert_allclose(theirs["made"], made, atol=2e-3)
    assert not np.allclose(made, generation.draw(RunFolder(trained).load_model(), generation.codes(ours.model, 9, 5,
                           np.arange(9) % 3)), atol=2e-3)  # fmt: skip


def history(*rows):
    return [{"epoch": i, "val_frechet_distance": d, "val_diversity": v} for i, (d, v) in enumerate(rows)]


def test_collapse_and_divergence_are_told_from_noise():
    good = [(9, 0.8), (5, 0.9), (4, 0.9)]
    assert generation.remarks(history(*good)) == {"collapsed": [], "diverged": []}
    assert generation.remarks(history(*good, (5, 0.1), (5, 0.1), (5, 0.9), (5, 0.1)))["collapsed"] == []
    assert generation.remarks(history(*good, *[(5, 0.1)] * 4))["collapsed"] == [6, 7]
    assert generation.remarks(history(*good, (13, 1), (99, 1), (12.5, 1), (11, 1)))["diverged"] == [6]
    assert generation.remarks([{"epoch": 0, "loss": 1.0}]) == {"collapsed": [], "diverged": []}


def test_a_collapse_is_said_once_in_one_sentence(folder, tmp_path, capsys):
    from zoo.callbacks import write_history
    from zoo.data import load

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
    assert generation.remarks(rows)["collapsed"] == [3, 4, 5]
