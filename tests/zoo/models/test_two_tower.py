"""Two towers and matrix factorisation: closed forms, losses, saving and recovery of known factors."""

import keras
import numpy as np
import pytest

from zoo.config import registry
from zoo.models import TwoTower
from zoo.objectives.ratings import ItemLoss, PairwiseLoss, RatingLoss
from zoo.tasks.parts import vectors

IDS = np.array([[3], [0], [3]], "int32")


def make(**arguments):
    keras.utils.set_random_seed(0)
    model = TwoTower(5, 7, **{"dim": 4, "units": (6,), **arguments})
    model.build((None, 1))
    for variable in model.variables:
        if "bias" in variable.path:
            variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    return model


@pytest.mark.parametrize("arguments", [{}, {"units": (), "normalized": False}, {"biases": False},
                                       {"units": (), "loss": "squared", "mean": 3.0}])  # fmt: skip
def test_scores_are_products_of_vectors(arguments):
    model = make(**arguments)
    found = vectors.of(model)
    products = found["users"] @ found["items"].T
    scores = np.asarray(model(IDS))
    apart = scores - products[IDS[:, 0]]
    assert scores.shape == (3, 7)
    np.testing.assert_allclose(apart, apart[:, :1].repeat(7, 1), atol=1e-4)  # the user's bias and the mean
    if arguments.get("loss") != "squared":
        np.testing.assert_allclose(apart, 0, atol=1e-4)


def test_matrix_factorization_is_the_product_of_two_tables():
    model = make(**registry.entry("matrix_factorization").preset)
    users, items, bias = (np.asarray(t.embeddings) for t in (model.users, model.items, model.item_bias))
    np.testing.assert_allclose(model(IDS), users[IDS[:, 0]] @ items.T + bias[:, 0], rtol=1e-5, atol=1e-6)
    assert model.count_params() == 5 * 4 + 7 * 4 + 7
    assert make().count_params() == 5 * 4 + 7 * 4 + 7 + 2 * (4 * 6 + 6 + 6 * 4 + 4)


def test_sampled_items_have_the_scores_of_all_and_never_the_answer():
    model = make()
    pairs, others = np.array([[3, 2], [0, 6]], "int32"), np.array([[1, 2, 5], [0, 1, 2]], "int32")
    scores, every = np.asarray(model((pairs, others))), np.asarray(model(pairs[:, :1]))
    np.testing.assert_allclose(scores[0], [every[0, 2], every[0, 1], -1e9, every[0, 5]], rtol=1e-4)
    np.testing.assert_allclose(scores[1], every[1, [6, 0, 1, 2]], rtol=1e-4, atol=1e-5)


def test_losses_are_their_definitions():
    scores = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    items = np.array([2, 0, 5, 1])
    own = scores[np.arange(4), items]
    expected = np.log(np.exp(scores).sum(1)) - own
    np.testing.assert_allclose(ItemLoss(reduction=None)(items, scores), expected, rtol=1e-5)
    others = [[own[i] - scores[i, j] for j in range(6) if j != items[i]] for i in range(4)]
    expected = np.log1p(np.exp(-np.array(others))).mean(1)
    np.testing.assert_allclose(PairwiseLoss(reduction=None)(items, scores), expected, rtol=1e-5)
    rated = np.stack([items, [4.0, 3, 2, 1]], axis=1).astype("float32")
    np.testing.assert_allclose(RatingLoss(reduction=None)(rated, scores), (own - rated[:, 1]) ** 2, rtol=1e-4)


def test_a_saved_model_is_the_same(tmp_path):
    arguments = {"dim": 3, "units": (5, 4), "normalized": False, "temperature": 0.5, "biases": False, "loss": "bpr"}
    arguments |= {"negatives": 9, "strength": 0.1, "mean": 0.2}
    model = make(**arguments)
    config = model.get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert set(registry.arguments("two_tower")) <= set(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == config
    np.testing.assert_array_equal(loaded(IDS), model(IDS))


@pytest.mark.slow
def test_known_factors_are_recovered_from_ratings():
    """Half of the ratings of a table of rank 2 are learnt; the other half is then known as well."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    ratings = (3 + users @ items.T).astype("float32")
    known = rng.random((40, 30)) < 0.5
    keras.utils.set_random_seed(0)
    model = TwoTower(40, 30, dim=2, units=(), normalized=False, loss="squared", mean=3.0)
    model.build((None, 1))
    model.compile(keras.optimizers.Adam(0.05), RatingLoss())
    u, i = np.nonzero(known)
    x, y = u[:, None].astype("int32"), np.stack([i, ratings[u, i]], axis=1).astype("float32")
    model.fit(x, y, batch_size=len(x), epochs=400, verbose=0)
    found = np.asarray(model(np.arange(40, dtype="int32")[:, None]))
    error = np.sqrt(np.square(found - ratings)[~known].mean())
    assert error < 0.1 * ratings.std()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "hinge"}, "loss: expected softmax, sampled, bpr or squared, received 'hinge'"),
        ({"temperature": 0.0}, "expected a temperature above 0"),
        ({"units": (0,)}, "units: expected positive whole numbers"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
