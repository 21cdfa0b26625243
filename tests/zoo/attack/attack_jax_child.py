"""Attack and train on JAX from the weights used on TensorFlow, for tests/zoo/attack/test_attack.py."""

import json
import sys

import numpy as np

from strategies import backend

backend.start("jax")
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.models import CNN  # noqa: E402
from zoo.objectives.adversarial import Attacked  # noqa: E402
from zoo.training.loop import train  # noqa: E402


def main(folder: str, stored: str) -> None:
    """Save adversarial examples for given images, and the loss and weights of a training, as FOLDER/jax.npz."""
    given = np.load(f"{folder}/given.npz")
    model = CNN(3, filters=(4, 6), pools=1, units=8, batch_norm=True, dropout=0.5)
    model.build((None, *given["x"].shape[1:]))
    model.set_weights([given[f"arr_{i}"] for i in range(len(model.get_weights()))])
    attacker = Attacked(model, 0.1, 0.03, 5, (0, 1))
    examples = attacker.predict((given["x"], given["y"], given["start"]), verbose=0)
    result = train(TrainConfig.from_json(json.loads(stored)), verbose=False)
    weights = {f"weight {i}": value for i, value in enumerate(result.model.get_weights())}
    np.savez(f"{folder}/jax.npz", examples=examples, loss=result.history[0]["loss"], **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
