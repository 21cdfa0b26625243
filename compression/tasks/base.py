"""What compression asks of a task: how a model of it becomes a file, and how that file is scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from compression.flatbuffers.interface import AnyInterface, Interface, ModelInterface
from compression.passes.distillation import Taught
from compression.receipts.subject import OutputSubject, Subject
from compression.recipes.language import Recipe
from compression.recipes.options import ExportOptions
from compression.surgery.copying import in_float32
from zoo.config.sampling import Beam
from zoo.console.figures import Intervals
from zoo.data import Dataset, Split
from zoo.tasks.base import Task


@dataclass(frozen=True)
class Export:
    """A model that becomes a file, with its data.

    Args:
        model: Trained model.
        exported: What `Form.exported` returned for it.
        data: Data of the run.
        options: Options of the file.
        beam: Beam search that outputs are found by; default, that of `zoo.generate`.
        classifier: Run in whose features drawn images are compared with real ones; None compares pixels.
    """

    model: keras.Model
    exported: keras.Model
    data: Dataset
    options: ExportOptions = ExportOptions()
    beam: Beam | None = None
    classifier: Path | None = None


class Form(ABC):
    """How a trained model of one task becomes a file, and how that file is scored.

    What a task refuses is in its row of `compression.tasks.TASKS`, because commands read it before they import Keras.

    Attributes:
        data: Data of the file. The training split trains and calibrates it, the test split measures it.
        interface: Inputs and outputs of the file.
        softmax: Whether the exported function ends in a softmax that the model itself has not.
        task: What recipes train the model for, by default the task of the data.
    """

    data: Dataset
    interface: AnyInterface
    softmax: ClassVar[bool] = True
    task: Task | None = None

    # From a model to a file.

    @classmethod
    def exported(cls, model: keras.Model, data: Dataset) -> keras.Model:
        """Return the model that is exported, in float32.

        Args:
            model: Trained model.
            data: Data of the model.

        Raises:
            UsageError: The model is not one of this task.
        """
        return in_float32(model)

    @classmethod
    def build(cls, made: Export) -> Self:
        """Return the form of a file that is to be made.

        Raises:
            UsageError: The data cannot be given to such a file.
        """
        return cls(made.data)

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        """Return the form of a file that was made before, from its receipt."""
        return cls(made.data)

    @abstractmethod
    def calibration(self, count: int, seed: int) -> np.ndarray | dict[str, np.ndarray]:
        """Return training examples as the file takes them: one array, or an array for each input by its name."""

    def calibration_count(self, calibration: Any) -> int:
        """Return the number of calibration examples that a receipt states."""
        return len(calibration)

    @abstractmethod
    def examples(self, count: int, seed: int) -> Any:
        """Return training examples as the model takes them, for the ranges of quantization-aware training."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Return what a user of the file has to know: meaning of inputs and outputs, labels, vocabularies."""

    def learnt(self, model: keras.Model) -> dict[str, Any]:
        """Return what a user of the file has to know besides, and training decides."""
        return {}

    def described(self, model: keras.Model) -> dict[str, Any]:
        """Return the description that is embedded in the file of a model, and written into its receipt."""
        return self.about() | self.learnt(model)

    def taught(self) -> Sequence[Taught]:
        """Return what a student learns of each output of its teacher; empty for what the task of a run has."""
        return ()

    def advice(self, model: keras.Model, recipe: Recipe) -> list[str]:
        """Return what will harm the file of a recipe and can be avoided, a sentence for each."""
        return []

    @abstractmethod
    def write_beside(self, path: Path) -> None:
        """Write the files that accompany a file, such as labels and vocabularies."""

    def complete(self, path: Path) -> None:
        """Add to a converted file what it computes besides the model; nothing by default."""
        return

    @abstractmethod
    def subject(self, model: keras.Model, original: keras.Model) -> Subject:
        """Return what the file of a model is measured against.

        Args:
            model: Model whose outputs the file should have.
            original: Model that the recipe began with; sizes are compared with its weights in float32.
        """

    def changed(self, subject: Subject, original: keras.Model) -> dict[str, Any] | None:
        """Return which test examples a file answers differently from the model that its recipe began with.

        See `compression.tasks.parts.changes.changed`; None for a task whose answers are not one class each.

        Args:
            subject: What `subject` returned, after the file was measured.
            original: Model that the recipe began with.
        """
        return None

    # Scores in words.

    @classmethod
    @abstractmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        """Return the scores that matter in one line, with their 95 % intervals if there are any."""

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        """Return the scores of a file beside those of Keras in one line, from `test` of its receipt."""
        return f"test {cls.headline(test['litert'], test.get('intervals'))}; Keras {cls.headline(test['keras'])}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        """Return lines on how far a file is from Keras, from `parity` of its receipt."""
        return [f"largest difference in probability from Keras {parity['largest_difference']:.1e}"]

    @classmethod
    @abstractmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        """Return the score that the plot of a recipe's stages shows, and the label of its axis."""


class OutputForm(Form):
    """Form of a file whose outputs are compared with those of its model one by one.

    `compression.sensitivity`, `compression.search` and `compression.export` take such models.
    """

    interface: Interface | ModelInterface
    # Score of a file by which a search selects, from 0 to 1; what it calls an accuracy.
    selected_by: ClassVar[str] = "accuracy"

    @abstractmethod
    def chosen(self, split: Split, count: int, seed: int) -> Split:
        """Return random examples of a split, each class as often as in the whole split if there are classes.

        Raises:
            UsageError: The split is empty.
        """

    @abstractmethod
    def class_indices(self, split: Split) -> np.ndarray:
        """Return the class of each example, or of each step, which a search needs.

        Raises:
            UsageError: The model does not give classes, or there are no labels.
        """

    @abstractmethod
    def subject_on(self, model: keras.Model, examples: Split) -> OutputSubject:
        """Return what a file of a model is measured against on some examples."""
