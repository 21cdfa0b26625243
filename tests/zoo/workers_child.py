"""A worker of tests/zoo/test_multi_worker.py: trains several models under a strategy, and saves what came out."""

import sys

import numpy as np

from strategies import backend

backend.start()
import tensorflow as tf  # noqa: E402

from strategies import collective  # noqa: E402
from tests.conftest import blobs  # noqa: E402
from zoo.config import TrainConfig  # noqa: E402
from zoo.data import from_tf_data  # noqa: E402
from zoo.inference import logits_of  # noqa: E402
from zoo.training import train  # noqa: E402

# Each with the settings that make it small, and the precision: rounding alone parts a cnn with normalisations.
MODELS = {
    "simplenet": ({"units": (12,)}, "float32"),
    "cnn": ({"filters": (4, 6), "pools": 1, "units": 8}, "float32"),
    "cnn, normalised": ({"filters": (4, 6), "pools": 1, "units": 8, "batch_norm": True}, "float64"),
    "lstm": ({"units": (6, 5)}, "float32"),
    "self_attention": ({"model_dim": 8, "num_heads": 2, "ff_dim": 12, "num_blocks": 1}, "float32"),
}


def main(strategy: str, folder: str) -> None:
    """Train every model for two epochs, and save weights, metrics and predictions of each as FOLDER/NAME.npz."""
    x, y = blobs(103, (9, 10, 1))
    x = (x * 255).astype("uint8")
    data = from_tf_data("blobs", [(x[:64], y[:64])], [(x[83:], y[83:])], validation=[(x[64:83], y[64:83])])
    for name, (settings, precision) in MODELS.items():
        config = TrainConfig(
            model=name.partition(",")[0],
            settings={**settings, "dropout": 0.0},
            strategy=strategy,
            precision=precision,
            epochs=2,
            batch_size=16,
            learning_rate=0.05,
            optimizer="sgd",
            clip_norm=1.0,
            keep="last",
            seed=3,
            output=f"{folder}/{name}",
        )
        result = train(config, data=data, verbose=False)
        weights = {f"weight {v.path}": np.asarray(v) for v in result.model.variables}
        history = {f"{i} {k}": v for i, row in enumerate(result.history) for k, v in row.items()}
        every = {"predictions": logits_of(result.model, data.test), "test": result.metrics["test"]["loss"]}
        if collective.worker(tf.distribute.get_strategy() if strategy == "none" else result.model.distribute_strategy):
            continue
        np.savez(f"{folder}/{name}.npz", **weights, **history, **every)


if __name__ == "__main__":
    main(*sys.argv[1:])
