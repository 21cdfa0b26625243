import keras
import numpy as np
import pytest

from zoo.models import Labeller, Regressor, Tabular
from zoo.models.parts.table_features import MISSING, TableFeatures

COLUMNS = (
    {"form": "number", "edges": [0.0, 1.0, 10.0], "missing": True},
    {"form": "date", "edges": [0.0, 400.0], "missing": False, "time": True},
    {"form": "word"},
    {"form": "category", "size": 3},
    {"form": "category", "size": 100},
    {"form": "category", "size": 40},
)
# A number of 5.5; 8 January 2000 at noon; the word; second value; ids 7 and 3 of the larger categories.
ROW = (5.5, 7.5, 1, 2, 7, 3)


def features(*rows):
    found, ids = TableFeatures(COLUMNS)(np.array(rows, "float32"))
    return np.asarray(found), np.asarray(ids)


def test_features_are_those_of_the_paper_and_of_the_calendar():
    found, ids = features(ROW)
    day, week, year = 0.5, 7.5 / 7 % 1, 7.5 / 365.2425
    cycles = [0.5 + 0.5 * wave(2 * np.pi * part) for wave in (np.sin, np.cos) for part in (year, week, day)]
    expected = [1, 0.5, 7.5 / 400, 0, 1, 0, 1, *cycles]  # intervals, missing, word, categories, cycles
    np.testing.assert_allclose(found[0], expected, atol=2e-5)
    assert ids.tolist() == [[7, 103]]
    layer = TableFeatures(COLUMNS)
    assert layer.width == found.shape[1] and layer.rows == 140
    assert layer.compute_output_shape((None, 6)) == ((None, found.shape[1]), (None, 2))


def test_numbers_beyond_the_edges_missing_ones_and_unknown_categories_stay_in_range():
    found, _ = features((-5, 0, 0, 0, 0, 0), (1e9, 0, 0, 0, 0, 0), (MISSING, 0, 0, 9, 0, 0))
    np.testing.assert_allclose(found[:, :2], [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_allclose(found[:, 3], [0, 0, 1], atol=1e-20)
    np.testing.assert_allclose(found[:, 5:7], 0)
    assert found.min() >= 0 and found.max() <= 1


def test_edges_are_thinned_to_the_number_of_bins():
    column = {"form": "number", "edges": list(np.arange(65.0)), "missing": False}
    assert TableFeatures([column], 64).width == 64
    layer = TableFeatures([column], 4)
    np.testing.assert_allclose(np.asarray(layer(np.full((1, 1), 24.0, "float32"))[0]), [[1, 0.5, 0, 0]])


def test_parameters_and_a_saved_model(tmp_path):
    settings = {"num_classes": 4, "units": (5, 6), "bins": 1, "embedding_dim": 3, "dropout": 0.2}
    model = Tabular(columns=COLUMNS, **settings)
    model.build((None, 6))
    width = 1 + 1 + 1 + 1 + 2 + 6 + 2 * 3  # intervals, missing, word, small category, cycles, embeddings
    assert model.count_params() == 140 * 3 + (width + 1) * 5 + (5 + 1) * 6 + (6 + 1) * 4
    x = np.array([ROW, (MISSING, 0, 0, 0, 0, 0)], "float32")
    y = model(x)
    assert y.shape == (2, 4) and model(x, training=True).shape == (2, 4)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(x), y)
    assert loaded.get_config() == model.get_config()


@pytest.mark.parametrize("columns", [COLUMNS[3:4], COLUMNS[4:5], COLUMNS[:1]])
def test_tables_of_one_form_alone(columns):
    model = Tabular(2, columns)
    assert model(np.zeros((3, 1), "float32")).shape == (3, 2)


def test_wrong_columns_are_refused():
    with pytest.raises(ValueError, match="tabular: columns: expected those of a table, received none"):
        Tabular(2)
    with pytest.raises(ValueError, match="expected numbers and dates, words, categories"):
        TableFeatures(COLUMNS[::-1])
    with pytest.raises(ValueError, match="expected one of number, .* received 'text'"):
        TableFeatures([{"form": "text"}])
    with pytest.raises(ValueError, match="expected 6 inputs, received 2"):
        TableFeatures(COLUMNS).build((None, 2))


def test_wrapped_networks_keep_their_units_and_thresholds(tmp_path):
    network = Tabular(2, COLUMNS[:1], units=(4,))
    model = Regressor(network, (10.0, 200.0), (2.0, 50.0))
    x = np.array([[3.0]], "float32")
    np.testing.assert_allclose(np.asarray(model(x)), np.asarray(network(x)) * (2, 50) + (10, 200), rtol=1e-6)
    labels = Labeller(network, (0.5, 0.5))
    labels(x)
    labels.thresholds = (0.2, 0.7)
    for each, kept in ((model, ("means", "deviations")), (labels, ("thresholds",))):
        each.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(loaded(x), each(x))
        assert all(getattr(loaded, name) == getattr(each, name) for name in kept)
