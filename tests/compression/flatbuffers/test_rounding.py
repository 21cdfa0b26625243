import itertools

import numpy as np
import pytest

from compression.flatbuffers import rounding
from compression.flatbuffers.rounding import best_scales, descended, errors, rounded


def problem(rows, columns, seed, own=False):
    """Return weights, and second moments of correlated inputs; own ones for every row if asked for."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows if own else 1, 200, columns)) @ rng.normal(size=(columns, columns))
    moments = np.swapaxes(x, 1, 2) @ x / x.shape[1] + 0.01 * np.eye(columns)
    return rng.normal(size=(rows, columns)), moments if own else moments[0]


def test_errors_are_the_mean_squared_changes_of_the_outputs():
    rng = np.random.default_rng(0)
    x, difference = rng.normal(size=(50, 4)), rng.normal(size=(3, 4))
    expected = np.square(x @ difference.T).mean(0)
    np.testing.assert_allclose(errors(difference, x.T @ x / 50), expected)
    np.testing.assert_allclose(errors(difference, np.stack([x.T @ x / 50] * 3)), expected)


def test_learnt_rounding_is_near_the_best_of_all_roundings():
    every, mine, exact, nearest = np.array(list(itertools.product(range(-3, 5), repeat=5))), 0.0, 0.0, 0.0
    for seed in range(20):
        weights, moments = problem(3, 5, seed)
        integers, scales = rounded(weights, moments, 7)
        assert np.array_equal(integers, np.rint(integers)) and np.abs(integers).max() <= 7
        found = errors(integers * scales[:, None] - weights, moments)
        for row, scale in enumerate(scales):
            candidates = (np.floor(weights[row] / scale) + every).clip(-7, 7)
            best = errors(candidates * scale - weights[row], moments).min()
            assert found[row] >= best * (1 - 1e-9)
            near = np.rint(weights[row] / scale).clip(-7, 7)
            nearest += errors((near * scale - weights[row])[None], moments)[0]
            mine, exact = mine + found[row], exact + best
    print(mine, exact, nearest)
    assert mine <= 1.25 * exact and nearest > 2 * exact


def test_learnt_rounding_halves_the_error_of_the_nearest_on_correlated_inputs():
    weights, moments = problem(16, 100, 0)  # more columns than a block has
    scales = best_scales(weights, moments, 7)
    nearest = errors(np.rint(weights / scales[:, None]).clip(-7, 7) * scales[:, None] - weights, moments)
    integers, fitted = rounded(weights, moments, 7)
    assert errors(integers * fitted[:, None] - weights, moments).sum() < nearest.sum() / 2


def test_no_single_change_improves_a_rounding(monkeypatch):
    monkeypatch.setattr(rounding, "SWEEPS", 1000)
    weights, moments = problem(4, 70, 1)
    scales = best_scales(weights, moments, 7)
    integers = descended(weights, moments, scales, np.zeros_like(weights), 7, np.zeros(weights.shape, bool))
    least = errors(integers * scales[:, None] - weights, moments)
    for column, step in itertools.product(range(70), (-1, 1)):
        changed = integers.copy()
        changed[:, column] = (changed[:, column] + step).clip(-7, 7)
        assert (errors(changed * scales[:, None] - weights, moments) >= least - 1e-9).all()


def test_scales_are_those_of_a_fine_grid():
    weights, moments = problem(6, 30, 2)
    weights[:, 0] *= 8  # an outlier, so that the best range is not the largest weight
    found = best_scales(weights, moments, 7)
    fine = np.linspace(0.35, 1, 400)

    def error(scales):
        return errors(np.rint(weights / scales[:, None]).clip(-7, 7) * scales[:, None] - weights, moments)

    largest = np.abs(weights).max(1) / 7
    exact = np.min([error(largest * ratio) for ratio in fine], 0)
    assert (error(found) <= 1.1 * exact).all() and (found < largest).any()
    shared = best_scales(weights, moments, 7, shared=True)
    assert len(set(shared)) == 1 and error(shared).sum() >= error(found).sum()


def test_rows_with_moments_of_their_own_are_rounded_alone():
    weights, moments = problem(3, 9, 3, own=True)
    integers, scales = rounded(weights, moments, 7)
    nearest = best_scales(weights, moments, 7)
    before = errors(np.rint(weights / nearest[:, None]).clip(-7, 7) * nearest[:, None] - weights, moments)
    assert (errors(integers * scales[:, None] - weights, moments) <= before * (1 + 1e-9)).all()


def test_pruned_weights_stay_zero_and_empty_rows_have_a_scale():
    weights, moments = problem(4, 20, 4)
    weights[:, ::2] = 0
    weights[3] = 0
    integers, scales = rounded(weights, moments, 7, zeros=weights == 0)
    assert not integers[weights == 0].any() and integers[0].any()
    assert (scales > 0).all() and np.isfinite(scales).all()


def test_rows_of_their_own_moments_choose_a_scale_in_which_their_errors_cancel_out():
    # A depthwise kernel that finds edges: its inputs are nearly equal, so that only the sum of the errors counts.
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(32, 9)) * 5
    weights -= weights.mean(1, keepdims=True)
    moments = np.broadcast_to(np.ones((9, 9)) + 1e-4 * np.eye(9), (32, 9, 9))
    found = {}
    for method in (rounding.nearest, rounding.rounded):
        integers, scales = method(weights, moments, 127)
        assert np.array_equal(integers, np.rint(integers)) and np.abs(integers).max() <= 127
        found[method] = rounding.errors(integers * scales[:, None] - weights, moments)
    assert found[rounding.rounded].mean() < found[rounding.nearest].mean() / 100


def test_inputs_that_are_hardly_ever_other_than_zero_are_rounded():
    """Their moments, squares of tiny numbers beside large ones, have no factor in float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 24)) * np.where(np.arange(24) % 2, 1e4, 1e-9)
    weights, moments = rng.normal(size=(3, 24)), x.T @ x / 8
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(np.linalg.inv(moments))
    integers, scales = rounded(weights, moments, 7)
    assert np.isfinite(scales).all() and np.abs(integers).max() <= 7
    nearest = np.rint(weights / scales[:, None]).clip(-7, 7)
    mine, plain = (errors(weights - found * scales[:, None], moments) for found in (integers, nearest))
    assert (mine <= plain).all()
