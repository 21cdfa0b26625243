import keras
import numpy as np
from keras import layers

from compression.exporting import tapping, tflite
from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.equalization import equalize, pairs
from compression.flatbuffers.interface import Interface
from compression.recipes.language import parse

SHAPE = (9, 8, 3)


def content_of(tmp_path, *middle):
    """Return the float file of a network with uneven channels, and the outputs it has for an example."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(SHAPE), *middle])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            uneven = np.exp(rng.normal(0, 2, layer.bias.shape))
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            layer.kernel.assign(layer.kernel * (uneven[:, None] if depthwise else uneven))
            layer.bias.assign(rng.normal(0, 1, uneven.shape) * uneven)
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse("float32"), Interface("x", SHAPE), probabilities=False)
    return flatbuffer.read(path)


def outputs(content):
    x = np.random.default_rng(1).normal(size=(4, 1, *SHAPE)).astype("float32")
    ends = {0: {int(i) for i in content.subgraphs[0].outputs}}
    return np.concatenate(
        [*(np.ravel(*v.values()) for _, v in tapping.run(content, lambda: ({"x": e} for e in x), ends))]
    )


def test_ranges_become_equal_and_outputs_stay(tmp_path):
    content = content_of(
        tmp_path,
        layers.Conv2D(8, 3, activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.Conv2D(6, 1, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(5, 1),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4),
    )
    before = outputs(content)
    assert equalize(content) == 4
    np.testing.assert_allclose(outputs(content), before, rtol=1e-3, atol=1e-4 * np.abs(before).max())
    for first, second in pairs(content):
        mine, theirs = (weights.constant(content, 0, each.tensor) for each in (first, second))
        above = np.abs(first.matrix(mine)).max(1)
        np.testing.assert_allclose(above, np.abs(theirs).reshape(-1, theirs.shape[-1]).max(0), rtol=1e-2)


def test_what_a_scale_would_change_is_left_alone(tmp_path):
    content = content_of(
        tmp_path,
        layers.Conv2D(8, 3),
        layers.ReLU(6.0),
        layers.Conv2D(6, 1, activation="tanh"),
        layers.Conv2D(4, 1),
    )
    before = flatbuffer.pack(content)
    assert equalize(content) == 0 and flatbuffer.pack(content) == before
