"""A worker of test_multi_worker.py: trains several models under a strategy and saves the results."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

import strategies
from strategies import backend

backend.start()
import keras  # noqa: E402

from compression.pipeline import pipeline  # noqa: E402
from compression.recipes import language  # noqa: E402
from compression.recipes.options import StageTraining  # noqa: E402
from tests.conftest import blobs  # noqa: E402
from zoo.config import registry  # noqa: E402
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.data import from_tf_data  # noqa: E402
from zoo.data.batches import pipeline as batches  # noqa: E402
from zoo.runs.inference import logits_of  # noqa: E402
from zoo.training.loop import train  # noqa: E402

# Settings of a small model, and the precision: with batch normalisation a cnn differs by rounding in float32.
MODELS = {
    "simplenet": ({"units": (12,)}, "float32"),
    "simplenet, step by step": ({"units": (12,)}, "float32"),
    "simplenet, one": ({"units": (12,)}, "float32"),  # fewer validation examples than workers
    "cnn": ({"filters": (4, 6), "pools": 1, "units": 8}, "float32"),
    "cnn, normalised": ({"filters": (4, 6), "pools": 1, "units": 8, "batch_norm": True}, "float64"),
    "simplenet, attacked": ({"units": (12,)}, "float64"),
    "lstm": ({"units": (6, 5)}, "float32"),
    "self_attention": ({"model_dim": 8, "num_heads": 2, "ff_dim": 12, "num_blocks": 1}, "float32"),
    "gan_dense": (
        {"latent_size": 4, "units": (6, 8), "conditional": True, "r1": 0.1, "discriminator_rate": 1.0},
        "float64",
    ),
}


COMPRESSION = "compression"  # compresses the simplenet, which has to be trained first


def main(strategy: str, folder: str, *names: str) -> None:
    """Train models for two epochs and save weights, metrics and predictions of each as FOLDER/NAME.npz."""
    x, y = blobs(103, (9, 10, 1))
    x = (x * 255).astype("uint8")
    batches.EVALUATED_BYTES = 8 * x[0].size * 4  # several batches, of which the last is uneven
    data = from_tf_data("blobs", [(x[:64], y[:64])], [(x[83:], y[83:])], validation=[(x[64:83], y[64:83])])
    for name in (name for name in names if name != COMPRESSION):
        settings, precision = MODELS[name]
        task = registry.entry(name.partition(",")[0]).task
        draws = task == "generation"
        config = TrainConfig(  # the output folder belongs to the chief
            model=name.partition(",")[0],
            settings=settings if draws else {**settings, "dropout": 0.3},
            strategy=strategy,
            precision=precision,
            epochs=2,
            batch_size=16,
            learning_rate=0.05,
            optimizer="sgd",
            clip_norm=1.0,
            keep="last",
            steps_per_execution=1 if name.endswith("step by step") else None,
            adversarial="pgd(0.1, steps=2)" if name.endswith("attacked") else None,
            seed=3,
            output=f"{folder}/{name}",
        )
        mine = dataclasses.replace(data, spec=dataclasses.replace(data.spec, task=task))
        if name.endswith("one"):
            mine = dataclasses.replace(mine, validation=data.validation.take(np.arange(1)))
        result = train(config, data=mine, verbose=False)
        weights = {f"weight {v.path}": np.asarray(v) for v in result.model.variables}
        history = {f"{i} {k}": v for i, row in enumerate(result.history) for k, v in row.items()}
        every = {"test": result.metrics["test"]["frechet_distance" if draws else "loss"]}
        if not draws:
            every["predictions"] = logits_of(result.model, data.test)
        if name == "simplenet":
            trained = result.model.get_weights(), config
        if strategies.is_chief(strategy):
            np.savez(f"{folder}/{name}.npz", **weights, **history, **every)
    if COMPRESSION in names:
        compress(strategy, data, *trained, folder)


def compress(strategy: str, data, weights, training, folder: str) -> None:
    """Compress the simplenet by a recipe that trains, with itself as teacher, and save the final weights."""
    model = registry.model_class("simplenet")(num_classes=3, **training.settings)
    model.build((None, *data.spec.input_shape))
    model.set_weights(weights)
    recipe = language.parse(f"prune(0.5) + qat(epochs=1) + int8 + distill({folder}/simplenet, alpha=0.5)")
    training = dataclasses.replace(training, output=None)
    training = StageTraining(training, lambda: [keras.saving.load_model(f"{folder}/simplenet/model.keras")])
    if not strategies.is_chief(strategy):
        pipeline.assist(model, data, recipe, training=training)
        return
    made = pipeline.compress(model, data, recipe, Path(folder), training=training)
    last = made.path.parent / made.receipt["made"]["stages_folder"] / "2-qat"
    ranges = np.array(list(json.loads(last.with_suffix(".json").read_text()).values()))
    kept = keras.saving.load_model(last / "model.keras").get_weights()
    np.savez(f"{folder}/compressed.npz", *kept, ranges=ranges)


if __name__ == "__main__":
    main(*sys.argv[1:])
