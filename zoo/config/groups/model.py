"""The model and the weights that it starts with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("model")
class ModelOptions:
    """The model and the weights that it starts with."""

    model: str = option("model to train; `python -m zoo.list models` lists all", "cnn")
    settings: Mapping[str, Any] = option(
        "argument of the model's constructor; repeat the option for several", None, name="set", metavar="NAME=VALUE"
    )
    init_from: Path | None = option(
        "run whose weights are copied wherever path and shape are the same; models of texts also take its vocabulary"
        " and sequence length",
        stock_as="run",
    )
    pretrained: str | None = option(
        "trained weights to begin with: imagenet, or a .keras or .h5 file of a network of the same structure, such"
        " as one of keras.applications. The output layer is new if the number of classes differs; see"
        " docs/guides/vision.md",
        metavar="NAME|FILE",
    )
    input_range: tuple[float, ...] | None = option(
        "what the network of --pretrained takes for the darkest and the brightest value, such as 0,255 (default: what"
        " the model's mean and std make of 0 and 1)",
        metavar="LOW,HIGH",
    )
    probe: bool | None = option(
        "whether to fit the output layer first, by logistic regression on features of the frozen network, which are"
        " computed once: true or false (default: true with --pretrained if the recipe says so)"
    )
    freeze: tuple[str, ...] | None = option(
        "layers or variables that are not trained: patterns of a path or its end, such as embedding,block_*. Frozen"
        " layers, including batch-norm statistics, do not change",
        metavar="PATTERN[,...]",
    )
    new_head: bool = option("reinitialise the output layer, even if that of --init-from has the same shape", False)
