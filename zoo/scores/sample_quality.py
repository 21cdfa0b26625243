"""How near made examples are to real ones, by vectors of features of both. Numpy only.

Distances between vectors are Euclidean. Where k nearest neighbours are meant, an example is not its own.
"""

from collections.abc import Iterator

import numpy as np

# Neighbours that span a manifold: of precision and recall (Kynkaanniemi et al., 2019), of density and coverage (Naeem
# et al., 2020), as their authors have them.
NEIGHBOURS = {"precision": 3, "density": 5}
CHUNK = 1000  # rows of a matrix of distances that are in memory at once


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Return the Frechet distance of two normal distributions with the means and covariances of these vectors.

    |m_1 - m_2|^2 + trace(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) (Dowson & Landau, 1982).

    Args:
        real: (examples, features).
        made: (examples, features).
    """
    (mean, covariance), (other_mean, other) = _moments(real), _moments(made)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # C_1 C_2 has the eigenvalues of the symmetric C_1^(1/2) C_2 C_1^(1/2).
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other) - 2 * shared
    return float(max(distance, 0.0))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


def manifolds(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Return precision, recall, density and coverage.

    The ball of an example reaches to its k-th nearest neighbour among those of its own kind. Precision: the share of
    made examples inside the ball of any real one; recall: of real ones inside the ball of any made one. Density: in how
    many balls of real examples a made one is on average, over k. Coverage: the share of real examples with a made one
    inside their ball.

    Args:
        real: (examples, features), more than 5.
        made: (examples, features), more than 5.
    """
    counts = tuple(NEIGHBOURS.values())
    near, wide = radii(real, counts)
    made_near = radii(made, counts)[0]
    inside = np.zeros(len(made))  # balls of real examples that each made one is in
    caught = np.zeros(len(made), bool)
    covered, recalled = [], []
    for rows, distances in _distances(real, made):
        found = distances <= wide[rows, None]
        inside += found.sum(0)
        covered.append(found.any(1))
        caught |= (distances <= near[rows, None]).any(0)
        recalled.append((distances <= made_near).any(1))
    return {
        "precision": float(caught.mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(inside.mean() / NEIGHBOURS["density"]),
        "coverage": float(np.concatenate(covered).mean()),
    }


def radii(x: np.ndarray, neighbours: tuple[int, ...]) -> np.ndarray:
    """Return (len(neighbours), examples): the distance from each example to its k-th nearest neighbour, for each k."""
    found = []
    for rows, distances in _distances(x, x):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        found.append(np.partition(distances, [k - 1 for k in neighbours], axis=1)[:, [k - 1 for k in neighbours]])
    return np.concatenate(found).T


def diversity(real: np.ndarray, made: np.ndarray) -> float:
    """Return how far apart made examples are: the median distance to the nearest other, over that of as many real ones.

    Where a generator makes a few images again and again, this is near 0.

    Args:
        real: (examples, features).
        made: (examples, features).
    """
    count = min(len(real), len(made))
    mine, theirs = (np.median(radii(x[:count], (1,))) for x in (made, real))
    return float(mine / max(theirs, np.finfo(np.float64).tiny))


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the distances (rows, len(b)) of some rows of `a` from all of `b`, and which rows."""
    center = b.mean(0, dtype=np.float64)  # products of large numbers would lose the digits of small distances
    a, b = a - center, b - center
    squares = np.square(b).sum(1)
    for start in range(0, len(a), CHUNK):
        rows = slice(start, min(start + CHUNK, len(a)))
        found = np.square(a[rows]).sum(1)[:, None] + squares - 2 * (a[rows] @ b.T)
        yield rows, np.sqrt(np.maximum(found, 0))
