"""Rebuilding models with new weights in their present shape."""

import keras
import numpy as np
import pytest

from compression.passes import channels
from compression.surgery.copying import copies, reinitialized
from tests.compression.conftest import small
from zoo.console.errors import UsageError


@pytest.mark.parametrize("name", ["cnn", "simplenet", "lstm", "transformer"])
def test_a_narrowed_model_is_reinitialized_in_its_own_shape(name):
    model, _, x = small(name)
    channels.apply(model, channels.plan(model, 0.5, x=x))
    before = model.get_weights()
    keras.utils.set_random_seed(5)
    first = reinitialized(model)
    keras.utils.set_random_seed(5)
    again = reinitialized(model)
    assert [w.shape for w in first.get_weights()] == [w.shape for w in before]
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))
    kernels = [(a, b) for a, b in zip(first.get_weights(), before, strict=True) if a.ndim > 1 and a.any()]
    assert kernels and not any(np.allclose(a, b) for a, b in kernels)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_a_model_whose_configuration_has_other_widths_is_not_reinitialized():
    @keras.saving.register_keras_serializable("test_copying")
    class Fixed(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden, self.head = keras.layers.Dense(8, "relu", name="hidden"), keras.layers.Dense(3, name="head")

        def build(self, shape):
            self.hidden.build(shape)
            self.head.build((None, self.hidden.units))
            self.built = True

        def call(self, x):
            return self.head(self.hidden(x))

    x = np.random.default_rng(0).uniform(0, 1, (6, 4)).astype("float32")
    model = Fixed()
    model.build((None, 4))
    channels.apply(model, channels.plan(model, 0.5, x=x))
    with pytest.raises(UsageError, match=r"expected a get_config\(\) with the model's present widths"):
        reinitialized(model)


def test_a_reinitialized_model_keeps_what_was_made_from_the_data():
    x = np.random.default_rng(0).normal(50, 10, (64, 4)).astype("float32")
    norm = keras.layers.Normalization()
    norm.adapt(x)
    model = keras.Sequential([keras.Input((4,)), norm, keras.layers.Dense(3)])
    made = reinitialized(model)
    np.testing.assert_allclose(made.layers[0](x), norm(x), atol=1e-6)
    assert not np.allclose(made.layers[1].kernel, model.layers[1].kernel)


def test_a_model_with_random_outputs_can_be_copied():
    class Noisy(keras.layers.Layer):
        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x))

    keras.saving.register_keras_serializable("test_copying")(Noisy)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Noisy()])
    made = copies(model, np.ones((2, 4), "float32"))()
    assert all(np.array_equal(a, b) for a, b in zip(made.get_weights(), model.get_weights(), strict=True))


def test_a_small_output_beside_a_large_one_is_compared_too():
    @keras.saving.register_keras_serializable("test_copying")
    class Forgetful(keras.layers.Layer):
        def __init__(self, factor=1.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return super().get_config()

    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Rescaling(1e6)(inputs), Forgetful(3.0)(inputs)])
    with pytest.raises(UsageError, match="its outputs differ by 0.67 of the largest"):
        copies(model, np.ones((2, 4), "float32"))


def test_a_subclassed_model_with_an_adapted_normalization_is_copied():
    """Keras builds its copy while it traces a graph, whose tensors no other call can use."""
    x = np.random.default_rng(0).normal(50, 10, (64, 4)).astype("float32")

    @keras.saving.register_keras_serializable("test_copying")
    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm, self.head = keras.layers.Normalization(), keras.layers.Dense(3)

        def call(self, x):
            return self.head(self.norm(x))

    model = Net()
    model.norm.adapt(x)
    expected = model(x)
    np.testing.assert_allclose(copies(model, x)()(x), expected, rtol=1e-5)
