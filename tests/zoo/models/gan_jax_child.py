"""Train a GAN on JAX for tests/zoo/tasks/test_generation.py, from the same initial weights as a run on TensorFlow."""

import sys

import numpy as np

from strategies import backend

backend.start("jax")
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.tasks.parts import drawing  # noqa: E402
from zoo.training.loop import train  # noqa: E402


def main(folder: str, stored: str) -> None:
    """Train as a configuration says, and save the history, the weights and samples as FOLDER/jax.npz."""
    import json

    config = TrainConfig.from_json(json.loads(stored))
    result = train(config, verbose=False)
    made = drawing.draw(result.model, drawing.codes(result.model, 9, 5, np.arange(9) % 3))
    weights = {f"weight {i}": np.asarray(v) for i, v in enumerate(result.model.variables)}
    history = {f"{i} {k}": v for i, row in enumerate(result.history) for k, v in row.items()}
    np.savez(f"{folder}/jax.npz", made=made, **weights, **history)


if __name__ == "__main__":
    main(*sys.argv[1:])
