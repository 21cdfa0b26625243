"""Knowledge-graph embeddings: scorers against plain numpy, negatives against all entities, TensorFlow against JAX."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from zoo.config import registry
from zoo.models import KGEmbedding
from zoo.objectives.losses import CrossEntropy
from zoo.objectives.metrics import reciprocal_rank

ENTITIES, RELATIONS = 9, 2
# Every scorer with each norm that it supports.
KINDS = (("mlp", 2), ("transe", 1), ("transe", 2), ("distmult", 2), ("complex", 2), ("rotate", 1), ("rotate", 2))
kinds = pytest.mark.parametrize(("scorer", "norm"), KINDS)
TRIPLES = np.random.default_rng(3).integers(0, 2 * RELATIONS, (12, 3)).astype("int32")


def make(scorer="complex", norm=2, **settings):
    keras.utils.set_random_seed(2)
    model = KGEmbedding(ENTITIES, RELATIONS, scorer=scorer, norm=norm, **{"dim": 6, "units": 5} | settings)
    model.build((None, 2))
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.8, variable.shape))
    return model


def slow(model, head, relation, tail):
    """Return the score of one triple by the formula of the paper."""
    h, r, t = (np.asarray(model.entities.embeddings)[head], np.asarray(model.relations.embeddings)[relation],
               np.asarray(model.entities.embeddings)[tail])  # fmt: skip
    if model.scorer == "mlp":
        kernel = np.concatenate([np.asarray(model.asked.kernel), np.asarray(model.answered.kernel)])
        hidden = np.maximum(np.concatenate([h, r, t]) @ kernel + np.asarray(model.asked.bias), 0)
        return (hidden @ np.asarray(model.head.kernel) + np.asarray(model.head.bias))[0]
    if model.scorer == "transe":
        return -np.linalg.norm(h + r - t, model.norm)
    if model.scorer == "distmult":
        return sum(h * r * t)
    h, t = (x[:3] + 1j * x[3:] for x in (h, t))
    if model.scorer == "complex":
        return sum(h * (r[:3] + 1j * r[3:]) * np.conj(t)).real
    return -np.linalg.norm(np.abs(h * np.exp(1j * r) - t), model.norm)


@kinds
def test_a_score_is_the_papers(scorer, norm):
    model = make(scorer, norm)
    assert model.count_params() == sum(v.numpy().size for v in model.weights)
    expected = [[slow(model, head, relation, tail) for tail in range(ENTITIES)] for head, relation, _ in TRIPLES]
    found = model(TRIPLES[:, :2])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(model(TRIPLES[:1, :2]), expected[:1], atol=2e-5)  # a batch of 1, as in an exported file


def test_parameters_by_hand():
    entities, relations = ENTITIES * 6, 2 * RELATIONS * 6
    assert make("complex").count_params() == entities + relations
    assert make("rotate").count_params() == entities + relations // 2
    assert make("mlp").count_params() == entities + relations + (18 * 5 + 5) + (5 + 1)


@kinds
def test_many_entities_are_scored_in_parts(scorer, norm, monkeypatch):
    model = make(scorer, norm)
    whole = np.asarray(model(TRIPLES[:, :2]))
    monkeypatch.setattr("zoo.models.kg_embedding.AT_ONCE", 1)
    np.testing.assert_allclose(model(TRIPLES[:, :2]), whole, atol=1e-6)


@kinds
def test_candidates_have_the_scores_that_they_have_among_all(scorer, norm):
    """Two groups of six examples with two candidates each."""
    model = make(scorer, norm, negatives=12)
    candidates = np.random.default_rng(4).integers(0, ENTITIES, (12, 2)).astype("int32")
    found = np.asarray(model((TRIPLES, candidates), training=True))
    every = np.asarray(model(TRIPLES[:, :2]))
    assert found.shape == (12, 13)
    for i, (row, scores, answer) in enumerate(zip(found, every, TRIPLES[:, 2], strict=True)):
        assert row[0] == pytest.approx(scores[answer], abs=2e-5)
        shared = candidates[i // 6 * 6 :][:6].reshape(-1)
        np.testing.assert_allclose(row[1:][shared != answer], scores[shared[shared != answer]], atol=2e-5)
        assert (row[1:][shared == answer] < -1e8).all()  # the answer is excluded from the negatives
    assert any((candidates[:6] == answer).any() for answer in TRIPLES[:6, 2])  # otherwise the loop above tests nothing


@pytest.mark.parametrize("scorer", ["complex", "rotate", "transe", "mlp"])
@pytest.mark.parametrize(("penalty", "power"), [("n3", 3), ("l2", 2)])
def test_the_penalty_is_that_of_the_mean_triple(scorer, penalty, power):
    model = make(scorer, penalty=penalty, strength=0.5)
    model(TRIPLES, training=True)
    total = 0.0
    for head, relation, tail in TRIPLES:
        parts = [np.asarray(model.entities.embeddings)[i] for i in (head, tail)]
        parts += [np.asarray(model.relations.embeddings)[relation]] if scorer != "rotate" else []
        sizes = [np.abs(x[:3] + 1j * x[3:]) if scorer in ("complex", "rotate") else np.abs(x) for x in parts]
        total += sum((size**power).sum() for size in sizes)
    (found,) = model.losses
    assert float(found) == pytest.approx(0.5 * total / len(TRIPLES), rel=1e-5)
    model(TRIPLES, training=False)
    assert not model.losses  # the validation loss has no penalty


@kinds
def test_gradients_are_those_of_finite_differences(scorer, norm):
    keras.config.set_dtype_policy("float64")
    try:
        model = make(scorer, norm, strength=0.1)
    finally:
        keras.config.set_dtype_policy("float32")

    def loss():
        logits = model(TRIPLES, training=True)
        return CrossEntropy(dtype="float64")(TRIPLES[:, 2], logits) + sum(model.losses)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        start, step = variable.numpy(), np.zeros(variable.shape)
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step[place] = 1e-6
        ends = []
        for sign in (1, -1):
            variable.assign(start + sign * step)
            ends.append(float(loss()))
        variable.assign(start)
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4), variable.path


def test_bfloat16_is_of_training_alone_and_ranks_are_exact():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = make()
    finally:
        keras.config.set_dtype_policy("float32")
    plain = make()
    np.testing.assert_array_equal(mixed(TRIPLES[:, :2]), plain(TRIPLES[:, :2]))
    found, expected = (np.asarray(model(TRIPLES, training=True)) for model in (mixed, plain))
    assert found.dtype == np.float32 and 0 < np.abs(found - expected).max() < 0.1


def test_ties_share_the_mean_of_their_ranks():
    scores = np.array([[3, 1, 2, 2, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]], "float32")
    ranks = 1 / np.asarray(reciprocal_rank(np.array([3, 0, 0]), scores))
    np.testing.assert_allclose(ranks, [3, 3, 1])  # means of ranks 2 to 4, of 1 to 5, and of 1


@pytest.mark.parametrize(("settings", "message"), [
    ({"scorer": "hole"}, "scorer: expected one of mlp, transe, rotate, distmult, complex, received 'hole'"),
    ({"dim": 5}, "dim: expected an even number for scorer complex, received 5"),
    ({"dim": 0}, "dim: expected positive whole numbers"),
    ({"norm": 3}, "norm: expected 1 or 2, received 3"),
    ({"penalty": "l1"}, "penalty: expected 'n3' or 'l2', received 'l1'"),
    ({"negatives": -1}, "negatives: expected 0 or more, received -1"),
    ({"strength": -0.5}, "strength: expected 0 or more, received -0.5"),
])  # fmt: skip
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        KGEmbedding(ENTITIES, RELATIONS, **settings)


def test_signature_read_from_source_is_the_constructors():
    import inspect

    real = inspect.signature(KGEmbedding.__init__).parameters
    assert list(registry.arguments("kg_embedding")) == [p for p in real if p not in ("self", "kwargs")]


_ON_JAX = """
import sys, jax, numpy as np, keras, zoo.models
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
zoo.models.kg_embedding.AT_ONCE = 1
for name in sys.argv[1:]:
    model = keras.saving.load_model(f"{name}.keras")  # compiled, so its loss and optimizer are loaded too
    np.save(f"{name}.npy", jax.jit(lambda x: model(x))(np.load("x.npy")))
"""


@pytest.mark.slow
def test_files_give_the_same_scores_on_jax(tmp_path):
    np.save(tmp_path / "x.npy", TRIPLES[:, :2])
    expected = {}
    for scorer, norm in KINDS:
        model = make(scorer, norm, negatives=3, penalty="l2", strength=0.1)
        ranked = keras.metrics.MeanMetricWrapper(reciprocal_rank, name="mrr")
        model.compile("sgd", CrossEntropy(), weighted_metrics=[ranked])
        model.save(tmp_path / f"{scorer}-{norm}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{scorer}-{norm}.keras")
        assert loaded.get_config() == model.get_config()
        expected[f"{scorer}-{norm}"] = np.asarray(loaded(TRIPLES[:, :2]))
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ON_JAX, *expected], cwd=tmp_path, env=env, check=True)
    for name, scores in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), scores, atol=2e-5, err_msg=name)
