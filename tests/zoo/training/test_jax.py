"""Training with Keras on JAX on eight virtual CPU devices, in a process of its own, against one device."""

import keras
import numpy as np
import pytest

import zoo.models  # noqa: F401
from strategies import StrategyError, jax_devices
from tests.conftest import ROOT, blobs, run_module
from tests.zoo.models.small import SMALL
from zoo.config.augmentation import parse
from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches.numpy import EvaluationBatches, TrainingBatches
from zoo.data.batches.pipeline import epoch_order, training_batches
from zoo.data.dataset import Split
from zoo.runs.folder import RunFolder

pytestmark = pytest.mark.timeout(600)
MODELS, MORE = ("simplenet",), ("cnn", "lstm", "self_attention", "transformer")
# Eight devices of two cores compile a model for half a minute.
models = pytest.mark.parametrize("name", [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
BESIDES = ("devices", "share", "resumed", "same_history", "kept", "augmented", "mixed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax")
    run_module("tests.zoo.training.jax_child", folder, *MODELS, cwd=ROOT, check=0, timeout=550)
    return folder


@pytest.fixture(scope="module")
def more_trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax")
    run_module("tests.zoo.training.jax_child", folder, *MORE, cwd=ROOT, check=0, timeout=550)
    return folder


@pytest.fixture
def folder(name, request):
    """Return the folder with a model's trainings by a child process."""
    return request.getfixturevalue("trained" if name in MODELS else "more_trained")


@models
@pytest.mark.parametrize("way", ["data_parallel", "model_parallel"])
def test_eight_devices_equal_one(name, way, folder):
    """Weights, metrics of every epoch, validation and test of 19 and 20 examples, which 8 devices do not divide."""
    one, many = (np.load(folder / f"{name}-{found}.npz") for found in ("none", way))
    for key in one.files:
        if key not in BESIDES:
            np.testing.assert_allclose(many[key], one[key], rtol=0, atol=1e-5, err_msg=key)
    assert one["0 loss"] != one["1 loss"]


@models
def test_the_model_lies_on_the_devices_of_its_strategy(name, folder):
    one, data, model = (np.load(folder / f"{name}-{way}.npz") for way in ("none", "data_parallel", "model_parallel"))
    assert (int(one["devices"]), float(one["share"])) == (1, 1)
    assert (int(data["devices"]), float(data["share"])) == (8, 1)  # a whole copy on each
    assert (int(model["devices"]), float(model["share"])) == (8, 0.25)  # a quarter, on two devices


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_networks_for_pictures_on_eight_devices_equal_one_and_load_on_tensorflow(name, tmp_path):
    run_module("tests.zoo.training.jax_child", tmp_path, name, cwd=ROOT, check=0, timeout=550)
    one, many = (np.load(tmp_path / f"{name}-{way}.npz") for way in ("none", "data_parallel"))
    for key in one.files:
        if key not in BESIDES:
            np.testing.assert_allclose(many[key], one[key], rtol=0, atol=1e-4, err_msg=key)
    x = (blobs(103, (9, 10, 1))[0][83:] * 255).astype("uint8").astype("float32") / 255
    np.testing.assert_allclose(RunFolder(tmp_path / f"{name}-none").load_model()(x), one["logits"], atol=2e-5)


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bits(more_trained):
    found = np.load(more_trained / "cnn-data_parallel.npz")
    assert float(found["resumed"]) == 0 and bool(found["same_history"])


@pytest.mark.slow
def test_pictures_decoded_ahead_give_the_same_bits_after_a_resume(tmp_path):
    run_module("tests.zoo.training.jax_streamed_child", tmp_path, cwd=ROOT, check=0, timeout=550)
    streamed = np.load(tmp_path / "streamed.npz")
    assert len(streamed["losses"]) == 3 and len(streamed.files) > 8
    for way in ("resumed", "in_memory"):
        np.testing.assert_equal(dict(np.load(tmp_path / f"{way}.npz")), dict(streamed), err_msg=way)


@pytest.mark.slow
def test_frozen_weights_of_another_run_do_not_change(more_trained):
    found = np.load(more_trained / "cnn-data_parallel.npz")
    assert found["kept"].tolist() == ["hidden/kernel", "hidden/bias"]


@models
def test_a_model_trained_on_jax_loads_on_tensorflow(name, folder):
    x = blobs(103, (9, 10, 1))[0][83:]
    x = (x * 255).astype("uint8").astype("float32") / 255
    model = RunFolder(folder / f"{name}-model_parallel").load_model()
    expected = np.load(folder / f"{name}-model_parallel.npz")["logits"]
    np.testing.assert_allclose(model(x), expected, atol=2e-5)


def test_images_are_augmented_as_on_tensorflow(trained):
    found, (x, y) = np.load(trained / "simplenet-none.npz"), blobs(103, (9, 10, 1))
    augment = Augmenter(parse("shift(1) + rotate + colour + mixup + erase + randaugment + cutmix"), 3, 3)
    images = (x[:16] * 255).astype("uint8").astype("float32") / 255
    images, labels = augment.on_arrays(images, y[:16], np.arange(16), 5)
    np.testing.assert_allclose(found["augmented"], images, atol=1e-5)
    np.testing.assert_allclose(found["mixed"], labels, atol=1e-6)


def test_batches_are_those_of_tensorflow():
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (22, 3, 2, 1)).astype("uint8"), np.arange(22, dtype="int32") % 3)
    weights = np.array([0.5, 1, 2], "float32")
    options = {"start": 3, "stop": 11, "class_weights": weights, "augment": None}
    expected = training_batches(split, batch_size=5, seed=1, **options).as_numpy_iterator()
    found = TrainingBatches(split, order=lambda epoch: epoch_order(22, 1, epoch)[:20].reshape(4, 5), steps=4, **options)
    assert len(found) == 8
    for ours, theirs in zip((found[i] for i in range(8)), expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(("examples", "batch", "multiple"), [(19, 8, 8), (16, 8, 4), (3, 8, 8), (40, 12, 5)])
def test_padding_of_a_batch_has_no_weight_and_does_not_change_means(examples, batch, multiple):
    split = Split(np.arange(examples, dtype="float32")[:, None], np.arange(examples, dtype="int32"))
    found = EvaluationBatches(split, batch_size=batch, multiple=multiple)
    batches = [found[i] for i in range(len(found))]
    assert len({len(x) for x, _, _ in batches}) == 1 and len(batches[0][0]) % multiple == 0
    x, y, weight = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert y[weight > 0].tolist() == list(range(examples))
    # Keras takes the mean of every batch over all its rows, then the mean over batches weighted by their rows.
    assert np.mean(x[:, 0] * weight) == pytest.approx(np.arange(examples).mean(), rel=1e-6)


def test_kernels_are_split_by_their_last_axis():
    shapes = {"net_3/hidden/kernel": (7, 16), "net_3/hidden/bias": (16,), "net_3/head/kernel": (16, 10)}
    assert jax_devices.layout(shapes, 8) == {r"(.*/)?hidden/kernel": (None, "model")}


def test_a_model_that_devices_do_not_divide_is_refused_with_its_kernels():
    with pytest.raises(StrategyError, match=r"a multiple of 8 devices, found none among head/kernel \(16, 10\)"):
        jax_devices.layout({"head/kernel": (16, 10), "head/bias": (8,)}, 8)


@pytest.mark.parametrize(("words", "message"), [
    pytest.param(
        ("--strategy", "model_parallel", "--virtual-devices", "8", "--model-devices", "3"),
        "--model-devices 3: expected",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("--strategy", "model_parallel", "--virtual-devices", "8", "--set", "units=9"),
        "8 devices, found none",
        marks=pytest.mark.slow,
    ),
    (("--strategy", "data_parallel", "--virtual-devices", "8", "--batch-size", "60"), "a multiple of the 8 replicas"),
])  # fmt: skip
def test_devices_that_do_not_fit_are_refused(words, message, tmp_path):
    done = run_module("zoo.train", "--model", "simplenet", *words, "--epochs", "1", cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_devices_that_share_a_copy_divide_all_of_them(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"cpu:{i}" for i in range(8)])
    assert jax_devices.build("model_parallel", 8, 4).model_devices == 4
    for sharing in (3, 16):
        with pytest.raises(StrategyError, match=f"--model-devices {sharing}: expected a number that divides the 8"):
            jax_devices.build("model_parallel", 8, sharing)


def test_without_jax_the_extra_is_named(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StrategyError, match=r"pip install 'keras-compression-zoo\[jax\]'"):
        jax_devices.check_installed("data_parallel")


def test_this_process_runs_on_tensorflow():
    assert keras.backend.backend() == "tensorflow"
