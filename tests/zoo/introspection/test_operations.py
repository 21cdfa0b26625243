import keras
import pytest

from zoo.introspection import operations


def test_operations_of_layers_are_those_of_their_products():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    expected = 2 * 6 * 6 * 4 * 3 * 3 * 3 + 6 * 6 * 4  # the bias is added once
    assert operations.of_model(model, keras.KerasTensor((1, 8, 8, 3))) == expected


def test_a_loop_is_counted_in_each_of_its_steps_or_not_at_all():
    layer = keras.layers.LSTM(5)
    model = keras.Sequential([keras.Input((None, 3)), layer])
    few, more = (operations.of_model(model, keras.KerasTensor((1, steps, 3))) for steps in (4, 8))
    assert more == pytest.approx(2 * few, rel=0.05) and few > 4 * 2 * 20 * 8
    assert operations.of_model(model, keras.KerasTensor((1, operations.MOST_STEPS + 1, 3))) is None
    assert layer.unroll is False
