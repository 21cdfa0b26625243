"""Decoding of texts over a key-value cache: greedy, by sampling, and by beam search.

A model has `decode_step(ids, position, cache, *context) -> (logits, cache)`. A cache is two tensors with the batch as
their second axis. A search is one compiled loop of static shapes that runs on TensorFlow and on JAX.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.config.sampling import Beam, Sampling

NEVER = -1e9  # log-probability of a forbidden token, finite so that no difference is NaN


def filtered(logits: Any, sampling: Sampling) -> Any:
    """Return logits over the temperature, NEVER for tokens that top-k or top-p exclude, (batch, vocabulary)."""
    logits = ops.cast(logits, "float32") / sampling.temperature
    vocabulary = logits.shape[-1]
    if 0 < sampling.top_k < vocabulary:
        least = ops.top_k(logits, sampling.top_k)[0][:, -1:]
        logits = ops.where(logits < least, NEVER, logits)
    if sampling.top_p < 1:
        ordered = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        before = ops.cumsum(ops.softmax(ordered), axis=-1) - ops.softmax(ordered)  # share of all more probable tokens
        least = ops.min(ops.where(before < sampling.top_p, ordered, -NEVER), axis=-1, keepdims=True)
        logits = ops.where(logits < least, NEVER, logits)
    return logits


def sample(
    step: Callable[..., tuple[Any, Any]],
    ids: Any,
    cache: Any,
    *,
    start: int,
    length: int,
    end: int,
    sampling: Sampling | None,
    noise: Any = None,
) -> Any:
    """Return the tokens that follow, (batch, length) ids, 0 after the end of a text.

    Args:
        step: Function of (ids (batch,), position, cache) that returns (logits (batch, vocabulary), cache).
        ids: Tokens at `start`, (batch,).
        cache: Cache of all tokens before them, with room for `start + length`.
        start: Position of `ids`.
        length: Maximum number of tokens.
        end: Token that ends a text, -1 if there is none.
        sampling: How tokens are sampled. None takes the most probable token.
        noise: Random numbers for the samples, see `gumbel`. Default: those of the seed of `sampling`.
    """
    batch = ids.shape[0]

    def more(i, ids, ended, cache, out):
        return ops.logical_and(i < length, ops.logical_not(ops.all(ended)))

    def one(i, ids, ended, cache, out):
        logits, cache = step(ids, start + i, cache)
        if sampling:
            # The largest of logits with Gumbel noise is a sample from their softmax (Gumbel, 1954).
            logits = filtered(logits, sampling) + ops.take(noise, i, axis=0)
        chosen = ops.where(ended, 0, ops.cast(ops.argmax(logits, axis=-1), "int32"))
        out = _put(out, chosen, i)
        return i + 1, chosen, ops.logical_or(ended, ops.equal(chosen, end)), cache, out

    if sampling and noise is None:
        noise = gumbel(length, batch, step(ids, start, cache)[0].shape[-1], sampling.seed)
    state = (
        ops.convert_to_tensor(0, "int32"),
        ops.cast(ids, "int32"),
        ops.zeros((batch,), "bool"),
        cache,
        ops.zeros((batch, length), "int32"),
    )
    return ops.while_loop(more, one, state)[-1]


def gumbel(length: int, batch: int, vocabulary: int, seed: int) -> Any:
    """Return noise from the Gumbel distribution, (length, batch, vocabulary)."""
    return -ops.log(-ops.log(keras.random.uniform((length, batch, vocabulary), 1e-7, 1, seed=seed)))


def beam_search(
    step: Callable[..., tuple[Any, Any]],
    ids: Any,
    cache: Any,
    *,
    length: int,
    end: int,
    beam: Beam,
) -> tuple[Any, Any]:
    """Return the best text found for each example, (batch, length) ids, and its score, (batch,).

    Texts that ended compete with texts cut at `length`. The search stops when no unfinished text can become better than
    the best one that ended.

    Args:
        step: Function of (ids (batch * beams,), position, cache) that returns (logits (batch * beams, vocabulary),
            cache). The beams of an example are side by side.
        ids: Tokens at position 0, (batch,).
        cache: Empty cache for batch * beams texts.
        length: Maximum number of tokens, including the end.
        end: Token that ends a text.
        beam: Number of beams and length penalty.
    """
    batch, beams = ids.shape[0], beam.beams

    def penalty(tokens):
        return ((5 + ops.cast(tokens, "float32")) / 6) ** beam.length_penalty

    def more(i, alive, log_p, done, scores, cache, out):
        hopeful = ops.max(scores, axis=1) < log_p[:, 0] / penalty(length)
        return ops.logical_and(i < length, ops.any(hopeful))

    def one(i, last, log_p, done, scores, cache, out):
        logits, cache = step(ops.reshape(last, (-1,)), i, cache)
        vocabulary = logits.shape[-1]
        each = ops.log_softmax(ops.reshape(ops.cast(logits, "float32"), (batch, beams, vocabulary)))
        # Twice the number of beams, so that enough remain if every beam ends.
        log_p, found = ops.top_k(ops.reshape(log_p[..., None] + each, (batch, beams * vocabulary)), 2 * beams)
        parent, token = found // vocabulary, ops.cast(found % vocabulary, "int32")
        texts = _put(_rows(out, parent), token, i)
        ended = ops.equal(token, end)
        scores, best = ops.top_k(
            ops.concatenate([scores, ops.where(ended, log_p / penalty(i + 1), NEVER)], axis=1), beams
        )
        done = _rows(ops.concatenate([done, texts], axis=1), best)
        log_p, going = ops.top_k(ops.where(ended, NEVER, log_p), beams)
        places = _places(_rows(parent, going), beams)
        cache = keras.tree.map_structure(lambda part: ops.take(part, places, axis=1), cache)
        return i + 1, _rows(token, going), log_p, done, scores, cache, _rows(texts, going)

    empty = ops.zeros((batch, beams, length), "int32")
    first = ops.concatenate([ops.zeros((batch, 1)), ops.full((batch, beams - 1), NEVER)], axis=1)
    last = ops.repeat(ops.cast(ids, "int32")[:, None], beams, axis=1)
    never = ops.full((batch, beams), NEVER)
    state = (ops.convert_to_tensor(0, "int32"), last, first, empty, never, cache, empty)
    i, _, log_p, done, scores, _, out = ops.while_loop(more, one, state)
    cut = log_p[:, 0] / penalty(i)
    texts = ops.where((cut > scores[:, 0])[:, None], out[:, 0], done[:, 0])
    return texts, ops.maximum(cut, scores[:, 0])


def _put(rows: Any, values: Any, i: Any) -> Any:
    """Return rows (..., length) with values (...) written to column i."""
    return ops.where(ops.equal(ops.arange(rows.shape[-1]), i), values[..., None], rows)


def _rows(x: Any, index: Any) -> Any:
    """Return the rows of x (batch, rows, ...) at index (batch, chosen), as (batch, chosen, ...)."""
    batch, rows, *rest = x.shape
    flat = ops.reshape(x, (batch * rows, *rest))
    return ops.reshape(ops.take(flat, _places(index, rows), axis=0), (batch, index.shape[1], *rest))


def _places(index: Any, rows: int) -> Any:
    """Return indices into the rows of all examples, (batch * chosen,), from indices in each, (batch, chosen)."""
    first = rows * ops.arange(index.shape[0], dtype=index.dtype)
    return ops.reshape(index + first[:, None], (-1,))


def compiled(function: Callable) -> Callable:
    """Return a function of arrays, compiled as a whole by the backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    # XLA fuses the two hundred operators of a step, which is three times as fast for one text (benchmarks/results).
    return tf.function(function, jit_compile=True)
