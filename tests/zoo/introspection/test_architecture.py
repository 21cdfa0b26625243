import keras
from keras import layers, ops

from zoo.introspection.architecture import digest


def functional(activation="relu"):
    inputs = keras.Input((4,))
    x = layers.Activation(activation)(layers.Dense(3)(inputs))
    return keras.Model(inputs, layers.Dense(2)(ops.tanh(x) + x))


def test_the_same_model_has_one_digest_and_another_activation_another():
    assert digest(functional()) == digest(functional()) != digest(functional("tanh"))


def test_layers_of_subclassed_models_count():
    class Net(keras.Model):
        def __init__(self, activation):
            super().__init__()
            self.inner = layers.Dense(3, activation=activation)

        def call(self, x):
            return self.inner(x)

    digests = []
    for activation in ("relu", "relu", "gelu"):
        model = Net(activation)
        model(ops.ones((1, 4)))
        digests.append(digest(model))
    assert digests[0] == digests[1] != digests[2]
