"""What a run that translates, or goes on with texts, is exported as, and what its file is measured by."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import TextInterface
from compression.runtime import litert_texts
from compression.runtime.litert_texts import Steps
from zoo import tasks
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError
from zoo.data import Dataset, Split
from zoo.data.text import BEGIN_ID, END_ID
from zoo.tasks import language_model, translation

# Test texts whose every logit is compared with Keras'.
COMPARED = 64
# What follows from the loss, and is another number on another processor.
_LEFT_OUT = ("perplexity", "examples")


@dataclass(frozen=True)
class Texts:
    """How a model that makes texts becomes a file, and what it is measured by.

    Args:
        data: the training split calibrates, the test split measures.
        beam: the search that translations are measured by, in Keras and in the file.
    """

    data: Dataset
    beam: Beam

    @property
    def interface(self) -> TextInterface:
        """What the file takes and gives."""
        spec = self.data.spec
        if spec.task == "language_model":
            return TextInterface(spec.task, spec.input_shape[0])
        return TextInterface(spec.task, spec.target_shape[0] - 1, spec.input_shape[0])

    def subject(self, model: keras.Model, original: keras.Model) -> "TextSubject":
        """Return what a file of a model is measured against."""
        self.data.split("test")
        return TextSubject(model, self, original)

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return training texts as `rollout.rolled_out` takes them, that have `count` tokens or a few more."""
        split = self._drawn(seed, count)  # of a token or more each
        tokens, labels, source = _taught(split, self.data.spec.task)
        wanted = 1 + int(np.searchsorted(np.cumsum((labels != 0).sum(1)), count))
        tokens = np.where(labels != 0, tokens, 0)[:wanted]  # without the end, which no step is given
        return {"tokens": tokens} | ({} if source is None else {"source": source[:wanted]})

    def examples(self, count: int, seed: int) -> Any:
        """Return training texts as the model takes them."""
        tokens, _, source = _taught(self._drawn(seed, count), self.data.spec.task)
        return tokens if source is None else (source, tokens)

    def _drawn(self, seed: int, count: int) -> Split:
        """Return training texts in random order."""
        train = self.data.train
        if not len(train):
            raise UsageError("expected training examples to calibrate with, received none")
        return train.take(np.random.default_rng(seed).permutation(len(train))[:count])

    def about(self) -> dict[str, Any]:
        """Return what somebody who has only the file must know to use it."""
        data, ids = self.data, "ids of the vocabulary, padded at the end with 0"
        steps = {
            "token": "id at the position; at 0 of a translation, begin" if data.target_vocabulary else "id at it",
            "position": "from 0",
            "keys, values": "zeros at position 0, then what the step before gave",
            "logits": "of the token after this one; their softmax is its probability",
        }
        if data.target_vocabulary is None:
            return {"task": data.spec.task, "decode_step": steps, "vocabulary_sha256": data.vocabulary.sha256}
        return {
            "task": data.spec.task,
            "encode": {"source": ids},
            "decode_step": steps | {"context_keys, context_values, source_mask": "what encode gave"},
            "begin": BEGIN_ID,
            "end": END_ID,
            "vocabulary_sha256": data.vocabulary.sha256,
            "target_vocabulary_sha256": data.target_vocabulary.sha256,
        }

    def write_beside(self, path: Path) -> None:
        """Write the vocabularies of a file, of which the target's may be the source's."""
        self.data.save_vocabularies(path.with_suffix(".vocabulary.json"), path.with_suffix(".target_vocabulary.json"))


@dataclass(frozen=True)
class TextSubject:
    """What a file that makes texts was made from and is measured against.

    Args:
        model: in Keras.
        texts: its data, and how they are measured.
        original: whose weights in float32 the file's size is compared with.
    """

    model: keras.Model
    texts: Texts
    original: keras.Model

    @property
    def _test(self) -> Split:
        return self.texts.data.split("test")

    def check_takes(self, path: Path, model: Any) -> None:
        """Raise UsageError unless the file takes texts as the data have them."""
        interface, found = self.texts.interface, flatbuffer.signatures(model)
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
        """Return what a file says of the test texts, token by token."""
        return self._token_scores(self._forced(path, keep=0))

    def measured(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file and of Keras, how far they are apart, and what a call takes."""
        data, beam = self.texts.data, self.texts.beam
        test, references = self._test, data.references.get("test", ())
        translates = data.spec.task == "translation"
        found, shown = tasks.of(data.spec.task).measure(self.model, data, **({"beam": beam} if translates else {}))
        steps = self._forced(path, keep=COMPARED)
        scores, parity = self._token_scores(steps), self._parity(path, steps)
        intervals = language_model.token_intervals(self._token_sums(steps))
        if translates:
            ids = litert_texts.translate(path, test.x, begin=BEGIN_ID, end=END_ID, beam=beam)
            outputs = [data.target_vocabulary.decode(row) for row in ids]
            scores |= translation.scores(outputs, references)
            intervals |= translation.intervals_of(outputs, references)
            same = [mine == row["output"] for mine, row in zip(outputs, shown["translations"], strict=True)]
            parity["same_text"] = float(np.mean(same))
        return {
            "test": {
                "examples": len(test),
                "sha256": _sha256(test, references),
                **({"decoding": dataclasses.asdict(beam)} if translates else {}),
                "litert": scores,
                "intervals": {name: ends for name, ends in intervals.items() if name not in _LEFT_OUT},
                "keras": {name: value for name, value in found.items() if name not in _LEFT_OUT},
            },
            "parity": parity,
            "latency": litert_texts.latency(path, test.x[:1] if translates else None),
        }

    def _forced(self, path: Path, keep: int) -> Steps:
        tokens, labels, source = _taught(self._test, self.texts.data.spec.task)
        return litert_texts.forced(path, tokens, labels, source, keep=keep)

    def _token_sums(self, steps: Steps) -> np.ndarray:
        _, labels, _ = _taught(self._test, self.texts.data.spec.task)
        real = labels != 0
        return language_model.by_example(real, -steps.log_p[real].astype(np.float64), (steps.top == labels)[real])

    def _token_scores(self, steps: Steps) -> dict[str, Any]:
        _, labels, _ = _taught(self._test, self.texts.data.spec.task)
        real = labels != 0
        return {
            "loss": float(-steps.log_p[real].mean()),
            "accuracy": float((steps.top == labels)[real].mean()),
            "tokens": int(real.sum()),
        }

    def _parity(self, path: Path, steps: Steps) -> dict[str, Any]:
        """Return how far a file is from Keras, which computes whole texts at once, in the first test texts' steps."""
        task = self.texts.data.spec.task
        split = self._test.take(np.arange(min(COMPARED, len(self._test))))
        tokens, labels, source = _taught(split, task)
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
        # What the source decides: a file that has lost it says the same of another's.
        other = np.roll(source, 1, axis=0)
        wrong = litert_texts.forced(path, tokens, labels, other, keep=len(split)).logits
        effects = (mine, wrong), (theirs, _logits(self.model, tokens, labels, other))
        mine, theirs = (_variation(own, _softmax(logits)) for own, logits in effects)
        return found | {"source_effect": mine, "source_effect_keras": theirs}


def _taught(split: Split, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return what each step is given, the label of each, 0 at padding, and the sources, where there are any."""
    if task == "language_model":
        return split.x, split.y, None
    return split.y[:, :-1], split.y[:, 1:], split.x


def _logits(model: keras.Model, tokens: np.ndarray, labels: np.ndarray, source: np.ndarray | None) -> np.ndarray:
    """Return the logits of every step that is no padding, (steps, vocabulary)."""
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
