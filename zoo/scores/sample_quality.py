"""Quality of generated examples, measured by comparing their feature vectors with those of real ones. Numpy only.

Distances are Euclidean. An example is not among its own nearest neighbours.
"""

from collections.abc import Iterator

import numpy as np

# Number of neighbours k that define the manifolds, as in the papers: precision and recall (Kynkaanniemi et al., 2019),
# density and coverage (Naeem et al., 2020).
NEIGHBOURS = {"precision": 3, "density": 5}
CHUNK = 1000  # rows of the distance matrix in memory at the same time


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Return the Frechet distance between normal distributions with the means and covariances of two sets of vectors.

    |m_1 - m_2|^2 + trace(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) (Dowson & Landau, 1982).

    Args:
        real: Features of real examples, (examples, features).
        made: Features of generated examples, (examples, features).
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

    The ball of an example reaches to its k-th nearest neighbour among the examples of its own kind, real or generated.
    Precision is the share of generated examples inside the ball of any real one, and recall the share of real examples
    inside the ball of any generated one. Density is the mean number of real examples' balls that a generated example
    is in, divided by k. Coverage is the share of real examples with a generated one inside their ball.

    Args:
        real: Features of real examples, (examples, features), with more than 5 examples.
        made: Features of generated examples, (examples, features), with more than 5 examples.
    """
    counts = tuple(NEIGHBOURS.values())
    near, wide = radii(real, counts)
    made_near = radii(made, counts)[0]
    inside = np.zeros(len(made))  # number of real examples' balls that each generated example is in
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
    """Return the distance of each example to its k-th nearest neighbour for each k, (len(neighbours), examples).

    Args:
        x: Features, (examples, features).
        neighbours: Values of k.
    """
    found = []
    for rows, distances in _distances(x, x):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        found.append(np.partition(distances, [k - 1 for k in neighbours], axis=1)[:, [k - 1 for k in neighbours]])
    return np.concatenate(found).T


def diversity(real: np.ndarray, made: np.ndarray) -> float:
    """Return the median nearest-neighbour distance of generated examples, divided by that of as many real ones.

    It is near 0 if a generator makes the same few images again and again (mode collapse).

    Args:
        real: Features of real examples, (examples, features).
        made: Features of generated examples, (examples, features).
    """
    count = min(len(real), len(made))
    mine, theirs = (np.median(radii(x[:count], (1,))) for x in (made, real))
    return float(mine / max(theirs, np.finfo(np.float64).tiny))


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the rows of `a` with the distances (rows, len(b)) of these rows to all rows of `b`."""
    center = b.mean(0, dtype=np.float64)  # centred, because products of large numbers lose precision
    a, b = a - center, b - center
    squares = np.square(b).sum(1)
    for start in range(0, len(a), CHUNK):
        rows = slice(start, min(start + CHUNK, len(a)))
        found = np.square(a[rows]).sum(1)[:, None] + squares - 2 * (a[rows] @ b.T)
        yield rows, np.sqrt(np.maximum(found, 0))
