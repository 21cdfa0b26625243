"""Scoring functions of knowledge-graph embeddings: how well an entity answers a query.

Complex numbers are stored as two halves of a row: the real parts first, then the imaginary parts.
"""

from typing import Any

from keras import ops

# Added under a square root, whose gradient is not finite at 0.
TINY = 1e-12
# Scorers whose scores are inner products, or distances. One matrix multiplication scores any number of answers.
PRODUCTS, DISTANCES = ("distmult", "complex"), ("transe", "rotate")


def squares(scorer: str, x: Any) -> Any:
    """Return the squared modulus of every number in the embeddings, (..., numbers)."""
    if scorer not in ("complex", "rotate"):
        return ops.square(x)
    real, imaginary = ops.split(x, 2, axis=-1)
    return ops.square(real) + ops.square(imaginary)


def question(scorer: str, heads: Any, relations: Any) -> Any:
    """Return the embedding of a query (head, relation), with which answers are compared, (..., dim).

    Args:
        scorer: "transe" (Bordes et al., 2013), "distmult" (Yang et al., 2015), "complex" (Trouillon et al., 2016) or
            "rotate" (Sun et al., 2019).
        heads: Embeddings of the heads, (..., dim).
        relations: Embeddings of the relations, (..., dim); for "rotate", phases in radians, (..., dim / 2).
    """
    if scorer == "transe":
        return heads + relations
    if scorer == "distmult":
        return heads * relations
    if scorer == "complex":
        return _product(heads, *ops.split(relations, 2, axis=-1))
    return _product(heads, ops.cos(relations), ops.sin(relations))


def _product(x: Any, real: Any, imaginary: Any) -> Any:
    """Return the complex product of x and real + i * imaginary."""
    a, b = ops.split(x, 2, axis=-1)
    return ops.concatenate([a * real - b * imaginary, a * imaginary + b * real], axis=-1)


def scores(scorer: str, norm: int, asked: Any, answers: Any) -> Any:
    """Return the score of every answer to every question, (..., questions, answers).

    The score is Re(<asked, conjugate(answer)>) for `PRODUCTS` and the negative distance for `DISTANCES`. The margin in
    the papers' losses is a constant, which cancels in a softmax.

    Args:
        scorer: Scorer, one of `PRODUCTS` or `DISTANCES`.
        norm: Norm of the distances, 1 or 2. For complex numbers, the 1-norm is the sum of the moduli.
        asked: Query embeddings from `question`, (..., questions, dim).
        answers: Entity embeddings, (..., answers, dim).
    """
    if scorer in DISTANCES and norm == 1:
        apart = ops.expand_dims(asked, -2) - ops.expand_dims(answers, -3)
        if scorer == "transe":
            return -ops.sum(ops.abs(apart), axis=-1)
        return -ops.sum(ops.sqrt(squares(scorer, apart) + TINY), axis=-1)
    product = ops.matmul(asked, ops.swapaxes(answers, -1, -2))
    if scorer in PRODUCTS:
        return product
    lengths = ops.sum(ops.square(asked), axis=-1, keepdims=True)
    others = ops.expand_dims(ops.sum(ops.square(answers), axis=-1), -2)
    return -ops.sqrt(ops.maximum(lengths + others - 2 * product, TINY))
