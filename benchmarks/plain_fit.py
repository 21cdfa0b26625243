"""The script that everybody writes: the same network, Adam at 1e-3, batches of 64 and `fit`.

    python -m benchmarks.plain_fit MODEL FILE EPOCHS SEED

FILE has x_train and x_test, images of bytes, with y_train and y_test. It prints the accuracy on the test examples as
JSON.
"""

import json
import sys

import keras
import numpy as np

from zoo.config import registry


def main(model: str, file: str, epochs: str, seed: str) -> None:
    """Train and print the accuracy."""
    keras.utils.set_random_seed(int(seed))
    with np.load(file) as found:
        x_train, y_train, x_test, y_test = (found[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    network = registry.model_class(model)(num_classes=int(y_train.max()) + 1, **registry.entry(model).preset)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    network.fit(x_train / np.float32(255), y_train, batch_size=64, epochs=int(epochs), verbose=2)
    _, accuracy = network.evaluate(x_test / np.float32(255), y_test, verbose=0)
    print(json.dumps({"accuracy": float(accuracy), "parameters": network.count_params()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
