import keras
import numpy as np
import pytest
from keras import layers

from compression.exporting import learnt, tflite
from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.interface import Interface
from compression.recipes.language import parse
from compression.runtime import litert
from tests.compression.conftest import small
from zoo.console.errors import UsageError


def network(seed=0, groups=1):
    """Return a small network with a depthwise convolution, its interface and 64 examples with correlated pixels."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(16, 3, activation="relu", bias_initializer="normal"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Conv2D(24, 1, groups=groups, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(32, activation="relu"),
            layers.Dense(5, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, 0.3, (64, 8, 8, 3)), 2) + rng.normal(1, 1, (64, 1, 1, 3))
    return model, Interface("image", (8, 8, 3)), x.astype("float32")


def content_of(model, interface, path):
    tflite.export(model, path, parse("float32"), interface, probabilities=False)
    return flatbuffer.read(path)


def calls(x):
    return lambda: ({"image": x[i : i + 1]} for i in range(len(x)))


@pytest.mark.parametrize("groups", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_learnt_rounding_is_nearer_to_keras_than_the_nearest_and_deterministic(groups, tmp_path):
    model, interface, x = network(groups=groups)
    logits = keras.Model(model.inputs, model.layers[-2].output)  # before the softmax; one layer less
    expected, error, files = logits.predict(x[32:], verbose=0), {}, {}
    for name, recipe in {"learnt": "int4", "again": "int4", "nearest": "int4(rounding=nearest)"}.items():
        files[name] = tmp_path / f"{name}.tflite"
        tflite.export(logits, files[name], parse(recipe), interface, calibration=x[:32], probabilities=False)
        error[name] = float(np.square(litert.run(files[name], x[32:]) - expected).mean())
    assert error["learnt"] < error["nearest"] / 2
    assert files["learnt"].read_bytes() == files["again"].read_bytes()


def test_the_file_holds_the_rounded_weights_and_the_bias_keeps_the_mean(tmp_path):
    model, interface, x = network()
    content = content_of(model, interface, tmp_path / "float.tflite")
    bits = {each.place: 4 if each.code in learnt.FOUR_BITS else 8 for each in weights.find(content)}
    current, made = learnt.learnt(content, calls(x), bits)
    for each in made:
        found = each.weights
        values = weights.constant(current, 0, found.tensor)
        shape = [1] * len(found.shape)
        shape[-1 if found.depthwise else 0] = -1
        np.testing.assert_allclose(values, each.integers * each.scales.reshape(shape), rtol=1e-6)
        assert np.abs(each.integers).max() <= 2 ** (each.bits - 1) - 1
    # All means of the first layer's outputs over the patches that were seen are those of the float file.
    first = made[0].weights
    sums = learnt._moments(content, content, [first], calls(x), seed=0)[first.place]
    means = [
        first.matrix(weights.constant(each, 0, first.tensor)) @ (sums.x / sums.count)
        + weights.constant(each, 0, first.bias)
        for each in (content, current)
    ]
    np.testing.assert_allclose(*means, atol=1e-5)


def test_bits_go_where_they_help_the_outputs_most_and_fit(tmp_path):
    model, interface, x = network()
    content = content_of(model, interface, tmp_path / "float.tflite")
    four = [each for each in weights.find(content) if each.code in learnt.FOUR_BITS]

    def chosen(spare):
        found = learnt.chosen_bits(content, calls(x), four, spare, per_tensor=False)
        return {each.place for each in four if found[each.place] == 8}, found

    assert chosen(0)[0] == set()
    assert chosen(sum(each.size for each in four))[0] == {each.place for each in four}
    some, _ = chosen(300)
    assert 0 < sum(each.size // 2 for each in four if each.place in some) <= 300


@pytest.mark.slow
def test_a_mixed_file_fits_and_says_which_layer_has_how_many_bits(tmp_path):
    model, interface, x = network()
    sizes = {}
    for recipe in ("int4", "int4(mixed=6kB)", "int4(mixed=1MB)"):
        path = tmp_path / "model.tflite"
        made = tflite.export(model, path, parse(recipe), interface, calibration=x, probabilities=False)
        sizes[recipe] = path.stat().st_size, sorted(made.bits.values())
        assert made.engine == "litert-quantizer"
    assert sizes["int4(mixed=6kB)"][0] <= 6000
    assert sizes["int4(mixed=1MB)"][1] == [8] * 5 and 4 in sizes["int4"][1]
    with pytest.raises(UsageError, match=r"mixed: expected at least [\d,]+ bytes, .* received 1,000"):
        tflite.export(model, path, parse("int4(mixed=1k)"), interface, calibration=x, probabilities=False)


def test_examples_are_needed_unless_rounding_is_nearest(tmp_path):
    model, interface, _ = network()
    with pytest.raises(UsageError, match="int4: expected examples to calibrate with, received none"):
        tflite.export(model, tmp_path / "m.tflite", parse("int4"), interface)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["loop", "unrolled"])
def test_recurrent_kernels_are_rounded(kernel, tmp_path):
    model, interface, x = small("lstm", "tokens")
    path = tmp_path / "model.tflite"
    made = tflite.export(model, path, parse("int4"), interface, calibration=x, kernel=kernel)
    assert 4 in made.bits.values()
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(x)))
    np.testing.assert_allclose(litert.run(path, x), expected, atol=0.1)


def test_pruned_weights_stay_zero_in_the_file(tmp_path):
    model, interface, x = network()
    for layer in model.layers:
        if layer.weights:
            layer.kernel.assign(np.where(np.abs(layer.kernel) < np.median(np.abs(layer.kernel)), 0, layer.kernel))
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse("int4"), interface, calibration=x, probabilities=False)
    kernels = [row for row in flatbuffer.constants(flatbuffer.read(path)) if row["type"] in ("int4", "int8")]
    assert kernels and all(row["zeros"] >= 0.49 * row["elements"] for row in kernels)


def test_dynamic_quantizes_models_whose_weights_are_all_few(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    interface, files = Interface("x", (6,)), {}
    for recipe in ("float32", "dynamic"):
        files[recipe] = tmp_path / f"{recipe}.tflite"
        made = tflite.export(model, files[recipe], parse(recipe), interface)
    assert made.engine == "litert-quantizer" and set(made.bits.values()) == {8}
    assert files["dynamic"].read_bytes() != files["float32"].read_bytes()
    assert "int8" in {row["type"] for row in flatbuffer.constants(flatbuffer.read(files["dynamic"]))}


def test_operators_in_float_between_integers_are_named(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.Conv2D(8, 3),
            layers.GroupNormalization(4),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 4)).astype("float32")
    path = tmp_path / "model.tflite"
    found = {}
    for recipe in ("float32", "int8", "int8(skip=head)"):
        tflite.export(model, path, parse(recipe), Interface("x", (6, 6, 4)), calibration=x)
        found[recipe] = flatbuffer.float_operators(flatbuffer.read(path))
    assert found["float32"] == {} and "FULLY_CONNECTED" in found["int8(skip=head)"]
    assert "CONV_2D" not in found["int8"] and "FULLY_CONNECTED" not in found["int8"]
    print(found)
