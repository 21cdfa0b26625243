"""Recipes applied without training."""

import keras
import numpy as np
import pytest

from compression.recipes import language
from compression.searching.untrained import CERTAIN, RIDGE, apply_untrained, fit_last
from tests.compression.conftest import CLASSES, small


@pytest.mark.parametrize("name", ["cnn", "simplenet", "lstm", "self_attention", "transformer"])
def test_the_last_layer_is_fitted_by_ridge_regression(name):
    from sklearn.linear_model import Ridge

    model, _, x = small(name)
    y = np.random.default_rng(0).integers(0, CLASSES, len(x)).astype("int32")
    head = model.head
    features, call = [], head.call
    head.call = lambda inputs, **options: (features.append(np.asarray(inputs)), call(inputs, **options))[1]
    model(x)
    head.call = call
    fitted = Ridge(alpha=RIDGE * len(x)).fit(features[0], CERTAIN * (np.eye(CLASSES)[y] - 1 / CLASSES))
    assert fit_last(model, x, y)
    np.testing.assert_allclose(np.asarray(model(x)), fitted.predict(features[0]), atol=1e-3)


def test_a_last_layer_that_cannot_be_fitted_is_unchanged():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()])
    before = model.get_weights()
    assert not fit_last(model, np.ones((5, 4), "float32"), np.zeros(5, "int32"))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_narrowed_model_has_fewer_channels_zeros_and_shared_values():
    model, _, x = small("cnn", filters=(8, 12), units=16)
    y = (np.arange(len(x)) % CLASSES).astype("int32")
    recipe = language.parse("channels(0.5) + prune(0.75, budget=layer) + cluster(4) + qat + int8")
    made = apply_untrained(model, recipe.stages, x, y)
    assert [layer.filters for layer in made.convolutions] == [4, 6] and made.hidden.units == 8
    for layer in (*made.convolutions, made.hidden, made.head):
        kernel = np.asarray(layer.kernel)
        assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.5 / kernel.size + 0.02)
        assert len(np.unique(kernel)) <= 4
