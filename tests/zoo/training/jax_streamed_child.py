"""Trains a model on JAX on pictures that are decoded for each batch, for test_jax.py."""

import contextlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from strategies import backend

backend.start("jax")
from tests.conftest import stop_after  # noqa: E402
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.console.errors import Interrupted  # noqa: E402
from zoo.data import load  # noqa: E402
from zoo.training.loop import train  # noqa: E402

PICTURES, CLASSES = 90, 3


def main(folder: str) -> None:
    """Train undisturbed, interrupted and resumed, and on pictures in memory; save the weights as FOLDER/WAY.npz."""
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        place = Path(folder) / "photos" / f"class_{i % CLASSES}" / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(70 * (i % CLASSES), 256, (20, 24, 3), np.uint8)).save(place)
    common = {
        "model": "cnn", "settings": {"filters": (4, 8), "pools": 1, "units": 8, "batch_norm": True, "dropout": 0.25},
        "strategy": "none", "data": Path(folder) / "photos", "image_size": 16, "augment": "shift(1) + rotate",
        "epochs": 3, "batch_size": 16, "seed": 3, "keep": "last",
    }  # fmt: skip

    def trained(name: str, *callbacks, **options) -> None:
        config = TrainConfig(**common | options, output=f"{folder}/{name}")
        result = train(config, callbacks=list(callbacks), verbose=False)
        weights = {v.path.partition("/")[2]: np.asarray(v) for v in result.model.variables}
        np.savez(f"{folder}/{name}.npz", **weights, losses=[row["loss"] for row in result.history])

    assert not load(TrainConfig(**common, memory=1000)).train.in_memory
    trained("streamed", memory=1000)
    with contextlib.suppress(Interrupted):
        trained("resumed", stop_after(6), memory=1000)  # within the second epoch
    assert not Path(f"{folder}/resumed.npz").exists()
    trained("resumed", memory=1000, resume=True)
    trained("in_memory")


if __name__ == "__main__":
    main(sys.argv[1])
