"""Trains several models on JAX, on one device and on eight, for test_jax.py."""

import contextlib
import sys

import numpy as np

from strategies import backend

backend.start("jax", virtual_devices=8)
import keras  # noqa: E402

from tests.conftest import blobs, stop_after  # noqa: E402
from tests.zoo.models.small import SMALL  # noqa: E402
from zoo.config.augmentation import parse  # noqa: E402
from zoo.config.train_config import TrainConfig  # noqa: E402
from zoo.console.errors import Interrupted  # noqa: E402
from zoo.data import from_tf_data  # noqa: E402
from zoo.data.augmentation.augmenter import Augmenter  # noqa: E402
from zoo.introspection.variables import named  # noqa: E402
from zoo.runs.folder import RunFolder  # noqa: E402
from zoo.runs.inference import logits_of  # noqa: E402
from zoo.training.loop import train  # noqa: E402

MODELS = {
    "simplenet": {"units": (16, 8)},
    "cnn": {"filters": (4, 8), "pools": 1, "units": 8, "batch_norm": True},
    "lstm": {"units": (8, 4)},
    "self_attention": {"model_dim": 8, "num_heads": 2, "ff_dim": 16, "num_blocks": 1},
    "transformer": {"model_dim": 8, "num_heads": 2, "ff_dim": 16, "num_layers": 1, "norm": "post"},
    **SMALL,
}
AUGMENTED = "shift(1) + rotate + colour + mixup"
WAYS = {"none": {}, "data_parallel": {}, "model_parallel": {"model_devices": 4}}


class Shards(keras.callbacks.Callback):
    """Record the number of devices that hold the largest kernel, and the share of it on each."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def on_epoch_end(self, epoch, logs=None):
        kernel = max((v for v in self.model.trainable_variables if len(v.shape) > 1), key=lambda v: v.shape[-1])
        shards = kernel.value.addressable_shards
        self.kept["devices"] = len({shard.device for shard in shards})
        self.kept["share"] = shards[0].data.size / int(np.prod(kernel.shape))


def main(folder: str, *names: str) -> None:
    """Train each model in every way, and save results and the split of its kernels as FOLDER/MODEL-WAY.npz."""
    x, y = blobs(103, (9, 10, 1))
    x = (x * 255).astype("uint8")
    data = from_tf_data("blobs", [(x[:64], y[:64])], [(x[83:], y[83:])], validation=[(x[64:83], y[64:83])])
    for name, settings in ((name, MODELS[name]) for name in names):
        for way, options in WAYS.items():
            if name in SMALL and way == "model_parallel":
                continue  # channels of small networks cannot be split in four
            common = {
                "model": name, "settings": {**settings, "dropout": 0.25}, "strategy": way, "epochs": 2, "seed": 3,
                "batch_size": 16, "learning_rate": 0.05, "optimizer": "sgd", "clip_norm": 1.0, "keep": "last",
                "checkpoint_every": 1, "augment": AUGMENTED if name == "cnn" else None, **options,
            }  # fmt: skip
            config = TrainConfig(**common, output=f"{folder}/{name}-{way}")
            kept = {}

            result = train(config, data=data, callbacks=[Shards(kept)], verbose=False)
            if name == "cnn" and way == "data_parallel":  # dropout, normalisations, momenta
                broken = TrainConfig(**common, output=f"{folder}/{name}-broken")
                with contextlib.suppress(Interrupted):
                    train(broken, data=data, callbacks=[stop_after(3)], verbose=False)
                again = train(TrainConfig(**common, output=broken.output, resume=True), data=data, verbose=False)
                kept["resumed"] = max(
                    float(np.abs(np.asarray(a) - np.asarray(b)).max())
                    for a, b in zip(again.model.variables, result.model.variables, strict=True)
                )
                kept["same_history"] = again.history == result.history
            if name == "cnn" and way == "data_parallel":
                begun = {**common, "init_from": f"{folder}/cnn-none", "freeze": ("hidden",), "epochs": 1}
                tuned = train(TrainConfig(**begun | {"output": f"{folder}/begun"}), data=data, verbose=False)
                first = {name: np.asarray(v) for name, v in named(RunFolder(f"{folder}/cnn-none").load_model()).items()}
                kept["kept"] = [n for n, v in named(tuned.model).items() if np.array_equal(v, first[n])]
            if name == "simplenet" and way == "none":
                augment = Augmenter(parse(AUGMENTED + " + erase + randaugment + cutmix"), 3, 3)
                images = x[:16].reshape(16, 9, 10, 1).astype("float32") / 255
                kept["augmented"], kept["mixed"] = augment.on_arrays(images, y[:16], np.arange(16), 5)
            weights = {f"weight {v.path.partition('/')[2]}": np.asarray(v) for v in result.model.variables}
            history = {f"{i} {k}": v for i, row in enumerate(result.history) for k, v in row.items()}
            every = {"logits": logits_of(result.model, data.test), "test": result.metrics["test"]["loss"], **kept}
            np.savez(f"{folder}/{name}-{way}.npz", **weights, **history, **every)


if __name__ == "__main__":
    main(*sys.argv[1:])
