"""Random numbers of two replicas against those of one device for the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from strategies import draws, keras_fit

RATE, REPLICAS = 0.4, 2


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(3, 5), (4, 8), (1, 1), (5, 3, 7)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_shares_are_slices_of_the_numbers_of_the_whole_batch(dtype, shape, dynamic):
    seed, replicas = tf.constant([3, 14]), 3
    whole = tf.random.stateless_uniform((replicas * shape[0], *shape[1:]), seed, dtype=dtype)
    draw = tf.function(lambda shape, replica: draws.uniform_of_share(shape, seed, tf.as_dtype(dtype), replica))
    for replica in range(replicas):
        found = draw(tf.constant(shape) if dynamic else shape, tf.constant(replica))
        np.testing.assert_array_equal(found, whole[replica * shape[0] :][: shape[0]])


class Scattered(keras.layers.Layer):
    """A layer of a user: numbers for each example, and numbers that all examples share."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(5)

    def call(self, inputs, training=False):
        each = keras.random.uniform((keras.ops.shape(inputs)[0], 1, 1), seed=self.seed)
        return inputs * each + keras.random.normal(inputs.shape[1:], seed=self.seed)


@pytest.fixture
def float64():
    """Let layers compute in float64."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


LAYERS = {
    "Dropout": lambda: keras.layers.Dropout(RATE, seed=1),
    "Dropout of steps": lambda: keras.layers.Dropout(RATE, noise_shape=(None, None, 1), seed=1),
    "Dropout for all": lambda: keras.layers.Dropout(RATE, noise_shape=(1, None, None), seed=1),
    "SpatialDropout1D": lambda: keras.layers.SpatialDropout1D(RATE, seed=1),
    "GaussianNoise": lambda: keras.layers.GaussianNoise(RATE, seed=1),
    "GaussianDropout": lambda: keras.layers.GaussianDropout(RATE, seed=1),
    "AlphaDropout": lambda: keras.layers.AlphaDropout(RATE, seed=1),
    "LSTM": lambda: keras.layers.LSTM(3, return_sequences=True, dropout=RATE, recurrent_dropout=RATE, seed=1),
    "a user's": Scattered,
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "LSTM")) for n in LAYERS])
def test_layers_of_two_replicas_draw_what_one_device_draws(name, mirrored, float64):
    x = np.random.default_rng(0).normal(size=(6, 5, 3))

    def output(scope, feed):
        """Return the outputs of two training steps, in which the seeds advance."""
        with scope:
            keras.utils.set_random_seed(2)
            model = keras.Sequential([keras.Input((5, 3)), LAYERS[name]()])
            model.compile("sgd", "mse")
            model.train_step = lambda data: model(data[0], training=True)
            with keras_fit.prepared(model, tf.data.Dataset.from_tensors((x, x))):
                return feed(tf.function(model.train_step, autograph=False))

    one = output(tf.distribute.get_strategy().scope(), lambda step: [step((x, x)).numpy() for _ in range(2)])

    def by_replicas(step):
        halves = mirrored.experimental_distribute_values_from_function(
            lambda context: tf.constant(x[3 * context.replica_id_in_sync_group :][:3])
        )
        run = tf.function(lambda values: mirrored.run(step, args=((values, values),)))
        return [np.concatenate([part.numpy() for part in run(halves).values]) for _ in range(2)]

    two = output(mirrored.scope(), by_replicas)
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)
    assert not np.array_equal(one[0], one[1])


def test_keras_itself_gives_both_replicas_the_same_numbers(mirrored):
    """Pass while Keras does so; otherwise `strategies.draws` can go."""
    with mirrored.scope():
        layer = keras.layers.Dropout(0.5, seed=1)
        ones = tf.ones((8, 16))
        found = mirrored.run(tf.function(lambda: layer(ones, training=True)))
    first, second = (part.numpy() for part in found.values)
    np.testing.assert_array_equal(first, second)
