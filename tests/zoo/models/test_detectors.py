"""Detectors: outputs, priors, gradients, saving and narrowing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.config import registry
from zoo.models.parts.detectors.encoder import Encoder
from zoo.objectives.detection_loss import DetectionLoss

SMALL = {
    "detector": {"backbone": "mobilenet_v2", "alpha": 0.1, "width": 8, "depth": 1, "strides": (8, 16, 32)},
    "ssd": {"backbone": "mobilenet_v2", "alpha": 0.1, "width": 8, "strides": (8, 32, 64), "largest": 0.7},
}
SHAPE = (64, 96, 3)
names = pytest.mark.parametrize("name", registry.names("detection"))


def make(name, **others):
    keras.utils.set_random_seed(0)
    model = registry.model_class(name)(num_classes=4, **{**SMALL[name], **others})
    model.build((None, *SHAPE))
    return model


def test_every_detector_is_tested_here():
    assert registry.names("detection") == list(SMALL)


@names
def test_each_prior_has_a_box_and_a_score_for_each_class(name):
    model = make(name)
    priors = type(model).priors(SHAPE, **model.get_config())
    outputs = model(np.random.default_rng(0).random((2, *SHAPE), dtype="float32"))
    assert outputs["boxes"].shape == (2, len(priors.boxes), 4) and outputs["scores"].shape == (2, len(priors.boxes), 4)
    assert float(tf.reduce_min(outputs["boxes"])) >= 0 and float(tf.reduce_max(outputs["boxes"])) <= 6
    assert len(priors.strides) == len(priors.boxes) and set(priors.strides) == set(SMALL[name]["strides"])
    joined = model.for_loss(outputs)
    np.testing.assert_array_equal(joined[..., :4], outputs["boxes"])
    assert float(tf.reduce_mean(tf.sigmoid(outputs["scores"]))) < 0.05  # rare before training


@pytest.mark.parametrize("name", ["detector", pytest.param("ssd", marks=pytest.mark.slow)])
def test_every_variable_gets_a_gradient(name):
    model = make(name)
    priors = type(model).priors(SHAPE, **model.get_config())
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 40, (2, 12, 2))
    truth = np.concatenate([corners, corners + rng.uniform(6, 24, (2, 12, 2)), rng.integers(0, 4, (2, 12, 1))], -1)
    with tf.GradientTape() as tape:
        outputs = model(rng.random((2, *SHAPE), dtype="float32"), training=True)
        loss = DetectionLoss(priors)(truth.astype("float32"), model.for_loss(outputs))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
    assert sum(bool(np.any(np.asarray(gradient))) for gradient in gradients) > 0.9 * len(gradients)


@pytest.mark.parametrize("name", ["detector", pytest.param("ssd", marks=pytest.mark.slow)])
def test_saves_and_loads_with_other_arguments(name, tmp_path):
    model = make(name)
    config = model.get_config()
    assert {key: config[key] for key in SMALL[name]} == SMALL[name] and set(registry.arguments(name)) <= set(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((2, *SHAPE), dtype="float32")
    assert loaded.get_config() == config
    for key, value in model(x).items():
        np.testing.assert_array_equal(loaded(x)[key], value)


@pytest.mark.parametrize("name", [pytest.param("detector", marks=pytest.mark.slow), "ssd"])
def test_narrower_convolutions_are_part_of_the_configuration(name):
    model = make(name)
    widths = list(model.usual_widths)
    widths[-1], widths[0] = 4, 5
    config = model.get_config() | {"widths": tuple(widths)}
    narrow = type(model).from_config(config)
    narrow.build((None, *SHAPE))
    assert narrow.get_config() == config and narrow.count_params() < model.count_params()
    with pytest.raises(ValueError, match="widths: expected"):
        type(model).from_config(config | {"widths": (3, 4)})


@names
def test_what_the_encoder_has_not_is_refused(name):
    with pytest.raises(ValueError, match="backbone: expected one of .*, received 'resnet'"):
        make(name, backbone="resnet")
    if name == "detector":
        with pytest.raises(ValueError, match="strides: expected some of .*, received 64"):
            make(name, strides=(8, 64))
    else:
        with pytest.raises(ValueError, match="smallest < largest"):
            make(name, smallest=0.9)


def test_an_encoder_has_the_weights_and_the_features_of_its_classifier():
    encoder = Encoder("mobilenet_v2", 0.1, (4, 16))
    encoder.build((None, 64, 64, 3))
    whole = encoder.classifier(num_classes=5)
    whole.build((None, 64, 64, 3))
    theirs = {v.path.partition("/")[2]: v for v in whole.variables}
    for variable in encoder.variables:
        variable.assign(theirs[variable.path.partition("/")[2]])
    x = np.random.default_rng(0).random((1, 64, 64, 3), dtype="float32")
    y = whole.stem(whole.standardize(x))
    for block in whole.blocks[: encoder.ends[-1] + 1]:
        y = block(y)
    fine, coarse = encoder(x)
    assert fine.shape[1:3] == (16, 16) and coarse.shape[1:3] == (4, 4)
    np.testing.assert_array_equal(coarse, y)
