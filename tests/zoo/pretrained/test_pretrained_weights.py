"""`--pretrained`: files of networks, weights alone, what zoo.fetch keeps, and what is refused before work starts."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from tests.conftest import DATA_DIR, blobs, stop_after
from tests.zoo.models.test_vision import with_varied_values
from tests.zoo.pretrained.test_structure import SHAPE, dscnn
from zoo import fetch, train
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.isolation import passed
from zoo.models import DSCNN, EfficientNetLite, MobileNet
from zoo.pretrained import kept, sources
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256
from zoo.training import loop

NETWORKS = DATA_DIR.parent / "models"
TINY = ("--model", "ds_cnn", "--set", "filters=4", "--set", "num_blocks=1", "--batch-size", "16")


def images(path, classes):
    """Write an .npz of 140 grey images of 16x16 pixels."""
    x, y = blobs(140, SHAPE, classes=classes)
    np.savez(path, x=(x * 255).astype("uint8"), y=y)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file of a functional network of the structure of DS-CNN, for seven classes, and the network."""
    theirs = dscnn(classes=7)
    theirs.save(path := tmp_path_factory.mktemp("network") / "theirs.keras")
    passed.remember(sha256(path))  # the trial of a file is that of the one of our networks below
    return path, theirs


def test_one_command_fits_the_output_layer_and_thaws(network, tmp_path, capsys):
    data = images(tmp_path / "photos.npz", 3)
    words = [*TINY, "--data", str(data), "--pretrained", str(network[0]), "--epochs", "1", "--output"]
    assert train.main([*words, str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "15 arrays of" in said and "matched by structure, without its 7 classes" in said
    assert "pixels in [0, 1] reach it as 0 to 1" in said
    assert re.search(
        "output layer fitted on 1.. x 4 features in .*: [0-9.]+% of the validation examples are right", said
    )
    assert "frozen: 12 of 17 variables" in said
    run = RunFolder(tmp_path / "run")
    metrics, config = run.read_metrics(), run.read_config()
    assert metrics["probe"]["features"] == 4
    assert config["begun_with"]["taken"] == 15 and config["begun_with"]["new"] == ["head/kernel", "head/bias"]
    assert config["config"].freeze == ("norm",)
    # The statistics of the normalisations are those of the file, less the bias of the convolution.
    theirs, model = network[1].layers, run.load_model()
    np.testing.assert_allclose(model.stem.norm.moving_mean, theirs[2].moving_mean - theirs[1].bias, atol=1e-6)


@pytest.mark.slow
def test_an_interrupted_training_goes_on_without_the_file(tmp_path):
    dscnn(classes=7).save(tmp_path / "theirs.keras")
    common = {
        "model": "ds_cnn", "settings": {"filters": 4, "num_blocks": 1}, "data": images(tmp_path / "photos.npz", 3),
        "pretrained": str(tmp_path / "theirs.keras"), "epochs": 1, "batch_size": 16, "checkpoint_every": 1,
        "steps_per_execution": 1,
    }  # fmt: skip
    whole = loop.train(TrainConfig(**common, output=tmp_path / "whole"), verbose=False)
    broken = TrainConfig(**common, output=tmp_path / "broken")
    with pytest.raises(Interrupted):
        loop.train(broken, callbacks=[stop_after(2)], verbose=False)
    (tmp_path / "theirs.keras").unlink()
    resumed = loop.train(dataclasses.replace(broken, resume=True), verbose=False)
    assert resumed.history == whole.history
    for mine, theirs in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)


def test_weights_are_taken_as_they_are_in_no_epochs(network, tmp_path, capsys):
    data = images(tmp_path / "seven.npz", 7)
    words = [*TINY, "--data", str(data), "--pretrained", str(network[0]), "--epochs", "0", "--output"]
    assert train.main([*words, str(tmp_path / "run")]) == 0
    run = RunFolder(tmp_path / "run")
    metrics, model = run.read_metrics(), run.load_model()
    assert (metrics["epochs"], metrics["epoch"]) == (0, 0) and "probe" not in metrics
    pixels = np.random.default_rng(0).random((2, *SHAPE), dtype="float32")
    np.testing.assert_allclose(model(pixels), network[1](pixels), atol=1e-5)


@pytest.mark.slow
def test_weights_alone_are_those_of_keras_applications(tmp_path):
    theirs = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.125, weights=None, include_top=False, pooling="avg"
    )
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(tmp_path / "notop.h5", "w") as file:  # the format in which Keras publishes its weights
        legacy_h5_format.save_weights_to_hdf5_group(file, with_varied_values(theirs))
    config = TrainConfig(model="mobilenet", settings={"alpha": 0.125}, pretrained=str(tmp_path / "notop.h5"))
    model = MobileNet(3, alpha=0.125)
    model.build((None, 32, 32, 3))
    found = sources.weights(config, model, (32, 32, 3))
    np.testing.assert_array_equal(found.arrays["stem/conv/kernel"], theirs.get_layer("conv1").kernel)
    assert not any(name.startswith("head") for name in found.arrays)


def test_a_file_of_one_of_our_networks_is_taken_as_well(tmp_path):
    theirs = DSCNN(7, filters=4, num_blocks=1)
    theirs.build((None, *SHAPE))
    with_varied_values(theirs).save(tmp_path / "ours.keras")
    model = DSCNN(3, filters=4, num_blocks=1)
    model.build((None, 20, 20, 1))
    config = TrainConfig(model="ds_cnn", pretrained=str(tmp_path / "ours.keras"))
    found = sources.weights(config, model, (20, 20, 1))
    np.testing.assert_array_equal(found.arrays["block_1/pointwise/conv/kernel"], theirs.blocks[1].pointwise.conv.kernel)


@pytest.mark.parametrize(("words", "message"), [
    (("--model", "lstm", "--pretrained", "imagenet"), "expected one of resnet, mobilenet, .*, lstm begins with"),
    (("--model", "mobilenet", "--pretrained", "imagnet"), "imagnet: expected imagenet, or a .keras or .h5 file"),
    (("--model", "mobilenet", "--input-range", "0,255"), "--input-range: expected together with --pretrained"),
    (("--model", "mobilenet", "--pretrained", "imagenet", "--init-from", "x"), "expected one of them, received both"),
    (("--model", "mobilenet", "--epochs", "0"), "--epochs 0: expected together with --pretrained or --init-from"),
    (("--model", "cnn", "--probe", "true"), "--probe: expected together with --pretrained or --init-from"),
])  # fmt: skip
def test_wrong_options_are_refused_before_work_starts(words, message, capsys, tmp_path):
    assert train.main([*words, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_range_that_the_mean_does_not_fit_is_refused(network):
    config = TrainConfig(model="ds_cnn", pretrained=str(network[0]), input_range=(-1.0, 1.0))
    model = DSCNN(7, filters=4, num_blocks=1)
    model.build((None, *SHAPE))
    with pytest.raises(UsageError, match="--input-range -1,1: expected --set mean=0.5, so that zeros stay zeros"):
        sources.weights(config, model, SHAPE)


def test_what_is_not_fetched_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    model = EfficientNetLite(alpha=0.1)
    model.build((None, 32, 32, 3))
    config = TrainConfig(model="efficientnet_lite", pretrained="imagenet")
    with pytest.raises(UsageError, match="expected .*efficientnet_lite0-imagenet.keras, found none; run .*zoo.fetch"):
        sources.weights(config, model, (32, 32, 3))
    with pytest.raises(UsageError, match="expected --set size=0, the one that zoo.fetch gets, received 1"):
        kept.file("efficientnet_lite", EfficientNetLite(size=1, alpha=0.1))


def test_another_file_is_not_fetched(tmp_path, capsys):
    (tmp_path / "other.pth").write_bytes(b"other")
    assert fetch.main(["efficientnet_lite", "--from", str(tmp_path / "other.pth")]) == 2
    assert "expected the SHA-256 579344248a" in capsys.readouterr().err
    assert fetch.main(["efficientnet"]) == 2
    assert "did you mean 'efficientnet_lite'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not NETWORKS.is_dir(), reason=f"no trained networks in {NETWORKS}")
@pytest.mark.parametrize(("file", "words", "accuracy"), [
    ("mlperf_tiny/resnet8_cifar10.keras", "--model resnet --set depth=8 --set use_bias=true --dataset cifar10", 0.8719),
])  # fmt: skip
def test_reference_networks_have_their_published_accuracy(file, words, accuracy, tmp_path):
    options = ["--pretrained", str(NETWORKS / file), "--input-range", "0,255", "--epochs", "0", "--output"]
    assert train.main([*words.split(), "--data-dir", str(DATA_DIR), *options, str(tmp_path / "run")]) == 0
    assert RunFolder(tmp_path / "run").read_metrics()["test"]["accuracy"] == pytest.approx(accuracy, abs=5e-5)
