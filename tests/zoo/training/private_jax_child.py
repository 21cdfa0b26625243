"""Trains on JAX from the same weights, samples and noise as TensorFlow, for test_private.py."""

import json
import sys
from pathlib import Path

import numpy as np

from strategies import backend

backend.start("jax")
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.training.loop import train  # noqa: E402


def main(folder: str, stored: str) -> None:
    """Save the weights of a training and its privacy record in FOLDER."""
    result = train(TrainConfig.from_json(json.loads(stored)), verbose=False)
    np.savez(f"{folder}/jax.npz", *result.model.get_weights(), loss=result.history[0]["loss"])
    Path(folder, "jax.json").write_text(json.dumps(result.metrics["private"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
