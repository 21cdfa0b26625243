"""The cross-modal model and its loss against slow reference implementations."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from strategies import collective
from tests.conftest import ROOT
from zoo.config import registry
from zoo.models import CrossModal, PairAccuracy, PairLoss

IMAGE, TOKENS, VOCABULARY = (12, 12, 1), (7,), 30
SMALL = {"filters": (3, 5), "pools": 1, "units": 6, "word_dim": 8, "num_layers": 1, "num_heads": 2, "ff_dim": 9,
         "embedding_dim": 7, "fusion_dim": 11}  # fmt: skip
HEADS = pytest.mark.parametrize("head", ["cosine", "fusion"])


def make(**arguments):
    keras.utils.set_random_seed(0)
    model = CrossModal(VOCABULARY, **{**SMALL, **arguments})
    model.build([(None, *IMAGE), (None, *TOKENS)])
    return model


def pairs(count=6, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, VOCABULARY, (count, *TOKENS)).astype("int32")
    ids[:, 5:] = 0
    return rng.random((count, *IMAGE), dtype="float32"), ids


def test_parameter_count_is_exact():
    image = (9 * 3 + 3) + (9 * 3 * 5 + 5) + (3 * 3 * 5 * 6 + 6) + (6 * 7 + 7)
    text = VOCABULARY * 8 + (8 * 6 + 6) + (6 * 7 + 7)
    assert make().count_params() == image + text + 1
    assert make(head="fusion").count_params() == image + text + (7 * 11 + 11) + 7 * 11 + 11
    block = 4 * (8 * 8 + 8) + (8 * 9 + 9) + (9 * 8 + 8) + 2 * 16
    assert make(text="transformer").count_params() == image + text + block + 16 + 1


@HEADS
def test_an_output_holds_both_towers_and_what_scores_them(head):
    model, (images, ids) = make(head=head), pairs()
    y = np.asarray(model((images, ids)))
    np.testing.assert_allclose(y[:, 0], model.encode_image(images), atol=1e-6)
    np.testing.assert_allclose(y[:, 1], model.encode_text(ids), atol=1e-6)
    np.testing.assert_allclose(y[:, 2], np.broadcast_to(model.pair_weights(), y[:, 2].shape))
    if head == "cosine":
        np.testing.assert_allclose(np.linalg.norm(y[:, :2], axis=-1), 1, atol=1e-5)
        np.testing.assert_allclose(y[:, 2], 1 / 0.07, rtol=1e-6)


def test_a_fusion_is_one_dense_layer_over_both_beside_each_other():
    model, (images, ids) = make(head="fusion"), pairs(3)
    y = np.asarray(model((images, ids)))
    plain = make()
    plain.set_weights([np.zeros((), "float32"), *model.get_weights()[1 : len(plain.weights)]])
    found = np.asarray(plain((images, ids)))
    kernel = np.concatenate([model.image_half.kernel, model.text_half.kernel])
    for i in range(3):
        for j in range(3):
            both = np.concatenate([found[i, 0], found[j, 1]])
            expected = np.maximum(both @ kernel + np.asarray(model.image_half.bias), 0) @ np.asarray(model.score)
            scored = np.maximum(y[i, 0] + y[j, 1], 0) @ y[0, 2]
            assert scored == pytest.approx(expected, abs=1e-5)


def slow_scores(y, head):
    image, text, weights = y[:, 0].astype(float), y[:, 1].astype(float), y[0, 2].astype(float)
    scores = np.zeros((len(y), len(y)))
    for i in range(len(y)):
        for j in range(len(y)):
            cell = image[i] * text[j] if head == "cosine" else np.maximum(image[i] + text[j], 0)
            scores[i, j] = (cell * weights).sum()
    return scores


def slow_loss(ids, y, head):
    """Return the mean over both directions of the cross-entropy with the targets, minus the targets' entropy."""
    real = [i for i in range(len(ids)) if ids[i] >= 0]
    scores, losses = slow_scores(y, head), np.zeros(len(ids))
    for table in (scores, scores.T):
        for i in real:
            same = [j for j in real if ids[j] == ids[i]]
            log_p = table[i, real] - np.log(np.exp(table[i, real]).sum())
            wanted = sum(log_p[real.index(j)] / len(same) for j in same)
            losses[i] += -(wanted + np.log(len(same))) / 2
    return losses


@HEADS
@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5, 6, 7], [3, 3, 1, 1, 1, 2, 0, 3], [0, 0, 1, 1, -1, 2, -1, -1]])
def test_the_loss_and_the_accuracy_are_those_of_loops(head, ids):
    rng = np.random.default_rng(1)
    y = rng.normal(0, 0.7, (8, 3, 6)).astype("float32")
    y[:, 2] = y[0, 2]
    ids = np.array(ids, "int32")
    np.testing.assert_allclose(PairLoss(head, reduction=None)(ids, y), slow_loss(ids, y, head), atol=2e-6)
    real = np.flatnonzero(ids >= 0)
    best = real[slow_scores(y, head)[real][:, real].argmax(1)]
    metric = PairAccuracy(head)
    metric.update_state(ids, y, (ids >= 0).astype("float32"))
    assert float(metric.result()) == pytest.approx((ids[best] == ids[real]).mean())


def test_of_targets_that_are_there_once_the_loss_is_the_cross_entropy_of_the_diagonal():
    y = np.random.default_rng(2).normal(0, 1, (5, 3, 4)).astype("float32")
    y[:, 2] = 3.0
    logits = 3 * y[:, 0] @ y[:, 1].T
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = (float(entropy(np.arange(5), logits)) + float(entropy(np.arange(5), logits.T))) / 2
    assert float(PairLoss()(np.arange(5), y)) == pytest.approx(expected, rel=1e-5)


def test_what_is_perfect_costs_nothing_in_any_batch():
    y = np.eye(3, dtype="float32")[[0, 0, 1, 2, 2, 2]][:, None].repeat(3, axis=1)
    y[:, 2] = 100.0
    np.testing.assert_allclose(PairLoss(reduction=None)(np.array([0, 0, 1, 2, 2, 2]), y), 0, atol=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"head": "fusion", "text": "transformer", "batch_norm": True}])
def test_every_variable_gets_a_gradient(arguments):
    model, x = make(**arguments), pairs()
    with tf.GradientTape() as tape:
        loss = PairLoss(model.head)(np.array([0, 1, 2, 2, 3, 4]), model(x, training=True))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, [v.value for v in model.trainable_variables]), strict=True
    ):
        # Tokens that no caption contains have no gradient, and neither has the bias of keys, which softmax cancels.
        assert gradient is not None and np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.path
        assert np.any(np.asarray(tf.convert_to_tensor(gradient)) != 0), variable.path


def test_the_gradient_is_that_of_the_loss():
    """The gradient equals central differences in float64."""
    rng, ids = np.random.default_rng(3), np.array([0, 1, 1, 2])
    y = rng.normal(0, 1, (4, 3, 5))
    y[:, 2] = rng.normal(0, 1, 5)
    for head in ("cosine", "fusion"):
        loss = PairLoss(head, dtype="float64")
        given = tf.constant(y)
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = loss(ids, given)
        found = tape.gradient(value, given).numpy()
        for place in [(0, 0, 1), (2, 0, 4), (1, 1, 3), (3, 1, 0)]:
            step = np.zeros_like(y)
            step[place] = 1e-6
            expected = (slow_loss(ids, y + step, head).mean() - slow_loss(ids, y - step, head).mean()) / 2e-6
            assert found[place] == pytest.approx(expected, abs=1e-6), (head, place)


def test_the_scale_stays_bounded_and_comes_back():
    model, x = make(temperature=0.0101), pairs()
    model.compile(keras.optimizers.SGD(1.0), PairLoss())
    model.log_scale.assign(4.6)
    up = keras.optimizers.SGD(1.0)
    up.build([model.log_scale])
    up.apply([ops.convert_to_tensor(-5.0)], [model.log_scale])
    assert float(np.exp(model.log_scale)) == pytest.approx(100, rel=1e-4)
    up.apply([ops.convert_to_tensor(0.5)], [model.log_scale])
    assert float(np.exp(model.log_scale)) < 70
    assert np.isfinite(model.train_on_batch(x, np.arange(6)))


@pytest.mark.parametrize("text", ["mean", "transformer"])
def test_padding_never_changes_a_result(text):
    model, (_, ids) = make(text=text), pairs()
    np.testing.assert_allclose(model.encode_text(ids), model.encode_text(np.pad(ids, ((0, 0), (0, 9)))), atol=1e-6)
    np.testing.assert_allclose(model.encode_text(ids), model.encode_text(ids[:, :5]), atol=1e-6)
    turned = ids[:, [4, 3, 2, 1, 0]]
    same = np.allclose(model.encode_text(ids), model.encode_text(turned), atol=1e-5)
    assert same == (text == "mean")  # a mean ignores the order of words


OTHER = {"filters": (4,), "pools": 0, "units": 5, "batch_norm": True, "text": "transformer", "word_dim": 12,
         "num_layers": 1, "num_heads": 3, "ff_dim": 10, "dropout": 0.1, "embedding_dim": 9, "head": "fusion",
         "fusion_dim": 13, "temperature": 0.2}  # fmt: skip


def test_saves_and_loads_with_other_arguments(tmp_path):
    known = registry.arguments("cross_modal")
    assert set(OTHER) == set(known) - {"vocabulary_size"}
    assert all(known[name].default != value for name, value in OTHER.items())
    model, x = make(**OTHER), pairs()
    assert {name: model.get_config()[name] for name in OTHER} == OTHER
    model.compile("adam", PairLoss("fusion"), weighted_metrics=[PairAccuracy("fusion")])
    model.loss.gather = collective.of_all_replicas
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config() and loaded.loss.head == "fusion"
    np.testing.assert_array_equal(loaded(x), model(x))


def test_bfloat16_is_computed_in_while_weights_and_vectors_stay_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make(text="transformer")
    finally:
        keras.config.set_dtype_policy("float32")
    y = model(pairs())
    assert y.dtype == tf.float32 and all(v.dtype == "float32" for v in model.trainable_variables)
    np.testing.assert_allclose(y[:, 2], 1 / 0.07, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.encoder.dtype_policy.name == loaded.image.hidden.dtype_policy.name == "mixed_bfloat16"
    np.testing.assert_array_equal(loaded(pairs()), y)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"head": "dot"}, "head: expected cosine or fusion, received 'dot'"),
    ({"text": "lstm"}, "text: expected mean or transformer, received 'lstm'"),
    ({"temperature": 0.001}, "temperature: expected 0.01 or more, received 0.001"),
    ({"embedding_dim": 0}, "embedding_dim: expected positive whole numbers, received 0"),
])  # fmt: skip
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"cross_modal: {message}"):
        make(**arguments)


def test_a_gathered_tensor_has_the_gradient_of_every_replicas_result(mirrored):
    """With x = [1] and [2] on two replicas, the result of replica r is r * sum(all ** 3)."""

    @tf.function
    def step():
        def each():
            number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32) + 1
            x = tf.reshape(number, (1,))
            with tf.GradientTape() as tape:
                tape.watch(x)
                every, _ = collective.of_all_replicas(x, tf.cast(x, tf.int32))
                result = number * tf.reduce_sum(every**3)
            return every, tape.gradient(result, x)

        return mirrored.run(each)

    every, gradient = step()
    for values in mirrored.experimental_local_results(every):
        np.testing.assert_array_equal(values, [1, 2])
    found = [float(g[0]) for g in mirrored.experimental_local_results(gradient)]
    assert found == [(1 + 2) * 3 * 1, (1 + 2) * 3 * 4]


_ON_JAX = """
import sys, numpy as np, keras
from zoo.models import PairLoss
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
given = np.load("given.npz")
model = keras.saving.load_model("model.keras")
y = np.asarray(model((given["images"], given["ids"])))
np.savez("found.npz", y=y, losses=[PairLoss(head)(given["targets"], y) for head in ("cosine", "fusion")])
"""


@pytest.mark.slow
def test_outputs_and_losses_are_the_same_on_jax(tmp_path):
    model, (images, ids) = make(head="fusion"), pairs()
    targets = np.array([0, 1, 1, 2, -1, 3], "int32")
    np.savez(tmp_path / "given.npz", images=images, ids=ids, targets=targets)
    model.save(tmp_path / "model.keras")
    y = model((images, ids))
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ON_JAX], cwd=tmp_path, env=env, check=True)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["y"], y, atol=2e-5)
    np.testing.assert_allclose(
        found["losses"], [PairLoss(head)(targets, y) for head in ("cosine", "fusion")], atol=2e-5
    )
