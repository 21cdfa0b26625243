"""Scores of ranks: mean reciprocal rank and hits at n."""

import numpy as np

# Ranks that count as a hit.
HITS = (1, 3, 10)


def ranked(ranks: np.ndarray) -> dict[str, float]:
    """Return the mean reciprocal rank, and the shares of ranks of at most 1, 3 and 10."""
    return {"mrr": float((1 / ranks).mean())} | {f"hits_at_{n}": float((ranks <= n).mean()) for n in HITS}
