"""What the files of models that generate text have in common: they are called for one token at a time."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import TextInterface
from compression.receipts.subject import Subject
from compression.runtime import litert_texts
from compression.runtime.litert_texts import Steps
from compression.tasks.base import Form
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Split
from zoo.tasks import language_model

# Number of test texts whose every logit is compared with Keras.
COMPARED = 64
# Scores that follow from the loss, and differ between processors.
_LEFT_OUT = ("perplexity", "examples")
# What the inputs and outputs of a step mean, for the metadata of a file.
STEP = {
    "token": "id at it",
    "position": "from 0",
    "keys, values": "zeros at position 0, then what the step before gave",
    "logits": "of the token after this one; their softmax is its probability",
}


class Taught(NamedTuple):
    """Texts as a model is taught them.

    Attributes:
        tokens: (texts, steps) Token that each step is given.
        labels: (texts, steps) Token that each step should predict, 0 at padding.
        source: (texts, tokens) Texts to translate; None if there are none.
    """

    tokens: np.ndarray
    labels: np.ndarray
    source: np.ndarray | None


class TokenForm(Form):
    """How a model that generates text becomes a file.

    Attributes:
        interface: Signatures of the file.
    """

    interface: TextInterface

    @staticmethod
    @abstractmethod
    def taught(split: Split) -> Taught:
        """Return the texts of a split as the model is taught them."""

    @abstractmethod
    def keras_scores(self, model: keras.Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of Keras on the test split, and what else its task shows of it."""

    def generated_scores(self, path: Path, shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the scores, intervals, parity and other entries of `test` from texts that a file generates.

        Args:
            path: Path of the file.
            shown: What Keras generated, from `keras_scores`.
        """
        return {"scores": {}, "intervals": {}, "parity": {}, "test": {}}

    def references(self) -> tuple[str, ...]:
        """Return the texts that generated ones are compared with, if there are any."""
        return ()

    @abstractmethod
    def first_input(self) -> np.ndarray | None:
        """Return the first test text for the latency of `encode`; None without a source."""

    def subject(self, model: keras.Model, original: keras.Model) -> "TokenSubject":
        return TokenSubject(model, self, original)

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return training texts as `rollout.rolled_out` takes them, with `count` tokens or a few more."""
        tokens, labels, source = self.taught(self._drawn(seed, count))  # a text has at least one token
        wanted = 1 + int(np.searchsorted(np.cumsum((labels != 0).sum(1)), count))
        tokens = np.where(labels != 0, tokens, 0)[:wanted]  # without the end, which no step is given
        return {"tokens": tokens} | ({} if source is None else {"source": source[:wanted]})

    def calibration_count(self, calibration: Mapping[str, np.ndarray]) -> int:
        return int(np.count_nonzero(calibration["tokens"]))

    def examples(self, count: int, seed: int) -> Any:
        tokens, _, source = self.taught(self._drawn(seed, count))
        return tokens if source is None else (source, tokens)

    def _drawn(self, seed: int, count: int) -> Split:
        """Return training texts in random order."""
        train = self.data.train
        if not len(train):
            raise UsageError("expected training examples to calibrate with, received none")
        return train.take(np.random.default_rng(seed).permutation(len(train))[:count])

    def write_beside(self, path: Path) -> None:
        """Write the vocabularies; that of the target may be that of the source."""
        self.data.save_vocabularies(path.with_suffix(".vocabulary.json"), path.with_suffix(".target_vocabulary.json"))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        loss, accuracy = (written(scores, name, intervals or {}) for name in ("loss", "accuracy"))
        return f"loss {loss} nats per token, next-token accuracy {accuracy}"

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["accuracy"], "next-token accuracy on the test split, %"


class TokenSubject(Subject):
    """Subject of a file that generates text.

    Args:
        model: Keras model whose outputs the file should have.
        form: Form of the file, with the data.
        original: Model with whose weights in float32 the file's size is compared.
    """

    def __init__(self, model: keras.Model, form: TokenForm, original: keras.Model) -> None:
        self.model, self.form, self.original = model, form, original
        self._test = form.data.split("test")
        self._taught = form.taught(self._test)

    def check_takes(self, path: Path, content: Any) -> None:
        interface, found = self.form.interface, flatbuffer.signatures(content)
        taken = {
            f"{name}.{row['name']}": row["shape"]
            for name, ends in found.items()
            for row in ends["inputs"]
            if row["name"] in ("source", "keys")
        }
        source, length = taken.get("encode.source", [1, 0])[1], taken.get("decode_step.keys", [0] * 5)[3]
        if (source, length) != (interface.source_length, interface.length):
            raise UsageError(
                f"{path}: expected a file for sources of {interface.source_length} tokens and a cache of"
                f" {interface.length}, as the data have them; this one takes {source} and {length}"
            )

    def scored(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file on the tokens of the test texts; no text is generated."""
        return self._token_scores(self._forced(path, keep=0))

    def measured(self, path: Path) -> dict[str, Any]:
        found, shown = self.form.keras_scores(self.model)
        steps = self._forced(path, keep=COMPARED)
        generated = self.form.generated_scores(path, shown)
        intervals = language_model.token_intervals(self._token_sums(steps)) | generated["intervals"]
        return {
            "test": {
                "examples": len(self._test),
                "sha256": _sha256(self._test, self.form.references()),
                **generated["test"],
                "litert": self._token_scores(steps) | generated["scores"],
                "intervals": {name: ends for name, ends in intervals.items() if name not in _LEFT_OUT},
                "keras": {name: value for name, value in found.items() if name not in _LEFT_OUT},
            },
            "parity": self._parity(path, steps) | generated["parity"],
            "latency": litert_texts.latency(path, self.form.first_input()),
        }

    def _forced(self, path: Path, keep: int) -> Steps:
        tokens, labels, source = self._taught
        return litert_texts.forced(path, tokens, labels, source, keep=keep)

    def _token_sums(self, steps: Steps) -> np.ndarray:
        labels = self._taught.labels
        real = labels != 0
        return language_model.by_example(real, -steps.log_p[real].astype(np.float64), (steps.top == labels)[real])

    def _token_scores(self, steps: Steps) -> dict[str, Any]:
        labels = self._taught.labels
        real = labels != 0
        return {
            "loss": float(-steps.log_p[real].mean()),
            "accuracy": float((steps.top == labels)[real].mean()),
            "tokens": int(real.sum()),
        }

    def _parity(self, path: Path, steps: Steps) -> dict[str, Any]:
        """Return how far the steps of a file are from Keras, which computes whole texts at once, in the first texts."""
        split = self._test.take(np.arange(min(COMPARED, len(self._test))))
        tokens, labels, source = self.form.taught(split)
        expected = _logits(self.model, tokens, labels, source)
        mine, theirs = _softmax(steps.logits), _softmax(expected)
        found = {
            "examples": len(split),
            "steps": len(expected),
            "largest_difference": float(np.abs(mine - theirs).max()),
            "mean_difference": float(np.abs(mine - theirs).mean()),
            "largest_logit_difference": float(np.abs(steps.logits - expected).max()),
            "same_answer": float((mine.argmax(-1) == theirs.argmax(-1)).mean()),
        }
        if source is None:
            return found
        # Effect of the source: a file that lost it would predict the same for another one.
        other = np.roll(source, 1, axis=0)
        wrong = litert_texts.forced(path, tokens, labels, other, keep=len(split)).logits
        effects = (mine, wrong), (theirs, _logits(self.model, tokens, labels, other))
        mine, theirs = (_variation(own, _softmax(logits)) for own, logits in effects)
        return found | {"source_effect": mine, "source_effect_keras": theirs}


def _logits(model: keras.Model, tokens: np.ndarray, labels: np.ndarray, source: np.ndarray | None) -> np.ndarray:
    """Return the logits of every step that is not padding, (steps, vocabulary)."""
    logits = model.predict(tokens if source is None else (source, tokens), batch_size=COMPARED, verbose=0)
    return np.asarray(logits, np.float32)[labels != 0]


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _variation(p: np.ndarray, q: np.ndarray) -> float:
    """Return the mean total variation distance of distributions, from 0 (the same) to 1."""
    return float(np.abs(p - q).sum(-1).mean() / 2)


def _sha256(split: Split, references: Any) -> str:
    """Return the SHA-256 of the ids of a split and of its references."""
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update("\0".join(references).encode())
    return digest.hexdigest()
