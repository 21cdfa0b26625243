"""How near an answer is to a question in a knowledge graph, as functions of embeddings.

A complex number is two columns: the real parts are the first half of a row, the imaginary parts the second.
"""

from typing import Any

from keras import ops

# Under a root, where its gradient would not be finite at 0.
TINY = 1e-12
# Whose scores are products, or lengths of differences: any number of answers by one matrix multiplication.
PRODUCTS, DISTANCES = ("distmult", "complex"), ("transe", "rotate")


def squares(scorer: str, x: Any) -> Any:
    """Return the squared modulus of every number of embeddings, (..., numbers)."""
    if scorer not in ("complex", "rotate"):
        return ops.square(x)
    real, imaginary = ops.split(x, 2, axis=-1)
    return ops.square(real) + ops.square(imaginary)


def question(scorer: str, heads: Any, relations: Any) -> Any:
    """Return what an answer's embedding is compared with, (..., dim).

    Args:
        scorer: transe (Bordes et al., 2013), distmult (Yang et al., 2015), complex (Trouillon et al., 2016) or rotate
            (Sun et al., 2019).
        heads: (..., dim).
        relations: (..., dim), of rotate the phases in radians, (..., dim / 2).
    """
    if scorer == "transe":
        return heads + relations
    if scorer == "distmult":
        return heads * relations
    if scorer == "complex":
        return _product(heads, *ops.split(relations, 2, axis=-1))
    return _product(heads, ops.cos(relations), ops.sin(relations))


def _product(x: Any, real: Any, imaginary: Any) -> Any:
    a, b = ops.split(x, 2, axis=-1)
    return ops.concatenate([a * real - b * imaginary, a * imaginary + b * real], axis=-1)


def scores(scorer: str, norm: int, asked: Any, answers: Any) -> Any:
    """Return the score of every answer to every question, (..., questions, answers).

    Of products it is Re(<asked, conjugate(answer)>); of distances the negative length of the difference. The margin of
    the papers' losses is a constant, which cancels in a softmax.

    Args:
        scorer: one of `PRODUCTS` or `DISTANCES`.
        norm: of distances, 1 or 2; of complex numbers the 1-norm is the sum of their moduli.
        asked: (..., questions, dim).
        answers: (..., answers, dim).
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
