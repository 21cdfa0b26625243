"""Training throughput of `zoo.train`, a plain Keras script, and PyTorch, with equal networks and batch sizes.

The sides alternate. The zoo's side is `zoo.train` itself, including input pipeline and metrics. The plain script calls
`fit` with arrays, on TensorFlow and on JAX. The PyTorch loop takes batches from tensors in memory, uses channels_last
for images, and reads its loss every 50 steps. Examples are random numbers in the shapes of MNIST (60,000 images, read
by rows for `lstm`) and of sentences (20,000 of 64 ids), because the speed does not depend on their content. All sides
use Adam, cross-entropy, float32 and all cores, without gradient clipping. PyTorch, from the extra `peers`, and Keras on
JAX are included with --peers.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import rounds
from benchmarks.commands import told
from benchmarks.time_to_accuracy import plain_cnn
from zoo.system.files import replacing

ROUNDS, QUICK_ROUNDS = 7, 3
# By model: batch sizes, and the number of steps in a turn of about two seconds.
CASES = {"cnn": ((32, 400), (128, 100), (512, 25)), "lstm": ((128, 30),), "transformer": ((64, 40),)}
QUICK = {"cnn": ((128, 20),)}
# Minimum throughput of zoo.train, relative to each peer.
TARGETS = {
    ("cnn", 32): {"PyTorch": 1.0},
    ("cnn", 128): {"PyTorch": 1.0, "plain Keras": 1.5},
    ("cnn", 512): {"PyTorch": 1.0, "plain Keras": 1.5},
    ("lstm", 128): {"PyTorch": 1.0},
    ("transformer", 64): {"PyTorch": 1.0},
}
IMAGES, SIDE, CLASSES = 60_000, 28, 10
SENTENCES, TIME, VOCABULARY = 20_000, 64, 5_000
UNITS = (128, 128)  # lstm
WIDTH, HEADS, FEED_FORWARD = 128, 4, 256  # transformer with one block
RATE, TOLD = 1e-3, 50


def measure(data_dir: Path, quick: bool = False, peers: bool = False) -> dict[str, Any]:
    """Return a row for each model, batch size and side.

    Args:
        data_dir: Unused, because the examples are random.
        quick: Whether to measure fewer cases and rounds.
        peers: Whether to include the optional peers.
    """
    rows = []
    for model, sizes in (QUICK if quick else CASES).items():
        for batch, steps in sizes:
            chosen = [side for side, (peer, models) in SIDES.items() if model in models and (peers or not peer)]
            words = {side: (side, model, str(batch), str(steps)) for side in chosen}
            found = rounds.in_turn("benchmarks.throughput", words, QUICK_ROUNDS if quick else ROUNDS)
            for side, row in found.items():
                case = {"name": f"{model}, batch {batch}: {side}", "model": model, "batch": batch, "side": side}
                rows.append(told({**case, "unit": "examples/s", "better": "higher", **row}))
    return {"measured": rows}


def _data(model: str) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    if model == "transformer":
        return rng.integers(1, VOCABULARY, (SENTENCES, TIME), np.int32), rng.integers(0, 2, SENTENCES)
    return rng.integers(0, 256, (IMAGES, SIDE, SIDE, 1), np.uint8), rng.integers(0, CLASSES, IMAGES)


def turns(batch: int, steps: int) -> Any:
    """Return a Keras callback that measures examples per second over `steps` steps on each request."""
    import keras

    class Turns(keras.callbacks.Callback):
        began, at, called = None, 0, 0

        def on_train_batch_end(self, index: int, logs: dict | None = None) -> None:
            self.called += 1
            # In the zoo an execution of several steps precedes these calls. On JAX the optimizer's counter is updated
            # at the end of an epoch.
            done = max(int(self.model.optimizer.iterations), self.called) - self.at
            if done < steps:
                return
            if self.began is None:
                rounds.ready(parameters=self.model.count_params())
            else:
                rounds.answer(batch * done / (time.perf_counter() - self.began))
            rounds.wait()
            self.at += done
            self.began = time.perf_counter()

    return Turns()


def _zoo(model: str, batch: int, steps: int) -> None:
    from strategies import backend

    backend.start()
    from zoo.config.train_config import TrainConfig
    from zoo.data.dataset import Dataset, DataSpec, Split
    from zoo.training.loop import train

    x, y = _data(model)
    names = tuple(map(str, range(y.max() + 1)))
    if model == "transformer":
        spec = DataSpec("random", "tokens", x.shape[1:], names, vocabulary_size=VOCABULARY)
    else:
        spec = DataSpec("random", "image", x.shape[1:], names)
    examples = Split(x, y.astype("int32"))
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            model=model,
            epochs=1000,
            batch_size=batch,
            learning_rate=RATE,
            weight_decay=0.0,
            clip_norm=0.0,
            schedule="constant",
            settings=SETTINGS[model],
            output=Path(folder) / "run",
        )
        data = Dataset(spec, examples, examples.take(slice(0)), examples.take(slice(batch)))
        train(config, data=data, callbacks=[turns(batch, steps)], verbose=False)


def _plain(model: str, batch: int, steps: int) -> None:
    """Train with a typical Keras script."""
    import keras
    from keras import layers

    x, y = _data(model)
    x = x.astype("float32") / 255
    if model == "cnn":
        net = plain_cnn()
    else:
        x = x[..., 0]
        recurrent = [layers.LSTM(UNITS[0], return_sequences=True), layers.LSTM(UNITS[1])]
        net = keras.Sequential([keras.Input((SIDE, SIDE)), *recurrent, layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"])
    net.fit(x, y, batch_size=batch, epochs=1000, callbacks=[turns(batch, steps)], verbose=0)


def _plain_on_jax(model: str, batch: int, steps: int) -> None:
    """Train with the same script on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"
    _plain(model, batch, steps)


def _pytorch(model: str, batch: int, steps: int) -> None:
    import torch
    from torch import nn

    class LastStep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(SIDE, UNITS[0], len(UNITS), batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.recurrent(x)[0][:, -1]

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(VOCABULARY, WIDTH)
            rates = 10_000 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
            angles = torch.arange(TIME)[:, None] * rates
            self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))
            block = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, 0.0, batch_first=True, norm_first=True)
            self.net = nn.TransformerEncoder(block, 1, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden, seen = self.net(self.table(ids) * WIDTH**0.5 + self.positions, None, ids == 0), ids != 0
            return (hidden * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)

    x, y = (torch.from_numpy(values) for values in _data(model))
    if model == "cnn":
        x = (x.permute(0, 3, 1, 2).float() / 255).to(memory_format=torch.channels_last)
        body = [
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 3 * 3, 64), nn.ReLU(), nn.Linear(64, 10)),
        ]
    elif model == "lstm":
        x, body = x[..., 0].float() / 255, [LastStep(), nn.Linear(UNITS[-1], CLASSES)]
    else:
        body = [Encoder(), nn.Linear(WIDTH, 2)]
    net = nn.Sequential(*body).train()
    if model == "cnn":
        net = net.to(memory_format=torch.channels_last)
    optimizer, cross_entropy = torch.optim.Adam(net.parameters(), RATE), nn.CrossEntropyLoss()

    def measured() -> float:
        began = time.perf_counter()
        order = torch.randperm(len(x))
        for step in range(steps):
            part = order[step * batch : (step + 1) * batch]
            optimizer.zero_grad()
            loss = cross_entropy(net(x[part]), y[part])
            loss.backward()
            optimizer.step()
            if step % TOLD == 0:
                loss.item()
        return batch * steps / (time.perf_counter() - began)

    rounds.serve(measured, parameters=sum(p.numel() for p in net.parameters()))


# By name: whether the side is an optional peer, and its models.
SIDES = {
    "zoo": (False, ("cnn", "lstm", "transformer")),
    "plain Keras": (False, ("cnn", "lstm")),
    "PyTorch": (True, ("cnn", "lstm", "transformer")),
    "Keras on JAX": (True, ("cnn", "lstm")),
}
OTHERS = tuple(SIDES)[1:]
SETTINGS = {
    "cnn": {"dropout": 0.0},
    "lstm": {"units": UNITS},
    "transformer": {
        "num_layers": 1,
        "model_dim": WIDTH,
        "num_heads": HEADS,
        "ff_dim": FEED_FORWARD,
        "dropout": 0.0,
    },
}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    return compared(result, OTHERS, "examples/s")


def compared(result: dict[str, Any], others: Sequence[str], unit: str) -> list[str]:
    """Return the lines of a table with the throughput of the zoo beside that of other sides.

    Args:
        result: Rows with model, batch, side and rounds.
        others: The other sides.
        unit: Unit of the throughput.
    """
    lines = [
        f"| training | zoo, {unit} | {' | '.join(f'{side} | speed-up of zoo' for side in others)} |",
        "| --- | --- |" + " --- | --- |" * len(others),
    ]
    for name, sides in _cases(result).items():
        cells = [f"{statistics.median(sides['zoo']):,.0f}"]
        for side in others:
            if side not in sides:
                cells += ["", ""]
                continue
            times, low, high = rounds.ratio(sides["zoo"], sides[side])
            cells += [f"{statistics.median(sides[side]):,.0f}", f"{times:.2f} ({low:.2f} to {high:.2f})"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cases(result: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the rounds of each side, by model and batch size."""
    cases: dict[str, dict[str, list[float]]] = {}
    for row in result["measured"]:
        cases.setdefault(f"{row['model']}, batch {row['batch']}", {})[row["side"]] = row["rounds"]
    return cases


def draw(result: dict[str, Any], path: Path) -> None:
    """Write a PNG of the throughput of each peer relative to the zoo, with median and interquartile range.

    Args:
        result: Result of `measure`.
        path: File to write.
    """
    from matplotlib.figure import Figure

    cases = _cases(result)
    figure = Figure(figsize=(8, 0.5 + 0.85 * len(cases)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(OTHERS)
    for number, (side, colour) in enumerate(zip(OTHERS, ("#1f5fa8", "#c2571a", "#5b7a3a"), strict=True)):
        for row, sides in enumerate(cases.values()):
            if side not in sides:
                continue
            shares = [theirs / ours for ours, theirs in zip(sides["zoo"], sides[side], strict=True)]
            low, middle, high = statistics.quantiles(shares, n=4)
            y, label = row + (number - 1) * height, side if row == 0 else None
            axes.barh(y, middle, height * 0.9, color=colour, label=label)
            axes.plot([low, high], [y, y], color="#222222", linewidth=1)
            axes.annotate(
                f"{middle:.2f}", (max(middle, high), y), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.axvline(1, color="#222222", linewidth=1.2, label="zoo.train")
    axes.set_yticks(range(len(cases)), list(cases))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3)
    axes.set_xlabel("training throughput relative to zoo.train in the same round")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(OTHERS) + 1, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def each_round(result: dict[str, Any]) -> list[str]:
    """Return a line with the parameters and the rounds of each side."""
    return [
        f"- {row['name']}: {row['parameters']:,} parameters; {', '.join(f'{value:,.0f}' for value in row['rounds'])}"
        for row in result["measured"]
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the rounds of each side."""
    targets = [
        f"{model}, batch {batch}: {' and '.join(f'{least} of {side}' for side, least in peers.items())}"
        for (model, batch), peers in TARGETS.items()
    ]
    return "\n".join([*table(result), "", f"Targets: {'; '.join(targets)}.", "", *each_round(result)])


if __name__ == "__main__":
    measured = {"zoo": _zoo, "plain Keras": _plain, "PyTorch": _pytorch, "Keras on JAX": _plain_on_jax}
    measured[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
