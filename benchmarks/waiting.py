"""How long a step of Keras on JAX waits for pictures that are decoded for each batch.

A folder of JPEG pictures of 256x256 is generated, and read at 96x96 (they are decoded at a half of their scale). In one
process, turns of ten steps (and one before them that is not timed) on batches that are made when they are asked for
alternate with turns on batches that are made in threads, ahead of the steps (`zoo.data.batches.ahead`). The share of
waiting is the time until a batch is there, of the time of the whole step.
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import rounds

SHOWN, SEEN, CLASSES, BATCH, TURN = 256, 96, 4, 32, 10
PICTURES, TURNS, QUICK_TURNS = 2048, 20, 4
MODEL = "resnet"


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return the time of a step and the share of waiting in it, without and with batches that are made ahead.

    Args:
        data_dir: Not used.
        quick: Whether to use fewer turns.
    """
    with tempfile.TemporaryDirectory(prefix="waiting-", dir=os.environ.get("TMPDIR")) as made:
        folder = Path(made)
        os.environ["ZOO_CACHE"] = str(folder / "cache")
        _write(folder / "pictures")
        with rounds.started("benchmarks.waiting", [str(folder / "pictures")]) as (ask, _):
            turns = [ask() for _ in range(QUICK_TURNS if quick else TURNS)]
    rows = []
    for side, name in enumerate(("when they are asked for", "ahead")):
        steps, waits = ([turn[side][i] for turn in turns] for i in range(2))
        rows.append({"made": name, "step_ms": statistics.median(steps), "waiting": sum(waits) / sum(steps)})
    return {"model": MODEL, "rows": rows}


def _write(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        coarse = rng.normal(60 + 40 * (i % CLASSES), 40, (SHOWN // 8, SHOWN // 8, 3))
        image = np.kron(coarse, np.ones((8, 8, 1))) + rng.normal(0, 8, (SHOWN, SHOWN, 3))
        place = folder / f"class_{i % CLASSES}" / f"{i:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(image, 0, 255).astype("uint8")).save(place, quality=85)


def _side(folder: Path) -> None:
    from strategies import backend

    backend.start("jax")

    from zoo import tasks
    from zoo.config.train_config import TrainConfig
    from zoo.data import load
    from zoo.data.batches.ahead import Ahead
    from zoo.data.batches.pipeline import training_batches
    from zoo.training import optimization
    from zoo.training.building import built, maker

    config = TrainConfig(model=MODEL, data=folder, image_size=SEEN, batch_size=BATCH, memory=1000).resolved()
    data = load(config)
    task = tasks.of(data.spec.task)
    model = built(maker(config, data.spec, task), data.spec, task)
    model.compile(optimization.optimizer(config, 1000), **task.compiled_with(config, data.spec))
    ahead = training_batches(data.train, batch_size=BATCH, seed=0, start=0, stop=1_000_000)
    assert isinstance(ahead, Ahead)
    sides = [(batches, itertools.count()) for batches in (ahead.batches, ahead)]

    def turn(batches: Any, steps: Iterator[int]) -> tuple[float, float]:
        model.train_on_batch(*batches[next(steps)])  # from here on, threads are as far ahead as within an epoch
        waited, began = 0.0, time.perf_counter()
        for step in itertools.islice(steps, TURN):
            asked = time.perf_counter()
            batch = batches[step]
            waited += time.perf_counter() - asked
            model.train_on_batch(*batch)
        return (time.perf_counter() - began) / TURN * 1e3, waited / TURN * 1e3

    rounds.serve(lambda: [turn(*side) for side in sides])


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["| batches are made | step | share of waiting |", "| --- | --- | --- |"]
    lines += [f"| {row['made']} | {row['step_ms']:.1f} ms | {row['waiting']:.1%} |" for row in result["rows"]]
    return "\n".join([*lines, "", f"`{result['model']}`, batches of {BATCH} pictures."])


if __name__ == "__main__":
    _side(Path(sys.argv[1]))
