"""What is special about models of windows and of reconstructions: time, standardisation, and weights from elsewhere."""

import keras
import numpy as np
import pytest

from tests.conftest import DATA_DIR
from zoo.config import registry
from zoo.models.autoencoder import Autoencoder
from zoo.models.conv_autoencoder import ConvAutoencoder
from zoo.models.parts.floating import InFloat
from zoo.models.tcn import TCN
from zoo.pretrained import structure

WINDOW = (24, 3)
MLPERF = DATA_DIR.parent / "models" / "mlperf_tiny" / "autoencoder_toycar.keras"


def made(name, **arguments):
    keras.utils.set_random_seed(0)
    model = registry.model_class(name)(num_classes=4, **arguments)
    model.build((None, *WINDOW))
    return model


def windows(count=5):
    return np.random.default_rng(0).normal(size=(count, *WINDOW)).astype("float32")


@pytest.mark.parametrize("name", ["conv1d", "tcn", "lstm", "transformer", "self_attention"])
def test_a_model_with_mean_and_deviation_is_one_that_is_given_standardised_features(name):
    mean, std = (1.0, -200.0, 0.5), (0.5, 80.0, 2.0)
    plain, own = made(name), made(name, mean=mean, std=std)
    own.set_weights(plain.get_weights())
    x = windows()
    np.testing.assert_allclose(own(x * std + np.float32(mean)), plain(x), atol=2e-5)
    assert isinstance(own.standardize, InFloat)  # one scale of eight bits would not do for these
    assert not isinstance(made(name, mean=(0.1,) * 3, std=(1.0, 1.1, 0.9)).standardize, InFloat)
    with pytest.raises(ValueError, match="mean: expected one number, or one for each of 3 features, received 2"):
        made(name, mean=(0.0, 1.0), std=(1.0, 2.0))
    with pytest.raises(ValueError, match="std: expected numbers other than 0"):
        made(name, std=(1.0, 0.0, 1.0))


def test_a_tcn_sees_its_receptive_field_and_nothing_before_it():
    model = TCN(num_classes=2, filters=(4, 4), kernel_size=2, dropout=0.0)
    model.build((None, *WINDOW))
    assert model.receptive_field() == 1 + 2 * 1 * 3
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    x = windows(1)
    before, inside = x.copy(), x.copy()
    before[:, : WINDOW[0] - model.receptive_field()] += 9
    inside[:, WINDOW[0] - model.receptive_field()] += 9
    np.testing.assert_array_equal(model(before), model(x))
    assert np.abs(np.asarray(model(inside)) - np.asarray(model(x))).max() > 1e-6


@pytest.mark.parametrize("shape", [(9, 11, 3), (8, 8, 1), (21, 4)])
@pytest.mark.parametrize("kind", [Autoencoder, ConvAutoencoder])
def test_a_reconstruction_has_the_shape_of_its_input_and_is_saved(kind, shape, tmp_path):
    small = {"units": (6, 5), "code": 2, "decoder_units": (4,)}
    if kind is ConvAutoencoder:
        small = {"filters": (4, 5), "code": 2, "kernel_size": 5, "decoder_filters": (6, 3)}
    model = kind(**small, mean=(0.5,), std=(2.0,))
    model.build((None, *shape))
    x = np.random.default_rng(0).random((3, *shape), "float32")
    assert model(x).shape == x.shape
    np.testing.assert_allclose(model.standardized(x), (x - 0.5) / 2, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {name: loaded.get_config()[name] for name in small} == small
    np.testing.assert_array_equal(loaded(x), model(x))


def test_the_dense_autoencoder_is_that_of_mlperf_tiny():
    model = Autoencoder()
    model.build((None, 640))
    assert model.count_params() == 269_992


@pytest.mark.parametrize("arguments", [{"filters": (4, 4), "decoder_filters": (4,)}, {"filters": (0,)}, {"code": 0}])
def test_sizes_of_a_convolutional_autoencoder_are_checked(arguments):
    with pytest.raises(ValueError, match="autoencoder_conv: (decoder_filters|filters|code): expected"):
        ConvAutoencoder(**arguments)


def test_the_weights_of_mlperf_tiny_give_equal_outputs():
    if not MLPERF.is_file():
        pytest.skip(f"no {MLPERF}")
    theirs = keras.models.load_model(MLPERF)
    model = Autoencoder()
    model.build((None, 640))
    arrays, said = structure.copied(theirs, model, (640,), source=MLPERF.name)
    assert len(arrays) == len(model.variables) == 56 and "with its classes" in said
    x = np.random.default_rng(0).normal(-30, 20, (50, 640)).astype("float32")
    np.testing.assert_allclose(model(x), theirs.predict(x, verbose=0), atol=1e-5 * 80)
