import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from compression.passes import channels
from tests.compression.conftest import CLASSES, small
from tests.compression.passes.cutting import check, randomized, same, widths
from zoo.console.errors import UsageError

RECURRENT = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


class Raw(keras.Model):
    """Convolution and dense layers with raw operations in between, as users write them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(4, 3, name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")
        self.second = layers.Conv2D(6, 3, name="second")
        self.third = layers.Dense(8, name="third")
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x, training=None):
        x = ops.relu(self.norm(self.first(x), training=training))
        x = ops.tanh(self.second(ops.relu(self.depthwise(x))))
        x = ops.transpose(ops.max_pool(x, 2), (0, 3, 1, 2))
        x = ops.reshape(x, (ops.shape(x)[0], -1))  # channels first: channel c is at c * h * w to (c + 1) * h * w - 1
        return self.head(ops.relu6(self.third(x)))


class Recurrent(keras.Model):
    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.first = RECURRENT[kind](6, return_sequences=True, name="first")
        self.second = RECURRENT[kind](4, name="second")
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        return self.head(self.second(self.first(x)))


def sequential(*stack):
    return keras.Sequential([keras.Input((8, 9, 2)), *stack, layers.Dense(CLASSES, name="head")])


def dense_copy():
    return sequential(layers.Flatten(), layers.Dense(7, "relu", name="a"), layers.Dense(6, "gelu", name="b"))


def conv_flatten(activation):
    return sequential(
        layers.Conv2D(4, 3, activation="relu", name="a"), layers.MaxPooling2D(), layers.Conv2D(5, 2, name="b"),
        activation, layers.Flatten(),
    )  # fmt: skip


def concatenated():
    x = inputs = keras.Input((8, 9, 2))
    x = layers.Concatenate()([layers.Conv2D(4, 3, name="a")(x), layers.Conv2D(6, 3, name="b")(x), x[:, 1:-1, 1:-1]])
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="head")(layers.Flatten()(layers.ReLU()(x))))


def test_units_of_a_sequential_model(tmp_path):
    model, x = randomized(dense_copy(), (8, 9, 2))
    readers = {"a": [(model.get_layer("b").kernel, 0, same)], "b": [(model.get_layer("head").kernel, 0, same)]}
    plan, expected = check(model, x, readers)
    assert [len(plan.outputs[name].indices) for name in "ab"] == [4, 3]  # round(3.5) and 3
    assert model.get_layer("a").units == 4
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_filters_before_a_flattening_and_saved_by_keras(tmp_path):
    model, x = randomized(conv_flatten(layers.LeakyReLU()), (8, 9, 2))
    positions = 2 * 2
    readers = {
        "a": [(model.get_layer("b").kernel, 2, same)],
        "b": [(model.get_layer("head").kernel, 0, lambda c: [p * 5 + c for p in range(positions)])],
    }
    check(model, x, readers)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def separable():
    return sequential(
        layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu", name="a"),
        layers.SeparableConv2D(6, 3, depth_multiplier=2, activation="tanh", name="b"), layers.GlobalMaxPooling2D(),
    )  # fmt: skip


def test_separable_convolutions(tmp_path):
    model, x = randomized(separable(), (8, 9, 2))
    second, head = model.get_layer("b"), model.get_layer("head")
    readers = {"a": [(second.depthwise_kernel, 2, same)], "b": [(head.kernel, 0, same)]}
    check(model, x, readers)
    assert second.depthwise_kernel.shape == (3, 3, 2, 2)
    assert second.pointwise_kernel.shape == (1, 1, 4, 3)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_a_layer_whose_weights_cannot_be_cut_keeps_what_it_reads():
    model, x = randomized(conv_flatten(layers.PReLU(shared_axes=[1, 2], name="slopes")), (8, 9, 2))
    found, reasons = channels.removable(model, x)
    assert found.keys() == {"a"}
    assert reasons["b"] == "slopes reads it and cannot be cut"


def test_a_subclassed_model_of_raw_operations_batch_norm_and_depthwise():
    model, x = randomized(Raw(), (12, 13, 1))
    model.norm.gamma.assign([0.0, 1.0, 0.0, 1.0])  # zeros must not hide dependencies
    size = model.third.kernel.shape[0] // 6
    readers = {
        "first": [(model.second.kernel, 2, lambda c: [2 * c, 2 * c + 1])],
        "second": [(model.third.kernel, 0, lambda c: range(c * size, (c + 1) * size))],
        "third": [(model.head.kernel, 0, same)],
    }
    plan, _ = check(model, x, readers)
    assert plan.inputs["norm"].indices == plan.inputs["depthwise"].indices == plan.outputs["first"].indices
    assert model.depthwise.kernel.shape == (3, 3, 2, 2)
    assert model.depthwise.bias.shape == (4,)
    assert model.norm.moving_mean.shape == (2,)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, np.zeros(len(x), "int32"), verbose=0)


@pytest.mark.parametrize(
    "kind", ["lstm", pytest.param("gru", marks=pytest.mark.slow), pytest.param("simple", marks=pytest.mark.slow)]
)
def test_recurrent_cells(kind):
    model, x = randomized(Recurrent(kind), (7, 3))
    cells = model.first.cell, model.second.cell
    readers = {
        "first": [(cells[0].recurrent_kernel, 0, same), (cells[1].kernel, 0, same)],
        "second": [(cells[1].recurrent_kernel, 0, same), (model.head.kernel, 0, same)],
    }
    check(model, x, readers)
    assert (model.first.units, model.second.units) == (3, 2)
    assert model.first.compute_output_shape((None, 7, 3)) == (None, 7, 3)


@pytest.mark.slow
def test_recurrent_layers_in_both_directions_are_saved(tmp_path):
    inputs = keras.Input((7, 3))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(inputs)
    model, x = randomized(keras.Model(inputs, layers.Dense(CLASSES, name="head")(layers.GRU(4, name="top")(x))), (7, 3))
    both, top, head = (model.get_layer(name) for name in ("both", "top", "head"))
    readers = {
        f"both/{side.name}": [(side.cell.recurrent_kernel, 0, same), (top.cell.kernel, 0, lambda c, at=at: at + c)]
        for at, side in ((0, both.forward_layer), (4, both.backward_layer))
    } | {"top": [(top.cell.recurrent_kernel, 0, same), (head.kernel, 0, same)]}
    check(model, x, readers)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_layers_side_by_side_are_both_pruned():
    model, x = randomized(concatenated(), (8, 9, 2))
    places = 6 * 7
    readers = {
        "a": [(model.get_layer("head").kernel, 0, lambda c: [p * 12 + c for p in range(places)])],
        "b": [(model.get_layer("head").kernel, 0, lambda c: [p * 12 + 4 + c for p in range(places)])],
    }
    plan, _ = check(model, x, readers)
    assert {10, 11} <= set(plan.inputs["norm"].indices)  # channels of the model's input


@pytest.mark.parametrize("kind", [pytest.param("image", marks=pytest.mark.slow), "tokens"])
def test_heads_and_feed_forward_of_self_attention(kind, tmp_path):
    model, _, x = small("self_attention", kind, num_blocks=2, num_heads=4)
    readers = {}
    for name, block in zip(("block_1", "block_2"), model.blocks, strict=True):
        readers[f"{name}/expand"] = [(block.contract.kernel, 0, same)]
        # Channels are (q k v, head, d_k); the output projection reads the 8 channels of v.
        readers[f"{name}/attention/query_key_value"] = [(block.attention.output_projection.kernel, 0, lambda c: c % 8)]
    check(model, x, readers)
    assert [block.attention.num_heads for block in model.blocks] == [2, 2]
    assert [block.attention.key_dim for block in model.blocks] == [2, 2]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded(x), model(x))


def test_blocks_of_different_sizes_cannot_be_saved():
    model, _, x = small("self_attention", num_blocks=2)
    channels.apply(model, channels.plan(model, 0.5, x=x, skip=["block_1/expand"]))
    with pytest.raises(ValueError, match="expected blocks of one size"):
        model.get_config()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("simplenet", {"units": (6, 4)}),
        ("cnn", {"filters": (2, 3), "units": 4}),
        ("lstm", {"units": (3, 2)}),
        ("self_attention", {"num_heads": 1, "key_dim": 4, "ff_dim": 6, "model_dim": 8}),
        ("transformer", {"num_heads": 1, "key_dim": 4, "ff_dim": 6, "model_dim": 8}),
    ],
)
def test_models_of_the_zoo_are_saved_with_their_present_widths(name, expected, tmp_path):
    model, _, x = small(name)
    channels.apply(model, channels.plan(model, 0.5, x=x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {key: loaded.get_config()[key] for key in expected} == expected
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_plan_is_applied_to_a_copy_and_goes_through_json():
    model, _, x = small("cnn")
    plan = channels.plan(model, 0.3, x=x)
    again = channels.ChannelPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    copy, _, _ = small("cnn")
    channels.apply(model, plan)
    channels.apply(copy, again)
    np.testing.assert_array_equal(copy(x), model(x))
    with pytest.raises(UsageError, match="plan: conv_2: expected a layer with 4 inputs, this model has 3"):
        channels.apply(copy, again)
    other, _, _ = small("simplenet")
    with pytest.raises(UsageError, match="this model has none that can be cut"):
        channels.apply(other, plan)


def test_planning_changes_nothing():
    model, _, x = small("cnn")
    before = [(id(v), id(v.value), v.numpy()) for v in model.variables]
    channels.plan(model, 0.5, x=x, importance="taylor", y=np.zeros(len(x), "int32"))
    for (key, value, array), v in zip(before, model.variables, strict=True):
        assert (key, value) == (id(v), id(v.value))
        np.testing.assert_array_equal(array, v)


def test_channels_with_the_smallest_weights_are_removed():
    model, _, x = small("simplenet")
    kernel = model.hidden[0].kernel.numpy().copy()
    kernel[:, [2, 5, 6]] *= 0.01
    model.hidden[0].kernel.assign(kernel)
    kept = channels.plan(model, 0.25, x=x).outputs["hidden_1"]
    assert set(range(12)) - set(kept.indices) == {2, 5, 6}


def test_keep_alone_changes_only_the_named_layers():
    model, _, x = small("cnn")
    plan = channels.plan(model, keep={"conv_2": 4, "hidden*": 5}, x=x)
    assert widths(plan) == {"conv_2": 4, "hidden": 5}
    channels.apply(model, plan)
    assert [layer.filters for layer in model.convolutions] == [4, 4]
    assert model(x).shape == (32, CLASSES)


def test_keep_takes_precedence_over_share_and_keeps_the_most_important():
    model, _, x = small("cnn")
    both, half = channels.plan(model, 0.5, keep={"conv_*": 2, "conv_1": 2}, x=x), channels.plan(model, 0.5, x=x)
    assert widths(both) == {"conv_1": 2, "conv_2": 2, "hidden": 4}
    assert both.outputs["hidden"] == half.outputs["hidden"]
    assert set(both.outputs["conv_2"].indices) < set(half.outputs["conv_2"].indices)
    assert widths(channels.plan(model, 0.5, keep={"hidden": 8}, x=x)) == {"conv_1": 2, "conv_2": 3}


def test_heads_are_kept_by_their_number():
    model, _, x = small("self_attention", num_blocks=2, num_heads=4)
    plan = channels.plan(model, keep={"query_key_value": 3}, x=x)
    assert plan.heads == {f"{block}/attention/query_key_value": 3 for block in ("block_1", "block_2")}
    channels.apply(model, plan)
    assert [block.attention.num_heads for block in model.blocks] == [3, 3]


def test_recurrent_kernels_count_and_biases_do_not():
    model, x = randomized(Recurrent("lstm"), (7, 3))
    cell = model.first.cell
    weights = np.concatenate([cell.kernel.numpy(), cell.recurrent_kernel.numpy()]).reshape(-1, 4, 6)
    kept = channels.plan(model, 0.5, x=x).outputs["first"]
    assert set(kept.indices) == set(np.argsort(np.abs(weights).mean((0, 1)))[3:])


def test_taylor_is_the_gradient_times_the_weight():
    model, _, x = small("simplenet")
    y = np.arange(len(x)) % CLASSES
    kernel = model.hidden[0].kernel
    with tf.GradientTape() as tape:
        probabilities = tf.nn.log_softmax(model(x))
        loss = -tf.reduce_mean(tf.gather(probabilities, y, batch_dims=1))
    score = np.abs((np.asarray(tape.gradient(loss, kernel.value)) * kernel.numpy()).sum(0))
    kept = channels.plan(model, 0.5, importance="taylor", x=x, y=y).outputs["hidden_1"]
    assert set(kept.indices) == set(np.argsort(score)[6:])


@pytest.mark.slow
def test_under_mirrored_strategy_new_variables_are_mirrored(mirrored):
    with mirrored.scope():
        model, _, x = small("cnn")
        y = np.zeros(len(x), "int32")
        plan = channels.plan(model, 0.5, importance="taylor", x=x, y=y)
        channels.apply(model, plan)
        assert all(v.value.distribute_strategy is mirrored for v in model.variables)
        assert len(model.convolutions[0].kernel.value.values) == 2
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, y, batch_size=16, verbose=0)
    alone, _, _ = small("cnn")
    assert channels.plan(alone, 0.5, importance="taylor", x=x, y=y) == plan


def test_apply_discards_traced_functions_of_a_compiled_model():
    model, _, x = small("simplenet")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, np.zeros(len(x), "int32"), verbose=0)
    model.predict(x, verbose=0)
    channels.apply(model, channels.plan(model, 0.5, x=x))
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), atol=1e-6)
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, np.zeros(len(x), "int32"), verbose=0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, np.zeros(len(x), "int32"), verbose=0)


class Fixed(keras.Model):
    """A layer that cannot be pruned, for a different reason in each `way`."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.body = layers.Dense(6, name="body")
        self.norm = layers.LayerNormalization(name="norm") if way == "norm" else None
        self.scale = self.add_weight(shape=(6,), name="scale") if way == "weights" else None
        self.again = layers.Dense(6, name="again") if way in ("shared", "slice") else None
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        x = self.body(x)
        if self.way == "norm":
            x = self.norm(x)
        elif self.way == "softmax":
            x = ops.softmax(x)
        elif self.way == "weights":
            x = x * self.scale
        elif self.way == "shape":
            x = ops.reshape(x, (-1, 6))
        elif self.way == "mean":
            x = x * (1.0 / x.shape[-1])
        elif self.way == "slice":
            return self.head(ops.concatenate([self.again(x[:, :3]), x[:, 3:]], axis=1))
        elif self.way == "constant":
            x = x + np.arange(6, dtype="float32")
        elif self.way == "shared":
            return self.head(self.again(self.again(x)))
        return self.head(x)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("norm", "body: norm reads it and cannot be cut"),
        ("softmax", "body: all its channels depend on each other"),
        ("weights", "body: the model does not run without some of its channels"),
        ("shape", "body: the model does not run without some of its channels"),
        ("constant", "body: the model does not run without some of its channels"),
        ("mean", "body: the model's outputs depend on its number of channels"),
        ("slice", "body: its channels are not all read in the same way"),
        ("shared", "again: it is called 2 times"),
    ],
)
def test_layers_that_cannot_be_pruned_have_a_reason(way, reason):
    model, x = randomized(Fixed(way), (5,))
    assert "body" not in channels.groups(model, x)
    with pytest.raises(UsageError, match="no layer can be pruned.*" + reason):
        channels.plan(model, 0.5, x=x, skip=["again"] if way == "slice" else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, "share: expected a number between 0 and 1, both excluded, received 1.5"),
        ({"share": 0}, "share: expected a number between 0 and 1, both excluded, received 0"),
        ({"share": 0.01}, "removes at least one of 12 channels, received 0.01"),
        ({"importance": "tailor"}, "unknown importance 'tailor': .*did you mean 'taylor'"),
        (
            {"importance": "taylor"},
            "y: importance taylor: expected one input and a class index for each of 32 examples, received none",
        ),
        ({"skip": ["hiden_1"]}, "skip=hiden_1: no layer of this name.*did you mean 'hidden_1'"),
        ({"skip": ["hidden_*"]}, "no layer can be pruned: .*hidden_1: it is skipped"),
        ({"x": np.zeros((0, 9, 10, 1))}, "x: expected at least one example, received none"),
        ({"share": None}, "share: expected a number between 0 and 1, both excluded, or keep, received neither"),
        ({"share": None, "keep": {}}, "or keep, received neither"),
        ({"keep": {"hiden_1": 6}}, "keep=hiden_1: no layer of this name.*did you mean 'hidden_1'"),
        ({"keep": {"head": 2}}, "keep=head:2: head cannot be pruned: it is part of the model's output"),
        ({"keep": {"hidden_2": 2}, "skip": ["hidden_2"]}, "keep=hidden_2:2: hidden_2 cannot be pruned: it is skipped"),
        (
            {"keep": {"hidden_1": 0}},
            "keep=hidden_1:0: hidden_1: expected a number from 1 to 12, received 0",
        ),
        (
            {"keep": {"hidden_*": 9}},
            "keep=hidden_.:9: hidden_2: expected a number from 1 to 8, received 9",
        ),
        ({"keep": {"hidden_*": 6, "hidden_2": 5}}, "keep=hidden_2:5: hidden_2: .* another pattern keeps 6"),
        ({"share": None, "keep": {"hidden_2": 8}}, "keep: expected a value that removes at least one of 12 channels"),
    ],
)
def test_invalid_arguments_are_usage_errors(arguments, message):
    model, _, x = small("simplenet")
    with pytest.raises(UsageError, match=message):
        channels.plan(model, **{"share": 0.5, "x": x, **arguments})


def test_a_model_without_weights_cannot_be_pruned():
    with pytest.raises(UsageError, match="no layer can be pruned: none has kernels"):
        channels.plan(keras.Sequential([keras.Input((4,)), layers.ReLU()]), 0.5, x=np.zeros((1, 4), "float32"))


def test_bfloat16_models_are_pruned():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, _, x = small("self_attention")
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(channels.groups(model, x)) == 2
    channels.apply(model, channels.plan(model, 0.5, x=x))
    assert model(x).shape == (32, CLASSES)


def test_an_unbuilt_model_is_refused():
    with pytest.raises(UsageError, match="expected a built model"):
        channels.groups(Recurrent("lstm"), np.zeros((1, 7, 3), "float32"))


def test_a_layer_without_output_channels_of_its_own_cannot_be_named_in_keep():
    model, x = randomized(Raw(), (12, 13, 1))
    with pytest.raises(UsageError, match="depthwise cannot be pruned: it has no output channels of its own"):
        channels.plan(model, keep={"depthwise": 2}, x=x)
