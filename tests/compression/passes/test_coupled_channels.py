import keras
import numpy as np
import pytest
from keras import layers, ops

from compression.passes import channels
from compression.surgery.layers import layer_paths
from tests.compression.conftest import CLASSES
from tests.compression.passes.cutting import check, randomized, residual, same, widths
from zoo.console.errors import UsageError


def reshaped():
    x = inputs = keras.Input((8, 9, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="body")(x)
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)
    y = layers.Reshape((6 * 7 * 4,))(layers.Multiply()([x, gate]))
    return keras.Model(inputs, layers.Dense(CLASSES, name="head")(y))


def test_a_reshape_to_a_fixed_number_of_channels_follows_them(tmp_path):
    model, x = randomized(reshaped(), (8, 9, 2))
    head = model.get_layer("head").kernel
    readers = {
        "body": [(model.get_layer("gate").kernel, 2, same), (head, 0, lambda c: [4 * p + c for p in range(42)])],
        "gate": [],
    }
    check(model, x, readers, coupled=True)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_a_residual_sum_keeps_its_width():
    model, x = randomized(residual(), (8, 9, 2))
    check(model, x, {"inner": [(model.get_layer("outer").kernel, 2, same)]})
    found, reasons = channels.removable(model, x)
    assert found.keys() <= set(layer_paths(model))
    assert found["stem"][0].coupled.keys() == {"outer"}
    assert reasons["outer"] == "it is cut together with stem"
    assert reasons["head"] == "it is part of the model's output"


def test_coupled_layers_of_a_residual_sum_lose_the_same_channels(tmp_path):
    model, x = randomized(residual(), (8, 9, 2))
    inner, outer, head = (model.get_layer(name) for name in ("inner", "outer", "head"))
    readers = {
        "stem": [(inner.kernel, 2, same), (head.kernel, 0, same)],
        "outer": [],
        "inner": [(outer.kernel, 2, same)],
    }
    plan, _ = check(model, x, readers, coupled=True)
    assert plan.outputs["stem"] == plan.outputs["outer"]
    assert (model.get_layer("stem").filters, outer.filters, inner.filters) == (2, 2, 3)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_a_plan_tells_what_it_cuts_and_what_it_leaves():
    model, x = randomized(residual(), (8, 9, 2))
    alone, together = channels.plan(model, 0.5, x=x), channels.plan(model, 0.5, coupled=True, x=x)
    assert alone.told() == "channels: inner 6 to 3; as wide as before: stem, outer; coupled=true cuts 2 of them"
    assert together.told() == "channels: stem 4 to 2, outer 4 to 2, inner 6 to 3"


@pytest.mark.parametrize("name", ["stem", "outer"])
def test_one_name_in_keep_is_enough_for_coupled_layers(name):
    model, x = randomized(residual(), (8, 9, 2))
    assert widths(channels.plan(model, keep={name: 3}, x=x)) == {"stem": 3, "outer": 3}
    assert widths(channels.plan(model, 0.5, keep={name: 3}, x=x)) == {"stem": 3, "outer": 3, "inner": 3}
    assert widths(channels.plan(model, 0.5, skip=[name], coupled=True, x=x)) == {"inner": 3}


def test_the_importance_of_coupled_channels_counts_all_their_weights():
    model, x = randomized(residual(), (8, 9, 2))
    kernels = [model.get_layer(name).kernel.numpy().reshape(-1, 4) for name in ("stem", "outer")]
    scores = np.abs(np.concatenate(kernels)).mean(0)
    kept = channels.plan(model, 0.5, coupled=True, x=x).outputs["stem"].indices
    assert set(kept) == set(np.argsort(scores)[2:])


class Gated(keras.Model):
    """Squeeze-and-excite, and a residual connection around it, written with raw operations."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.body = layers.Conv2D(6, 3, padding="same", name="body")
        self.squeeze = layers.Dense(3, activation="relu", name="squeeze")
        self.excite = layers.Dense(6, activation="sigmoid", name="excite")
        self.again = layers.Conv2D(6, 3, padding="same", name="again")
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        x = ops.relu(self.body(x))
        gate = self.excite(self.squeeze(ops.mean(x, (1, 2))))
        x = x * gate[:, None, None] + self.again(x)
        return self.head(ops.mean(ops.relu(x), (1, 2)))


def test_a_gate_and_a_sum_in_a_subclassed_model():
    model, x = randomized(Gated(), (8, 9, 2))
    readers = {
        "body": [(model.squeeze.kernel, 0, same), (model.again.kernel, 2, same), (model.head.kernel, 0, same)],
        "excite": [],
        "again": [],
        "squeeze": [(model.excite.kernel, 0, same)],
    }
    plan, _ = check(model, x, readers, coupled=True)
    assert plan.outputs["body"] == plan.outputs["excite"] == plan.outputs["again"]


class Attention(keras.Model):
    """Attention with separate layers for queries, keys and values."""

    num_heads = 4

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.query, self.key, self.value = (layers.Dense(8, name=name) for name in ("query", "key", "value"))
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        def heads(y):
            return ops.transpose(ops.reshape(y, (-1, y.shape[1], self.num_heads, 2)), (0, 2, 1, 3))

        query, key, value = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        weights = ops.softmax(query @ ops.transpose(key, (0, 1, 3, 2)))
        y = ops.transpose(weights @ value, (0, 2, 1, 3))
        return self.head(ops.mean(ops.reshape(y, (-1, y.shape[1], self.num_heads * 2)), 1))


def test_heads_of_separate_queries_keys_and_values():
    model, x = randomized(Attention(), (5, 3))
    readers = {"query": [], "key": [], "value": [(model.head.kernel, 0, same)]}
    plan, _ = check(model, x, readers, coupled=True)
    assert plan.outputs["query"] == plan.outputs["key"] == plan.outputs["value"]
    assert plan.heads == {"query": 2}
    assert model.num_heads == 2


class Sum(keras.Model):
    """The sum of a layer and of something that differs in each `way`."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.body = layers.Conv2D(6, 1, name="body")
        self.other = layers.Conv2D(3 if way == "padded" else 6, 1, name="other")
        if way == "uncut":
            self.scale = layers.PReLU(shared_axes=[1, 2], name="scale")
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        x, y = self.body(x), self.other(x)
        if self.way == "padded":
            y = ops.pad(y, ((0, 0), (0, 0), (0, 0), (0, 3)))
        elif self.way == "uncut":
            y = self.scale(y)
        elif self.way == "shifted":
            y = ops.roll(y, 1, -1)
        elif self.way == "output":
            return self.head(ops.mean(x + y, (1, 2))), ops.mean(y, (1, 2))
        return self.head(ops.mean(x + y, (1, 2)))


@pytest.mark.parametrize(
    ("way", "body"),
    [
        ("padded", "its channels are not all read in the same way"),
        ("shifted", "the model's outputs depend on its number of channels"),
        (
            "uncut",
            "it is added to or multiplied with scale, which cannot be cut: PReLU with these options cannot be cut",
        ),
        ("output", "it is added to or multiplied with other, which cannot be cut: it is part of the model's output"),
    ],
)
def test_sums_that_cannot_be_cut_have_a_reason(way, body):
    model, x = randomized(Sum(way), (4, 4, 2))
    found, reasons = channels.removable(model, x)
    assert "body" not in found
    assert "other" not in found
    assert reasons["body"] == body


def test_a_share_that_leaves_coupled_layers_says_how_to_cut_them():
    model, x = randomized(Sum("plain"), (4, 4, 2))
    with pytest.raises(UsageError, match="body: body, other are added or multiplied; coupled=true cuts them together"):
        channels.plan(model, 0.5, x=x)


def test_what_is_skipped_is_skipped_with_all_that_is_cut_with_it():
    model, x = randomized(residual(), (8, 9, 2))
    plan = channels.plan(model, 0.5, skip=["outer"], coupled=True, x=x)
    assert plan.uncut == {"stem": "it is skipped", "outer": "it is skipped"}
