"""Sample quality: each formula against a closed form, or against loops that follow its definition."""

import numpy as np
import pytest

from zoo.data import Split
from zoo.scores.judges import of_pixels
from zoo.scores.sample_quality import diversity, frechet_distance, manifolds, radii


def vectors(count, features=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, features))


def exactly(count, mean, deviations, seed=0):
    """Return vectors of uncorrelated features with exactly the given sample mean and standard deviations."""
    x = vectors(count, len(mean), seed)
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x * deviations + mean


def test_the_distance_of_two_normal_distributions_is_the_closed_form():
    """For uncorrelated features it is the squared distance of the means plus that of the standard deviations."""
    mean, other = np.array([1.0, -2, 0]), np.array([0.0, 1, 0.5])
    deviations, others = np.array([1.0, 2, 0.5]), np.array([3.0, 0.1, 0.5])
    expected = np.square(mean - other).sum() + np.square(deviations - others).sum()
    found = frechet_distance(exactly(200, mean, deviations), exactly(300, other, others, seed=1))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_distance_of_covariances_that_do_not_commute_is_by_the_matrix_root():
    from scipy.linalg import sqrtm

    a, b = vectors(90) @ vectors(4, seed=2), vectors(70, seed=1, shift=1) @ vectors(4, seed=3)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(np.full((9, 3), 2.0), np.zeros((9, 3))) == pytest.approx(12)  # constant features


def slow(real, made):
    """Return the four scores by the definitions in the papers, in loops."""

    def reach(x, k):
        return [sorted(np.linalg.norm(a - b) for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]

    def inside(point, centers, radii):
        return sum(np.linalg.norm(point - c) <= r for c, r in zip(centers, radii, strict=True))

    near, wide, theirs = reach(real, 3), reach(real, 5), reach(made, 3)
    return {
        "precision": np.mean([inside(m, real, near) > 0 for m in made]),
        "recall": np.mean([inside(r, made, theirs) > 0 for r in real]),
        "density": sum(inside(m, real, wide) for m in made) / (5 * len(made)),
        "coverage": np.mean([
            any(np.linalg.norm(m - r) <= w for m in made) for r, w in zip(real, wide, strict=True)
        ]),
    }  # fmt: skip


@pytest.mark.parametrize("shift", [0.0, 0.7, 30.0])
def test_precision_recall_density_and_coverage_are_their_definitions(shift, monkeypatch):
    monkeypatch.setattr("zoo.scores.sample_quality.CHUNK", 16)  # several chunks, the last one smaller
    real, made = vectors(40), vectors(55, seed=1, shift=shift)
    found = manifolds(real, made)
    assert found == pytest.approx(slow(real, made), abs=1e-12)
    assert found["density"] > 0 if shift < 30 else set(found.values()) == {0.0}


def test_of_the_same_images_all_is_covered():
    real = vectors(300)
    found = manifolds(real, real.copy())
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert found["density"] == pytest.approx(6 / 5)  # a ball contains its centre and five neighbours


def test_radii_far_from_zero_keep_their_digits():
    x = vectors(50)
    np.testing.assert_allclose(radii(x + 1e6, (1, 3)), radii(x, (1, 3)), rtol=1e-6)


def test_a_few_images_again_and_again_are_not_diverse():
    real = vectors(300, 8)
    assert diversity(real, vectors(300, 8, seed=1)) == pytest.approx(1, abs=0.1)
    few = vectors(5, 8, seed=1)[np.arange(300) % 5]
    assert diversity(real, few) < 1e-6
    # Five clusters can have the covariance of the real images, so a Frechet distance alone would not detect them.
    assert diversity(real, few + vectors(300, 8, seed=2) * 0.05) < 0.1


def test_principal_components_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 4, 1)).astype("uint8")
    judge = of_pixels(Split(images, np.zeros(50, "int32")))
    features, answers = judge.look(images)
    assert answers is None and judge.name == "16 principal components of pixels"
    flat = images.reshape(50, -1) / 255
    kept = np.linalg.norm(flat[0] - flat[1])  # with all components, distances are those of the pixels
    assert np.linalg.norm(features[0] - features[1]) == pytest.approx(kept, rel=1e-4)
    np.testing.assert_allclose(judge.look(images / np.float32(255))[0], features, atol=1e-5)
