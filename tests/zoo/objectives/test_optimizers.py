"""The zoo's AdamW against the AdamW of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.models import AdamW

ARGUMENTS = {"learning_rate": 0.1, "weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}


def trained(optimizer, rows_are_added_up, steps=5):
    """Return a table and a bias after some training steps, and the optimizer's variables.

    The gradient of the table holds one row twice. Keras squares both separately, so it gets their sum instead.
    """
    rng = np.random.default_rng(0)
    table = keras.Variable(rng.normal(size=(7, 3)), dtype="float64", name="table")
    bias = keras.Variable(rng.normal(size=3), dtype="float64", name="bias")
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([table, bias])

    @tf.function
    def step(rows, values, gradient):
        of_table = tf.IndexedSlices(values, rows, (7, 3))
        optimizer.apply([tf.convert_to_tensor(of_table) if rows_are_added_up else of_table, gradient], [table, bias])

    for _ in range(steps):
        step(np.array([1, 4, 1]), rng.normal(size=(3, 3)), rng.normal(size=3))
    return [keras.ops.convert_to_numpy(v) for v in (table, bias, *optimizer.variables)]


@pytest.mark.parametrize("changes", [
    {},
    {"weight_decay": 0.0},
    {"amsgrad": True},
    {"global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.5},
    {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 4)},
], ids=["plain", "no decay", "amsgrad", "clipped and averaged", "scheduled"])  # fmt: skip
def test_steps_are_those_of_keras(changes):
    ours = trained(AdamW(**ARGUMENTS | changes), False)
    theirs = trained(keras.optimizers.AdamW(**ARGUMENTS | changes), True)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)  # Keras rounds powers of beta to float32


def test_it_has_one_operation_for_each_variable():
    optimizer, variable = AdamW(0.1), keras.Variable(np.ones(3), name="kernel")
    optimizer.build([variable])
    graph = tf.function(lambda g: optimizer.apply([g], [variable])).get_concrete_function(tf.TensorSpec(3)).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1 and "Square" not in kinds


def test_it_is_saved_by_its_arguments():
    optimizer = AdamW(**ARGUMENTS)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is AdamW and again.get_config() == optimizer.get_config()
