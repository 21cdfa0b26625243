"""Networks of `python -m benchmarks gpu`: their sizes, the operations of a training step, and what cards can do."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Stages of ResNet-50 (He et al., 2016, table 1), and channels of a block's output for each of its bottleneck.
BLOCKS, EXPANSION = (3, 4, 6, 3), 4
RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network and its batch.

    Args:
        model: Name of the model in the zoo.
        shape: Shape of an example: (height, width, channels), or (tokens,).
        classes: Number of classes, or of tokens in the vocabulary.
        batch: Number of examples in a step; 0 for the largest that fits the card.
        precision: "bfloat16" with weights in float32, or "float32".
        settings: Constructor arguments of the model.
    """

    model: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    precision: str
    settings: Mapping[str, Any]


# Without dropout, and without standardisation of the pixels.
NETWORKS = {
    "resnet": Network(
        model="resnet",
        shape=(224, 224, 3),
        classes=1000,
        batch=256,
        precision="bfloat16",
        settings={"depth": 50, "alpha": 1.0, "mean": (0.0,)},
    ),
    "transformer_lm": Network(
        model="transformer_lm",
        shape=(1024,),
        classes=32_000,
        batch=0,
        precision="bfloat16",
        settings={"num_layers": 12, "model_dim": 768, "num_heads": 12, "ff_dim": 3072, "dropout": 0.0},
    ),
    "cnn": Network(
        model="cnn",
        shape=(28, 28, 1),
        classes=10,
        batch=512,
        precision="float32",
        settings={"filters": (32, 64, 64), "units": 64, "dropout": 0.0},
    ),
}
QUICK = {
    "resnet": dataclasses.replace(
        NETWORKS["resnet"],
        shape=(64, 64, 3),
        classes=10,
        batch=2,
        settings={"depth": 50, "alpha": 0.125, "mean": (0.0,)},
    ),
    "transformer_lm": dataclasses.replace(
        NETWORKS["transformer_lm"],
        shape=(32,),
        classes=100,
        batch=4,
        settings={"num_layers": 2, "model_dim": 32, "num_heads": 4, "ff_dim": 64, "dropout": 0.0},
    ),
    "cnn": dataclasses.replace(NETWORKS["cnn"], batch=8),
}


def flops(network: Network) -> float:
    """Return the operations of the products and convolutions of a training step, each multiplication and addition one.

    The gradients of a layer take twice the operations of its output: those by its weights, and those by its input. The
    latter are not computed for the first convolution of images.

    Args:
        network: Network whose batch is not 0.
    """
    first, others = _MULTIPLICATIONS[network.model](network)
    return 2.0 * network.batch * (2 * first + 3 * others)


def _cnn(network: Network) -> tuple[int, int]:
    """Return the multiplications of the first convolution and of all other layers, for one example.

    Pixels that reach no logit do not count: the zoo crops them, and PyTorch does not.
    """
    side, _, channels = network.shape
    wide, units = network.settings["filters"], network.settings["units"]
    third = ((side - 2) // 2 - 2) // 2 - 2
    second = 2 * (third + 2)
    first = 2 * (second + 2)
    others = second**2 * 9 * wide[0] * wide[1] + third**2 * (9 * wide[1] * wide[2] + wide[2] * units)
    return first**2 * 9 * channels * wide[0], others + units * network.classes


def _resnet(network: Network) -> tuple[int, int]:
    side, _, colours = network.shape
    filters = channels = int(64 * network.settings["alpha"])
    first, others, side = (side // 2) ** 2 * 49 * colours * filters, 0, side // 4
    for stage, count in enumerate(BLOCKS):
        side //= 2 if stage else 1
        for block in range(count):
            projected = channels * EXPANSION * filters if block == 0 else 0
            others += side**2 * (channels * filters + 9 * filters**2 + EXPANSION * filters**2 + projected)
            channels = EXPANSION * filters
        filters *= 2
    return first, others + channels * network.classes


def _transformer_lm(network: Network) -> tuple[int, int]:
    """Count attention over all pairs of tokens, although half of them are masked."""
    (time,), sizes = network.shape, network.settings
    width = sizes["model_dim"]
    block = 4 * width**2 + 2 * width * sizes["ff_dim"] + 2 * time * width
    return 0, time * (sizes["num_layers"] * block + width * network.classes)


_MULTIPLICATIONS = {"cnn": _cnn, "resnet": _resnet, "transformer_lm": _transformer_lm}

# Bytes that an example and the weights of the language model take, a rough estimate: the bfloat16 scores of attention
# before and after the mask and the softmax, about 16 activations of the width in each block, and float32 logits with
# their probabilities and gradients; weights, gradients and two moments in float32, and a copy in bfloat16.
SHARE_OF_CARD, LARGEST = 0.8, 32


def fitting_batch(network: Network, memory: float) -> int:
    """Return the largest power of two, at most 32, of examples of the language model that fit into a card.

    Args:
        network: Language model.
        memory: Bytes of the card.
    """
    (time,), sizes = network.shape, network.settings
    width, layers = sizes["model_dim"], sizes["num_layers"]
    example = time * (layers * (2 * 4 * sizes["num_heads"] * time + 2 * 16 * width) + 3 * 4 * network.classes)
    weights = layers * (4 * width**2 + 2 * width * sizes["ff_dim"]) + width * network.classes
    batch = LARGEST
    while batch > 1 and batch * example + 18 * weights > SHARE_OF_CARD * memory:
        batch //= 2
    return batch


@dataclass(frozen=True)
class Card:
    """Published peaks of a card, dense.

    Args:
        names: Regular expression of the names that its driver gives it.
        half: Operations per second of its tensor cores, in `kind`.
        single: Operations per second in float32, without TF32.
        kind: Type with 16 bits that the tensor cores compute in.
    """

    names: str
    half: float
    single: float
    kind: str = "bfloat16"


# NVIDIA's data sheets, read in November 2026. Other forms of the same chip, such as H100 PCIe, have other peaks.
CARDS = {
    "A100": Card(r"A100-(SXM4|PCIE)-\d+GB|A100 80GB PCIe", 312e12, 19.5e12),
    "H100 SXM": Card(r"H100 80GB HBM3", 989e12, 67e12),
    "H200": Card(r"H200", 989e12, 67e12),
    "L4": Card(r"L4", 121e12, 30.3e12),
    "T4": Card(r"T4", 65e12, 8.1e12, "float16"),
    "V100": Card(r"V100-SXM2-\d+GB(-LS)?", 125e12, 15.7e12, "float16"),
}


def card_of(name: str) -> str | None:
    """Return the key of a card in CARDS by the name that its driver gives it, None for an unknown one."""
    short = re.sub(r"^(NVIDIA|Tesla) ", "", name)
    return next((key for key, card in CARDS.items() if re.fullmatch(card.names, short)), None)


def peak(card: str, precision: str) -> tuple[float, str]:
    """Return the peak of a card for a precision, in operations per second, and the type that it is published for."""
    found = CARDS[card]
    return (found.single, "float32") if precision == "float32" else (found.half, found.kind)
