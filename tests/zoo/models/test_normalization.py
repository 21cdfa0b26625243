"""Layer normalisation against Keras and against finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.models import LayerNormalization


def pair(width, **arguments):
    """Return the zoo's layer and the Keras layer with the same weights."""
    rng = np.random.default_rng(0)
    found = [kind(**{"epsilon": 0.02, **arguments}) for kind in (LayerNormalization, keras.layers.LayerNormalization)]
    for layer in found:
        layer.build((None, 4, width))
    for ours, theirs in zip(*(layer.weights for layer in found), strict=True):
        ours.assign(rng.normal(size=ours.shape))
        theirs.assign(ours)
    return found


def gradients(layer, x, again):
    """Return the gradients of a function of the layer's output, or, for second derivatives, of their squares."""
    weights = [v.value for v in layer.weights]
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            total = tf.reduce_sum(tf.sin(layer(x)) * tf.range(x.shape[-1], dtype=x.dtype))
        if again:
            total = tf.reduce_sum(inner.gradient(total, x) ** 2)
    return outer.gradient(total, [x, *weights])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("again", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("arguments", [{}, {"center": False}, {"axis": 1}], ids=["last axis", "no offset", "axis 1"])
def test_outputs_and_gradients_are_those_of_keras(arguments, again, compiled):
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 4, 5)))
    ours, theirs = pair(5, dtype="float64", **arguments)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    found, expected = ((tf.function(gradients) if compiled else gradients)(layer, x, again) for layer in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_gradient_is_the_slope_of_the_output():
    layer, _ = pair(5, dtype="float64")
    rng = np.random.default_rng(1)
    x, along, upstream = (tf.constant(rng.normal(size=(2, 4, 5))) for _ in range(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    slope = tf.reduce_sum(tape.gradient(y, x, upstream) * along)
    step = 1e-6
    difference = (layer(x + step * along) - layer(x - step * along)) / (2 * step)
    np.testing.assert_allclose(slope, tf.reduce_sum(difference * upstream), rtol=1e-7)


def test_bfloat16_is_normalised_in_float32():
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 4, 5)), tf.bfloat16)
    ours, theirs = pair(5, dtype="mixed_bfloat16")
    assert ours(x).dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(ours(x), tf.float32), tf.cast(theirs(x), tf.float32))
