"""Language modelling: predict the next token of a text. Scores of tokens are shared with translation."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config.run_options import LENGTH, GenerateOptions
from zoo.config.sampling import Sampling
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, below, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import tokens as token_batches
from zoo.data.sources.language import ids_of
from zoo.objectives.losses import CrossEntropy
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import as_floats, probabilities, tell_unknown
from zoo.runs.vocabularies import read_spec
from zoo.scores import intervals
from zoo.tasks import base
from zoo.tasks.base import Reading, Task, Texts, percent
from zoo.tasks.parts import requests
from zoo.tasks.parts.decoding import compiled, gumbel, sample

# Number of examples in a batch of evaluation, whose logits are in memory at once.
CHUNK = 64


class TokenTask(Task):
    """A task whose targets are tokens: what language modelling and translation share."""

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")  # weighted: padding has weight zero
        return {"loss": CrossEntropy(config.label_smoothing), "weighted_metrics": [accuracy]}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        return token_batches.training_batches(
            data.train, data.spec, batch_size=batch_size, seed=config.seed, start=start, stop=stop
        )

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return token_batches.evaluation_batches(data.validation, data.spec, batch_size=CHUNK, stride=stride)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row["val_loss"],)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        ids = keras.KerasTensor((batch_size, *spec.input_shape), "int32")
        weights = keras.KerasTensor((batch_size, *spec.input_shape), "float32")
        x = (ids, ids) if isinstance(self.build_shape(spec), list) else ids
        return x, ids, weights


class LanguageModel(TokenTask):
    """Predict the next token of a text."""

    name = "language_model"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {**config.settings, "vocabulary_size": spec.vocabulary_size}

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        sums = token_sums(model, data.split(split), data.spec)
        return token_scores(sums), {"intervals": token_intervals(sums)}

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        subject = f"{data.spec.vocabulary_size:,} {data.vocabulary.tokens} tokens"
        return Page(subject, tiles(scores, shown["intervals"]), [])

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return nats(test, within)

    def generate(self, run: RunFolder, options: GenerateOptions) -> list[dict[str, str]]:
        spec, vocabulary = read_spec(run)
        model, made = run.load_model(), []
        for text in options.inputs:
            prompt = ids_of(vocabulary, text)
            if not len(prompt):
                raise UsageError("TEXT: expected a text to continue, received an empty one")
            tell_unknown(f"TEXT {text[:40]}", [prompt], vocabulary)
            rows = continued(
                model,
                prompt,
                count=options.count or 1,
                length=options.length or LENGTH,
                window=spec.input_shape[0],
                sampling=requests.continuation(options),
            )
            made += [{"input": text, "output": vocabulary.decode([*prompt, *row])} for row in rows]
        return made

    def readings(self, model: keras.Model, x: Sequence[np.ndarray], spec: DataSpec, texts: Texts) -> Iterator[Reading]:
        for one in x:
            tokens = base.tokens_of(one, texts.vocabulary)
            count = len(tokens)
            p = probabilities(as_floats(model(one, training=False))[0, count - 1])
            (following,) = texts.vocabulary.pieces([p.argmax()])
            statement = f"next token {following!r} ({percent(p.max())})"
            spans = {"attention": (count, count)}
            yield Reading(one, following, float(p.max()), statement, tokens=tokens, spans=spans)

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape, tokens = input_shape or (base.TIME,), size or base.TOKENS
        return DataSpec("example", "tokens", shape, (), True, tokens, self.name, shape, tokens)


def continued(
    model: keras.Model, prompt: np.ndarray, *, count: int, length: int, window: int, sampling: Sampling | None
) -> np.ndarray:
    """Return continuations of a prompt, (count, length) ids.

    A model knows the positions of one window. When a text is longer, the last half of the window is the prompt of the
    next window.

    Args:
        model: Language model with `prefill`, `empty_cache`, `decode_step` and `vocabulary_size`, such as
            `zoo.models.TransformerLM`.
        prompt: Ids of one or more tokens, (tokens,).
        count: Number of continuations.
        length: Number of tokens of each.
        window: Number of tokens that the model was trained on at a time, 2 or more.
        sampling: How tokens are sampled. None takes the most probable token.
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
        seed += 1  # each window has random numbers of its own
    return texts[:, len(prompt) : wanted]


def _follow(model: keras.Model, known: Any, noise: Any, *, length: int, window: int, sampling: Sampling | None) -> Any:
    """Return the ids that follow `known`, (batch, length). There may be a single id in each row of (batch, time)."""
    batch, time = known.shape
    cache = model.empty_cache(batch, window)
    if time == 2:  # Keras warns of a softmax over one step
        _, cache = model.decode_step(known[:, 0], 0, cache)
    elif time > 2:
        _, cache = model.prefill(known[:, :-1], window)
    return sample(
        model.decode_step, known[:, -1], cache, start=time - 1, length=length, end=-1, sampling=sampling, noise=noise
    )


def nats(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores of tokens in one line."""
    return (
        f"loss {written(test, 'loss', within)} nats a token, perplexity {written(test, 'perplexity', within)},"
        f" {test['tokens']:,} tokens"
    )


def tiles(found: dict[str, Any], within: Intervals) -> list[tuple[str, str]]:
    """Return the scores of tokens for the report."""
    return [
        (f"{found['loss']:.4f}", f"test loss, nats a token ({found['tokens']:,} tokens){below('loss', within)}"),
        (f"{found['perplexity']:.2f}", f"perplexity{below('perplexity', within)}"),
        (f"{found['accuracy']:.2%}", f"next-token accuracy{below('accuracy', within)}"),
    ]


def token_sums(model: keras.Model, split: Split, spec: DataSpec) -> np.ndarray:
    """Return loss in nats, correct tokens and tokens without padding of each example, (examples, 3) float64."""
    parts = []
    for start in range(0, len(split), CHUNK):
        part = split.take(np.arange(start, min(start + CHUNK, len(split))))
        labels = part.y[:, 1:] if spec.kind == "pairs" else part.y
        outputs = model.predict(token_batches.evaluation_batches(part, spec, batch_size=CHUNK), verbose=0)
        real = labels != 0
        logits = np.asarray(outputs, np.float32)[: len(part)][real].astype(np.float64)  # (tokens, vocabulary)
        known = labels[real]
        top = logits.max(-1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(-1))
        parts.append(by_example(real, total - logits[np.arange(len(known)), known], logits.argmax(-1) == known))
    return np.concatenate(parts)


def by_example(real: np.ndarray, losses: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the sums over the tokens of each example, (examples, 3): loss, correct tokens, number of tokens.

    Args:
        real: Whether each token is no padding, (examples, time).
        losses: Losses of the tokens without padding in nats, (tokens,).
        right: Whether the most probable token is correct, (tokens,).
    """
    of, examples = np.nonzero(real)[0], len(real)
    columns = [np.bincount(of, weights=values, minlength=examples) for values in (losses, right, np.ones(len(of)))]
    return np.stack(columns, axis=1)


def token_scores(sums: np.ndarray) -> dict[str, Any]:
    """Return loss (nats a token), perplexity and accuracy over all tokens without padding.

    Args:
        sums: Sums of each example, see `by_example`.
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
    """Return the 95 % intervals of the scores of tokens, over examples: sentences, or windows of a text."""

    def figures(drawn: np.ndarray) -> dict[str, np.ndarray]:
        loss, right, tokens = drawn.T
        tokens = np.maximum(tokens, 1)
        return {"loss": loss / tokens, "perplexity": _perplexity(loss / tokens), "accuracy": right / tokens}

    return intervals.of_sums(sums, figures)


def _perplexity(loss: Any) -> Any:
    return np.exp(np.minimum(loss, 700))  # e to a higher power is no float


TASK = LanguageModel()
