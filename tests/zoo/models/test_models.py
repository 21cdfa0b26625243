"""Contract tests that every registered model must pass. A model's own file tests only what is special about it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.zoo.models.small import SMALL
from zoo.config import registry
from zoo.introspection.layers import with_itself
from zoo.objectives.losses import CrossEntropy
from zoo.objectives.schedules import InverseSquareRoot

IMAGE, TOKENS = (28, 28, 1), (12,)
VOCABULARY = 50

# The networks of tests/zoo/models/test_vision.py, where their counts are compared with published ones: differences to
# 1,000 classes and three channels.
CONVOLUTIONAL = {
    "resnet": 274_442 - 3 * 3 * 2 * 16 - 688,  # of Keras' example; without the biases before normalisations
    "mobilenet": 4_253_864 - 3 * 3 * 2 * 32 - 990 * (1024 + 1),
    "mobilenet_v2": 3_538_984 - 3 * 3 * 2 * 32 - 990 * (1280 + 1),
    "mobilenet_v3": 2_554_968 - 3 * 3 * 2 * 16 - 990 * (1024 + 1),
    "efficientnet_lite": 4_694_024 - 3 * 3 * 2 * 32 - 990 * (1280 + 1),
    "proxyless": 4_115_008 - 3 * 3 * 2 * 32 - 990 * (1280 + 1),
    "ds_cnn": 24_908 - 2 * (64 + 1) - 9 * 64,  # two classes fewer; without the biases before normalisations
    # kernels of the stem, the blocks and their shortcuts; four numbers a channel of a normalisation; ten classes
    "tc_resnet": 3 * 28 * 16
    + 9 * (16 * 24 + 24 * 24 + 24 * 32 + 32 * 32 + 32 * 48 + 48 * 48)
    + 16 * 24
    + 24 * 32
    + 32 * 48
    + 4 * (16 + 3 * (24 + 32 + 48))
    + 48 * 10
    + 10,
    "streaming_wakeword": 47_707 - 12 * (3 + 128) + 7 * (32 + 1),  # 28 bands and ten classes
}
# Exact parameter counts, computed by hand from the weights and biases of each layer.
PARAMETERS = {
    "simplenet": 784 * 128 + 128 + 128 * 10 + 10,
    "cnn": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64) + (3 * 3 * 64 * 64 + 64) + (64 * 10 + 10),
    "cnn_128": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10),
    "cnn_12": (9 * 12 + 12) + (13 * 13 * 12 * 10 + 10),
    "lenet5": (25 * 20 + 20) + (25 * 20 * 50 + 50) + (4 * 4 * 50 * 500 + 500) + (500 * 10 + 10),
    "lenet300": 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10,
    **CONVOLUTIONAL,
    "lstm": 4 * 128 * (28 + 128 + 1) + 4 * 128 * (128 + 128 + 1) + 128 * 10 + 10,
    "self_attention": (28 * 64 + 64) + 28 * 64 + 2 * 33_472 + 2 * 64 + 64 * 10 + 10,
    "transformer": (28 * 64 + 64) + 2 * 33_472 + 2 * 64 + 64 * 10 + 10,
    "conv1d": 8 * 28 * 32 + 5 * 32 * 64 + 3 * 64 * 32 + 4 * (32 + 64 + 32) + 32 * 10 + 10,
    "tcn": (5 * 28 + 7 * 5 * 32) * 32 + (28 * 32 + 32) + 8 * 4 * 32 + 32 * 10 + 10,
    "large": 784 * 512 + 512 + 512 * 10 + 10,
    "small": 784 * 128 + 128 + 128 * 10 + 10,
}
PIXELS = {"num_classes": 4, "dropout": 0.1, "mean": (0.4,), "std": (0.3,), "first_stride": 3}
FEATURES = {"mean": (0.4,), "std": (0.3,)}
OTHER_ARGUMENTS = {
    "simplenet": {"num_classes": 4, "units": (20, 30), "activation": "tanh", "initializer": "he_normal",
                  "dropout": 0.2},
    "cnn": {"num_classes": 4, "filters": (3, 5), "kernel_size": 2, "strides": 2, "pools": 1, "units": 7,
            "activation": "tanh", "padding": "same", "batch_norm": True, "dropout": 0.1},
    "resnet": {"depth": 18, "alpha": 0.0625, "use_bias": True, **PIXELS},
    "mobilenet": {"alpha": 0.125, "activation": "relu", "use_bias": True, **PIXELS},
    "mobilenet_v2": {"alpha": 0.1, **PIXELS},
    "mobilenet_v3": {"size": "large", "alpha": 0.1, **PIXELS},
    "efficientnet_lite": {"size": 1, "alpha": 0.1, **PIXELS},
    "proxyless": {"alpha": 0.1, **PIXELS},
    "ds_cnn": {"filters": 8, "num_blocks": 2, "use_bias": True, "causal": True, **PIXELS},
    "tc_resnet": {"alpha": 0.25, "num_blocks": 6, "causal": True, **PIXELS},
    "streaming_wakeword": {"kernels": (3, 4), "filters": (9, 7), "causal": True, **PIXELS},
    "lstm": {"num_classes": 4, "units": (6,), "cell": "gru", "return_sequences": True, "dropout": 0.1, "unroll": True,
             "pooling": "mean", "word_dropout": 0.1,
             "embedding_dim": 9, **FEATURES},
    "self_attention": {"num_classes": 4, "model_dim": 12, "num_heads": 3, "ff_dim": 8, "num_blocks": 1, "dropout": 0.2,
                       "position": "sinusoidal", "causal": True, "key_dim": 5, **FEATURES},
    "transformer": {"num_classes": 4, "num_layers": 1, "model_dim": 12, "num_heads": 3, "ff_dim": 8, "dropout": 0.2,
                    "norm": "post", "activation": "gelu", "position": "learned", "pooling": "first",
                    "word_dropout": 0.1, "key_dim": 5, **FEATURES},
    "conv1d": {"num_classes": 4, "filters": (5, 6), "kernel_sizes": (3, 2), "strides": 2, "dropout": 0.1, **FEATURES},
    "tcn": {"num_classes": 4, "filters": (5, 6), "kernel_size": 2, "dropout": 0.2, **FEATURES},
}  # fmt: skip
# Arguments for samples of sound, which tests/zoo/models/test_sound.py has.
FRONT_END = ("rate", "features", "frame_ms", "hop_ms", "mels", "coefficients", "highest_hz", "level", "floor")
# Those that learn from tables or series have tests of their own.
CLASSIFIERS = [name for name in registry.names("classification") if "image" in registry.entry(name).inputs]
names = pytest.mark.parametrize("name", CLASSIFIERS)
# The first name of each class, for tests that do not depend on the preset.
CLASSES = list({registry.entry(name).path: name for name in reversed(CLASSIFIERS)}.values())


def some(*left_out):
    """Parametrize by classes; those that are left out, and deep networks but the first, are tested in the slow run.

    The deep networks share their blocks, and each takes seconds to be traced.
    """
    slow = {*left_out, *(name for name in SMALL if name not in ("resnet", "ds_cnn"))}
    values = [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in CLASSES]
    return pytest.mark.parametrize("name", values)


classes = some()


def make(name, shape=IMAGE, small=True, **arguments):
    keras.utils.set_random_seed(0)
    tiny = SMALL.get(name, {}) if small else {}
    model = registry.model_class(name)(**{**registry.entry(name).preset, **tiny, **arguments})
    model.build((None, *shape))
    return model


def images(count=4, seed=0):
    return np.random.default_rng(seed).random((count, *IMAGE), dtype="float32")


def test_parameter_table_is_complete():
    assert list(PARAMETERS) == CLASSIFIERS


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SMALL and name != "ds_cnn")) for name in CLASSIFIERS],
)
def test_parameter_count_is_exact(name):
    count = {"num_classes": 10} if name in ("ds_cnn", "tc_resnet", "streaming_wakeword") else {}
    assert make(name, small=False, **count).count_params() == PARAMETERS[name]


@classes
def test_logits_have_one_column_a_class_in_float32(name):
    y = make(name, num_classes=7)(images())
    assert y.shape == (4, 7)
    assert y.dtype == tf.float32


@some("resnet", "lstm", "transformer", "tcn")
def test_bfloat16_is_computed_in_and_saved_while_weights_and_logits_stay_float32(name, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make(name)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(images()).dtype == tf.float32
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    policies = {layer.path: layer.dtype_policy.name for layer in with_itself(loaded) if layer is not loaded.head}
    assert set(policies.values()) == {"mixed_bfloat16"}, policies
    np.testing.assert_array_equal(loaded(images()), model(images()))


@names
def test_signature_read_from_source_is_the_constructors(name):
    import inspect

    real = inspect.signature(registry.model_class(name).__init__).parameters
    read = registry.arguments(name)
    assert list(read) == [p for p in real if p not in ("self", "kwargs")]
    assert {k: a.default for k, a in read.items()} == {k: real[k].default for k in read}


@classes
def test_every_variable_gets_a_gradient(name):
    model = make(name)
    with tf.GradientTape() as tape:
        loss = CrossEntropy()(np.array([0, 1, 2, 3]), model(images(), training=True))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(np.asarray(gradient) != 0), variable.path


@some("simplenet", "cnn", "resnet", "ds_cnn", "lstm", "self_attention", "transformer", "tcn")
def test_overfits_one_small_batch(name):
    model = make(name)
    x, y = images(12), np.arange(12) % 10
    model.compile(keras.optimizers.Adam(3e-3), CrossEntropy(), metrics=["accuracy"], jit_compile=False)
    steps = 150  # in one epoch, because starting an epoch takes longer than one of these steps
    model.fit(np.tile(x, (steps, 1, 1, 1)), np.tile(y, steps), batch_size=12, shuffle=False, verbose=0)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy == 1.0
    assert loss < 0.1


@some("resnet")
def test_saves_and_loads_with_other_arguments(name, tmp_path):
    arguments = OTHER_ARGUMENTS[name]
    model = make(name, **arguments)
    config = model.get_config()
    assert {k: config[k] for k in arguments} == arguments
    assert set(registry.arguments(name)) <= set(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == config
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_other_arguments_differ_from_the_defaults():
    assert set(OTHER_ARGUMENTS) == set(CLASSES)
    for name, arguments in OTHER_ARGUMENTS.items():
        known = registry.arguments(name)
        assert set(known) - set(arguments) <= {"vocabulary_size", "widths", *FRONT_END}
        assert all(known[k].default != value for k, value in arguments.items())


@some("resnet", "ds_cnn", "cnn", "lstm", "self_attention", "transformer", "tcn")
def test_train_step_compiles_under_xla_with_static_shapes(name):
    model = make(name)

    def loss_and_gradients(x, y):
        with tf.GradientTape() as tape:
            loss = CrossEntropy()(y, model(x, training=False))
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    spec = (tf.TensorSpec((4, *IMAGE)), tf.TensorSpec((4,), tf.int32))
    x, y = tf.constant(images()), tf.constant([0, 1, 2, 3])
    plain = tf.function(loss_and_gradients, spec)(x, y)
    compiled = tf.function(loss_and_gradients, spec, jit_compile=True)(x, y)
    for a, b in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # float32 sums in a different order


@pytest.mark.parametrize("name", ["lstm", "self_attention", "transformer"])
def test_padding_never_changes_a_result(name):
    model = make(name, TOKENS, vocabulary_size=VOCABULARY, num_classes=3)
    ids = np.random.default_rng(0).integers(1, VOCABULARY, (5, *TOKENS)).astype("int32")
    ids[:, 7:] = 0
    longer = np.pad(ids, ((0, 0), (0, 9)))
    if name == "self_attention":  # its learned positions are built for one length
        model = make(name, TOKENS, vocabulary_size=VOCABULARY, num_classes=3, position="sinusoidal")
    np.testing.assert_allclose(model(ids), model(longer), atol=1e-6)
    np.testing.assert_allclose(model(ids), model(ids[:, :7]), atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "self_attention", "transformer"])
def test_an_image_is_the_sequence_of_its_rows(name):
    model, x = make(name), images()
    np.testing.assert_allclose(model(x), model(x[..., 0]), atol=1e-6)


@pytest.mark.parametrize(("smoothing", "dtype"), [(0.0, "float32"), (0.1, "float32"), (0.3, "float64")])
def test_cross_entropy_is_that_of_the_smoothed_target(smoothing, dtype):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 3, (4, 6, 7)).astype(dtype), rng.integers(0, 7, (4, 6))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(7)[y] + smoothing / 7
    found = CrossEntropy(smoothing, reduction=None, dtype=dtype)(y, logits)
    np.testing.assert_allclose(found, -(target * log_p).sum(-1), rtol=1e-5 if dtype == "float32" else 1e-12)


_ON_JAX = """
import sys, numpy as np, keras, zoo.models
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
for name in sys.argv[1:]:
    model = keras.saving.load_model(f"{name}.keras")  # compiled, so its loss and optimizer are loaded too
    assert model.loss.label_smoothing == 0.1 and model.optimizer.get_config()["learning_rate"]["config"]["peak"] == 0.5
    np.save(f"{name}.jax.npy", model(np.load("x.npy")))
"""


@pytest.mark.slow  # the default run trains on JAX in test_jax, on eight devices
def test_models_give_the_same_outputs_on_jax(tmp_path):
    np.save(tmp_path / "x.npy", images())
    expected = {}
    for name in CLASSES:
        model = make(name)
        model.compile(keras.optimizers.AdamW(InverseSquareRoot(peak=0.5, warmup_steps=10)), CrossEntropy(0.1))
        model.save(tmp_path / f"{name}.keras")
        expected[name] = np.asarray(model(images()))
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ON_JAX, *expected], cwd=tmp_path, env=env, check=True)
    for name, y in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.jax.npy"), y, atol=2e-5, err_msg=name)


def test_a_configuration_that_cannot_be_built_is_no_half_model():
    """Keras alone warns and returns the layers that were built before the one that failed."""
    form = keras.saving.serialize_keras_object(registry.model_class("cnn")())
    form["build_config"] = {"input_shape": [None, "size", 28, 1]}
    with pytest.raises(UserWarning, match="cannot be built automatically"):
        keras.saving.deserialize_keras_object(form)
