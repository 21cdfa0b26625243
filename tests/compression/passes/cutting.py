"""Models with random weights, and the check that a model without some channels gives what the whole one gives."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from compression.passes import channels
from tests.compression.conftest import CLASSES


def randomized(model, shape, count=5):
    """Return the model and examples, with random values for every weight instead of zeros and ones."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((count, *shape)).astype("float32")
    model(x)
    for v in model.weights:
        v.assign(rng.uniform(0.5, 1.5, v.shape) if "variance" in v.name else rng.normal(0, 0.5, v.shape))
    return model, x


def residual():
    x = inputs = keras.Input((8, 9, 2))
    x = layers.Conv2D(4, 1, name="stem")(x)
    y = layers.Conv2D(6, 3, padding="same", activation="relu", name="inner")(x)
    y = layers.Conv2D(4, 3, padding="same", name="outer")(y)
    y = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(CLASSES, name="head")(y))


def silenced(model, x, plan, readers):
    """Return the logits with the weights that read removed channels set to zero.

    Args:
        readers: For each pruned layer, its readers as (variable, axis, function from a channel to its indices).
    """
    before = model.get_weights()
    assert plan.outputs.keys() == readers.keys()
    for path, reading in readers.items():
        kept = plan.outputs[path]
        for variable, axis, indices in reading:
            value = variable.numpy().copy()
            for channel in set(range(kept.of)) - set(kept.indices):
                np.moveaxis(value, axis, 0)[indices(channel)] = 0
            variable.assign(value)
    logits = np.asarray(model(x, training=False))
    model.set_weights(before)
    return logits


def check(model, x, readers, tolerance=1e-5, coupled=False):
    """Remove half of the channels, compare with the model in which nothing reads them, and return the plan."""
    plan = channels.plan(model, 0.5, coupled=coupled, x=x)
    expected, before = silenced(model, x, plan, readers), model.count_params()
    variables = model.variables
    channels.apply(model, plan)
    assert all(a is b for a, b in zip(model.variables, variables, strict=True))
    assert model.count_params() < before
    np.testing.assert_allclose(model(x, training=False), expected, atol=tolerance)
    np.testing.assert_allclose(tf.function(model)(x), expected, atol=tolerance)
    return plan, expected


def same(channel):
    return channel


def widths(plan):
    return {path: len(kept.indices) for path, kept in plan.outputs.items()}
