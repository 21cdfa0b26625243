"""Attributions against closed forms and finite differences, and attention weights against plain numpy."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.conftest import ROOT
from zoo.console.errors import UsageError
from zoo.explain import attention_maps, attribution
from zoo.models import CNN, LSTM, MultiHeadSelfAttention, SelfAttentionClassifier, Transformer, TransformerClassifier

CLASSES, VOCABULARY = 3, 20


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def images(count=2, shape=(8, 9, 2), seed=0):
    return np.random.default_rng(seed).random((count, *shape), dtype="float32")


def tokens(length=7, padding=3):
    ids = np.random.default_rng(0).permutation(np.arange(1, VOCABULARY))[None, :length].astype("int32")
    return np.pad(ids, ((0, 0), (0, padding)))


def np_convolution(x, layer):
    """Return what a layer of "valid" padding gives before any activation, (batch, rows, columns, filters)."""
    kernel, bias = (w.astype("float64") for w in layer.get_weights())
    patches = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # (..., channels, h, w)
    return np.einsum("bijchw,hwcf->bijf", patches, kernel) + bias


def scored(model, x, target):
    return attribution.of_class(model(x).shape, np.full(len(x), target))


# Grad-CAM


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_grad_cam_of_a_pooled_convolution_is_its_class_activation_map(activation):
    """Zhou et al. (2016): of convolution, mean over positions and Dense, the map is the maps weighed by the kernel."""
    convolution, head = layers.Conv2D(4, 3, activation=activation, name="only"), layers.Dense(CLASSES)
    model = keras.Sequential([keras.Input((8, 9, 2)), convolution, layers.GlobalAveragePooling2D(), head])
    x = images()
    maps = np_convolution(x, convolution)
    maps = np.maximum(maps, 0) if activation == "relu" else maps
    kernel = head.get_weights()[0] / (6 * 7)
    found = np.stack([attribution.grad_cam(model, x, scored(model, x, target)) for target in range(CLASSES)], -1)
    np.testing.assert_allclose(found, np.maximum(maps @ kernel, 0), atol=1e-7)
    assert 0 < (found > 0).mean() < 1


def test_grad_cam_of_the_zoos_cnn_in_plain_numpy():
    """Rectified behind a layer that every convolution shares; each channel weighs its mean over the head's kernel."""
    model = CNN(CLASSES, filters=(3, 4), pools=0, units=0)
    x = images()
    model(x)
    maps = np.maximum(np_convolution(np.maximum(np_convolution(x, model.convolutions[0]), 0), model.convolutions[1]), 0)
    kernel = model.head.get_weights()[0].reshape(*maps.shape[1:], CLASSES)
    for target in range(CLASSES):
        weights = kernel[..., target].mean((0, 1))
        found = attribution.grad_cam(model, x, scored(model, x, target))
        np.testing.assert_allclose(found, np.maximum(maps @ weights, 0), atol=1e-7)


def test_grad_cam_before_a_pool_uses_the_activation_behind_it():
    model = CNN(CLASSES, filters=(4,), pools=1, units=0)
    x = images(shape=(8, 8, 1))
    model(x)
    raw = np_convolution(x, model.convolutions[0])  # (2, 6, 6, 4): pools of 2x2 tile it
    tiles = raw.reshape(2, 3, 2, 3, 2, 4)
    top = tiles.max((2, 4), keepdims=True)
    kernel = model.head.get_weights()[0].reshape(3, 1, 3, 1, 4, CLASSES)[None]
    for target in range(CLASSES):
        slopes = ((tiles == top) & (top > 0)) * kernel[..., target].reshape(1, 3, 1, 3, 1, 4)
        weights = slopes.mean((1, 2, 3, 4))[:, None, None]
        found = attribution.grad_cam(model, x, scored(model, x, target), "conv_1")
        np.testing.assert_allclose(found, np.maximum((weights * np.maximum(raw, 0)).sum(-1), 0), atol=1e-7)


def test_feature_maps_are_named_by_their_convolutions_and_hold_what_follows_pointwise():
    model = CNN(CLASSES, filters=(3, 4, 5), pools=1, units=4, batch_norm=True, dropout=0.5)
    x = images(shape=(12, 12, 1))
    model(x)
    found = attribution.feature_maps(model, x)
    assert {name: tuple(each.output.shape[1:]) for name, each in found.items()} == {
        "conv_1": (10, 10, 3), "conv_2": (3, 3, 4), "conv_3": (1, 1, 5),
    }  # fmt: skip
    assert [each.layer.name for each in found.values()] == ["norm_1", "activation", "activation"]
    assert [each.use for each in found.values()] == [0, 1, 2]
    assert attribution.last_map(found) == "conv_2"  # a map of one position says nothing
    before = np.asarray(model(x))
    assert attribution.grad_cam(model, x, scored(model, x, 0), "conv_2").shape == (2, 3, 3)
    np.testing.assert_array_equal(model(x), before)  # the model computes what it did


def test_a_model_without_a_convolution_or_of_other_names_is_refused():
    model = CNN(CLASSES, filters=(3,), pools=0)
    x = images()
    chosen = scored(model, x, 0)
    with pytest.raises(UsageError, match=r"unknown convolution 'conv_2': .*did you mean 'conv_1'"):
        attribution.grad_cam(model, x, chosen, "conv_2")
    dense = keras.Sequential([keras.Input((8, 9, 2)), layers.Flatten(), layers.Dense(CLASSES)])
    with pytest.raises(UsageError, match="expected a model with a convolution, sequential.* has none"):
        attribution.grad_cam(dense, x, chosen)
    with pytest.raises(UsageError, match="expected an embedding layer that takes the tokens, found none"):
        attribution.score(dense, x.astype("int32"), chosen)


# Gradients


def differences(function, at, step=1e-5):
    """Return central differences of a function of one float64 array to a number."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        moved = at.copy()
        moved[place] += step
        up = function(moved)
        moved[place] -= 2 * step
        found[place] = (up - function(moved)) / (2 * step)
    return found


def test_saliency_and_gradient_x_input_of_an_image_are_finite_differences():
    model = CNN(CLASSES, filters=(3,), pools=1, units=4, activation="tanh", dtype="float64")
    x = images(1, (4, 4, 2)).astype("float64")
    of = attribution.score(model, x, scored(model, x, 1))
    expected = differences(lambda moved: float(model(moved)[0, 1]), x)
    np.testing.assert_allclose(attribution.saliency(of), np.abs(expected).max(-1), atol=1e-8)
    np.testing.assert_allclose(attribution.gradient_x_input(of), (expected * x).sum(-1), atol=1e-8)


def test_saliency_of_tokens_is_of_the_vectors_that_embed_them():
    """Each token comes once, so that moving its row of the table moves its vector alone."""
    model = SelfAttentionClassifier(CLASSES, 4, 2, 5, num_blocks=1, vocabulary_size=VOCABULARY, dtype="float64")
    x = tokens(3, 2)
    of = attribution.score(model, x, scored(model, x, 2))
    table = model.embed.embeddings
    before = table.numpy()

    def at(vectors):
        moved = before.copy()
        moved[x[0, :3]] = vectors
        table.assign(moved)
        return float(model(x)[0, 2])

    expected = differences(at, before[x[0, :3]])
    table.assign(before)
    found = attribution.saliency(of)
    np.testing.assert_allclose(found[0, :3], np.abs(expected).max(-1), rtol=1e-5)
    assert found[0, 3:].max() < 1e-30  # padding
    shares = (expected * before[x[0, :3]]).sum(-1)
    np.testing.assert_allclose(attribution.gradient_x_input(of)[0, :3], shares, rtol=1e-5, atol=1e-7)


def test_the_score_of_several_steps_is_the_sum_of_those_that_count():
    model = LSTM(CLASSES, units=(4,), return_sequences=True, vocabulary_size=VOCABULARY, embedding_dim=3)
    x = tokens(4, 2)
    target = np.array([[0, 1, 2, 0, 1, 1]])
    chosen = attribution.of_class(model(x).shape, target, x != 0)
    score = attribution.score(model, x, chosen)
    values, _ = attribution.with_gradient(score.function)(score.at)
    np.testing.assert_allclose(values, [np.asarray(model(x))[0, range(4), target[0, :4]].sum()], rtol=1e-6)


# Integrated gradients


def of(function, point):
    return attribution.Score(function, np.asarray(point, "float32")[None], vectors=False)


def test_integrated_gradients_of_a_linear_score_are_weight_times_input():
    weights, point = np.array([2.0, -1, 0.5], "float32"), [3, 4, -2]
    found = attribution.integrated_gradients(of(lambda x: ops.matmul(x, weights) + 7, point), steps=1)
    np.testing.assert_allclose(found.attributions, weights * point, rtol=1e-6)
    assert (found.score, found.baseline_score, found.steps, found.complete) == (8, 7, 1, True)
    np.testing.assert_allclose(
        found.attributions, attribution.gradient_x_input(of(lambda x: ops.matmul(x, weights), point))[0]
    )


def test_integrated_gradients_of_a_quadratic_score():
    """Of x'Qx with a symmetric Q they are x * Qx, and the trapezoidal rule is exact."""
    q = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    q, point = q + q.T, np.array([1, -2, 0.5, 3], "float32")
    found = attribution.integrated_gradients(of(lambda x: ops.sum(ops.matmul(x, q) * x, axis=1), point))
    np.testing.assert_allclose(found.attributions, point * (q @ point), rtol=1e-5)
    assert found.complete and found.steps == 16


def test_steps_are_doubled_until_the_attributions_add_up():
    """Of the sum of x ** 4 they are x ** 4; the rule's error of n steps is 1 / n ** 2 of that."""
    score = of(lambda x: ops.sum(x**4, axis=1), [1, 2, -1])
    rough = attribution.integrated_gradients(score, steps=1, most=4)
    assert not rough.complete and rough.steps == 4
    assert rough.error == pytest.approx(18 / 4**2, rel=1e-5)
    fine = attribution.integrated_gradients(score, steps=1)
    assert fine.complete and fine.steps == 16  # the first power of 2 of at least 10
    assert fine.error == pytest.approx(18 / 16**2, rel=1e-5)
    np.testing.assert_allclose(fine.attributions, np.array([1, 16, 1]) * (1 + 1 / 16**2), rtol=1e-5)


@pytest.mark.parametrize("make", [
    lambda: LSTM(CLASSES, units=(6,), vocabulary_size=VOCABULARY, embedding_dim=5),
    lambda: TransformerClassifier(
        CLASSES, model_dim=8, num_heads=2, ff_dim=8, norm="post", vocabulary_size=VOCABULARY
    ),
], ids=["lstm", "transformer"])  # fmt: skip
def test_token_attributions_add_up_to_the_change_from_a_table_of_zeros(make):
    model, x = make(), tokens()  # made here, so that the seed decides the weights
    chosen = scored(model, x, 1)
    found = attribution.integrated_gradients(attribution.score(model, x, chosen), tolerance=1e-3)
    score, table = float(model(x)[0, 1]), model.embedding.embeddings.numpy()
    model.embedding.embeddings.assign(np.zeros_like(table))
    baseline = float(model(x)[0, 1])
    assert found.complete
    assert found.attributions.sum() == pytest.approx(score - baseline, rel=1e-3)
    assert (found.score, found.baseline_score) == pytest.approx((score, baseline), rel=1e-5, abs=1e-6)
    assert found.attributions.shape == (10,) and found.attributions[:7].all()
    assert np.abs(found.attributions[7:]).max() < 1e-30


# Attention


def np_weights(query, key, heads, visible):
    """Return softmax(Q K' / sqrt(d)), (batch, heads, queries, keys), in float64."""
    rows = []
    for q, k in zip(np.split(query, heads, -1), np.split(key, heads, -1), strict=True):
        scores = q.astype("float64") @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
        e = np.where(visible, np.exp(scores - scores.max(-1, keepdims=True)), 0)
        rows.append(e / e.sum(-1, keepdims=True))
    return np.stack(rows, axis=1)


class Attend(keras.Model):
    """Attention behind an embedding, to what is no padding."""

    def __init__(self, attention):
        super().__init__()
        self.embedding, self.attention = layers.Embedding(VOCABULARY, 6), attention

    def call(self, ids):
        x, mask = self.embedding(ids), ops.not_equal(ids, 0)
        if isinstance(self.attention, layers.MultiHeadAttention):
            return self.attention(x, x, attention_mask=mask[:, None, :])
        return self.attention(x, mask=mask)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_weights_are_those_of_plain_numpy(causal):
    model, ids = Attend(MultiHeadSelfAttention(2, causal=causal, name="attention")), tokens(5, 2)
    before = np.asarray(model(ids))
    kernel, bias = model.attention.query_key_value.get_weights()
    bias += 0.1
    model.attention.query_key_value.set_weights([kernel, bias])
    query, key, _ = np.split(np.asarray(model.embedding(ids)) @ kernel + bias, 3, -1)
    visible = (ids != 0)[:, None] & (np.tri(7, dtype=bool) if causal else True)
    (found,) = attention_maps.weights(model, ids).values()
    np.testing.assert_allclose(found, np_weights(query, key, 2, visible), atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
    assert found[..., 5:].max() < 1e-30 and found.shape == (1, 2, 7, 7)
    assert np.asarray(model(ids)).shape == before.shape


def test_attention_weights_of_keras_own_layer():
    model, ids = Attend(layers.MultiHeadAttention(2, 3, name="attention")), tokens(5, 2)
    before = np.asarray(model(ids))
    query, key = (
        np.einsum("btf,fhd->bthd", np.asarray(model.embedding(ids)), dense.get_weights()[0]).reshape(1, 7, 6)
        for dense in (model.attention.query_dense, model.attention.key_dense)
    )
    ((name, found),) = attention_maps.weights(model, ids).items()
    assert name == "attention"
    np.testing.assert_allclose(found, np_weights(query, key, 2, (ids != 0)[:, None]), atol=1e-6)
    np.testing.assert_array_equal(model(ids), before)


def test_a_translation_attends_to_the_source_and_to_what_was_written():
    model = Transformer(9, 8, num_layers=2, model_dim=8, num_heads=4, ff_dim=8)
    source, target = np.array([[4, 5, 6, 0, 0]], "int32"), np.array([[2, 7, 5, 4]], "int32")
    found = attention_maps.weights(model, (source, target))
    assert list(found) == [
        *(f"encoder/block_{i}/attention" for i in (1, 2)),
        *(f"decoder/block_{i}/{kind}" for i in (1, 2) for kind in ("attention", "cross_attention")),
    ]
    for name, weights in found.items():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
        if name.startswith("decoder") and not name.endswith("cross_attention"):
            assert weights.shape == (1, 4, 4, 4) and np.triu(weights, 1).max() < 1e-30
        else:
            assert weights.shape == (1, 4, 4 if "cross" in name else 5, 5) and weights[..., 3:].max() < 1e-30


# Both engines

_ON_JAX = """
import sys, numpy as np
import keras, zoo.models
from zoo.explain import attention_maps, attribution
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
cnn, texts = (keras.saving.load_model(f"{name}.keras") for name in ("cnn", "texts"))
given = np.load("given.npz")
of = attribution.score(cnn, given["x"], given["chosen"])
words = attribution.score(texts, given["ids"], given["chosen"][:1])
integrated = attribution.integrated_gradients(words)
(weights,) = attention_maps.weights(texts, given["ids"]).values()
np.savez("found.npz", saliency=attribution.saliency(of), cam=attribution.grad_cam(cnn, given["x"], given["chosen"]),
         integrated=integrated.attributions, steps=integrated.steps, weights=weights)
"""


@pytest.mark.slow
def test_jax_gives_the_same_attributions(tmp_path):
    cnn = CNN(CLASSES, filters=(3, 4), pools=1, units=5, batch_norm=True)
    texts = TransformerClassifier(CLASSES, 1, 8, 2, 8, vocabulary_size=VOCABULARY)
    x, ids = images(), tokens()
    chosen = scored(cnn, x, 1)
    texts(ids)
    for name, model in (("cnn", cnn), ("texts", texts)):
        model.save(tmp_path / f"{name}.keras")
    np.savez(tmp_path / "given.npz", x=x, ids=ids, chosen=chosen)
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ON_JAX], cwd=tmp_path, env=env, check=True)
    found = np.load(tmp_path / "found.npz")
    integrated = attribution.integrated_gradients(attribution.score(texts, ids, chosen[:1]))
    expected = {
        "saliency": attribution.saliency(attribution.score(cnn, x, chosen)),
        "cam": attribution.grad_cam(cnn, x, chosen),
        "integrated": integrated.attributions,
        "weights": attention_maps.weights(texts, ids)["encoder/block_1/attention"],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=2e-6, err_msg=name)
    assert found["steps"] == integrated.steps
