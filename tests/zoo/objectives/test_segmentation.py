"""Loss and metrics of masks against closed forms."""

import keras
import numpy as np
import pytest

from zoo.objectives.segmentation import PixelAccuracy, PixelLoss, PixelMeanIoU

IGNORED = 255


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (2, 4, 5)).astype("uint8")
    truth[0, :2] = IGNORED
    return truth, rng.normal(size=(2, 4, 5, 3)).astype("float32")


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_the_loss_averages_the_pixels_that_count_of_each_picture(batch):
    truth, logits = batch
    found = np.asarray(PixelLoss(IGNORED, reduction=None)(truth, logits))
    log_p = log_softmax(logits.astype(np.float64))
    for i in range(2):
        counts = truth[i] != IGNORED
        expected = -np.mean(log_p[i][counts][np.arange(counts.sum()), truth[i][counts]])
        assert found[i] == pytest.approx(expected, rel=1e-5)


def test_smoothing_and_dice_are_added(batch):
    truth, logits = batch
    plain, smoothed, with_dice = (
        np.asarray(PixelLoss(IGNORED, dice, smoothing, reduction=None)(truth, logits))[1]
        for dice, smoothing in ((0, 0), (0, 0.3), (2.0, 0))
    )
    log_p = log_softmax(logits[1].astype(np.float64))
    assert smoothed == pytest.approx(0.7 * plain - 0.3 * log_p.mean(), rel=1e-5)
    p, one_hot = np.exp(log_p), np.eye(3)[truth[1]]
    dice = (2 * (p * one_hot).sum((0, 1)) + 1) / ((p + one_hot).sum((0, 1)) + 1)
    assert with_dice - plain == pytest.approx(2 * (1 - dice).mean(), rel=1e-4)


def test_a_picture_without_pixels_that_count_has_no_loss_and_no_gradient(batch):
    import tensorflow as tf

    logits = tf.Variable(batch[1])
    with tf.GradientTape() as tape:
        loss = PixelLoss(IGNORED)(np.full((2, 4, 5), IGNORED, "uint8"), logits)
    assert float(loss) == 0 and not np.asarray(tape.gradient(loss, logits)).any()


def test_metrics_leave_ignored_pixels_and_weightless_pictures_out(batch):
    truth, logits = batch
    answers = logits.argmax(-1)
    accuracy, miou = PixelAccuracy(IGNORED), PixelMeanIoU(3, IGNORED)
    for metric in (accuracy, miou):
        metric.update_state(truth, logits)
        metric.update_state(truth, -logits, sample_weight=np.zeros(2, "float32"))
    counts = truth != IGNORED
    assert float(accuracy.result()) == pytest.approx((answers == truth)[counts].mean())
    own = keras.metrics.MeanIoU(3)
    own.update_state(truth[counts], answers[counts])
    assert float(miou.result()) == pytest.approx(float(own.result()))


@pytest.mark.parametrize("made", [PixelLoss(7, 0.5, 0.1), PixelAccuracy(7), PixelMeanIoU(3, 7)])
def test_configurations_give_the_same_object(made):
    again = type(made).from_config(made.get_config())
    assert again.get_config() == made.get_config() and again.ignored == 7
