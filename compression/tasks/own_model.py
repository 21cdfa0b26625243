"""A model of one's own as a file, which computes what the model's `predict` computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import ModelInterface, Port
from compression.passes.distillation import Taught
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import OutputSubject, Subject, enlarged, fitted
from compression.recipes.language import Recipe
from compression.runtime import litert
from compression.surgery.copying import COMPARED, copies, in_float32
from compression.surgery.layers import in_float, layer_paths, with_kernels
from compression.surgery.steps import FEWEST, STEPS, lost
from compression.tasks.base import Export, OutputForm
from compression.tasks.classification import stratified
from compression.tasks.parts.changes import changed
from zoo.console.errors import UsageError, few
from zoo.console.figures import Intervals, form_of
from zoo.data import Dataset, DataSpec, Split
from zoo.data.dataset import leaves, mapped
from zoo.data.images import scaled
from zoo.data.stored.column import Column
from zoo.introspection.ids import holding_ids
from zoo.runs.inference import probabilities
from zoo.system.files import write_text
from zoo.tasks.own_model import OwnModel, compiled_with, first_of, identifier, of_model, outputs_of, told
from zoo.tasks.parts.outputs import Kind

# Examples whose features are looked at.
SCANNED = 256


@dataclass(frozen=True)
class OwnForm(OutputForm):
    """How a model of one's own becomes a file.

    Args:
        data: Data of the model.
        interface: Inputs and outputs of the file.
        task: What the outputs mean, and how they are trained and scored.
        own: Model as it was given, whose `predict` is what the file should compute.
    """

    data: Dataset
    interface: ModelInterface
    task: OwnModel
    own: keras.Model | None = None

    softmax = False

    @classmethod
    def exported(cls, model: keras.Model, data: Dataset) -> keras.Model:
        """Return the model in float32, as a copy if it can be copied: all copies have the same names of layers."""
        first = first_of(data)
        some = first.take(np.arange(min(COMPARED, len(first)))).x
        few = mapped(lambda array: scaled(array, data.spec.pixel_range), some)
        try:
            return in_float32(copies(model, few)())
        except UsageError:  # it cannot be rebuilt; a recipe that trains will be refused
            return in_float32(model)

    @classmethod
    def build(cls, made: Export) -> Self:
        data, few = made.data, first_of(made.data)
        task = of_model(made.exported, data, compiled_with(made.model))
        values = outputs_of(made.exported, few.x, data.spec)
        options = made.options
        interface = ModelInterface(
            _inputs(made.exported, few.x),
            tuple(Port(output.name, value.shape[1:]) for output, value in zip(task.outputs, values, strict=True)),
            structure=_structure(few.x),
            keys=tuple(sorted(few.x)) if isinstance(few.x, Mapping) else (),
            batch=options.batch,
            uint8=options.uint8,
            resize_from=options.input_size,
            pixel_range=data.spec.pixel_range,
        )
        if options.uint8 and not (interface.structure == "one" and few.x.dtype == np.uint8):
            raise UsageError(f"--uint8-input: expected one input of images of bytes, {data.spec.name} has none")
        return cls(data, interface, task, made.model)

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        interface = ModelInterface.from_json(receipt["interface"])
        return cls(made.data, interface, cls.build(made).task, made.model)

    def subject(self, model: keras.Model, original: keras.Model) -> "OwnSubject":
        examples = self.data.split("test")
        return OwnSubject(model, self.interface, examples, self.data.spec, self.task, original, self.own)

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        found = given(self.chosen(self.data.train, count, seed).x, self.interface)
        return {name: np.asarray(array) for name, array in found.items()}

    def calibration_count(self, calibration: Mapping[str, np.ndarray]) -> int:
        return len(next(iter(calibration.values())))

    def examples(self, count: int, seed: int) -> Any:
        return mapped(
            lambda array: scaled(array, self.data.spec.pixel_range), self.chosen(self.data.train, count, seed).x
        )

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        if not len(split):
            raise UsageError("expected training examples to calibrate with, received none")
        labels = leaves(split.y)
        truth = [o.truth(y) for o, y in zip(self.task.outputs, labels, strict=False) if o.kind in ("classes", "binary")]
        y = truth[0].reshape(len(split), -1) if truth else np.zeros((len(split), 2))
        stand_in = Split(np.arange(len(split)), y[:, 0].astype(np.int32) if y.shape[1] == 1 else y)
        return split.take(stratified(stand_in, count, seed).x)

    def class_indices(self, split: Split) -> np.ndarray:
        outputs = self.task.outputs
        if len(outputs) != 1 or outputs[0].kind != "classes" or split.y is None:
            found = ", ".join(f"{output.name}: {_GIVEN[output.kind]}" for output in outputs)
            found = "no labels" if split.y is None else found
            raise UsageError(
                "search: expected a model with one output of classes and their labels, because recipes are selected by"
                f" accuracy; received {found}"
            )
        return outputs[0].truth(leaves(split.y)[0])

    def changed(self, subject: Subject, original: keras.Model) -> dict[str, Any] | None:
        labels, outputs = leaves(self.data.test.y), self.task.outputs
        if len(outputs) != 1 or outputs[0].kind != "classes" or not labels or outputs[0].truth(labels[0]).ndim != 1:
            return None
        shares = [probabilities(outputs[0].logits(subject.seen[name][0])) for name in ("file", "before")]
        return changed(*shares, outputs[0].truth(labels[0]), self.data)

    def subject_on(self, model: keras.Model, examples: Split) -> "OwnSubject":
        return OwnSubject(model, self.interface, examples, self.data.spec, self.task)

    def taught(self) -> list[Taught]:
        return [Taught(_TAUGHT[output.kind], output.probabilities) for output in self.task.outputs]

    def advice(self, model: keras.Model, recipe: Recipe) -> list[str]:
        return _frozen(model, recipe) + (self._rounded_ids(model, recipe) or self._lost_features(model, recipe))

    def _rounded_ids(self, model: keras.Model, recipe: Recipe) -> list[str]:
        """Return a sentence if a recipe would round ids that an input has among other numbers."""
        if not recipe.calibrated or recipe.skip or not len(self.data.train):
            return []
        held = holding_ids(model, self.examples(1, seed=0))
        return [
            f"{port.name}: in {recipe.precision}, one scale rounds the ids that the model looks up among the other"
            " numbers of this input, so that neighbouring ids are taken for one another; give the ids an input of their"
            " own, or use dynamic or float16"
            for port, each in zip(self.interface.inputs, held, strict=True)
            if each
        ]

    def _lost_features(self, model: keras.Model, recipe: Recipe) -> list[str]:
        """Return a sentence for each input with features that the rounding of a recipe would all but remove."""
        kernels = layer_paths(model)
        cared_for = in_float(model) or not kernels or kernels[0] in layer_paths(model, recipe.skip)
        unsuited = self.data.spec.kind == "image" or not len(self.data.train)
        if recipe.precision not in STEPS or unsuited or cared_for:
            return []
        found = []
        for port, array in zip(self.interface.inputs, leaves(self.examples(SCANNED, seed=0)), strict=True):
            if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating):
                continue
            rows = array.reshape(-1, array.shape[-1]).astype(np.float64)
            features = np.flatnonzero(lost(rows.min(), rows.max(), rows.std(0), STEPS[recipe.precision]))
            if len(features):
                skip = f"leave the first layer in float32 (skip={kernels[0]}), or " if recipe.skippable else ""
                found.append(
                    f"{port.name}: in {recipe.precision}, one scale for all features leaves {len(features)} of"
                    f" {rows.shape[1]} less than {FEWEST} steps in a standard deviation (feature {features[0]} is the"
                    f" first); {skip}begin the model with keras.layers.Normalization"
                )
        return found

    def about(self) -> dict[str, Any]:
        low, high = self.interface.pixel_range
        images = self.data.spec.kind == "image" and leaves(self.data.test.x)[0].dtype == np.uint8
        values = f"pixels from {low:g} to {high:g}" if images else "as the model was trained on"
        values = "bytes from 0 to 255" if self.interface.uint8 else values
        kind = self.data.spec.kind
        inputs = [
            {"name": port.name, "kind": kind, "shape": list(port.shape), "values": values} | fitted(self.data.spec)
            for port in self.interface.given
        ]
        outputs = [
            {"name": port.name, "shape": list(port.shape), "values": _VALUES[output.kind, output.probabilities]}
            for port, output in zip(self.interface.outputs, self.task.outputs, strict=True)
        ]
        found: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
        if len(inputs) == len(outputs) == 1:
            found = {"input": inputs[0], "output": outputs[0]}
        return found | ({"labels": list(self.data.spec.class_names)} if self.data.spec.class_names else {})

    def write_beside(self, path: Path) -> None:
        """Write the names of the classes, if there are any."""
        if names := self.data.spec.class_names:
            write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in names))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return told({name: value for name, value in scores.items() if name in _scored(scores)}, intervals or {})

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        if not test["litert"]:
            return "no labels: the file is compared with the model's own predict alone"
        return f"test {cls.headline(test['litert'], test.get('intervals'))}; Keras {cls.headline(test['keras'])}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        rows: dict[str, dict[str, Any]] = {}
        for name, value in parity.items():
            output, _, plain = name.rpartition(".")
            rows.setdefault(output, {})[plain] = value
        rows = rows if len(rows) == 1 else {output: row for output, row in rows.items() if output}
        return [_parity_line(name, row) for name, row in rows.items()]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        name = next(iter(_scored(scores)))
        label, form = form_of(name.rpartition(".")[2])
        shares = form.endswith("%")
        return scores[name] * (100 if shares else 1), f"test {label}{', %' if shares else ''}"


# Form in which a student learns an output of a kind.
_TAUGHT: dict[Kind, Literal["classes", "decisions", "numbers"]] = {
    "classes": "classes",
    "binary": "decisions",
    "labels": "decisions",
    "numbers": "numbers",
}

_VALUES = {
    ("classes", True): "probability of each class",
    ("classes", False): "logit of each class",
    ("binary", True): "probability",
    ("binary", False): "logit",
    ("labels", True): "probability of each label",
    ("labels", False): "logit of each label",
    ("numbers", False): "numbers",
}


_GIVEN = {
    "classes": "classes",
    "binary": "yes or no",
    "labels": "several labels",
    "numbers": "numbers",
}


def _scored(scores: Mapping[str, Any]) -> list[str]:
    """Return the names that are scores; rows of stages have a name and sizes besides."""
    return [name for name, value in scores.items() if isinstance(value, float)]


def _parity_line(name: str, row: Mapping[str, Any]) -> str:
    output = f"output {name}: " if name else ""
    if "before_largest_difference" not in row:
        return f"{output}largest difference from predict {_difference(row, '')}"
    return (
        f"{output}largest difference from predict after training {_difference(row, '')}; from the model before the"
        f" recipe {_difference(row, 'before_')}"
    )


def _difference(row: Mapping[str, Any], before: str) -> str:
    same = f"{before}same_answer"
    return f"{row[f'{before}largest_difference']:.1e}" + (
        f", the same answer for {row[same]:.2%}" if same in row else ""
    )


@dataclass(frozen=True)
class OwnSubject(OutputSubject):
    """What the file of a model of one's own is measured against: the model's `predict`.

    Args:
        model: Model whose outputs the file should have.
        interface: Inputs and outputs of the file.
        examples: Examples and, if there are any, their labels.
        spec: Form of the data.
        task: What the outputs mean.
        original: Model that the recipe began with, whose weights in float32 the size of the file is compared with.
        own: Model as it was given, that `original` is a copy of. The file is compared with its outputs, and a trained
            model as well.
        seen: Outputs that were measured last, of the `file`, of `keras`, and of the original `before` the recipe.
    """

    model: keras.Model
    interface: ModelInterface
    examples: Split
    spec: DataSpec
    task: OwnModel
    original: keras.Model | None = None
    own: keras.Model | None = None
    seen: dict[str, list[np.ndarray]] = field(default_factory=dict, compare=False, repr=False)

    probabilities = False

    def inputs(self) -> dict[str, np.ndarray]:
        return given(self.examples.x, self.interface)

    def outputs(self, path: Path) -> list[np.ndarray]:
        return self._run(self.inputs(), path)

    @property
    def trained(self) -> bool:
        """Whether the recipe trained a copy of the model."""
        return self.original is not None and self.original is not self.model

    def reference(self) -> list[np.ndarray]:
        return self._predicted(self.examples.x)

    def _predicted(self, x: Any) -> list[np.ndarray]:
        """Return what `predict` of the model gives, as it was trained by the recipe or as it was given."""
        model = self.model if self.trained or self.own is None else self.own
        return outputs_of(model, x, self.spec)

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        return self.task.scores(outputs, self.examples.y)

    def check_takes(self, path: Path, content: Any) -> None:
        expected = {port.name: [self.interface.batch, *port.shape] for port in self.interface.given}
        received = {row["name"]: list(row["shape"]) for row in flatbuffer.signature(content)["inputs"]}
        if expected != received:
            raise UsageError(
                f"{path}: expected a file that takes {expected}, as the model does; this one takes {received}"
            )

    def scored(self, path: Path) -> dict[str, Any]:
        return self.graded(self.outputs(path)) if leaves(self.examples.y) else {}

    def measured(self, path: Path) -> dict[str, Any]:
        inputs = self.inputs()
        found = self._run(inputs, path)
        keras_outputs = expected = self.reference()
        before = outputs_of(self.own, self.examples.x, self.spec) if self.trained else keras_outputs
        self.seen.update(file=found, keras=keras_outputs, before=before)
        if self.interface.resize_from:  # what the file loses by resizing is not counted as a difference from Keras
            expected = self._predicted(self._resized(inputs))
        rows = {}
        for port, output, mine, theirs, first in zip(
            self.interface.outputs, self.task.outputs, found, expected, before, strict=True
        ):
            rows[port.name] = self._parity(output, mine, theirs)
            if self.trained:
                rows[port.name] |= {
                    f"before_{name}": value for name, value in self._parity(output, mine, first).items()
                }
        one = next(iter(rows.values()))
        worst = max(row["largest_difference"] for row in rows.values())
        named = {f"{output}.{name}": value for output, row in rows.items() for name, value in row.items()}
        labelled = bool(leaves(self.examples.y))
        scores = self.graded(found) if labelled else {}
        return {
            "test": {
                "examples": len(self.examples),
                "sha256": examples_sha256(self.examples),
                "litert": scores,
                "intervals": self.task.intervals(scores, found, self.examples.y) if labelled else {},
                "keras": self.graded(keras_outputs) if labelled else {},
            },
            "parity": one if len(rows) == 1 else {"largest_difference": worst, **named},
            "latency": litert.latency(path, {name: x[: self.interface.batch] for name, x in inputs.items()}),
        }

    def _run(self, inputs: Mapping[str, np.ndarray], path: Path) -> list[np.ndarray]:
        outputs = litert.run_named(path, inputs)
        return [outputs[port.name] for port in self.interface.outputs]

    def _resized(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        (x,) = inputs.values()
        pixels = scaled(x, self.spec.pixel_range)
        size = self.interface.inputs[0].shape[:2]
        return keras.ops.convert_to_numpy(keras.ops.image.resize(pixels, size, interpolation="bilinear"))

    def _parity(self, output: Any, mine: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
        difference = np.abs(mine.astype(np.float64) - theirs)
        found = {"largest_difference": float(difference.max()), "mean_difference": float(difference.mean())}
        answers = output.answers(mine)
        if answers is None:
            return found | {"largest_value": float(np.abs(theirs).max())}
        return found | {"same_answer": float((answers == output.answers(theirs)).mean())}


def _frozen(model: keras.Model, recipe: Recipe) -> list[str]:
    """Return a sentence if a recipe with training stages changes layers that they do not train."""
    kernels = with_kernels(model)
    frozen = [path for path, layer in kernels.items() if not layer.trainable_weights]
    if not recipe.stages or not frozen:
        return []
    return [
        f"{len(frozen)} of {len(kernels)} layers with weights are frozen ({few(frozen)}): the recipe changes their"
        " weights, and its stages do not train them; set trainable = True, or leave them out with skip"
    ]


def given(x: Any, interface: ModelInterface) -> dict[str, np.ndarray]:
    """Return examples as the file takes them before quantization, by the name of the input."""
    found = {}
    for port, array in zip(interface.given, leaves(x), strict=True):

        def taken(array: np.ndarray, dtype: str = port.dtype) -> np.ndarray:
            if interface.resize_from:
                array = enlarged(array, interface.resize_from)
            elif not interface.uint8:
                array = scaled(array, interface.pixel_range)
            return array.astype(dtype, copy=False)

        lazily = isinstance(array, Column)  # decoded when it is looked at
        found[port.name] = array.mapped(taken, port.dtype, tuple(port.shape)) if lazily else taken(array)
    return found


def _inputs(model: keras.Model, x: Any) -> tuple[Port, ...]:
    parts = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, tuple) else [x]
    if any(isinstance(part, Mapping | tuple) for part in parts):
        raise UsageError(
            "data: expected an array for each input of the model, in one dictionary or tuple, received arrays within"
            " arrays; give the model a dictionary of all its inputs"
        )
    arrays = leaves(x)
    symbols = list(getattr(model, "inputs", None) or [None] * len(arrays))  # a subclassed model has none
    if len(symbols) != len(arrays):
        raise UsageError(f"data: the model takes {len(symbols)} inputs, received {len(arrays)}")
    if isinstance(x, Mapping):
        names = [identifier(str(name)) for name in sorted(x)]
    else:
        names = [identifier(s.name) if s is not None else f"input_{i}" for i, s in enumerate(symbols)]
    names = names if len(set(names)) == len(names) else [f"input_{i}" for i in range(len(names))]
    kinds = {"f": "float32", "u": "float32"}
    return tuple(
        Port(name, array.shape[1:], kinds.get(array.dtype.kind, "int32"))
        for name, array in zip(names, arrays, strict=True)
    )


def _structure(x: Any) -> Any:
    if isinstance(x, Mapping):
        return "dict"
    return "tuple" if isinstance(x, tuple) else "one"
