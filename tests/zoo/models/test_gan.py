"""The GAN: gradients of each network, gradient penalties, the moving average, and saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.config.train_config import TrainConfig
from zoo.models import GAN, Adversarial, ScaledAdamW
from zoo.objectives.gradients import gradient
from zoo.tasks import generation
from zoo.tasks.parts import drawing
from zoo.training import layerwise

SHAPE = (8, 12, 1)
SMALL = {"num_classes": 3, "latent_size": 5, "filters": (6, 4), "units": (7, 9)}
KINDS = ("non_saturating", "hinge", "wasserstein")
# Smooth activations: at the kink of a relu, a finite difference is not the gradient.
SMOOTH = {"architecture": "dense", "conditional": True}


def made(dtype="float64", **settings):
    keras.utils.set_random_seed(1)
    model = GAN(**SMALL | settings, dtype=dtype)
    model.build((None, *SHAPE))
    rng = np.random.default_rng(2)
    for variable in model.discriminator.trainable_variables:  # biases start as zeros
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    return model


def batch(model, count=6, seed=0):
    rng = np.random.default_rng(seed)
    codes = drawing.codes(model, count, seed, np.arange(count) % 3)
    return rng.random((count, *SHAPE)), codes.astype("float64"), rng.random((count, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_their_papers(kind):
    logits = np.array([[-3.0], [-0.2], [0.5], [4.0]])
    p = 1 / (1 + np.exp(-logits))
    expected = {
        "non_saturating": (-np.log(p), -np.log(1 - p), -np.log(p)),
        "hinge": (np.maximum(0, 1 - logits), np.maximum(0, 1 + logits), -logits),
        "wasserstein": (-logits, logits, -logits),
    }[kind]
    for side, values in zip(("real", "fake", "generator"), expected, strict=True):
        loss = Adversarial(kind, side, dtype="float64")
        assert float(loss(np.zeros((4, 1)), logits)) == pytest.approx(values.mean(), rel=1e-9)


@pytest.mark.parametrize("settings", [{}, {"conditional": True, "norm": "batch"}, {"architecture": "dense"}])
def test_each_side_learns_from_its_own_outputs_alone(settings):
    model = made(**settings)
    inputs = batch(model)
    mine, theirs = model.generator.trainable_variables, model.discriminator.trainable_variables
    for name, learns, not_ in (("generator", mine, theirs), ("fake", theirs, mine), ("real", theirs, mine)):
        with tf.GradientTape(persistent=True) as tape:
            total = tf.reduce_sum(model(inputs, training=True)[name])
        assert all(g is None for g in tape.gradient(total, [v.value for v in not_])), name
        # A constant added to the discriminator's logits has no gradient at an image.
        found = tape.gradient(total, [v.value for v in learns])
        assert all(np.any(np.asarray(g) != 0) for g in found if g is not None), name
        assert sum(g is None for g in found) == 0, name
    # The frozen pass gives the same logits as the trained one.
    outputs = model(inputs, training=True)
    np.testing.assert_allclose(outputs["generator"], outputs["fake"], rtol=1e-9)
    assert len(model.trainable_variables) == len(mine) + len(theirs)


def test_the_frozen_pass_leaves_averages_alone():
    """Two of the discriminator's three passes update the batch-norm averages: those of real and generated images."""
    model = made(norm="batch")
    inputs = batch(model)
    (norm,) = model.discriminator.norms
    expected = [v.numpy() for v in norm.non_trainable_variables]
    hidden = model.discriminator.hidden[1]
    first = model.discriminator.hidden[0]
    images = model.generator(inputs[1], training=True)
    for x in (inputs[0], images):
        y = first(x)
        y = np.asarray(hidden(np.maximum(y, 0.2 * np.asarray(y))))
        moments = y.mean((0, 1, 2)), y.var((0, 1, 2))
        expected = [0.99 * old + 0.01 * new for old, new in zip(expected, moments, strict=True)]
    model(inputs, training=True)
    for variable, value in zip(norm.non_trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-6)


def slopes(model, images, classes, step=1e-6):
    """Return the squared norm of the discriminator's gradient at each image, by finite differences."""
    total = np.zeros(len(images))
    for index in np.ndindex(images.shape[1:]):
        moved = np.zeros_like(images)
        moved[(slice(None), *index)] = step
        above, below = (np.asarray(model.discriminator(images + sign * moved, classes))[:, 0] for sign in (1, -1))
        total += ((above - below) / (2 * step)) ** 2
    return total


@pytest.mark.parametrize("kind", [pytest.param("r1", marks=pytest.mark.slow), "gradient_penalty"])
def test_penalties_are_the_slope_by_finite_differences(kind):
    model = made(**SMOOTH, **({"r1": 3.0} if kind == "r1" else {"loss": "wasserstein", "gradient_penalty": 4.0}))
    images, codes, mix = batch(model)
    found = model((images, codes, mix), training=False)[kind][:, 0]
    if kind == "r1":
        expected = 3.0 / 2 * slopes(model, images, codes[:, 5:])
    else:
        between = mix[:, None, None] * images + (1 - mix[:, None, None]) * np.asarray(model.generator(codes))
        expected = 4.0 * (np.sqrt(slopes(model, between, codes[:, 5:])) - 1) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_a_penalty_teaches_the_discriminator_is_its_derivative():
    """The gradient of the penalty, a second derivative, equals a finite difference of the penalty."""
    model = made(**SMOOTH, r1=3.0)
    inputs = batch(model)
    kernel = model.discriminator.hidden[0].kernel
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(inputs)["r1"])
    found = np.asarray(tape.gradient(total, kernel.value))
    value, step = kernel.numpy(), 1e-6
    for place in ((3, 4), (50, 0), (95, 8)):
        sides = []
        for sign in (1, -1):
            moved = value.copy()
            moved[place] += sign * step
            kernel.assign(moved)
            sides.append(float(tf.reduce_sum(model(inputs)["r1"])))
        kernel.assign(value)
        assert found[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4)


def test_a_gradient_that_is_not_connected_is_zero():
    x = tf.ones((2, 3))
    np.testing.assert_array_equal(gradient(lambda _: tf.ones(2), x), np.zeros((2, 3)))


def test_the_average_follows_one_step_late_and_faster_in_the_beginning():
    model = made(average_decay=0.3)
    variable, mine = model.generator.hidden[0].kernel, model.average.hidden[0].kernel
    expected = variable.numpy()
    np.testing.assert_array_equal(mine, expected)
    for step in range(5):
        variable.assign(variable + 1.0)
        model(batch(model), training=True)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * variable.numpy()
        np.testing.assert_allclose(mine, expected, rtol=1e-9)
    model(batch(model), training=False)
    np.testing.assert_allclose(mine, expected, rtol=1e-9)
    np.testing.assert_array_equal(model.sample(batch(model)[1]), model.average(batch(model)[1], training=False))


@pytest.mark.parametrize(("name", "count"), [
    # Counted by hand: generator and its average (four values per normalised channel), discriminator, one counter.
    ("gan", 2 * (64 * 3136 + 4 * 64 + 16 * 32 * 64 + 4 * 32 + 16 * 32 + 1)
     + (16 * 32 + 32) + (16 * 32 * 64 + 64) + 3136 + 1 + 1),
    ("gan_dense", 2 * (64 * 256 + 4 * 256 + 256 * 512 + 4 * 512 + 512 * 784 + 784)
     + (784 * 512 + 512) + (512 * 256 + 256) + 256 + 1 + 1),
])  # fmt: skip
def test_parameter_counts_are_exact(name, count):
    from zoo.config import registry

    model = registry.model_class(name)(**registry.entry(name).preset)
    model.build((None, 28, 28, 1))
    assert model.count_params() == count


OTHER = {"num_classes": 4, "conditional": True, "latent_size": 6, "architecture": "dense", "filters": (5,),
         "kernel_size": 3, "units": (8, 7), "norm": "layer", "loss": "wasserstein", "gradient_penalty": 5.0, "r1": 0.5,
         "discriminator_rate": 2.0, "average_decay": 0.9}  # fmt: skip


@pytest.mark.parametrize("arguments", [OTHER, {"dtype": "mixed_bfloat16", "conditional": True}])
def test_saves_and_loads(arguments, tmp_path):
    model = GAN(**arguments)
    model.build((None, *SHAPE))
    config = TrainConfig(
        model="gan", settings={k: v for k, v in arguments.items() if k not in ("dtype", "num_classes")}
    )
    rates = layerwise.own_rates(model)
    faster = {v.path.split("/")[1] for v, rate in zip(model.trainable_variables, rates, strict=False) if rate != 1}
    assert faster == ({"discriminator"} if model.rates else set())
    model.compile(ScaledAdamW(rates, learning_rate=0.1), **generation.TASK.compiled_with(config, None))
    model.optimizer.build(model.trainable_variables)
    images, codes, mix = batch(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.optimizer.rates == rates and loaded.loss.keys() == model.loss.keys()
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    for name, found in loaded((images, codes, mix)).items():
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, model((images, codes, mix))[name])
    if "dtype" in arguments:
        assert loaded.generator.hidden[0].compute_dtype == "bfloat16" and loaded.generator.image.dtype == "float32"
        assert loaded.updates.dtype == "float32"


def test_other_arguments_differ_from_the_defaults():
    from zoo.config import registry

    known = registry.arguments("gan")
    assert set(known) == set(OTHER) and all(known[name].default != value for name, value in OTHER.items())
