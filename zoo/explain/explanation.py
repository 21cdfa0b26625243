"""What a trained run makes of an input, and why: the numbers of each method, by what the run was trained for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops

from zoo.config.sampling import Beam
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec
from zoo.data.images import scaled
from zoo.data.text import BEGIN_ID, END_ID, Vocabulary
from zoo.explain import attention_maps, attribution
from zoo.explain.attribution import Integrated
from zoo.introspection.layers import with_itself
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like, probabilities, read_inputs
from zoo.runs.vocabularies import read_spec, read_target_vocabulary
from zoo.tasks.translation import translate

# An example of the run's own data, as an input: "test:17".
OWN = re.compile(r"(train|validation|test):(\d+)")
# The part of a model that an attention layer is in, by the beginning or the end of its path.
PARTS = ("encoder", "decoder", "cross_attention")


@dataclass(frozen=True)
class Example:
    """An input, and what is known of it.

    Args:
        name: as the user wrote it.
        x: (1, ...), as the model takes it.
        truth: the class or the text that it has in the run's data, empty elsewhere.
    """

    name: str
    x: np.ndarray
    truth: str = ""


@dataclass
class Explanation:
    """What a run made of an example.

    Args:
        example: that was given.
        label: the class, the translation or the next token.
        probability: of it; of several steps or tokens that of the least probable.
        target: the class that is explained.
        tokens: of the input as the model reads it, where it is a text.
        written: tokens of the translation.
        maps: by method, shaped as the input without channels; tokens without padding.
        layer: the convolution that `maps["grad_cam"]` is of.
        seen: (rows, columns) of the image, from the first, that this map is of; None: all.
        integrated: what `maps["integrated_gradients"]` is checked by.
        attention: by part of the model and layer, (heads, queries, keys) without padding.
    """

    example: Example
    label: str
    probability: float
    target: str = ""
    tokens: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    layer: str = ""
    seen: tuple[int, int] | None = None
    integrated: Integrated | None = None
    attention: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A run, opened.

    Args:
        run: its folder.
        spec: the form of its data.
        vocabulary: of texts, of the sources in pairs.
        target_vocabulary: of the targets in pairs.
    """

    run: RunFolder
    spec: DataSpec
    vocabulary: Vocabulary | None
    target_vocabulary: Vocabulary | None


def opened(run: RunFolder) -> Trained:
    """Open a run, without its model.

    Raises:
        UsageError: a vocabulary is not the one that the run was trained with.
    """
    spec, vocabulary = read_spec(run)
    return Trained(run, spec, vocabulary, read_target_vocabulary(run, spec))


def read(trained: Trained, inputs: Sequence[str], config: TrainConfig, column: str) -> Iterator[Example]:
    """Yield the examples of inputs as `read_inputs` takes them, or "test:17" for an example of the run's own data.

    Args:
        trained: the run.
        inputs: as a user wrote them.
        config: of the run, pointed at where its data are.
        column: of tables, see `read_inputs`.

    Raises:
        UsageError: an input that is not there, cannot be read, has another form or no tokens.
    """
    spec, data = trained.spec, None
    for text in inputs:
        if own := OWN.fullmatch(text):
            data = data or load_like(trained.run, config)
            found = [_own_example(data, text, own[1], int(own[2]))]
        else:
            names, x = read_inputs([text], spec, trained.vocabulary, column)
            found = [Example(name, x[i : i + 1]) for i, name in enumerate(names)]
        for example in found:
            if spec.input_dtype == "int32" and not example.x.any():
                raise UsageError(f"INPUT {example.name[:40]!r}: expected a text with tokens, received none")
            yield Example(example.name, scaled(example.x), example.truth)


def _own_example(data: Dataset, text: str, split: str, index: int) -> Example:
    examples = data.split(split)
    if index >= len(examples):
        raise UsageError(f"INPUT {text}: expected an index from 0 to {len(examples) - 1}, received {index}")
    truth, y = "", examples.y[index]
    if data.spec.task == "translation":
        truth = data.references[split][index]
    elif data.spec.task == "classification":
        truth = " ".join(data.spec.class_names[i] for i in np.atleast_1d(y))
    return Example(text, examples.x[index : index + 1], truth)


def possible(model: keras.Model, spec: DataSpec) -> tuple[str, ...]:
    """Return the methods that a model of such data can be explained by."""
    attention = ("attention",) if attention_maps.attending(model) else ()
    if spec.task != "classification":
        return attention
    if spec.kind == "tokens":
        return ("integrated_gradients", *attention, "saliency", "gradient_x_input")
    sees = spec.kind == "image" and any(isinstance(la, attribution.CONVOLUTIONS) for la in with_itself(model))
    grad_cam = ("grad_cam",) if sees else ()
    return (*grad_cam, "saliency", "gradient_x_input", *attention, "integrated_gradients")


def explained(
    trained: Trained,
    model: keras.Model,
    examples: Sequence[Example],
    methods: Sequence[str],
    *,
    target: int | None = None,
    layer: str | None = None,
) -> Iterator[Explanation]:
    """Explain examples, one after the other.

    Args:
        trained: the run.
        model: of the run.
        examples: in the form that it was trained on.
        methods: among `possible`.
        target: index of the class whose score is explained; default, the predicted.
        layer: the convolution that Grad-CAM sees by, see `grad_cam`.

    Raises:
        UsageError: no convolution of that name.
    """
    if trained.spec.task == "translation":
        longest = trained.spec.target_shape[0] - 1
        texts = translate(model, np.concatenate([example.x for example in examples]), longest, Beam())
        yield from (_translated(trained, model, *pair) for pair in zip(examples, texts, strict=True))
    elif trained.spec.task == "language_model":
        yield from (_continued(trained, model, example) for example in examples)
    else:
        yield from (_classified(trained, model, example, methods, target, layer) for example in examples)


def _classified(
    trained: Trained,
    model: keras.Model,
    example: Example,
    methods: Sequence[str],
    target: int | None,
    layer: str | None,
) -> Explanation:
    spec = trained.spec
    x, count = example.x, _length(example.x) if spec.kind == "tokens" else None
    logits = attribution.numbers(model(x, training=False))
    p = probabilities(logits[0])
    chosen = p.argmax(-1)
    steps = np.atleast_1d(chosen)[:count] if spec.per_step else np.atleast_1d(chosen)
    wanted = np.full_like(chosen, target) if target is not None else chosen
    label = " ".join(spec.class_names[i] for i in steps)
    made = Explanation(
        example,
        label,
        float(p.max(-1)[:count].min() if spec.per_step else p.max()),
        label if target is None else spec.class_names[target],
        _tokens(x, trained.vocabulary) if count else [],
    )
    counted = x != 0 if spec.per_step and count else None
    weighed = attribution.of_class(logits.shape, wanted[None], counted)
    score = attribution.score(model, x, weighed) if set(methods) - {"attention", "grad_cam"} else None
    for method in methods:
        if method == "attention":
            made.attention["attention"] = _cropped(attention_maps.weights(model, x), count, count)
        elif method == "grad_cam":
            made.layer = layer or attribution.last_map(attribution.feature_maps(model, x))
            made.maps[method] = attribution.grad_cam(model, x, weighed, made.layer)[0]
            made.seen = getattr(model, "used", None)  # a model of one's own sees all
        elif method == "integrated_gradients":
            made.integrated = attribution.integrated_gradients(score)
            made.maps[method] = made.integrated.attributions[:count]
        else:
            made.maps[method] = getattr(attribution, method)(score)[0][:count]
    return made


def _continued(trained: Trained, model: keras.Model, example: Example) -> Explanation:
    tokens = _tokens(example.x, trained.vocabulary)
    count = len(tokens)
    p = probabilities(attribution.numbers(model(example.x, training=False))[0, count - 1])
    (following,) = trained.vocabulary.pieces([p.argmax()])
    weights = _cropped(attention_maps.weights(model, example.x), count, count)
    return Explanation(example, following, float(p.max()), tokens=tokens, attention={"attention": weights})


def _translated(trained: Trained, model: keras.Model, example: Example, ids: np.ndarray) -> Explanation:
    """Read the source and its translation, ids padded with 0, together, for what each step of it attends to."""
    targets = trained.target_vocabulary
    written = ids[: np.argmax(ids == END_ID) + 1 if (ids == END_ID).any() else len(ids)]
    read = np.zeros((1, len(ids)), np.int32)
    read[0, : len(written)] = [BEGIN_ID, *written[:-1]]
    inputs = (ops.convert_to_tensor(example.x), ops.convert_to_tensor(read))
    p = probabilities(attribution.numbers(model(inputs, training=False))[0, : len(written)])
    made = Explanation(
        example,
        targets.decode(written),
        float(p[np.arange(len(written)), written].min()),
        tokens=_tokens(example.x, trained.vocabulary),
        written=targets.pieces(written),
    )
    lengths = {"encoder": len(made.tokens), "decoder": len(written), "cross_attention": len(written)}
    for path, weights in attention_maps.weights(model, inputs).items():
        part = next(part for part in reversed(PARTS) if part in path.split("/"))
        keys = len(made.written if part == "decoder" else made.tokens)
        made.attention.setdefault(part, {}).update(_cropped({path: weights}, lengths[part], keys))
    return made


def _cropped(weights: Mapping[str, np.ndarray], queries: int | None, keys: int | None) -> dict[str, np.ndarray]:
    """Return the weights of the only example, (heads, queries, keys), without padding, by the block's name."""
    short = {path.partition("/attention")[0].partition("/cross_attention")[0]: each for path, each in weights.items()}
    named = short if len(short) == len(weights) else weights
    return {path: each[0, :, :queries, :keys] for path, each in named.items()}


def _length(ids: np.ndarray) -> int:
    """Return how many ids of (1, time) there are before the padding."""
    return int(np.flatnonzero(ids[0])[-1]) + 1


def _tokens(ids: np.ndarray, vocabulary: Vocabulary | None) -> list[str]:
    """Return the tokens of (1, time) ids without padding: ids where no vocabulary names them."""
    known = ids[0, : _length(ids)]
    return [str(i) for i in known] if vocabulary is None else vocabulary.pieces(known)
