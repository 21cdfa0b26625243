"""Models of images and captions as files: a signature for each of the two towers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import PairInterface
from compression.on_device.generate import METADATA
from compression.receipts.subject import Subject, fitted
from compression.runtime import litert_pairs
from compression.tasks.base import Form
from compression.tasks.classification import stratified
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, Split
from zoo.data.images import scaled
from zoo.system.files import write_text
from zoo.tasks import contrastive
from zoo.tasks.contrastive import Embedded

IMAGE, TEXT = "encode_image", "encode_text"


@dataclass(frozen=True)
class Contrastive(Form):
    """How a model of images and captions becomes a file.

    Args:
        data: Data of the run.
    """

    data: Dataset

    @property
    def interface(self) -> PairInterface:
        return PairInterface(self.data.spec.input_shape, self.data.spec.target_shape[0])

    def subject(self, model: keras.Model, original: keras.Model) -> "PairSubject":
        self.data.split("test")
        return PairSubject(model, self, original)

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        images, ids = self.examples(count, seed)
        return {f"{IMAGE}.image": images, f"{TEXT}.tokens": ids}

    def calibration_count(self, calibration: Mapping[str, np.ndarray]) -> int:
        return len(calibration[f"{IMAGE}.image"])

    def examples(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return training images, and for each a random one of its captions."""
        train = self.data.train
        chosen = stratified(Split(np.arange(len(train)), train.y[:, 0]), count, seed).x
        found = train.take(chosen)
        draws = np.random.default_rng(seed).integers((found.y[:, 1:] >= 0).sum(axis=1))
        return scaled(found.x), self.data.captions.ids[found.y[np.arange(len(found)), 1 + draws]]

    def about(self) -> dict[str, Any]:
        spec = self.data.spec
        return {
            "task": spec.task,
            IMAGE: {"image": "pixels from 0 to 1"} | fitted(spec),
            TEXT: {"tokens": "ids of the vocabulary, padded at the end with 0"},
            "labels": list(spec.class_names),
            "captions": [[self.data.captions.texts[i] for i in group] for group in self.data.captions.of_class],
            "vocabulary_sha256": spec.vocabulary_sha256,
        }

    def learnt(self, model: keras.Model) -> dict[str, Any]:
        """Return how an image and a caption are scored from their embeddings."""
        weights = np.asarray(keras.ops.convert_to_numpy(model.pair_weights()), np.float32)
        if model.head == "cosine":
            return {"score": "scale * sum(image embedding * text embedding)", "scale": float(weights[0])}
        how = "sum(weights * max(0, image embedding + text embedding))"
        return {"score": how, "weights": [float(weight) for weight in weights]}

    def write_beside(self, path: Path) -> None:
        """Write the vocabulary, and the names of the classes if there are any."""
        if self.data.spec.class_names:
            write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.data.spec.class_names))
        self.data.vocabulary.save(path.with_suffix(".vocabulary.json"))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        def of(name: str) -> str:
            return written(scores, name, intervals or {})

        ways = (("caption to image", "caption_to_image"), ("image to caption", "image_to_caption"))
        recalls = [
            f"{title} recall@1/10 {of(f'{name}_recall_at_1')} / {of(f'{name}_recall_at_10')}" for title, name in ways
        ]
        classes = [f"zero-shot accuracy {of('zero_shot_accuracy')}"] if "zero_shot_accuracy" in scores else []
        return ", ".join([*classes, *recalls])

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        difference = parity["largest_cosine_difference"]
        return [f"largest difference from Keras {difference:.1e} (one minus the cosine of both embeddings)"]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        if "zero_shot_accuracy" in scores:
            return 100 * scores["zero_shot_accuracy"], "zero-shot test accuracy, %"
        return 100 * scores["image_to_caption_recall_at_1"], "image-to-caption recall at 1 on the test split, %"


@dataclass(frozen=True)
class PairSubject(Subject):
    """Subject of a file with two towers.

    Args:
        model: Keras model whose embeddings the file should have.
        form: Form of the file, with the data.
        original: Model with whose weights in float32 the file's size is compared.
    """

    model: keras.Model
    form: Contrastive
    original: keras.Model

    def check_takes(self, path: Path, content: Any) -> None:
        found = flatbuffer.signatures(content)
        taken = {f"{name}.{row['name']}": row["shape"] for name, ends in found.items() for row in ends["inputs"]}
        interface = self.form.interface
        expected = {f"{IMAGE}.image": [1, *interface.image_shape], f"{TEXT}.tokens": [1, interface.tokens]}
        if taken != expected:
            raise UsageError(f"{path}: expected a file that takes {expected}, as the data have it; it takes {taken}")

    def scored(self, path: Path) -> dict[str, Any]:
        return self._scores(self._of_file(path))

    def measured(self, path: Path) -> dict[str, Any]:
        test, captions = self._test, self.form.data.captions
        mine, theirs = self._of_file(path), contrastive.embedded(self.model, test.x, captions.ids)
        apart = {"images": _cosine_difference(mine.images, theirs.images)}
        apart["texts"] = _cosine_difference(mine.texts, theirs.texts)
        differences = [np.abs(mine.images - theirs.images), np.abs(mine.texts - theirs.texts)]
        scores = self._scores(mine)
        return {
            "test": {
                "examples": len(test),
                "sha256": self._sha256(),
                "litert": scores,
                "intervals": contrastive.intervals_of(scores | {"examples": len(test)}),
                "keras": self._scores(theirs),
            },
            "parity": {
                "largest_cosine_difference": max(apart.values()),
                **{f"largest_cosine_difference_{name}": value for name, value in apart.items()},
                "largest_difference": max(float(each.max()) for each in differences),
                "mean_difference": float(np.concatenate([each.reshape(-1) for each in differences]).mean()),
                "same_answer": float((self._answers(mine) == self._answers(theirs)).mean()),
            },
            "latency": litert_pairs.latency(path, self._inputs(1)),
        }

    @property
    def _test(self) -> Split:
        return self.form.data.split("test")

    def _inputs(self, count: int | None = None) -> dict[str, np.ndarray]:
        return {IMAGE: scaled(self._test.x[:count]), TEXT: self.form.data.captions.ids[:count]}

    def _of_file(self, path: Path) -> Embedded:
        """Return the embeddings of a file, with the weights of its metadata; a bare file is scored as the model is."""
        noted = flatbuffer.metadata(flatbuffer.read(path), METADATA)
        learnt = json.loads(noted) if noted else self.form.learnt(self.model)
        made = litert_pairs.run(path, self._inputs())
        weights = learnt.get("weights") or [learnt["scale"]] * made[TEXT].shape[1]
        return Embedded(made[IMAGE], made[TEXT], np.array(weights, np.float32), self.model.head)

    def _scores(self, found: Embedded) -> dict[str, Any]:
        scores = contrastive.scores(found, self._test, self.form.data)
        return {name: value for name, value in scores.items() if name != "examples"}

    def _answers(self, found: Embedded) -> np.ndarray:
        """Return the class of each image; without classes, the best caption among all."""
        of_class = self.form.data.captions.of_class
        return (found.class_scores(of_class) if of_class else found.scores(found.images, found.texts)).argmax(axis=1)

    def _sha256(self) -> str:
        """Return the SHA-256 of the images, their captions, and which caption belongs to which image."""
        digest = hashlib.sha256()
        for array in (self._test.x, self._test.y, self.form.data.captions.ids):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _cosine_difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest of 1 - cosine of rows, computed in float64."""
    mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((1 - (mine * theirs).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)).max())
