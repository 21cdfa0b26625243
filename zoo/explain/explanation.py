"""Explanations of a trained run's outputs: the answer to an input, and the numbers of each method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec
from zoo.data.images import scaled
from zoo.explain import attention_maps, attribution
from zoo.explain.attribution import Integrated
from zoo.introspection.layers import with_itself
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like, read_inputs
from zoo.runs.inputs import OWN
from zoo.runs.vocabularies import read_spec, read_target_vocabulary
from zoo.tasks.base import Reading, Task, Texts


@dataclass(frozen=True)
class Example:
    """An input and its truth.

    Args:
        name: Input as the user wrote it.
        x: Example as the model takes it, (1, ...).
        truth: Class or text that the example has in the run's data, empty for other inputs.
    """

    name: str
    x: np.ndarray
    truth: str = ""


@dataclass
class Explanation:
    """A model's answer to an example, and the numbers of each method.

    Args:
        example: Example.
        reading: Answer of the model.
        target: Class that is explained, empty if only attention is shown.
        maps: Attributions by method, shaped as the input without channels, or as its tokens without padding.
        layer: Convolution that `maps["grad_cam"]` belongs to.
        seen: Rows and columns of the image that this map covers, from the top left. None if it covers all.
        integrated: Completeness of `maps["integrated_gradients"]`.
        attention: Attention weights by part of the model and layer, (heads, queries, keys) without padding.
    """

    example: Example
    reading: Reading
    target: str = ""
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    layer: str = ""
    seen: tuple[int, int] | None = None
    integrated: Integrated | None = None
    attention: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExplainedRun:
    """A run without its model.

    Args:
        run: Run folder.
        spec: Form of its data.
        texts: Vocabularies, if it is on texts.
    """

    run: RunFolder
    spec: DataSpec
    texts: Texts

    @property
    def task(self) -> Task:
        """The task of the run."""
        return tasks.of(self.spec.task)


def opened(run: RunFolder) -> ExplainedRun:
    """Open a run, without its model.

    Raises:
        UsageError: A vocabulary is not the one that the run was trained with.
    """
    spec, vocabulary = read_spec(run)
    return ExplainedRun(run, spec, Texts(vocabulary, read_target_vocabulary(run, spec)))


def read(trained: ExplainedRun, inputs: Sequence[str], config: TrainConfig, column: str) -> Iterator[Example]:
    """Yield the examples of inputs.

    Args:
        trained: Run.
        inputs: Inputs as `read_inputs` takes them, or "test:17" for an example of the run's own data.
        config: Configuration of the run, which names its data.
        column: Column of texts in tables, see `read_inputs`.

    Raises:
        UsageError: An input that does not exist, cannot be read, has another form or no tokens.
    """
    spec, data = trained.spec, None
    for text in inputs:
        if own := OWN.fullmatch(text):
            data = data or load_like(trained.run, config)
            found = [_own_example(trained, data, text, own[1], int(own[2]))]
        else:
            names, x = read_inputs([text], spec, trained.texts.vocabulary, column)
            found = [Example(name, x[i : i + 1]) for i, name in enumerate(names)]
        for example in found:
            if spec.input_dtype == "int32" and not example.x.any():
                raise UsageError(f"INPUT {example.name[:40]!r}: expected a text with tokens, received none")
            yield Example(example.name, scaled(example.x), example.truth)


def _own_example(trained: ExplainedRun, data: Dataset, text: str, split: str, index: int) -> Example:
    examples = data.split(split)
    if index >= len(examples):
        raise UsageError(f"INPUT {text}: expected an index from 0 to {len(examples) - 1}, received {index}")
    return Example(text, examples.x[index : index + 1], trained.task.truth(data, split, index))


def possible(model: keras.Model, spec: DataSpec) -> tuple[str, ...]:
    """Return the methods that a model can be explained by, for data of a form."""
    attention = ("attention",) if attention_maps.attending(model) else ()
    if not tasks.of(spec.task).facts.classifies:
        return attention
    if spec.kind == "tokens":
        return ("integrated_gradients", *attention, "saliency", "gradient_x_input")
    sees = spec.kind == "image" and any(isinstance(la, attribution.CONVOLUTIONS) for la in with_itself(model))
    grad_cam = ("grad_cam",) if sees else ()
    return (*grad_cam, "saliency", "gradient_x_input", *attention, "integrated_gradients")


def explained(
    trained: ExplainedRun,
    model: keras.Model,
    examples: Sequence[Example],
    methods: Sequence[str],
    *,
    target: int | None = None,
    layer: str | None = None,
) -> Iterator[Explanation]:
    """Yield an explanation of each example.

    Args:
        trained: Run.
        model: Model of the run.
        examples: Examples in the form of the run's data.
        methods: Methods among those of `possible`.
        target: Index of the class whose score is explained, None for the predicted class.
        layer: Convolution for Grad-CAM, see `grad_cam`.

    Raises:
        UsageError: No convolution has that name.
    """
    readings = trained.task.readings(model, [example.x for example in examples], trained.spec, trained.texts)
    for example, reading in zip(examples, readings, strict=True):
        made = Explanation(example, reading)
        if "attention" in methods:
            made.attention = _attention(model, reading)
        if reading.logits is not None:
            _attribute(made, model, methods, target, layer)
            made.target = reading.label if target is None else trained.spec.class_names[target]
        yield made


def _attribute(
    made: Explanation, model: keras.Model, methods: Sequence[str], target: int | None, layer: str | None
) -> None:
    """Add the attributions of the score of a class, by each method but attention."""
    reading, x = made.reading, made.example.x
    chosen = reading.logits.argmax(-1)
    wanted = chosen if target is None else np.full_like(chosen, target)
    weighed = attribution.of_class(reading.logits.shape, wanted, reading.counted)
    count = len(reading.tokens) or None
    score = attribution.score(model, x, weighed) if set(methods) - {"attention", "grad_cam"} else None
    for method in methods:
        if method == "grad_cam":
            made.layer = layer or attribution.last_map(attribution.feature_maps(model, x))
            made.maps[method] = attribution.grad_cam(model, x, weighed, made.layer)[0]
            made.seen = getattr(model, "used", None)  # models of users cover the whole image
        elif method == "integrated_gradients":
            made.integrated = attribution.integrated_gradients(score)
            made.maps[method] = made.integrated.attributions[:count]
        elif method != "attention":
            made.maps[method] = getattr(attribution, method)(score)[0][:count]


def _attention(model: keras.Model, reading: Reading) -> dict[str, dict[str, np.ndarray]]:
    """Return the attention weights of a reading by part of the model and block, without padding."""
    found: dict[str, dict[str, np.ndarray]] = {part: {} for part in reading.spans}
    for path, weights in attention_maps.weights(model, reading.inputs).items():
        # The innermost part: a decoder has cross-attention inside. A model with one part is that part.
        part = next((part for part in reversed(reading.spans) if part in path.split("/")), next(iter(reading.spans)))
        queries, keys = reading.spans[part]
        found[part][path] = weights[0, :, :queries, :keys]
    return {part: _by_block(layers) for part, layers in found.items() if layers}


def _by_block(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return weights by the name of the block that a layer is in, or by its path if a block has several layers."""
    short = {path.partition("/attention")[0].partition("/cross_attention")[0]: each for path, each in weights.items()}
    return short if len(short) == len(weights) else dict(weights)
