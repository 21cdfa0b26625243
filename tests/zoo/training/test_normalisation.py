"""Batch normalisation by TensorFlow's fused operation does what Keras' own does, and only where it can."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.training.normalisation import fused


def step(shape, mixed=False, **options):
    """Return outputs, gradients and moving statistics of a training step, and the operations of its graph."""
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, shape).astype("float32")
    upstream = tf.constant(rng.normal(size=shape), tf.float32)
    dtype = "mixed_bfloat16" if mixed else options.pop("dtype", "float32")
    layer = keras.layers.BatchNormalization(momentum=0.9, dtype=dtype, **options)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    for weight in layer.trainable_variables:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))

    start = [weight.numpy() for weight in layer.non_trainable_variables]

    def trained(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
        return y, *tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)])

    def run(around):
        for weight, value in zip(layer.non_trainable_variables, start, strict=True):
            weight.assign(value)
        function = tf.function(trained, autograph=False)
        with around:
            graph = function.get_concrete_function(tf.constant(x)).graph
            found = [np.asarray(tf.cast(value, "float32")) for value in function(tf.constant(x))]
        kinds = {operation.type for operation in graph.get_operations()}
        return [*found, *(np.asarray(value) for value in (layer.moving_mean, layer.moving_variance))], kinds

    ours, kinds = run(fused(model))
    theirs, plain = run(contextlib.nullcontext())
    assert "FusedBatchNormV3" not in plain
    return ours, theirs, kinds


@pytest.mark.parametrize(("shape", "options"), [
    ((16, 5, 6, 3), {}),
    pytest.param((16, 50, 3), {}, marks=pytest.mark.slow),
    pytest.param((4, 3, 4, 5, 3), {}, marks=pytest.mark.slow),
    ((16, 5, 6, 3), {"scale": False, "epsilon": 1.001e-5}),
    ((16, 5, 6, 3), {"center": False, "synchronized": True}),
    ((1, 1, 1, 3), {}),
])  # fmt: skip
def test_it_equals_batch_normalisation_of_keras(shape, options):
    ours, theirs, kinds = step(shape, **options)
    assert "FusedBatchNormV3" in kinds
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5 * max(1.0, np.abs(other).max()))


def test_it_computes_in_float32_if_activations_are_bfloat16():
    ours, theirs, kinds = step((16, 5, 6, 3), mixed=True)
    assert "FusedBatchNormV3" in kinds
    for mine, other in zip(ours[-2:], theirs[-2:], strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5)


@pytest.mark.parametrize(("shape", "options"), [
    ((16, 8), {}),
    ((16, 5, 6, 3), {"axis": 1}),
    ((16, 5, 6, 3), {"epsilon": 1e-6}),
    ((16, 5, 6, 3), {"dtype": "float64"}),
    ((16, 5, 6, 3), {"trainable": False}),
    ((16, 5, 6, 3), {"renorm": True}),
])  # fmt: skip
def test_a_layer_goes_on_as_before_where_it_does_not_apply(shape, options):
    ours, theirs, kinds = step(shape, **options)
    assert "FusedBatchNormV3" not in kinds
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_masked_steps_and_other_modes_go_on_as_before():
    x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype("float32")
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((7, 3)), keras.layers.Masking(), layer])
    x[:, 5:] = 0
    with fused(model):
        assert "call" in vars(layer)
        ours = np.asarray(model(x, training=True))
        inference = np.asarray(model(x))
    assert "call" not in vars(layer)
    layer.moving_mean.assign(np.zeros(3))
    layer.moving_variance.assign(np.ones(3))
    np.testing.assert_array_equal(ours, np.asarray(model(x, training=True)))
    np.testing.assert_array_equal(inference, np.asarray(model(x)))
