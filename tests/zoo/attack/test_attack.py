"""Attacks compared with closed forms and the Adversarial Robustness Toolbox, adversarial training, and `zoo.attack`."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

import strategies
from compression import attack as attack_files
from compression import compress
from tests.conftest import ROOT, blobs, run_module, stop_after, unsealed
from zoo.attack import __main__ as attack
from zoo.attack import robustness
from zoo.config import attacks
from zoo.config.attacks import FGSM, PGD
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import DataSpec, Split
from zoo.data.batches.attacked import training_batches
from zoo.models import CNN
from zoo.objectives.adversarial import Attacked
from zoo.runs.folder import RunFolder
from zoo.training.building import attacked
from zoo.training.loop import train

IMAGES = DataSpec("images", "image", (9, 10, 1), ("a", "b", "c"))
VECTORS = DataSpec("vectors", "vector", (6,), ("a", "b", "c"))


def linear(classes, seed=0):
    """Return a softmax regression model with 6 inputs, its kernel and its bias."""
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(classes)])
    kernel, bias = rng.normal(size=(6, classes)), rng.normal(size=classes)
    model.set_weights([kernel, bias])
    return model, kernel, bias


def convolutional():
    """Return a cnn with dropout and batch normalization, and images in [0, 1] with labels."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = CNN(3, filters=(4, 6), pools=1, units=8, batch_norm=True, dropout=0.5)
    model.build((None, 9, 10, 1))
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(np.abs(variable + rng.normal(0, 0.3, variable.shape)) if "var" in variable.path else
                            variable + rng.normal(0, 0.3, variable.shape))  # fmt: skip
    return model, rng.random((12, 9, 10, 1), np.float32), (np.arange(12) % 3).astype("int32")


def changed(model, spec, attack, x, y):
    return attacked(attack, spec, model).predict((x, y, np.zeros_like(x)), verbose=0)


# The attacks


def test_fgsm_of_a_linear_model_of_two_classes_is_the_worst_there_is():
    """Check that the margin of two classes falls by eps times the sum of |w_true - w_other|, the maximum possible."""
    model, kernel, bias = linear(2)
    rng = np.random.default_rng(1)
    x, eps = rng.normal(size=(50, 6)).astype("float32"), 0.3
    y = rng.integers(0, 2, 50).astype("int32")
    slope = (kernel[:, 0] - kernel[:, 1]) * np.where(y, -1, 1)[:, None]
    margin = (x * slope).sum(1) + (bias[0] - bias[1]) * np.where(y, -1, 1)
    spec = dataclasses.replace(VECTORS, class_names=("a", "b"))
    found = changed(model, spec, FGSM(eps, start="clean"), x, y)
    np.testing.assert_allclose((found - x), -eps * np.sign(slope), atol=1e-6)
    worst = robustness.worst(model, spec, Split(x, y), FGSM(eps, start="clean"))
    np.testing.assert_allclose(robustness.margins(model, worst), eps * np.abs(slope).sum(1) - margin, atol=1e-5)
    anywhere = x + rng.uniform(-eps, eps, (200, 50, 6)).astype("float32")
    others = robustness.margins(model, Split(anywhere.reshape(-1, 6), np.tile(y, 200))).reshape(200, 50)
    assert (others < eps * np.abs(slope).sum(1) - margin).all()


def test_pgd_of_a_softmax_regression_in_plain_numpy():
    model, kernel, bias = linear(3)
    x, y = np.random.default_rng(1).normal(size=(20, 6)).astype("float32"), (np.arange(20) % 3).astype("int32")
    expected = x.astype("float64")
    for _ in range(5):
        logits = expected @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        slope = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) @ kernel.T
        expected = np.clip(expected + 0.07 * np.sign(slope), x - 0.2, x + 0.2)
    np.testing.assert_allclose(changed(model, VECTORS, PGD(0.2, 0.07, "clean", steps=5), x, y), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:PyTorch not found")
@pytest.mark.parametrize(
    "ours",
    [pytest.param(FGSM(0.1, start="clean"), marks=pytest.mark.slow), PGD(0.1, 0.03, "clean", steps=10)],
)
def test_examples_are_those_of_the_adversarial_robustness_toolbox(ours):
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentNumpy
    from art.estimators.classification import TensorFlowV2Classifier

    model, x, y = convolutional()
    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=3,
        input_shape=x.shape[1:],
        # The toolbox expects one-hot labels: it recognises a sparse loss only by the classes of TensorFlow's own Keras.
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    if isinstance(ours, PGD):
        options = {"eps_step": ours.size, "max_iter": ours.steps, "num_random_init": 0, "verbose": False}
        theirs = ProjectedGradientDescentNumpy(classifier, norm=np.inf, eps=ours.eps, **options)
    else:
        theirs = FastGradientMethod(classifier, norm=np.inf, eps=ours.eps)
    found = changed(model, IMAGES, ours, x, y)
    np.testing.assert_allclose(found, theirs.generate(x, y), rtol=0, atol=1e-5)
    assert np.abs(found - x).max() > 0.09


def test_examples_stay_near_and_in_the_range_of_pixels_and_the_model_as_it_was():
    model, x, y = convolutional()
    before = [
        keras.ops.convert_to_numpy(v).copy() for v in model.variables
    ]  # including moving averages and dropout seeds
    start = np.random.default_rng(2).uniform(-1, 1, x.shape).astype("float32")
    found = Attacked(model, 0.2, 0.05, 6, (0, 1)).predict((x, y, start), batch_size=5, verbose=0)
    assert np.abs(found - x).max() <= 0.2 + 1e-6 and found.min() == 0 and found.max() == 1
    for ours, theirs in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), theirs)
    begun = Attacked(model, 0.2, 1e-9, 1, (0, 1)).predict((x, y, start), verbose=0)
    np.testing.assert_allclose(begun, np.clip(x + 0.2 * start, 0, 1), atol=1e-6)


def test_of_several_restarts_the_worst_counts():
    model, x, y = convolutional()
    examples, spec, pgd = Split(x, y), IMAGES, PGD(0.1, 0.02, steps=3)
    found = [robustness.margins(model, robustness.worst(model, spec, examples, pgd, restarts=n)) for n in (1, 4)]
    assert (found[1] >= found[0]).all() and (found[1] > found[0]).any()
    assert (found[0] >= robustness.margins(model, examples)).all()


# Words


def test_words_have_the_steps_of_the_papers():
    assert attacks.parse("fgsm(0.1)").size == pytest.approx(0.125)  # Wong et al.
    assert attacks.parse("fgsm(eps=0.1, start=clean)").size == pytest.approx(0.1)  # Goodfellow et al.
    assert attacks.parse("pgd(0.1, steps=10)") == PGD(0.1, steps=10)
    assert attacks.parse("pgd(0.1, steps=10)").size == pytest.approx(0.025)
    assert attacks.parse("pgd(eps=0.1, step=0.01)").size == pytest.approx(0.01)


@pytest.mark.parametrize(("text", "message"), [
    ("pgm(0.1)", "unknown attack 'pgm': expected one of fgsm, pgd; did you mean 'pgd'"),
    ("pgd 0.1", r"--adversarial: expected an attack such as pgd\(eps=0.1, steps=7\) or .*, received 'pgd 0.1'"),
    ("pgd", "--adversarial pgd: eps: expected a number above 0, received none"),
    ("pgd(-0.1)", "--adversarial pgd: eps: expected a number above 0, received -0.1"),
    ("pgd(0.1, steps=0)", "--adversarial pgd: steps: expected at least 1, received 0"),
    ("pgd(0.1, 7)", "--adversarial pgd: step: expected a number above 0, at most 0.2, received 7"),
    ("fgsm(0.1, steps=3)", "--adversarial fgsm: no argument 'steps'"),
    ("fgsm(0.1, start=cleen)", "expected one of random, clean, received 'cleen'; did you mean 'clean'"),
    ("pgd(8)", "--adversarial pgd: eps: expected at most 1, .* received 8; 8 of 255 levels is 0.0314"),
])  # fmt: skip
def test_an_attack_that_cannot_be_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig(adversarial=text)


def test_data_that_cannot_be_attacked_are_refused_before_training(image_npz, tmp_path):
    with pytest.raises(UsageError, match="--adversarial with --model gan: expected a classifier of images or vectors"):
        TrainConfig(model="gan", adversarial="fgsm(0.1)")
    common = {"adversarial": "pgd(8)", "output": tmp_path / "run"}
    with pytest.raises(UsageError, match="--adversarial pgd: eps: expected at most 1"):
        train(TrainConfig(model="simplenet", data=image_npz, **common), verbose=False)
    table = tmp_path / "films.csv"
    table.write_text("text,label\n" + "".join(f"a {w} film {i},{w}\n" for i in range(20) for w in ("good", "dull")))
    with pytest.raises(UsageError, match="--adversarial with films: expected images or vectors, .* received tokens"):
        train(TrainConfig(model="lstm", data=table, **common), verbose=False)
    assert not (tmp_path / "run").exists()


# Training


def config(path, **changes):
    values = {
        "model": "cnn", "data": path, "epochs": 2, "batch_size": 16, "learning_rate": 0.02, "optimizer": "sgd",
        "settings": {"filters": (4, 4), "pools": 1, "units": 6}, "keep": "last", "adversarial": "pgd(0.1, steps=3)",
    }  # fmt: skip
    return TrainConfig(**values | changes)


def test_a_step_learns_from_what_the_attack_made_of_its_batch(image_npz, tmp_path):
    """Compare one SGD step with the gradient computed by hand on the adversarial examples of the same batch."""
    import tensorflow as tf

    from zoo.data import load
    from zoo.objectives.losses import CrossEntropy

    mine = config(image_npz, epochs=1, batch_size=80, warmup=0.0, schedule="constant", weight_decay=0.0, clip_norm=0.0,
                  label_smoothing=0.1, output=tmp_path / "run")  # fmt: skip
    data = load(mine)
    keras.utils.set_random_seed(mine.seed)
    model = CNN(3, **mine.settings)
    model.build((None, 20, 20, 1))
    given = {"weights": model.get_weights()}

    def begin():
        same = CNN(3, **mine.settings)
        same.build((None, 20, 20, 1))
        same.set_weights(given["weights"])
        return same

    result = train(mine, model=begin, data=data, verbose=False)
    options = {"batch_size": 80, "seed": mine.seed, "start": 0, "stop": 1, "class_weights": None}
    options |= {"augment": None, "balance": False}
    (((x, y, start), y_again),) = training_batches(data.train, PGD(0.1, steps=3), **options).as_numpy_iterator()
    np.testing.assert_array_equal(y, y_again)
    assert np.abs(start).max() <= 1 and abs(start.mean()) < 0.02 and start.std() == pytest.approx(3**-0.5, abs=0.02)
    found = Attacked(model, 0.1, 2.5 * 0.1 / 3, 3, (0, 1)).predict((x, y, start), verbose=0)
    with tf.GradientTape() as tape:
        loss = CrossEntropy(0.1)(y, model(found, training=True))
    slopes = tape.gradient(loss, model.trainable_variables)
    # With Nesterov momentum from rest, the first step is 1.9 times the learning rate.
    for before, slope, after in zip(given["weights"], slopes, result.model.get_weights(), strict=True):
        np.testing.assert_allclose(after, before - 1.9 * 0.02 * slope.numpy(), atol=1e-6)
    assert result.history[0]["loss"] == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.slow
def test_two_replicas_learn_what_one_does(image_npz, tmp_path, mirrored, monkeypatch):
    # In float64, because rounding can flip the sign of a gradient near 0 and thus change an example.
    built = {"none": strategies.build("none"), "mirrored": mirrored}
    monkeypatch.setattr(strategies, "build", lambda name, virtual_devices, **_: built[name])
    options = {"precision": "float64", "class_weights": "balanced", "shift": 1}
    one, two = (
        train(config(image_npz, strategy=name, output=tmp_path / name, **options), verbose=False) for name in built
    )
    for ours, theirs in zip(two.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits_and_leaves_a_plain_model(image_npz, tmp_path):
    options = {"deterministic": True, "checkpoint_every": 1, "optimizer": "adamw"}
    options["settings"] = {"filters": (4, 4), "pools": 1, "units": 6, "dropout": 0.3, "batch_norm": True}
    whole = train(config(image_npz, output=tmp_path / "whole", **options), verbose=False)
    broken = config(image_npz, output=tmp_path / "broken", **options)
    with pytest.raises(Interrupted):
        train(broken, callbacks=[stop_after(7)], verbose=False)  # an epoch has 5 steps
    again = train(dataclasses.replace(broken, resume=True), verbose=False)
    assert again.history == whole.history
    for ours, theirs in zip(again.model.variables, whole.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    loaded = RunFolder(broken.output).load_model()
    assert type(loaded) is CNN
    for ours, theirs in zip(loaded.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "training: attacked by pgd(0.1, steps=3)" in again.run.report_file.read_text()


def test_vectors_have_no_range(tmp_path):
    x, y = blobs(90, (12,))
    np.savez(tmp_path / "vectors.npz", x=(40 * x).astype("float32"), y=y)
    options = {"model": "simplenet", "settings": {"units": (8,)}, "adversarial": "fgsm(4)", "output": tmp_path / "run"}
    train(config(tmp_path / "vectors.npz", **options), verbose=False)
    assert attack.main([str(tmp_path / "run"), "--attack", "fgsm", "--eps", "4"]) == 0
    with np.load(tmp_path / "run" / "attack" / "fgsm.npz") as found:
        clean, moved = found["x"]
    assert np.abs(moved - clean).max() == pytest.approx(4, abs=1e-4) and moved.max() > 1


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_jax_makes_the_same_examples_and_learns_the_same(tmp_path):
    """Start from the same weights in a separate process."""
    model, x, y = convolutional()
    start = np.random.default_rng(2).uniform(-1, 1, x.shape).astype("float32")
    expected = Attacked(model, 0.1, 0.03, 5, (0, 1)).predict((x, y, start), verbose=0)
    images, labels = blobs(40, (9, 10))
    np.savez(tmp_path / "blobs.npz", x=(images * 255).astype("uint8"), y=labels)
    first = train(config(tmp_path / "blobs.npz", epochs=1, output=tmp_path / "first"), verbose=False)
    then = config(tmp_path / "blobs.npz", epochs=1, init_from=tmp_path / "first", output=tmp_path / "second")
    second = train(then, verbose=False)
    np.savez(tmp_path / "given.npz", *model.get_weights(), x=x, y=y, start=start)
    stored = json.dumps(dataclasses.replace(then, output=tmp_path / "jax").to_json(), default=str)
    run_module("tests.zoo.attack.attack_jax_child", tmp_path, stored, cwd=ROOT, check=0, timeout=500)
    assert first.run.finished
    found = np.load(tmp_path / "jax.npz")
    np.testing.assert_allclose(found["examples"], expected, atol=1e-5)
    for i, value in enumerate(second.model.get_weights()):
        np.testing.assert_allclose(found[f"weight {i}"], value, atol=1e-4)
    assert float(found["loss"]) == pytest.approx(second.history[0]["loss"], abs=1e-4)


# The commands


DENSE = {"model": "simplenet", "settings": {"units": (16,)}, "learning_rate": 5e-3, "optimizer": "adamw"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a finished run trained without an attack."""
    folder = tmp_path_factory.mktemp("attack")
    x, y = blobs(240, (12, 12))
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    options = {**DENSE, "epochs": 6, "adversarial": None, "output": folder / "run"}
    train(config(folder / "blobs.npz", **options), verbose=False)
    return folder / "run"


@pytest.mark.slow
def test_what_was_trained_under_attack_withstands_it(trained, tmp_path, capsys):
    """Use classes whose bands differ by 0.5 from the rest, which no change of 0.2 can hide."""
    options = {**DENSE, "epochs": 12, "learning_rate": 1e-2, "adversarial": "pgd(0.15, steps=3)"}
    options["output"] = tmp_path / "run"
    train(config(trained.parent / "blobs.npz", **options), verbose=False)
    curves = []
    for run in (trained, tmp_path / "run"):
        capsys.readouterr()
        assert attack.main(f"{run} --eps 0.2 --steps 20 --json".split()) == 0
        curves.append(json.loads(capsys.readouterr().out)["accuracy"]["keras"])
    assert curves[0][0] > 0.9 and curves[1][0] > 0.9
    assert curves[0][1] < 0.5 and curves[1][1] > 0.9, curves


def test_the_command_measures_what_it_leaves(trained, capsys):
    words = f"{trained} --eps 0.2,0.05 --steps 5 --restarts 2 --examples 30 --json"
    assert attack.main(words.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["eps"] == [0, 0.05, 0.2] and result["examples"] == 30
    curve = result["accuracy"]["keras"]
    assert 1 >= curve[0] >= curve[1] > curve[2]
    model = RunFolder(trained).load_model()
    with np.load(trained / "attack" / "pgd.npz") as found:
        assert found["x"].shape == (3, 30, 12, 12, 1)
        for x, eps, right in zip(found["x"], result["eps"], curve, strict=True):
            assert np.abs(x - found["x"][0]).max() <= eps + 1e-6 and x.min() >= 0 and x.max() <= 1
            assert (model.predict(x, verbose=0).argmax(-1) == found["y"]).mean() == right
    assert (trained / "attack" / "pgd.csv").read_text().splitlines()[0] == "eps,keras"
    assert attack.main(words.removesuffix(" --json").split()) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "PGD, 5 steps, 2 starts, on 30 test examples of blobs"
    assert out[-1] == f"{trained}/attack" and (trained / "attack" / "pgd.png").stat().st_size > 5000


def test_files_are_measured_on_the_same_examples(trained, tmp_path, capsys):
    assert attack.main(f"{trained} --attack fgsm --eps 0.1 --examples 40".split()) == 0
    for words in ("float32", "int8", f"float32 --uint8-input --output {tmp_path}"):
        assert compress.main([str(trained), "--recipe", *words.split()]) == 0
    capsys.readouterr()
    assert attack_files.main([str(trained), "--attack", "fgsm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["accuracy"]
    assert list(found) == ["keras", "float32", "int8"]
    assert found["float32"] == found["keras"]  # its outputs differ by rounding alone
    assert found["int8"] == pytest.approx(found["keras"], abs=0.1)
    (of_bytes,) = tmp_path.glob("*.tflite")
    files = [str(of_bytes), f"{trained}/artifacts/float32.tflite"]
    assert attack_files.main([str(trained), *files, "--attack", "fgsm"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "FGSM, on 40 test examples of blobs, made on Keras" and out[-1] == f"{trained}/attack"
    assert out[1].split("\t") == ["eps", "keras", of_bytes.stem, "float32"] and out[3].startswith("0.1\t")
    assert (trained / "attack" / "fgsm-files.png").is_file()


@pytest.mark.parametrize(("words", "message"), [
    ("{run} --eps 0.1,2", "--eps: expected at most 1, as pixels range from 0 to 1, received 2; 2 of 255 levels is"),
    ("{run} --eps=-0.1", "--eps: expected one or more numbers from 0, received -0.1"),
    ("{run} --attack pgm", "--attack: expected one of fgsm, pgd, received 'pgm'; did you mean 'pgd'"),
    ("{run} --steps 0", "--steps: expected at least 1, received 0"),
    ("{run} --restarts 0", "--restarts: expected at least 1, received 0"),
    ("{run} --attack fgsm --steps 3", "--steps 3: expected with --attack pgd; fgsm takes one step"),
    ("{texts}", "expected images or vectors, whose values can be changed by small amounts, received tokens"),
    ("{images}", "expected a classifier of images or vectors, this is for generation"),
    ("absent", "absent: expected the folder of a run, found no such folder"),
])  # fmt: skip
def test_mistakes_are_one_sentence(words, message, trained, tmp_path, capsys):
    others = {}
    for name, task, kind in (("texts", "classification", "tokens"), ("images", "generation", "image")):
        others[name] = tmp_path / name
        others[name].mkdir()
        for file in ("config.json", "metrics.json"):
            shutil.copy(trained / file, others[name])
        stored = unsealed(others[name], "config.json")
        stored["data"] |= {"task": task, "kind": kind}
        (others[name] / "config.json").write_text(json.dumps(stored))
    assert attack.main(words.format(run=trained, **others).split()) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and message in err, err


def test_files_of_another_run_and_examples_of_other_weights_are_refused(trained, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("attack", "artifacts", "checkpoints"))

    def said(*words):
        assert attack_files.main([str(word) for word in words]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        return err

    assert "found no" in (err := said(copy)) and f"python -m zoo.attack {copy} --attack pgd" in err
    assert attack.main(f"{copy} --eps 0.1 --steps 1 --examples 5".split()) == 0
    capsys.readouterr()
    assert "expected .tflite files in its artifacts, found none" in said(copy)
    assert "absent.tflite: expected a .tflite file, found none" in said(copy, tmp_path / "absent.tflite")
    assert compress.main([str(trained), "--recipe", "float32", "--output", str(tmp_path / "files")]) == 0
    capsys.readouterr()
    metrics = unsealed(copy, "metrics.json")
    (copy / "metrics.json").write_text(json.dumps(metrics | {"model_sha256": "0" * 64}))
    assert "expected an attack on this run's model.keras, it was on another" in said(copy)
    made = json.loads((copy / "attack" / "pgd.json").read_text())
    del made["sha256"]
    (copy / "attack" / "pgd.json").write_text(json.dumps(made | {"model_sha256": "0" * 64}))
    file = tmp_path / "files" / "float32.tflite"
    assert f"{file}: expected a file of {copy}, this one was made from run" in said(copy, file)
    with (copy / "attack" / "pgd.npz").open("ab") as examples:
        examples.write(b"more")
    assert "pgd.npz: expected the examples of pgd.json, they are missing or altered" in said(copy, file)
