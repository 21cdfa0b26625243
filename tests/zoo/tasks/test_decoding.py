"""Searches against exhaustive ones, and draws against the distributions they are from."""

import itertools

import numpy as np
import pytest
from keras import ops

from zoo.config.sampling import Beam, Sampling
from zoo.console.errors import UsageError
from zoo.tasks.parts.decoding import beam_search, compiled, filtered, sample

VOCABULARY, LENGTH, END = 4, 4, 3


@pytest.fixture
def table():
    """Log-probabilities of the next token by position and last token, of two examples: (2, LENGTH, last, next)."""
    return np.random.default_rng(1).dirichlet(np.full(VOCABULARY, 0.7), (2, LENGTH, VOCABULARY)).astype("float32")


def stepping(table, beams=1):
    """A model whose cache counts the sum of tokens so far, which its logits depend on, so that mixed-up beams show."""
    own = np.repeat(np.log(table), beams, axis=0)  # (batch * beams, position, last, next)

    def step(ids, position, cache):
        at = ops.take(ops.convert_to_tensor(own), position, axis=1)  # (batch * beams, last, next)
        logits = ops.take_along_axis(at, ids[:, None, None], axis=1)[:, 0]
        seen = cache[0][0] + ops.cast(ids, "float32")[:, None]  # (batch * beams, 1)
        return logits + 0.5 * ops.cos(seen * ops.arange(VOCABULARY, dtype="float32")), (seen[None],)

    return step, (ops.zeros((1, len(own), 1)),)


def log_probability(table, text):
    """Of one text, token by token, in plain numpy."""
    last, seen, total = 0, 0.0, 0.0
    for i, token in enumerate(text):
        seen += last
        logits = np.log(table[i, last]) + 0.5 * np.cos(seen * np.arange(VOCABULARY))
        total += logits[token] - np.log(np.exp(logits).sum())
        last = token
    return total


def texts():
    """Every text of up to LENGTH tokens that ends, or is cut there."""
    for n in range(LENGTH):
        for body in itertools.product(range(VOCABULARY - 1), repeat=n):
            yield (*body, END)
    yield from itertools.product(range(VOCABULARY - 1), repeat=LENGTH)


@pytest.mark.parametrize("penalty", [pytest.param(0.0, marks=pytest.mark.slow), 0.6, 1.5])
def test_a_wide_beam_finds_the_best_of_all_texts(table, penalty):
    beam = Beam(beams=3**LENGTH, length_penalty=penalty)
    step, cache = stepping(table, beam.beams)
    run = compiled(lambda ids, cache: beam_search(step, ids, cache, length=LENGTH, end=END, beam=beam))
    found, scores = run(ops.zeros((2,), "int32"), cache)
    for row, score, own in zip(np.asarray(found), np.asarray(scores), table, strict=True):
        rated = {text: log_probability(own, text) / ((5 + len(text)) / 6) ** penalty for text in texts()}
        best = max(rated, key=rated.get)
        assert tuple(row[: len(best)]) == best and not row[len(best) :].any()
        assert score == pytest.approx(rated[best], abs=1e-5)


def test_one_beam_is_greedy(table):
    step, cache = stepping(table)
    greedy = sample(step, ops.zeros((2,), "int32"), cache, start=0, length=LENGTH, end=END, sampling=None)
    for own, row in zip(table, np.asarray(greedy), strict=True):
        last, seen = 0, 0
        for i, token in enumerate(row):
            if i and row[i - 1] in (0, END) and last == END:
                assert token == 0
                continue
            seen += last
            assert token == (np.log(own[i, last]) + 0.5 * np.cos(seen * np.arange(VOCABULARY))).argmax()
            last = token


def test_a_beam_that_never_ends_gives_its_best_beginning(table):
    table[..., END] = 1e-30
    step, cache = stepping(table, 2)
    found, _ = beam_search(step, ops.zeros((2,), "int32"), cache, length=LENGTH, end=END, beam=Beam(2))
    assert np.asarray(found).shape == (2, LENGTH) and END not in np.asarray(found)


def test_draws_have_the_distribution_of_the_filtered_logits():
    logits = np.log([[0.5, 0.25, 0.15, 0.1]]).astype("float32")

    def step(ids, position, cache):
        return ops.repeat(ops.convert_to_tensor(logits), 5000, axis=0), cache

    drawn = sample(
        step, ops.zeros((5000,), "int32"), (), start=0, length=2, end=-1, sampling=Sampling(temperature=2.0, seed=4)
    )
    expected = np.sqrt([0.5, 0.25, 0.15, 0.1])
    for column in np.asarray(drawn).T:
        np.testing.assert_allclose(np.bincount(column, minlength=4) / 5000, expected / expected.sum(), atol=0.02)
    assert (np.asarray(drawn)[:, 0] != np.asarray(drawn)[:, 1]).mean() > 0.5


@pytest.mark.parametrize(("sampling", "kept"), [
    (Sampling(top_k=2), {0, 1}), (Sampling(top_p=0.7), {0, 1}), (Sampling(top_p=0.5), {0}),
    (Sampling(top_p=0.76), {0, 1, 2}),
    (Sampling(top_k=9), {0, 1, 2, 3}), (Sampling(), {0, 1, 2, 3}), (Sampling(top_k=3, top_p=0.6), {0, 1}),
])  # fmt: skip
def test_filters_keep_the_most_probable(sampling, kept):
    logits = np.log([[0.5, 0.25, 0.15, 0.1]]).astype("float32")
    assert set(np.flatnonzero(np.asarray(filtered(logits, sampling))[0] > -100)) == kept


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Beam(beams=0), "--beams 0: expected 1 or more"),
    (lambda: Beam(length_penalty=-1), "--length-penalty -1"),
    (lambda: Sampling(temperature=0.0), "--temperature 0.0: expected more than 0"),
    (lambda: Sampling(top_k=-1), "--top-k -1"),
    (lambda: Sampling(top_p=0.0), "--top-p 0.0"),
])  # fmt: skip
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()
