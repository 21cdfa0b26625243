"""Training throughput of real vision networks: `zoo.train`, plain Keras and PyTorch, with equal networks and batches.

The sides alternate. The zoo's side is `zoo.train` itself, including input pipeline and metrics, and plain Keras calls
`fit` with the same network and arrays in memory. PyTorch trains its own network of the same layers in channels_last,
eager and compiled, on batches from tensors in memory. All use Adam, cross-entropy, float32 and all cores, and random
pictures. PyTorch comes with the extra `peers` and --peers.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import rounds
from benchmarks.commands import told
from benchmarks.throughput import RATE, compared, each_round, turns

ROUNDS, QUICK_ROUNDS = 5, 2
EXAMPLES = 1024
SIDES = ("zoo", "plain Keras", "PyTorch", "PyTorch, compiled")


@dataclass(frozen=True)
class Case:
    """A network and its data.

    Args:
        model: Name of the model in the zoo.
        shape: Shape of a picture.
        classes: Number of classes, of pictures or of pixels.
        steps: Steps of a turn of about two seconds, by batch size.
        settings: Constructor arguments of the model.
        masks: Whether every pixel has a class.
    """

    model: str
    shape: tuple[int, int, int]
    classes: int
    steps: Mapping[int, int]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masks: bool = False


CASES = {
    "resnet8": Case("resnet", (32, 32, 3), 10, {32: 60, 128: 16}, {"depth": 8}),
    "mobilenet_v2 0.35": Case("mobilenet_v2", (96, 96, 3), 10, {32: 16, 128: 4}, {"alpha": 0.35}),
    "efficientnet_lite0": Case("efficientnet_lite", (160, 160, 3), 5, {32: 3}),
    "ds_cnn": Case("ds_cnn", (49, 10, 1), 12, {32: 100, 128: 30}, {"dropout": 0.0}),
    "unet": Case("unet", (96, 96, 3), 2, {32: 4}, masks=True),
}
QUICK = ("resnet8", (32,))


def measure(data_dir: Path, quick: bool = False, peers: bool = False) -> dict[str, Any]:
    """Return a row for each network, batch size and side.

    Args:
        data_dir: Unused, because the pictures are random.
        quick: Whether to measure one network at one batch size.
        peers: Whether to include PyTorch.
    """
    rows = []
    for name, case in CASES.items():
        for batch in case.steps:
            if quick and (name, (batch,)) != QUICK:
                continue
            words = {side: (side, name, str(batch)) for side in (SIDES if peers else SIDES[:2])}
            found = rounds.in_turn("benchmarks.vision_throughput", words, QUICK_ROUNDS if quick else ROUNDS)
            for side, row in found.items():
                told_as = {"name": f"{name}, batch {batch}: {side}", "model": name, "batch": batch, "side": side}
                rows.append(told({**told_as, "unit": "images/s", "better": "higher", **row}))
    return {"measured": rows}


def _data(case: Case) -> tuple[Any, Any]:
    """Return random pictures and their classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (EXAMPLES, *case.shape), np.uint8)
    return x, rng.integers(0, case.classes, x.shape[:3] if case.masks else EXAMPLES).astype("int32")


def _zoo(case: Case, batch: int) -> None:
    from strategies import backend

    backend.start()
    from zoo.config.train_config import TrainConfig
    from zoo.data.dataset import Dataset, DataSpec, Split
    from zoo.training.loop import train

    x, y = _data(case)
    more = {"task": "segmentation"} if case.masks else {}
    spec = DataSpec("random", "image", case.shape, tuple(map(str, range(case.classes))), **more)
    examples = Split(x, y)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            model=case.model,
            epochs=100_000,
            batch_size=batch,
            learning_rate=RATE,
            weight_decay=0.0,
            clip_norm=0.0,
            schedule="constant",
            settings=dict(case.settings),
            output=Path(folder) / "run",
        )
        data = Dataset(spec, examples, examples.take(slice(0)), examples.take(slice(batch)))
        train(config, data=data, callbacks=[turns(batch, case.steps[batch])], verbose=False)


def _plain(case: Case, batch: int) -> None:
    """Train the same network with `fit`."""
    import keras

    from zoo.config import registry

    x, y = _data(case)
    given = registry.entry(case.model).preset | {"num_classes": case.classes} | dict(case.settings)
    model = registry.model_class(case.model)(**given)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"])
    x = x.astype("float32") / 255
    asked = [turns(batch, case.steps[batch])]
    model.fit(x, y, batch_size=batch, epochs=100_000, callbacks=asked, verbose=0)


def _pytorch(case: Case, batch: int, compiled: bool = False) -> None:
    import torch

    from benchmarks.vision_pytorch import network

    x, y = (torch.from_numpy(values) for values in _data(case))
    x, y = (x.permute(0, 3, 1, 2).float() / 255).to(memory_format=torch.channels_last), y.long()
    net = network(case).to(memory_format=torch.channels_last).train()
    parameters = sum(p.numel() for p in net.parameters())
    forward = torch.compile(net) if compiled else net
    optimizer, cross_entropy = torch.optim.Adam(net.parameters(), RATE), torch.nn.CrossEntropyLoss()
    steps = case.steps[batch]

    def measured() -> float:
        began, order = time.perf_counter(), torch.randint(0, len(x), (steps, batch))
        for part in order:
            optimizer.zero_grad()
            loss = cross_entropy(forward(x[part]), y[part])
            loss.backward()
            optimizer.step()
        loss.item()
        return batch * steps / (time.perf_counter() - began)

    rounds.serve(measured, parameters=parameters)


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    return compared(result, SIDES[1:], "images/s")


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the rounds of each side."""
    return "\n".join([*table(result), "", *each_round(result)])


if __name__ == "__main__":
    side, name, batch = sys.argv[1:]
    if side.startswith("PyTorch"):
        _pytorch(CASES[name], int(batch), compiled=side.endswith("compiled"))
    else:
        {"zoo": _zoo, "plain Keras": _plain}[side](CASES[name], int(batch))
