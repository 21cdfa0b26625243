"""Detectors of anomalies as files: one signature, from an input to its reconstruction.

The error of the reconstruction is computed outside of the file, in float, because eight bits would not hold it. The
threshold of a file is chosen by its own errors, since rounding adds to them. A file of sound gives the error at each
time, which it computes in float itself, because what is reconstructed is made in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import (
    NO_SCORES,
    UNLABELLED,
    OneOutputSubject,
    fitted,
    given,
    heard,
    pixels,
    reference,
    sampled,
)
from compression.runtime import litert
from compression.tasks.base import Export, OutputForm
from compression.tasks.classification import interface_of, stratified
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals
from zoo.data import Dataset, DataSpec, Split
from zoo.data.images import scaled
from zoo.models.parts.standardization import StandardizingModel
from zoo.scores import roc
from zoo.system.files import write_text
from zoo.tasks import anomaly

OUTPUT, ERRORS = "reconstruction", "errors"


@dataclass(frozen=True)
class Anomaly(OutputForm):
    """How a model that reconstructs its input becomes a file.

    Args:
        data: Data of the run. The normal examples of the validation split decide the threshold.
        interface: Input and output of the file.
        mean: What the model subtracts from its inputs.
        std: What it divides the difference by.
        gives_errors: Whether the output is the error at each time, and not a reconstruction.
    """

    data: Dataset
    interface: Interface
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gives_errors: bool = False
    softmax: ClassVar[bool] = False

    @classmethod
    def build(cls, made: Export) -> Self:
        if made.options.input_size:
            raise UsageError("--input-size: expected a run that classifies images, this one reconstructs them")
        return cls._of(made, made.options.uint8, made.options.batch)

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        stored = Interface.from_json(receipt["interface"])
        return cls._of(made, stored.uint8, stored.batch)

    @classmethod
    def _of(cls, made: Export, uint8: bool, batch: int | None) -> Self:
        plain = interface_of(made.data.spec, uint8=uint8, batch=batch)
        model = made.exported
        found = anomaly.gives_errors(model)
        interface = Interface(**plain.to_json() | {"output": ERRORS if found else OUTPUT})
        known = isinstance(model, StandardizingModel)
        return cls(made.data, interface, model.mean if known else (0.0,), model.std if known else (1.0,), found)

    def subject(self, model: keras.Model, original: keras.Model) -> "ReconstructionSubject":
        return self._subject(model, self.data.split("test"), original)

    def subject_on(self, model: keras.Model, examples: Split) -> "ReconstructionSubject":
        return self._subject(model, examples, None)

    def _subject(self, model: keras.Model, examples: Split, original: keras.Model | None) -> "ReconstructionSubject":
        judged = self.data.validation if len(self.data.validation) else self.data.train
        about = {"judged": judged, "mean": self.mean, "std": self.std, "spec": self.data.spec}
        about["gives_errors"] = self.gives_errors
        return ReconstructionSubject(model, self.interface, examples, probabilities=False, original=original, **about)

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        return stratified(split, count, seed)

    def class_indices(self, split: Split) -> np.ndarray:
        raise UsageError(
            "search: expected a run that gives classes, because recipes are selected by accuracy on validation"
            " examples; a detector of anomalies has normal ones alone"
        )

    def calibration(self, count: int, seed: int) -> np.ndarray:
        return np.asarray(given(stratified(self.data.train, count, seed), self.interface))

    def examples(self, count: int, seed: int) -> np.ndarray:
        return scaled(stratified(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        spec, interface = self.data.spec, self.interface
        values = {"image": pixels(self.data.train, interface), "sound": heard(spec)}.get(
            spec.kind, "features as they were trained on"
        )
        shape = list(interface.given_shape)
        columns = {"columns": list(spec.columns)} if spec.columns else {}
        return {
            "task": "anomaly",
            "labels": [anomaly.NORMAL, anomaly.ANOMALOUS],
            "input": {"name": interface.name, "kind": spec.kind, "shape": shape, "values": values}
            | columns
            | fitted(spec)
            | sampled(spec),
            **self._given_by(),
            "false_alarm_rate": spec.false_alarm_rate,
        }

    def _given_by(self) -> dict[str, Any]:
        """Return what a user of the file has to know of its output, and how a score is made of it."""
        if self.gives_errors:
            output = {"name": self.interface.output, "values": "mean squared error at each time"}
            return {"output": output, "score": "mean of the output"}
        return {
            "output": {
                "name": self.interface.output,
                "values": "reconstruction of (input - mean) / std",
                "mean": list(self.mean),
                "std": list(self.std),
            },
            "score": "mean of the squared differences of (input - mean) / std and the output",
        }

    def learnt(self, model: keras.Model) -> dict[str, Any]:
        """Return the threshold of the exported model, if there are labels; that of the file is in its receipt."""
        if self.data.spec.unlabelled:
            return {}
        judged = self.data.validation if len(self.data.validation) else self.data.train
        limit = roc.threshold(self._errors(model, judged), self.data.spec.false_alarm_rate)
        return {"threshold_in_float": float(f"{limit:.6g}")}

    def _errors(self, model: keras.Model, split: Split) -> np.ndarray:
        subject = self._subject(model, split, None)
        return subject.errors(split, reference(subject, given(split, self.interface)))

    def write_beside(self, path: Path) -> None:
        """Write the two answers."""
        write_text(path.with_suffix(".labels.txt"), f"{anomaly.NORMAL}\n{anomaly.ANOMALOUS}\n")

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return anomaly.told(dict(scores), intervals or {})

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        if not test["litert"]:
            return NO_SCORES
        file, theirs = test["litert"], test["keras"]
        return f"test {cls.headline(file, test.get('intervals'))}; Keras {cls.headline(theirs)}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [
            f"largest difference of an output from Keras {parity['largest_difference']:.1e}",
            f"scores differ by {parity['score_difference']:.2%} of their spread on average, by"
            f" {parity['largest_score_difference']:.2%} at most",
        ]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        if "auc" in scores:
            return 100 * scores["auc"], "test AUC, %"
        return 100 * scores["false_alarms"], "test false alarms, %"


@dataclass(frozen=True)
class ReconstructionSubject(OneOutputSubject):
    """Subject of a file that gives reconstructions; see `ArraySubject`.

    Args:
        judged: Normal examples that decide the threshold.
        mean: What the model subtracts from its inputs.
        std: What it divides the difference by.
        spec: Form of the data.
        gives_errors: Whether the output is the error at each time, and not a reconstruction.
    """

    judged: Split | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    spec: DataSpec | None = None
    gives_errors: bool = False

    def errors(self, split: Split, outputs: np.ndarray) -> np.ndarray:
        """Return the score of each example, (examples,), for the outputs of the file or of Keras."""
        if self.gives_errors:
            return anomaly.over_time(outputs)
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        return anomaly.error((scaled(split.x) - mean) / std, outputs)

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        if self.spec.unlabelled:
            return {}
        found, anomalous = self.errors(self.examples, outputs[0]), anomaly.anomalies(self.spec, self.examples)
        limit = roc.threshold(found, self.spec.false_alarm_rate)
        scores = roc.figures(found, anomalous, limit)
        return {name: scores[name] for name in ("auc", "partial_auc") if name in scores} | {"loss": float(found.mean())}

    def scored(self, path: Path) -> dict[str, float]:
        if self.spec.unlabelled:
            return {}
        return self._scores(self.errors(self.examples, *self.outputs(path)), self._limit_of_file(path))

    def measured(self, path: Path) -> dict[str, Any]:
        x = given(self.examples, self.interface)
        expected, found = reference(self, x), litert.run(path, x)
        theirs, mine = self.errors(self.examples, expected), self.errors(self.examples, found)
        difference, moved = np.abs(found.astype(np.float64) - expected), np.abs(mine - theirs)
        spread = max(float(theirs.std()), np.finfo(np.float64).tiny)
        return {
            "test": {
                "examples": len(x),
                "sha256": examples_sha256(self.examples),
                **self._judged(path, mine, theirs),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
                "score_difference": float(moved.mean() / spread),
                "largest_score_difference": float(moved.max() / spread),
            },
            "latency": litert.latency(path, x[: self.interface.batch]),
        }

    def _judged(self, path: Path, mine: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
        """Return the scores of the file and of Keras with their intervals; none without labels."""
        if self.spec.unlabelled:
            return {"litert": {}, "intervals": {}, "keras": {}, "labels": UNLABELLED}
        limit = self._limit(reference(self, given(self.judged, self.interface)))
        scores = self._scores(mine, self._limit_of_file(path))
        within = roc.intervals(mine, anomaly.anomalies(self.spec, self.examples), scores)
        return {"litert": scores, "intervals": within, "keras": self._scores(theirs, limit)}

    def _scores(self, found: np.ndarray, limit: float) -> dict[str, float]:
        return anomaly.TASK.scores(found, anomaly.anomalies(self.spec, self.examples), limit)

    def _limit(self, outputs: np.ndarray) -> float:
        return roc.threshold(self.errors(self.judged, outputs), self.spec.false_alarm_rate)

    def _limit_of_file(self, path: Path) -> float:
        return self._limit(litert.run(path, given(self.judged, self.interface)))
