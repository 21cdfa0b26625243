"""Language modelling: the next token of a text, and what both tasks on tokens are measured by."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config.sampling import Sampling
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, below, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import tokens as token_batches
from zoo.objectives.losses import CrossEntropy
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.scores import intervals
from zoo.tasks.base import callbacks, gathered, measured_with, remarks
from zoo.tasks.decoding import compiled, gumbel, sample

__all__ = ["callbacks", "gathered", "measured_with", "remarks"]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.generate", "TEXT")
# Examples whose logits are in memory at once, and as many in a batch.
CHUNK = 64


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a language model."""
    return {**config.settings, "vocabulary_size": spec.vocabulary_size}


def build_shape(spec: DataSpec) -> tuple[int | None, ...]:
    """Return what a language model is built for."""
    return (None, *spec.input_shape)


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss and the metrics of `fit`, by the weights of tokens."""
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return {"loss": CrossEntropy(config.label_smoothing), "weighted_metrics": [accuracy]}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`."""
    return token_batches.training_batches(
        data.train, data.spec, batch_size=batch_size, seed=config.seed, start=start, stop=stop
    )


def validation_batches(data: Dataset, stride: int) -> Any:
    """Return every validation example once."""
    return token_batches.evaluation_batches(data.validation, data.spec, batch_size=CHUNK, stride=stride)


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: the validation loss."""
    return (-row["val_loss"],)


def measure(model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a split, and their intervals."""
    sums = token_sums(model, data.split(split), data.spec)
    return token_scores(sums), {"intervals": token_intervals(sums)}


def continued(
    model: keras.Model, prompt: np.ndarray, *, count: int, length: int, window: int, sampling: Sampling | None
) -> np.ndarray:
    """Return what follows a prompt, several times, (count, length) ids.

    A model has learnt positions of one window. Where a text outgrows it, its last half is the prompt of the next.

    Args:
        model: of `prefill`, `empty_cache`, `decode_step` and `vocabulary_size`, such as `zoo.models.TransformerLM`.
        prompt: (tokens,) ids, one or more.
        count: texts.
        length: tokens of each.
        window: tokens that the model was trained on at a time, 2 or more.
        sampling: how tokens are drawn; None takes the most probable.
    """
    texts = np.repeat(np.asarray(prompt, np.int32)[None], count, axis=0)
    wanted, run, seed = len(prompt) + length, {}, sampling.seed if sampling else 0
    while texts.shape[1] < wanted:
        known = texts if texts.shape[1] < window else texts[:, -(window // 2) :]
        room = window - known.shape[1]
        if (shape := known.shape[1]) not in run:
            run[shape] = compiled(functools.partial(_follow, model, length=room, window=window, sampling=sampling))
        noise = gumbel(room, count, model.vocabulary_size, seed) if sampling else None
        texts = np.concatenate([texts, ops.convert_to_numpy(run[shape](ops.convert_to_tensor(known), noise))], axis=1)
        seed += 1  # each window has draws of its own
    return texts[:, len(prompt) : wanted]


def _follow(model: keras.Model, known: Any, noise: Any, *, length: int, window: int, sampling: Sampling | None) -> Any:
    """Return (batch, length) ids that follow (batch, time), which may be a single one each."""
    batch, time = known.shape
    cache = model.empty_cache(batch, window)
    if time == 2:  # Keras warns of a softmax over one step
        _, cache = model.decode_step(known[:, 0], 0, cache)
    elif time > 2:
        _, cache = model.prefill(known[:, :-1], window)
    return sample(
        model.decode_step, known[:, -1], cache, start=time - 1, length=length, end=-1, sampling=sampling, noise=noise
    )


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write nothing: the scores are all there is."""


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    return Page(f"{data.spec.vocabulary_size:,} {data.vocabulary.tokens} tokens", tiles(found, shown["intervals"]), [])


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    return nats(test, within)


def nats(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores of tokens in a few words."""
    return (
        f"loss {written(test, 'loss', within)} nats a token, perplexity {written(test, 'perplexity', within)},"
        f" {test['tokens']:,} tokens"
    )


def tiles(found: dict[str, Any], within: Intervals) -> list[tuple[str, str]]:
    """Return the scores of tokens as a report shows them."""
    return [
        (f"{found['loss']:.4f}", f"test loss, nats a token ({found['tokens']:,} tokens){below('loss', within)}"),
        (f"{found['perplexity']:.2f}", f"perplexity{below('perplexity', within)}"),
        (f"{found['accuracy']:.2%}", f"next token right{below('accuracy', within)}"),
    ]


def token_sums(model: keras.Model, split: Split, spec: DataSpec) -> np.ndarray:
    """Return of each example the loss in nats, right tokens and tokens that are no padding, (examples, 3) float64."""
    parts = []
    for start in range(0, len(split), CHUNK):
        part = split.take(np.arange(start, min(start + CHUNK, len(split))))
        labels = part.y[:, 1:] if spec.task == "translation" else part.y
        outputs = model.predict(token_batches.evaluation_batches(part, spec, batch_size=CHUNK), verbose=0)
        real = labels != 0
        logits = np.asarray(outputs, np.float32)[: len(part)][real].astype(np.float64)  # (tokens, vocabulary)
        known = labels[real]
        top = logits.max(-1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(-1))
        parts.append(by_example(real, total - logits[np.arange(len(known)), known], logits.argmax(-1) == known))
    return np.concatenate(parts)


def by_example(real: np.ndarray, losses: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return what tokens come to, (examples, 3): the loss, right ones, and how many.

    Args:
        real: (examples, time), which are no padding.
        losses: (tokens,) of those, in nats.
        right: (tokens,) whether the most probable one is right.
    """
    of, examples = np.nonzero(real)[0], len(real)
    columns = [np.bincount(of, weights=values, minlength=examples) for values in (losses, right, np.ones(len(of)))]
    return np.stack(columns, axis=1)


def token_scores(sums: np.ndarray) -> dict[str, Any]:
    """Return loss (nats a token), perplexity and accuracy over every token that is no padding.

    Args:
        sums: of each example, see `by_example`.
    """
    loss, right, tokens = sums.sum(0)
    return {
        "loss": float(loss / tokens),
        "perplexity": float(_perplexity(loss / tokens)),
        "accuracy": float(right / tokens),
        "tokens": int(tokens),
        "examples": len(sums),
    }


def token_intervals(sums: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of what `token_scores` returns, over examples: sentences, or windows of a text."""

    def figures(drawn: np.ndarray) -> dict[str, np.ndarray]:
        loss, right, tokens = drawn.T
        tokens = np.maximum(tokens, 1)
        return {"loss": loss / tokens, "perplexity": _perplexity(loss / tokens), "accuracy": right / tokens}

    return intervals.of_sums(sums, figures)


def _perplexity(loss: Any) -> Any:
    return np.exp(np.minimum(loss, 700))  # of nats; e to more is no float
