"""Weights of networks with other names and habits, copied by structure."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.zoo.models.test_vision import with_varied_values
from zoo.console.errors import UsageError
from zoo.models import DSCNN, ResNet
from zoo.pretrained import structure

SHAPE = (16, 16, 1)


def dscnn(activation="relu", biases=True, normalised=True, classes=3, extra=False, padding="same"):
    """Return a functional network of the structure of `DSCNN(filters=4, num_blocks=1)`."""
    x = inputs = keras.Input(SHAPE)
    for layer in (
        layers.Conv2D(4, (10, 4), 2, padding=padding, use_bias=biases),
        layers.DepthwiseConv2D(3, padding="same", use_bias=biases),
        layers.Conv2D(4, 1, use_bias=biases),
    ):
        x = layer(x)
        x = layers.BatchNormalization(scale=False, epsilon=1e-2)(x) if normalised else x
        x = layers.Activation(activation)(x)
    x = layers.PReLU()(x) if extra else x
    x = layers.GlobalAveragePooling2D()(x)
    return with_varied_values(keras.Model(inputs, layers.Dense(classes)(x)))


def ours(**arguments):
    model = DSCNN(num_classes=3, filters=4, num_blocks=1, dropout=0.0, **arguments)
    model.build((None, *SHAPE))
    return model


def pixels(shape=SHAPE):
    return np.random.default_rng(1).random((2, *shape), dtype="float32")


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ({}, {}),
        ({}, {"use_bias": True}),
        ({"biases": False}, {"use_bias": True}),
        ({"normalised": False}, {}),
    ],
)
def test_biases_and_normalisations_of_another_kind_compute_the_same(theirs, mine):
    network, model = dscnn(**theirs), ours(**mine)
    arrays, said = structure.copied(network, model, SHAPE, source="file")
    np.testing.assert_allclose(model(pixels()), network(pixels()), atol=1e-5)
    assert set(arrays) == set(structure.named(model)) and "matched by structure, with its classes" in said


def test_normalisations_move_into_kernels_that_have_none():
    network = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    with_varied_values(network)
    (there,) = structure.units(network, (4,))
    bare = layers.Dense(3)
    bare.build((None, 4))
    for variable, value in structure._values(there, structure.Unit(bare, None)):
        variable.assign(value)
    x = pixels((4,))
    np.testing.assert_allclose(bare(x), network(x), atol=1e-5)


def test_other_classes_leave_the_output_layer_random():
    network, model = dscnn(classes=7), ours()
    before = model.head.kernel.numpy().copy()
    arrays, said = structure.copied(network, model, SHAPE, source="file")
    assert "without its 7 classes" in said
    assert not any(name.startswith("head") for name in arrays)
    np.testing.assert_array_equal(model.head.kernel, before)


def test_a_network_for_bytes_and_reversed_channels_gets_a_first_kernel_for_pixels():
    model = ResNet(depth=8, alpha=0.25, num_classes=3, use_bias=True)
    model.build((None, 8, 8, 3))
    other = ResNet(depth=8, alpha=0.25, num_classes=3, use_bias=True)
    other.build((None, 8, 8, 3))
    with_varied_values(other)
    structure.copied(other, model, (8, 8, 3), source="file", factor=255.0, flipped=True)
    x = pixels((8, 8, 3))
    np.testing.assert_allclose(model(x), other(255 * x[..., ::-1]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"activation": "tanh"}, "computes the same as .*, found kernels of the same shapes whose features differ by"),
        ({"extra": True}, "expected convolutions, batch normalisations and Dense layers, .* weights of other layers"),
    ],
)
def test_networks_that_compute_something_else_are_refused(theirs, message):
    with pytest.raises(UsageError, match=message):
        structure.copied(dscnn(**theirs), ours(), SHAPE, source="file")


def test_layers_of_other_shapes_are_refused():
    model = DSCNN(num_classes=3, filters=4, num_blocks=2)
    model.build((None, *SHAPE))
    with pytest.raises(
        UsageError, match=r"file: expected the layers of .*, 2 of them .* depthwise x 3 x 3 x 4 x 1, .* 1"
    ):
        structure.copied(dscnn(), model, SHAPE, source="file")
