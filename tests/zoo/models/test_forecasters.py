"""The forecasting models: units, closed forms, saving, and known columns."""

import keras
import numpy as np
import pytest

from zoo.config import registry
from zoo.models import DLinear, NetworkForecaster, PatchTransformer

RNG = np.random.default_rng(0)
X = RNG.normal((3, -50), (2.0, 10.0), (5, 24, 2)).astype("float32")
SCALE = {"means": (3.0, -50.0), "deviations": (2.0, 10.0)}
PATCH = {"patch": 6, "stride": 3, "model_dim": 8, "num_heads": 2, "ff_dim": 8, "num_layers": 1}
SMALL = {"dlinear": {"window": 5}, "patch_transformer": PATCH}
MODELS = list(SMALL)
NETWORKS = [name for name in registry.names("forecasting") if "horizon" not in registry.arguments(name)]
OTHER = {
    "dlinear": {"window": 3, "individual": True},
    "patch_transformer": {"patch": 4, "stride": 2, "num_layers": 2, "model_dim": 12, "num_heads": 3, "ff_dim": 10,
                          "dropout": 0.1, "norm": "pre", "key_dim": 5},
}  # fmt: skip


def make(name, **arguments):
    keras.utils.set_random_seed(0)
    model = registry.model_class(name)(**{"horizon": 7, **SCALE, **SMALL[name], **arguments})
    known = model.known
    model.build([(None, 24, 2), (None, 7, known)] if known else (None, 24, 2))
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_forecasts_have_a_row_a_step_and_a_number_a_column(name, quantiles):
    y = make(name, quantiles=quantiles)(X)
    assert tuple(y.shape) == (5, 7, 2, *([3] if quantiles else []))


def test_quantiles_do_not_cross():
    y = np.asarray(make("dlinear", quantiles=(0.1, 0.5, 0.9))(X))
    assert (np.diff(y, axis=-1) >= 0).all()


def test_parameters_are_counted_by_hand():
    assert make("dlinear").count_params() == 2 * (24 + 1) * 7
    assert make("dlinear", individual=True).count_params() == 2 * 2 * (24 + 1) * 7
    patches, d = (24 - 6) // 3 + 2, 8
    attention, feed, norms = 4 * (d * d + d), 2 * d * 8 + 8 + d, 2 * 2 * d
    found = (6 + 1) * d + patches * d + attention + feed + norms + (patches * d + 1) * 7
    assert make("patch_transformer").count_params() == found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("normalization", ["instance", "last"])
def test_a_window_of_another_level_is_forecast_at_that_level(name, normalization):
    model = make(name, normalization=normalization)
    before = np.asarray(model(X))
    np.testing.assert_allclose(model(X + np.float32(40)), before + 40, atol=2e-3)
    if normalization == "instance":
        wider = X.mean(1, keepdims=True) + 3 * (X - X.mean(1, keepdims=True))
        expected = X.mean(1, keepdims=True) + 3 * (before - X.mean(1, keepdims=True))
        np.testing.assert_allclose(model(wider), expected, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("name", MODELS)
def test_units_do_not_change_a_forecast(name):
    """Celsius or Fahrenheit: the model standardizes, so the forecast is the same in the other unit."""
    model, factor, shift = make(name), np.array([1.8, 100], "float32"), np.array([32, 5], "float32")
    means, deviations = (np.array(SCALE[each]) for each in ("means", "deviations"))
    other = make(name, means=tuple(means * factor + shift), deviations=tuple(deviations * factor))
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(other(X * factor + shift), np.asarray(model(X)) * factor + shift, rtol=1e-3, atol=1e-2)


def test_dlinear_is_a_linear_map_of_trend_and_remainder():
    model = make("dlinear", normalization="none", means=(0.0, 0.0), deviations=(1.0, 1.0))
    padded = np.concatenate([X[:, :1]] * 2 + [X] + [X[:, -1:]] * 2, axis=1)
    trend = np.stack([padded[:, i : i + 5].mean(1) for i in range(24)], axis=1)
    kernels = [(np.asarray(layer.kernel), np.asarray(layer.bias)) for layer in (model.trend, model.remainder)]
    parts = [np.einsum("blc,lh->bhc", part, k) + b[:, None] for part, (k, b) in zip((trend, X - trend), kernels,
                                                                                    strict=True)]  # fmt: skip
    np.testing.assert_allclose(model(X), sum(parts), rtol=1e-4, atol=1e-3)


def test_patches_cover_every_step():
    model = make("patch_transformer")
    assert set(model.places.reshape(-1)) == set(range(24)) and model.places[-1, -3:].tolist() == [23] * 3


@pytest.mark.parametrize("name", MODELS)
def test_one_column_does_not_change_the_forecast_of_another(name):
    model, changed = make(name), X.copy()
    changed[..., 1] = RNG.normal(size=changed[..., 1].shape)
    np.testing.assert_allclose(np.asarray(model(changed))[..., 0], np.asarray(model(X))[..., 0], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_known_columns_are_added_where_they_are_known(name):
    model = make(name, known=1)
    future = np.zeros((5, 7, 1), "float32")
    before = np.asarray(model((X, future)))
    future[:, 3] = 1
    after = np.asarray(model((X, future)))
    assert before.shape == (5, 7, 1)
    np.testing.assert_allclose(np.delete(after, 3, 1), np.delete(before, 3, 1), atol=1e-4)
    assert np.abs(after - before)[:, 3].min() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_is_the_same(name, tmp_path):
    arguments = OTHER[name] | {"quantiles": (0.2, 0.8), "known": 1, "normalization": "last", "known_units": 3}
    model = make(name, **arguments)
    config = model.get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert set(registry.arguments(name)) <= set(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    given = (X, np.ones((5, 7, 1), "float32"))
    assert loaded.get_config() == config
    np.testing.assert_array_equal(loaded(given), model(given))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_for_sequences_forecasts_in_units_of_the_data(name, tmp_path):
    keras.utils.set_random_seed(0)
    network = registry.model_class(name)(num_classes=7 * 2 * 3)
    model = NetworkForecaster(network, 7, **SCALE, quantiles=(0.1, 0.5, 0.9))
    model.build((None, 24, 2))
    before = np.asarray(model(X))
    assert before.shape == (5, 7, 2, 3)
    np.testing.assert_allclose(model(X + np.float32(40)), before + 40, atol=5e-3)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(X), before)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: DLinear(window=4), "window: expected an odd number, received 4"),
        (lambda: DLinear(quantiles=(0.5, 0.2)), "quantiles: expected increasing numbers"),
        (lambda: DLinear(deviations=(0.0,)), "deviations: expected a positive number"),
        (lambda: DLinear(known=1), "targets: expected positive whole numbers"),
        (lambda: make("dlinear").build((None, 24, 3)), "expected windows .* of 2 columns"),
        (lambda: PatchTransformer(4, patch=99).build((None, 24, 1)), "patch: expected at most the 24 steps"),
    ],
)
def test_wrong_arguments_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()
