"""Losses and metrics of classes, against closed forms and Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.objectives.losses import CrossEntropy, FocalLoss
from zoo.objectives.metrics import MixedAccuracy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 0], "int32")
SOFT = RNG.dirichlet(np.ones(4), 6).astype("float32")
LOG_P = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))


def with_gradient(loss, labels):
    import tensorflow as tf

    x = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(labels, x)
    return value.numpy(), tape.gradient(value, x).numpy()


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_cross_entropy_of_mixed_labels_is_the_closed_form_with_its_gradient(smoothing):
    value, gradient = with_gradient(CrossEntropy(smoothing), SOFT)
    target = (1 - smoothing) * SOFT + smoothing / 4
    assert value == pytest.approx(-(target * LOG_P).sum(1).mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, (np.exp(LOG_P) - target) / 6, atol=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy(0.1), FocalLoss(2, 0.1)])
def test_one_hot_labels_give_the_loss_of_class_indices(loss):
    for a, b in zip(with_gradient(loss, LABELS), with_gradient(loss, np.eye(4, dtype="float32")[LABELS]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1, 2, 5])
def test_focal_loss_is_the_closed_form_and_that_of_keras(gamma):
    p = np.exp(LOG_P[np.arange(6), LABELS])
    value, gradient = with_gradient(FocalLoss(gamma), LABELS)
    assert value == pytest.approx((-((1 - p) ** gamma) * np.log(p)).mean(), rel=1e-5)
    one_hot = np.eye(4, dtype="float32")[LABELS]
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1, gamma=gamma, from_logits=True)
    for a, b in zip((value, gradient), with_gradient(theirs, one_hot), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_focal_loss_without_exponent_is_the_cross_entropy():
    for a, b in zip(with_gradient(FocalLoss(0, 0.2), LABELS), with_gradient(CrossEntropy(0.2), LABELS), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_focal_loss_of_certain_answers_has_a_finite_gradient():
    import tensorflow as tf

    x = tf.constant([[200.0, 0, 0], [-200.0, 0, 0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = FocalLoss(0.5)(np.array([0, 0]), x)
    assert np.isfinite(value.numpy()) and np.isfinite(tape.gradient(value, x).numpy()).all()


def test_accuracy_of_mixed_labels_is_the_probability_of_the_answer():
    metric = MixedAccuracy()
    metric.update_state(SOFT, LOGITS)
    assert float(metric.result()) == pytest.approx(SOFT[np.arange(6), LOGITS.argmax(1)].mean())


@pytest.mark.parametrize(("k", "theirs"), [
    (1, keras.metrics.SparseCategoricalAccuracy()), (2, keras.metrics.SparseTopKCategoricalAccuracy(2))
])  # fmt: skip
def test_accuracy_of_class_indices_is_that_of_keras(k, theirs):
    ours, weights = MixedAccuracy(k), np.arange(6, dtype="float32")
    for metric in (ours, theirs):
        metric.update_state(LABELS, ops.convert_to_tensor(LOGITS), weights)
    assert float(ours.result()) == pytest.approx(float(theirs.result()))


def test_losses_and_metrics_are_saved_with_their_arguments():
    for part in (FocalLoss(1.5, 0.1), MixedAccuracy(5, name="top_5_accuracy")):
        config = keras.saving.serialize_keras_object(part)
        assert keras.saving.deserialize_keras_object(config).get_config() == part.get_config()
