"""Names of models: the class, the data and the constructor arguments of each.

Standard library only: a constructor's signature is read from the source text, so that `--help` and a
misspelt `--set` never wait for TensorFlow to be imported.
"""

import ast
import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.config import task_facts
from zoo.config.task_facts import TaskFacts
from zoo.console.errors import UsageError, nearest, unknown
from zoo.console.values import accept, parse

ROOT = Path(__file__).parents[2]

# Constructor arguments that the data decide. Users cannot set them.
FROM_DATA = (
    *("vocabulary_size", "source_vocabulary_size", "target_vocabulary_size", "shared_vocabulary"),
    *("num_entities", "num_relations", "rate", "columns"),
    *("num_users", "num_items"),
    *("horizon", "means", "deviations", "known", "quantiles"),
)


@dataclass(frozen=True)
class ModelEntry:
    """A name in the zoo.

    Args:
        path: Class, as `module:Class`.
        summary: Description for `zoo.list`, one line.
        inputs: Kinds of data that the model accepts, among image, vector, sequence, table, sound, tokens, pairs,
            triples, series and events.
        preset: Constructor arguments that this name fixes. `--set` overrides them.
        task: Task that the model learns unless `--task` names another, a key of `zoo.config.task_facts.TASKS`.
        also: Other tasks that it can learn.
    """

    path: str
    summary: str
    inputs: tuple[str, ...]
    preset: Mapping[str, Any] = field(default_factory=dict)
    task: str = task_facts.CLASSES
    also: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks that the model can learn, the usual one first."""
        return (self.task, *self.also)

    @property
    def facts(self) -> TaskFacts:
        """The properties of the task that the model usually learns."""
        return task_facts.of(self.task)


# What a model of classes can learn as well: its outputs are numbers, or logits of several labels or of ordered classes.
_NUMBERS = ("regression", "multilabel", "ordinal")

MODELS = {
    "simplenet": ModelEntry(
        "zoo.models.simplenet:SimpleNet",
        "multi-layer perceptron: Dense 128 relu, Dense classes",
        ("image", "vector", "sequence"),
        also=_NUMBERS,
    ),
    "cnn": ModelEntry(
        "zoo.models.cnn:CNN",
        "three 3x3 convolutions (32-64-64), two pools, Dense 64",
        ("image",),
        also=_NUMBERS,
    ),
    "cnn_128": ModelEntry(
        "zoo.models.cnn:CNN",
        "three 3x3 convolutions (32-64-128), each followed by a pool, Dense 128",
        ("image",),
        {"filters": (32, 64, 128), "pools": 3, "units": 128},
        also=_NUMBERS,
    ),
    "cnn_12": ModelEntry(
        "zoo.models.cnn:CNN",
        "12 filters of 3x3, one pool, Dense classes: the model of TF-MOT's guides",
        ("image",),
        {"filters": (12,), "pools": 1, "units": 0},
        also=_NUMBERS,
    ),
    "lenet5": ModelEntry(
        "zoo.models.cnn:CNN",
        "LeNet-5 as in Caffe: 20 and 50 filters of 5x5, two pools, Dense 500",
        ("image",),
        {"filters": (20, 50), "kernel_size": 5, "pools": 2, "units": 500},
        also=_NUMBERS,
    ),
    "lenet300": ModelEntry(
        "zoo.models.simplenet:SimpleNet",
        "LeNet-300-100: Dense 300 relu, Dense 100 relu, Dense classes",
        ("image", "vector", "sequence"),
        {"units": (300, 100)},
        also=_NUMBERS,
    ),
    "resnet": ModelEntry(
        "zoo.models.resnet:ResNet",
        "residual network; depth = 8, 20, 32, 56 (6n + 2) for small pictures, 18, 34, 50 for ImageNet",
        ("image",),
        also=_NUMBERS,
    ),
    "mobilenet": ModelEntry(
        "zoo.models.mobilenet:MobileNet",
        "MobileNet: 13 depthwise separable convolutions; width multiplier alpha",
        ("image",),
        also=_NUMBERS,
    ),
    "mobilenet_v2": ModelEntry(
        "zoo.models.mobilenet_v2:MobileNetV2",
        "MobileNetV2: 17 inverted residuals; width multiplier alpha",
        ("image",),
        also=_NUMBERS,
    ),
    "mobilenet_v3": ModelEntry(
        "zoo.models.mobilenet_v3:MobileNetV3",
        "MobileNetV3: inverted residuals with squeeze and excitation; size = small or large, alpha",
        ("image",),
        also=_NUMBERS,
    ),
    "efficientnet_lite": ModelEntry(
        "zoo.models.efficientnet_lite:EfficientNetLite",
        "EfficientNet-Lite: inverted residuals with relu6 alone; size = 0 to 4",
        ("image",),
        also=_NUMBERS,
    ),
    "proxyless": ModelEntry(
        "zoo.models.proxyless:Proxyless",
        "ProxylessNAS-Mobile: inverted residuals found by search; alpha = 0.3 for microcontrollers",
        ("image",),
        also=_NUMBERS,
    ),
    "ds_cnn": ModelEntry(
        "zoo.models.ds_cnn:DSCNN",
        "DS-CNN: depthwise separable convolutions on sound, for keyword spotting; features = mfcc, logmel or pcen",
        ("image", "sound"),
        also=_NUMBERS,
    ),
    "tc_resnet": ModelEntry(
        "zoo.models.tc_resnet:TCResNet",
        "TC-ResNet: convolutions along time on sound, for keyword spotting; num_blocks = 3 or 6, multiplier alpha",
        ("image", "sound"),
        also=_NUMBERS,
    ),
    "streaming_wakeword": ModelEntry(
        "zoo.models.streaming_wakeword:StreamingWakeword",
        "wake word network of MLPerf Tiny: separable convolutions along time on 30 frames of sound",
        ("image", "sound"),
        also=_NUMBERS,
    ),
    "tabular": ModelEntry(
        "zoo.models.tabular:Tabular",
        "multi-layer perceptron on the columns of a table: piecewise-linear numbers, embedded categories, dates, words",
        ("table",),
        task="regression",
        also=("classification", "multilabel", "ordinal"),
    ),
    "lstm": ModelEntry(
        "zoo.models.lstm:LSTM",
        "two recurrent layers of 128 (cell = lstm, gru or simple) over rows, features or tokens",
        ("image", "sequence", "tokens", "series"),
        also=(*_NUMBERS, "forecasting"),
    ),
    "self_attention": ModelEntry(
        "zoo.models.self_attention:SelfAttentionClassifier",
        "two multi-head self-attention blocks over rows, features or tokens",
        ("image", "sequence", "tokens"),
        also=_NUMBERS,
    ),
    "transformer": ModelEntry(
        "zoo.models.transformer:TransformerClassifier",
        "two transformer encoder blocks, pre-norm or post-norm, over rows, features or tokens",
        ("image", "sequence", "tokens"),
        also=_NUMBERS,
    ),
    "transformer_lm": ModelEntry(
        "zoo.models.transformer_lm:TransformerLM",
        "decoder-only Transformer that predicts the next token of a text",
        ("tokens",),
        task="language_model",
    ),
    "transformer_seq2seq": ModelEntry(
        "zoo.models.transformer:Transformer",
        "encoder-decoder Transformer that translates one text into another",
        ("pairs",),
        task="translation",
    ),
    "cross_modal": ModelEntry(
        "zoo.models.cross_modal:CrossModal",
        "image encoder and text encoder with a shared space: matches images and captions",
        ("image",),
        task="contrastive",
    ),
    "gan": ModelEntry(
        "zoo.models.gan:GAN",
        "DCGAN: generator of transposed convolutions, convolutional discriminator",
        ("image",),
        task="generation",
    ),
    "gan_dense": ModelEntry(
        "zoo.models.gan:GAN",
        "GAN with Dense layers only",
        ("image",),
        {"architecture": "dense"},
        task="generation",
    ),
    "kg_embedding": ModelEntry(
        "zoo.models.kg_embedding:KGEmbedding",
        "entities and relations of a knowledge graph (scorer = mlp, transe, distmult, complex or rotate)",
        ("triples",),
        task="link_prediction",
    ),
    "conv1d": ModelEntry(
        "zoo.models.conv1d:Conv1D",
        "three convolutions over time (32-64-32) and the mean over time, for windows of sensors",
        ("image", "sequence", "series"),
        also=(*_NUMBERS, "forecasting"),
    ),
    "tcn": ModelEntry(
        "zoo.models.tcn:TCN",
        "temporal convolutional network: four residual blocks of dilated causal convolutions over time",
        ("image", "sequence", "series"),
        also=(*_NUMBERS, "forecasting"),
    ),
    "autoencoder": ModelEntry(
        "zoo.models.autoencoder:Autoencoder",
        "autoencoder of Dense layers (128x4-8-128x4), as in MLPerf Tiny, that detects anomalies",
        ("image", "vector", "sequence", "sound"),
        task="anomaly",
    ),
    "autoencoder_conv": ModelEntry(
        "zoo.models.conv_autoencoder:ConvAutoencoder",
        "convolutional autoencoder for pictures, windows of series and sound, that detects anomalies",
        ("image", "sequence", "sound"),
        task="anomaly",
    ),
    "detector": ModelEntry(
        "zoo.models.detector:Detector",
        "anchor-free detector of objects: feature pyramid on efficientnet_lite or mobilenet_v2 (backbone =)",
        ("image",),
        task="detection",
    ),
    "ssd": ModelEntry(
        "zoo.models.ssd:SSD",
        "SSDLite detector of objects: priors of several shapes on mobilenet_v2 or efficientnet_lite (backbone =)",
        ("image",),
        task="detection",
    ),
    "unet": ModelEntry(
        "zoo.models.unet:UNet",
        "U-Net for masks: down and up again with skips; filters, depth, up = transpose or resize",
        ("image",),
        task="segmentation",
    ),
    "lraspp": ModelEntry(
        "zoo.models.lraspp:LRASPP",
        "LR-ASPP for masks on mobilenet_v2, mobilenet_v3 or efficientnet_lite (backbone =); alpha",
        ("image",),
        task="segmentation",
    ),
    "dlinear": ModelEntry(
        "zoo.models.dlinear:DLinear",
        "DLinear: trend and remainder of series, each continued by one linear layer",
        ("series",),
        task="forecasting",
    ),
    "patch_transformer": ModelEntry(
        "zoo.models.patch_transformer:PatchTransformer",
        "PatchTST: a transformer over patches of one series at a time",
        ("series",),
        task="forecasting",
    ),
    "two_tower": ModelEntry(
        "zoo.models.two_tower:TwoTower",
        "two towers that give a vector for each user and each item; their product ranks items",
        ("events",),
        task="recommendation",
    ),
    "matrix_factorization": ModelEntry(
        "zoo.models.two_tower:TwoTower",
        "matrix factorisation: vectors of users and items, and biases, without hidden layers",
        ("events",),
        {"units": (), "normalized": False},
        task="recommendation",
    ),
    "large": ModelEntry(
        "zoo.models.simplenet:SimpleNet",
        "teacher of the distillation pair: Dense 512 relu, Dense classes",
        ("image", "vector", "sequence"),
        {"units": (512,)},
        also=_NUMBERS,
    ),
    "small": ModelEntry(
        "zoo.models.simplenet:SimpleNet",
        "student of the distillation pair: Dense 128 relu, Dense classes",
        ("image", "vector", "sequence"),
        {"units": (128,)},
        also=_NUMBERS,
    ),
}

# Pretrained models of KerasHub, chosen by `--set preset=`. Their classes are not in `zoo.models` because they need the
# extra `hub`.
HUB_MODELS = {
    "hub_classifier": ModelEntry(
        "zoo.hub.models:HubClassifier",
        "text encoder of KerasHub (BERT, DistilBERT, ...) with a classification head, by preset",
        ("tokens",),
    ),
    "hub_seq2seq": ModelEntry(
        "zoo.hub.models:HubSeq2Seq",
        "T5 of KerasHub that translates one text into another, by preset",
        ("pairs",),
        task="translation",
    ),
}

# Models that commands make from trained runs. The results are runs like any other.
COMBINED = {
    "ensemble": ModelEntry(
        "zoo.models.ensemble:Ensemble",
        "combination of classifiers, or one classifier with a temperature: python -m zoo.ensemble, zoo.calibrate",
        ("image", "vector", "sequence", "table", "sound", "tokens"),
    ),
}


def check_hub(what: object) -> None:
    """Raise UsageError unless KerasHub is installed.

    Args:
        what: Option or file that needs it, for the message.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise UsageError(
            f"{what}: expected KerasHub, which is not installed; pip install 'keras-compression-zoo[hub]'"
            " (Python 3.11 or newer)"
        )


# Arguments of models that standardise their inputs themselves, so that weights from elsewhere fit: networks for
# pictures by their first convolution, models that have the convolutions of one, and autoencoders.
_STANDARDIZING = ({"mean", "std", "first_stride"}, {"mean", "std", "backbone"}, {"mean", "std", "code"})


def takes_pretrained(name: str) -> bool:
    """Return whether a model takes weights of networks that other tools trained."""
    return any(wanted <= set(arguments(name)) for wanted in _STANDARDIZING)


def pretrained_models() -> list[str]:
    """Return the names of the models that take weights of networks that other tools trained."""
    return [name for name in MODELS if takes_pretrained(name)]


def names(task: str) -> list[str]:
    """Return the names of the models that can learn a task."""
    return [name for name, entry in MODELS.items() if task in entry.tasks]


@dataclass(frozen=True)
class Argument:
    """One constructor argument of a model: its type annotation and default value."""

    annotation: Any
    default: Any


def entry(name: str) -> ModelEntry:
    """Return the entry of a model.

    Raises:
        UsageError: Unknown name.
    """
    known = MODELS | HUB_MODELS
    if name not in known | COMBINED:
        raise unknown("model", name, known)
    return (known | COMBINED)[name]


def model_class(name: str) -> type:
    """Import and return the class of a model; imports Keras and its backend.

    Raises:
        UsageError: KerasHub is needed and not installed.
    """
    if name in HUB_MODELS:
        check_hub(f"--model {name}")
    module, _, attribute = entry(name).path.partition(":")
    return getattr(importlib.import_module(module), attribute)


@functools.cache
def arguments(name: str) -> dict[str, Argument]:
    """Return the constructor arguments of a model, read from its source without importing it."""
    init = next(n for n in _body(name) if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    parameters = init.args.args[1:] + init.args.kwonlyargs
    defaults = init.args.defaults + init.args.kw_defaults
    required = len(parameters) - len(defaults)  # arguments without a default, which the data decide
    return {
        parameter.arg: Argument(_annotation(parameter.annotation), ast.literal_eval(default))
        for parameter, default in zip(parameters, [_REQUIRED] * required + defaults, strict=True)
    }


_REQUIRED = ast.Constant(None)


@functools.cache
def widths(name: str) -> dict[str, float | str]:
    """Return the constructor arguments that are widths, each with the number that it must be a multiple of.

    The class attribute `WIDTHS` of a `zoo.models.parts.base.ZooModel` is read from its source without importing it.
    """
    declared = [n.value for n in _body(name) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "WIDTHS"]
    return ast.literal_eval(declared[0]) if declared else {}


def _body(name: str) -> list[ast.stmt]:
    """Return the statements in the class of a model."""
    module, _, attribute = entry(name).path.partition(":")
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    return next(n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == attribute)


def parse_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of a model: its preset, overridden by settings.

    Args:
        name: Name of the model.
        settings: Values by argument. They are converted to the type that the constructor declares.

    Raises:
        UsageError: Unknown argument, or a value of another type.
    """
    known = {k: v for k, v in arguments(name).items() if k not in FROM_DATA}
    values = dict(entry(name).preset)
    for key, value in settings.items():
        if key in FROM_DATA:
            raise UsageError(f"--set {key}: this is taken from the data and cannot be set")
        if key not in known:
            raise UsageError(
                f"--set {key}: model {name!r} has no such argument: expected one of {', '.join(known)}"
                f"{nearest(key, known)}"
            )
        convert = parse if isinstance(value, str) else accept
        values[key] = convert(f"--set {key}", value, known[key].annotation)
    if name in HUB_MODELS and not values.get("preset"):
        raise UsageError(
            f"--model {name}: expected --set preset=PATH_OR_NAME, a preset of KerasHub, received none; model and"
            " tokenizer come from it"
        )
    return values


def _annotation(node: ast.expr) -> Any:
    # `eval` is safe here: the source is a file of this package.
    return eval(ast.unparse(node), {"Literal": Literal})
