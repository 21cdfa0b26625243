"""Scores of recommended items, against scikit-learn and loops over their definitions."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from zoo.scores.recommendations import Seen, popularity, ranked, ranks, ranks_by

RNG = np.random.default_rng(0)
USERS, ITEMS = 12, 25
SCORES = RNG.normal(size=(USERS, ITEMS)).astype("float32")
HELD = RNG.integers(0, ITEMS, USERS)
NOBODY = Seen(np.zeros(0, int), np.zeros(0, int), USERS)


def test_ndcg_is_that_of_scikit_learn():
    relevant = np.zeros((USERS, ITEMS))
    relevant[np.arange(USERS), HELD] = 1
    found = ranked(ranks(SCORES, np.arange(USERS), HELD, NOBODY))
    for k in (5, 10, 20):
        assert found[f"ndcg_at_{k}"] == pytest.approx(ndcg_score(relevant, SCORES, k=k))


def test_recall_counts_the_items_among_the_first():
    order = np.argsort(-SCORES, axis=1)
    found = ranked(ranks(SCORES, np.arange(USERS), HELD, NOBODY))
    for k in (5, 10, 20):
        assert found[f"recall_at_{k}"] == np.mean([HELD[u] in order[u, :k] for u in range(USERS)])
    places = [1 + list(order[u]).index(HELD[u]) for u in range(USERS)]
    assert found["reciprocal_rank"] == pytest.approx(np.mean(1 / np.array(places)))


def test_items_that_a_user_has_had_are_left_out():
    events = {(u, i) for u in range(USERS) for i in RNG.permutation(ITEMS)[:6] if i != HELD[u]}
    users, items = (np.array(column) for column in zip(*sorted(events), strict=True))
    seen = Seen(users, items, USERS)
    expected = [
        1 + sum(SCORES[u, i] > SCORES[u, HELD[u]] for i in range(ITEMS) if (u, i) not in events) for u in range(USERS)
    ]
    asked = RNG.permutation(USERS)
    found = ranks_by(lambda ids: SCORES[ids], asked, HELD[asked], seen)
    np.testing.assert_array_equal(found, np.array(expected)[asked])
    assert set(seen.of(3)) == {i for u, i in events if u == 3}


def test_tied_items_share_the_mean_of_their_ranks():
    """So a model that gives every item the same score is as good as chance."""
    assert ranks(np.zeros((1, 9)), np.array([0]), np.array([4]), NOBODY).tolist() == [5.0]


def test_popularity_counts_events():
    assert popularity(np.array([2, 0, 2, 2]), 4).tolist() == [1, 0, 3, 0]
