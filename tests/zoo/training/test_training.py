"""`train` as a function: strategies agree, options have their effect, what cannot work is refused."""

import csv
import dataclasses
import errno
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import strategies
from tests.conftest import blobs
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Diverged, UsageError
from zoo.data import from_tf_data, load
from zoo.objectives.losses import CrossEntropy
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like
from zoo.tasks import classification
from zoo.training import executions, optimization
from zoo.training.loop import train

SMALL = {"units": (16,)}


def config(path, **changes):
    values = {"model": "simplenet", "data": path, "epochs": 2, "batch_size": 16, "learning_rate": 0.01}
    return TrainConfig(**values | changes)


def run(config, tmp_path, **options):
    config = dataclasses.replace(config, output=config.output or tmp_path / "run")
    return train(config, verbose=False, **options)


SETTINGS = {"simplenet": {"units": (8,)}, "cnn": {"filters": (4, 4, 4), "units": 8}, "lstm": {"units": (6, 6)}}


# AdamW divides by gradients near zero, and so magnifies the rounding of float32 sums; float64 leaves it no room.
@pytest.mark.parametrize(
    ("model_name", "precision", "optimizer", "tolerance", "strategy"),
    [
        ("simplenet", "float64", "adamw", 1e-11, "mirrored"),
        pytest.param("simplenet", "float64", "adamw", 1e-11, "one_device", marks=pytest.mark.slow),
        pytest.param("cnn", "float32", "sgd", 1e-5, "mirrored", marks=pytest.mark.slow),
        pytest.param("lstm", "float32", "sgd", 1e-5, "mirrored", marks=pytest.mark.slow),
        pytest.param("simplenet", "float32", "sgd", 1e-5, "mirrored", marks=pytest.mark.slow),
        pytest.param("cnn", "float64", "adamw", 1e-11, "mirrored", marks=pytest.mark.slow),
        pytest.param("lstm", "float64", "adamw", 1e-11, "mirrored", marks=pytest.mark.slow),
    ],
)
def test_strategies_give_the_same_weights_after_an_epoch_of_shuffled_data(
    model_name, precision, optimizer, tolerance, strategy, image_npz, tmp_path, mirrored, monkeypatch
):
    """Two workers are compared in test_multi_worker.py."""
    other = mirrored if strategy == "mirrored" else strategies.build(strategy)
    built = {"none": strategies.build("none"), strategy: other}
    monkeypatch.setattr(strategies, "build", lambda name, virtual_devices, **_: built[name])
    results = {}
    for name in built:
        result = run(
            config(
                image_npz,
                model=model_name,
                settings=SETTINGS[model_name],
                strategy=name,
                epochs=1,
                keep="last",
                clip_norm=0.1,
                weight_decay=0.1,
                label_smoothing=0.1,
                class_weights="balanced",
                optimizer=optimizer,
                precision=precision,
            ),
            tmp_path / name,
        )
        results[name] = result
    reference = results["none"]
    for result in results.values():
        for ours, theirs in zip(result.model.get_weights(), reference.model.get_weights(), strict=True):
            assert ours.dtype == precision
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
        for key, value in reference.history[0].items():
            assert result.history[0][key] == pytest.approx(value, abs=1e-5), key
        assert result.metrics["test"] == pytest.approx(reference.metrics["test"], abs=1e-5)


def test_run_folder_holds_what_it_promises(image_npz, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    result = run(config(image_npz, settings=SMALL), tmp_path)
    folder = result.run
    assert {p.name for p in folder.path.iterdir()} - {".lock"} == {
        "config.json", "model.keras", "checkpoints", "metrics.json", "history.csv", "tensorboard", "report.html",
        "confusion_matrix.csv", "examples.npz",
    }  # fmt: skip
    assert len(result.history) == 2
    assert json.loads(folder.config_file.read_text())["kernels"]["OMP_NUM_THREADS"] == "3"
    with folder.history_file.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in result.history]
    loaded = folder.load_model()
    for ours, theirs in zip(loaded.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    confusion = np.loadtxt(folder.confusion_file, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    assert confusion.sum() == result.metrics["test"]["examples"]
    assert confusion.trace() / confusion.sum() == pytest.approx(result.metrics["test"]["accuracy"])
    assert list(folder.tensorboard.rglob("events.*"))
    page = folder.report_file.read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")  # self-contained


def test_the_best_epoch_is_kept_and_the_last_on_request(image_npz, tmp_path):
    # A rate with which epochs get worse: the first one is the best.
    values = {"epochs": 4, "learning_rate": 0.05, "schedule": "constant", "settings": SMALL, "optimizer": "sgd"}
    best = run(config(image_npz, **values), tmp_path / "a")
    ranks = [(row["val_accuracy"], -row["val_loss"]) for row in best.history]
    assert best.metrics["epoch"] == ranks.index(max(ranks)) + 1
    assert best.metrics["validation"]["loss"] == best.history[best.metrics["epoch"] - 1]["val_loss"]
    last = run(config(image_npz, **values, keep="last"), tmp_path / "b")
    assert last.metrics["epoch"] == 4
    assert last.history == best.history


def test_early_stopping_ends_the_run(image_npz, tmp_path):
    result = run(config(image_npz, epochs=30, learning_rate=0.0, early_stopping=2, settings=SMALL), tmp_path)
    assert len(result.history) == 3  # the first is the best, then two without a better one


@pytest.mark.slow
def test_same_seed_gives_the_same_run_and_another_does_not(image_npz, tmp_path):
    first, again, other = (
        run(config(image_npz, seed=seed, settings=SMALL), tmp_path / str(i)) for i, seed in enumerate((1, 1, 2))
    )
    assert first.history == again.history
    assert first.history != other.history


@pytest.mark.slow
def test_a_shorter_epoch_continues_with_the_examples_that_follow(image_npz, tmp_path):
    values = {"settings": SMALL, "schedule": "constant", "keep": "last", "seed": 3}
    passes = run(config(image_npz, **values, epochs=2), tmp_path / "passes")
    steps = int(passes.model.optimizer.iterations)
    assert steps % 5 == 0
    parts = run(config(image_npz, **values, epochs=5, steps_per_epoch=steps // 5), tmp_path / "parts")
    assert len(parts.history) == 5 and int(parts.model.optimizer.iterations) == steps
    for ours, theirs in zip(parts.model.get_weights(), passes.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("form", "strategy"),
    [
        ("function", "none"),
        pytest.param("built", "mirrored", marks=pytest.mark.slow),
        pytest.param("function", "mirrored", marks=pytest.mark.slow),
        pytest.param("built", "none", marks=pytest.mark.slow),
    ],
)
def test_a_model_and_tf_data_of_ones_own(strategy, form, tmp_path, mirrored, monkeypatch):
    built = {"none": strategies.build("none"), "mirrored": mirrored}
    monkeypatch.setattr(strategies, "build", lambda name, virtual_devices, **_: built[name])
    x, y = blobs(90, (12,))
    train_set, test_set = (
        tf.data.Dataset.from_tensor_slices((x[part], y[part])).batch(16) for part in (slice(60), slice(60, 90))
    )
    data = from_tf_data("mine", train_set, test_set, class_names=("low", "middle", "high"))
    assert (data.spec.kind, data.spec.input_shape, len(data.validation)) == ("vector", (12,), 0)

    def build():
        inputs = keras.Input((12,))
        return keras.Model(inputs, keras.layers.Dense(3)(inputs))

    keras.utils.set_random_seed(7)
    model = build if form == "function" else build()
    if form == "built":  # a learning rate of zero: the weights stay those that were given
        before = model.get_weights()
        still = config(None, strategy=strategy, epochs=1, learning_rate=0.0)
        result = run(still, tmp_path / "still", model=model, data=data)
        np.testing.assert_array_equal(result.model.get_weights()[0], before[0])
    result = run(config(None, strategy=strategy, epochs=6, learning_rate=0.1), tmp_path, model=model, data=data)
    assert result.metrics["test"]["accuracy"] == 1.0
    assert result.metrics["validation"] == {}
    # No command measures it on other data instead: the configuration names none, which would be the digits.
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UsageError, match="this one was trained on 'mine', which was given as an object"):
        load_like(folder, folder.read_config()["config"])


def test_an_adapted_normalization_follows_a_model_into_a_strategy_and_a_checkpoint(tmp_path):
    """Its constants come from weights that only `adapt` and the loading of a file turn into them."""
    x, y = blobs(90, (12,))
    x = x * np.linspace(1, 50, 12, dtype="float32") + 40
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    data = from_tf_data("mine", batches, batches)

    def build(adapted=True):
        keras.utils.set_random_seed(7)
        norm = keras.layers.Normalization()
        if adapted:
            norm.adapt(x)
        return keras.Sequential([keras.Input((12,)), norm, keras.layers.Dense(3)])

    model, other = build(), build(adapted=False)
    still = config(None, strategy="one_device", epochs=1, learning_rate=0.0)  # the weights stay those that were given
    loss = run(still, tmp_path, model=build(), data=data).metrics["test"]["loss"]
    assert loss == pytest.approx(float(CrossEntropy()(y, model(x))), rel=1e-5)
    for each in (model, other):
        each.compile("sgd", "mse")
    checkpoints.restore(other, checkpoints.capture(model))
    np.testing.assert_allclose(other(x), model(x), rtol=1e-5)


def test_one_label_a_step(tmp_path):
    x, _ = blobs(60, (3, 4))
    y = (x[..., 0] > 0.4).astype("int32")
    np.savez(tmp_path / "steps.npz", x=x.astype("float32"), y=y)
    settings = {"units": (12,), "unroll": True}  # a loop takes longer to be traced
    result = run(
        config(tmp_path / "steps.npz", model="lstm", settings=settings, epochs=12, learning_rate=0.05), tmp_path
    )
    assert result.model.return_sequences
    assert result.metrics["test"]["accuracy"] > 0.9
    assert result.metrics["test"]["examples"] == 12 * 3


@pytest.mark.slow
def test_balanced_class_weights_weigh_the_rare_class_more(tmp_path):
    x, y = blobs(120, (6,), classes=2)
    keep = np.flatnonzero((y == 0) | (np.arange(120) < 20))
    x = np.random.default_rng(0).normal(size=x.shape)  # only the frequencies can be learnt
    np.savez(tmp_path / "rare.npz", x=x[keep].astype("float32"), y=y[keep])
    recalls = {}
    for weights in ("none", "balanced"):
        values = {"class_weights": weights, "epochs": 6, "settings": SMALL}
        result = run(config(tmp_path / "rare.npz", **values), tmp_path / weights)
        recalls[weights] = result.metrics["test"]["recall"]
        rows = np.loadtxt(result.run.confusion_file, delimiter=",", skiprows=1, usecols=(1, 2))
        recalls[weights] = rows[:, 1].sum()  # number of predictions of the rare class
    assert recalls["balanced"] > recalls["none"]


@pytest.mark.slow
def test_bfloat16_computes_in_it_and_keeps_float32_weights(image_npz, tmp_path):
    result = run(config(image_npz, precision="bfloat16", settings=SMALL), tmp_path)
    assert result.model.hidden[0].compute_dtype == "bfloat16"
    assert result.model.hidden[0].kernel.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert result.run.load_model().hidden[0].compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("most", "where"), [(1, "step 8"), pytest.param(16, "one of the steps 6 to 10", marks=pytest.mark.slow)]
)
def test_loss_that_is_not_a_number_stops_with_the_step_and_the_checkpoint(
    most, where, image_npz, tmp_path, monkeypatch
):
    class Poisoned(CrossEntropy):
        """Loss that is NaN from the ninth step on: the variable counts the calls of the graph."""

        def __init__(self, *args):
            super().__init__(*args)
            self.calls = keras.Variable(0, dtype="int32", trainable=False)

        def call(self, y_true, y_pred):
            self.calls.assign_add(1)
            loss = super().call(y_true, y_pred)
            return loss + keras.ops.where(self.calls > 8, float("nan"), 0.0)

    monkeypatch.setattr(executions, "MOST_SECONDS", 1e9)
    monkeypatch.setattr(classification, "CrossEntropy", Poisoned)
    # 86 training examples make 5 steps in an epoch; validation is one more call.
    last = r"the last good checkpoint is .*step-0000000005-\w+\.npz"
    with pytest.raises(Diverged, match=f"the loss is nan at {where}; {last}"):
        run(config(image_npz, epochs=3, settings=SMALL, steps_per_execution=most), tmp_path)


def test_an_infinite_weight_is_never_saved(image_npz, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.layers[0].kernel.assign([[np.inf], [0]])
    with pytest.raises(checkpoints.NotFinite):
        checkpoints.capture(model)


@pytest.mark.parametrize(("changes", "message"), [
    ({"test_split": 0.0}, "--test-split 0: expected test examples of blobs, received none"),
    ({"early_stopping": 2, "validation_split": 0.0}, "--early-stopping 2: expected validation examples, received none"),
    ({"batch_size": 1000}, "--batch-size 1000: expected at most the 86 training examples"),
    ({"model": "cnn", "image_size": 9}, "need images of at least 18x18 pixels, received 9x9"),
    ({"settings": {"activation": "rellu"}}, "rellu"),
    ({"model": "lstm", "settings": {"return_sequences": True}}, "gives one label a step, and blobs has one a sequence"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused_and_leaves_no_folder(changes, message, image_npz, tmp_path):
    with pytest.raises(UsageError, match=message):
        run(config(image_npz, **changes), tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_default_batch_is_one_that_few_examples_fill(tmp_path, capsys):
    x = np.random.default_rng(0).random((30, 4), np.float32)
    np.savez(tmp_path / "few.npz", x=x, y=(x[:, 0] > 0.5).astype(np.int32))
    few = TrainConfig(model="simplenet", settings=SMALL, data=tmp_path / "few.npz", epochs=1, output=tmp_path / "run")
    result = train(few)
    assert result.run.read_config()["config"].batch_size == 16
    assert "batches of 16 instead of the default 64, as there are 21 training examples" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--batch-size 32: expected at most"):
        train(dataclasses.replace(few, batch_size=32, output=tmp_path / "other"))


def test_batch_that_the_replicas_cannot_share_is_refused_before_data_is_read(mirrored, monkeypatch, tmp_path):
    monkeypatch.setattr(strategies, "build", lambda name, virtual_devices, **_: mirrored)
    with pytest.raises(UsageError, match="--batch-size 15: expected a multiple of the 2 replicas, such as 14 or 16"):
        run(config(tmp_path / "absent.npz", strategy="mirrored", batch_size=15), tmp_path)


def test_model_for_other_data_is_refused_with_the_models_that_fit(tmp_path):
    x, y = blobs(60, (12,))
    np.savez(tmp_path / "vector.npz", x=x.astype("float32"), y=y)
    with pytest.raises(
        UsageError, match="cnn: takes image inputs, and vector gives vector; models for it are simplenet"
    ):
        run(config(tmp_path / "vector.npz", model="cnn"), tmp_path)


def test_too_little_disk_space_is_refused_before_training(image_npz, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UsageError, match="disk full: this writes about"):
        run(config(image_npz), tmp_path)


def test_output_folder_in_use_is_refused(image_npz, tmp_path):
    from zoo.runs.folder import RunFolder

    with RunFolder(tmp_path / "run").lock(), pytest.raises(UsageError, match="not empty|in use by another process"):
        run(config(image_npz), tmp_path)


def test_resuming_a_run_that_another_process_trains_is_refused(image_npz, tmp_path):
    from zoo.runs.folder import RunFolder

    with RunFolder(tmp_path / "run").lock(), pytest.raises(UsageError, match="in use by another process"):
        run(config(image_npz, resume=True), tmp_path)


def test_disk_that_fills_up_leaves_the_checkpoints_before_it(tmp_path, monkeypatch):
    snapshot = checkpoints.Snapshot(1, {"trainable/0/0": np.ones(3)}, {"history": []})
    first = checkpoints.save(tmp_path, snapshot)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(tmp_path, dataclasses.replace(snapshot, step=2))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [first]
    assert checkpoints.newest(tmp_path)[0].step == 1


def test_inverse_square_root_is_the_papers_rate():
    # Vaswani et al. (2017), equation 3, for d_model 512 and 4,000 steps of warm-up; the paper counts steps from 1.
    peak = (512 * 4000) ** -0.5
    config = TrainConfig(learning_rate=peak, warmup=0.04, schedule="inverse_sqrt").resolved()
    rate = optimization.learning_rate(config, 100_000)
    rate = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    steps = np.array([1, 100, 4000, 16_000, 100_000])
    paper = 512**-0.5 * np.minimum(steps**-0.5, steps * 4000**-1.5)
    np.testing.assert_allclose([float(rate(step - 1)) for step in steps], paper, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate_rises_then_falls_or_stays(schedule):
    rate = optimization.learning_rate(TrainConfig(learning_rate=0.1, warmup=0.2, schedule=schedule).resolved(), 100)
    values = np.array([float(rate(step)) for step in (0, 10, 20, 60, 100)])
    after = 0.05 if schedule == "cosine" else 0.1  # half-way down a cosine
    end = 0.0 if schedule == "cosine" else 0.1
    np.testing.assert_allclose(values, [0, 0.05, 0.1, after, end], atol=1e-6)


def test_weight_decay_spares_biases_and_norms(image_npz, tmp_path):
    # Which variables are decayed is asked of the optimizer: a step would mix decay and gradients.
    loaded = load(config(image_npz).resolved())
    assert loaded.spec.num_classes == 3
    chosen = optimization.optimizer(TrainConfig(weight_decay=0.5, learning_rate=0.1, warmup=0.0).resolved(), 10)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    chosen.build(model.trainable_variables)
    decayed = [v.name for v in model.trainable_variables if chosen._use_weight_decay(v)]
    assert decayed == ["kernel"]
